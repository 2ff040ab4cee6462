"""Who may send now: slots for requests in flight, and two lines of those who wait for one.

Pure arithmetic, no clock and no threads. Deliveries start in the order of their arrival; large ones
never take all the slots, so that small files pass while a disk image crawls, and a large one that
could do with more connections gets them only while nobody waits.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["FIRST_SLOTS", "LARGE_SLOTS", "Slots"]

FIRST_SLOTS = 16
LARGE_SLOTS = 8  # more at once do not make large files faster

_Job = TypeVar("_Job")


class Slots(Generic[_Job]):
    """At most `cap` in use; `size` of them for now, as `grow` is called when a far store needs more."""

    def __init__(self, cap: int) -> None:
        self._cap, self._large_cap = _caps(cap)
        self._used = 0
        self._large_used = 0
        self._arrivals = 0
        self._small: deque[tuple[int, _Job]] = deque()
        self._large: deque[tuple[int, _Job]] = deque()
        self.size = min(self._cap, FIRST_SLOTS)

    @property
    def is_awaited(self) -> bool:
        return bool(self._small or self._large)

    def resize(self, cap: int) -> None:
        """Another cap. What is in use beyond it is given back in its own time."""
        self._cap, self._large_cap = _caps(cap)
        self.size = min(self._cap, max(self.size, FIRST_SLOTS))

    def grow(self) -> None:
        self.size = min(self._cap, self.size + max(1, self.size // 4))

    def join(self, job: _Job, *, is_large: bool) -> None:
        self._arrivals += 1
        (self._large if is_large else self._small).append((self._arrivals, job))

    def next(self) -> _Job | None:
        """Whose turn it is, with a slot taken for it."""
        if self._used >= self.size:
            return None
        small, large = self._small, self._large
        may_be_large = bool(large) and self._large_used < self._large_cap
        if may_be_large and (not small or large[0][0] < small[0][0]):
            self._used += 1
            self._large_used += 1
            return large.popleft()[1]
        if small:
            self._used += 1
            return small.popleft()[1]
        return None

    def borrow(self) -> bool:
        """One more slot for a large delivery that has one; only while nobody waits."""
        if self.is_awaited or self._used >= self.size or self._large_used >= self._large_cap:
            return False
        self._used += 1
        self._large_used += 1
        return True

    def give_back(self, *, is_large: bool) -> None:
        self._used -= 1
        self._large_used -= is_large

    def drain(self) -> list[_Job]:
        """Everyone who still waits; the lines are empty then."""
        waiting = [job for _, job in sorted([*self._small, *self._large], key=lambda entry: entry[0])]
        self._small.clear()
        self._large.clear()
        return waiting


def _caps(cap: int) -> tuple[int, int]:
    """For all, and for large ones."""
    cap = max(1, cap)
    return cap, max(1, min(LARGE_SLOTS, cap * 3 // 4))
