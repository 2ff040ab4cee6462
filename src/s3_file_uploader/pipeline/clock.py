"""Time as the pipeline sees it: a running clock for waiting, the wall clock for people and S3.

The running clock counts seconds while a daemon runs, goes on where the last run stopped, and never
goes back: devices without a clock battery jump by years, and the monotonic clock starts anew at boot.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock"]


@dataclass(slots=True)
class Clock:
    """`monotonic` and `wall` return seconds; `wall` is since the epoch."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    started_at: float = 0.0  # on the running clock: when this run began
    _offset: float = field(default=0.0, init=False)

    def begin(self, started_at: float) -> None:
        """Go on from where the ledger's clock stood."""
        self.started_at = started_at
        self._offset = started_at - self.monotonic()

    def now(self) -> float:
        return self.monotonic() + self._offset

    def wall_ns(self) -> int:
        return int(self.wall() * 1_000_000_000)
