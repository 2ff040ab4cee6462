"""Holds Ctrl-C and SIGTERM back for as long as one question takes, so that what it left behind is known.

The first is taken at the next `check`; a second one is as if nobody held it.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import FrameType, TracebackType

    from typing_extensions import Self

__all__ = ["HeldInterruption"]

_HELD = (signal.SIGINT, signal.SIGTERM)


class HeldInterruption:
    """Of the main thread, where signals arrive; in any other it holds nothing."""

    def __init__(self) -> None:
        self.number = 0
        self._before: dict[int, Any] = {}

    def check(self) -> None:
        """KeyboardInterrupt if one came meanwhile."""
        if self.number:
            raise KeyboardInterrupt

    def pass_on(self) -> None:
        """Let what came take its course, now that nothing is left behind."""
        if self.number == signal.SIGTERM:
            os.kill(os.getpid(), signal.SIGTERM)
        self.check()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _HELD}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: it was set by something else than Python, and cannot be put back by name.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
