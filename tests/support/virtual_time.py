"""An event loop whose time jumps: an hour of waiting takes as long as what happens in it.

Threads do real work meanwhile, so a jump comes only after a moment in which none of them had an answer.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

__all__ = ["VirtualLoop", "run_in_virtual_time"]

T = TypeVar("T")
_PATIENCE_SECONDS = 0.005


class _JumpingSelector(selectors.DefaultSelector):
    skipped_seconds = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= _PATIENCE_SECONDS:
            return super().select(timeout)
        ready = super().select(_PATIENCE_SECONDS)
        if not ready:
            self.skipped_seconds += timeout - _PATIENCE_SECONDS
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """`time()` is the real one and all that was skipped."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return super().time() + self._jumping.skipped_seconds


def run_in_virtual_time(work: Coroutine[Any, Any, T]) -> T:
    """Like asyncio.run; in `work`, asyncio.get_running_loop().time() is the virtual clock."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(work)
    finally:
        asyncio.set_event_loop(None)
        loop.close()
