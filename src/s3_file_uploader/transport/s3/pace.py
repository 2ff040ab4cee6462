"""Whether more connections would make uploads faster: they would if we mostly wait for answers.

They would not while this machine's CPU is what limits us: then a slow answer is our own doing, and
another connection only costs memory here and a handshake there. Pure arithmetic over the times that
the engine tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WINDOW_SECONDS", "Pace"]

WINDOW_SECONDS = 0.02
_MOST_BUSY = 0.7  # of one core, all threads together
_LEAST_ASLEEP = 0.5


class Pace:
    """`cpu_seconds` is what the whole process has used so far."""

    def __init__(self, cpu_seconds: Callable[[], float]) -> None:
        self._cpu_seconds = cpu_seconds
        self._since: float | None = None
        self._cpu_then = 0.0
        self._slept = 0.0

    def rest(self) -> None:
        """Nobody waits for a connection: what was measured so far says nothing."""
        self._since = None

    def wants_more(self, now: float, slept_seconds: float) -> bool:
        """After each turn in which somebody waits: at most once in a window, whether one more would help."""
        if self._since is None:
            self._begin(now)
            return False
        self._slept += slept_seconds
        elapsed = now - self._since
        if elapsed < WINDOW_SECONDS:
            return False
        is_asleep = self._slept >= _LEAST_ASLEEP * elapsed
        is_busy = is_asleep and self._cpu_seconds() - self._cpu_then >= _MOST_BUSY * elapsed
        self._begin(now)
        return is_asleep and not is_busy

    def _begin(self, now: float) -> None:
        self._since = now
        self._cpu_then = self._cpu_seconds()
        self._slept = 0.0
