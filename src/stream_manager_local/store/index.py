"""A sparse index: where some of a segment's records begin."""

from __future__ import annotations

from array import array
from bisect import bisect_right

__all__ = ["STRIDE_BYTES", "SparseIndex"]

STRIDE_BYTES = 16 * 1024


class SparseIndex:
    """One mark for each 16 KiB or more, 16 bytes each: a million small messages cost some 130 KB."""

    def __init__(self) -> None:
        self._ordinals = array("Q", [0])
        self._offsets = array("Q", [0])
        self._next_mark = STRIDE_BYTES

    def saw(self, ordinal: int, offset: int) -> None:
        """A record begins here. Worth remembering only far enough behind the last mark."""
        if offset >= self._next_mark:
            self._ordinals.append(ordinal)
            self._offsets.append(offset)
            self._next_mark = offset + STRIDE_BYTES

    def at_or_before(self, ordinal: int) -> tuple[int, int]:
        """(ordinal, offset) of the nearest marked record that is not behind `ordinal`."""
        place = bisect_right(self._ordinals, ordinal) - 1
        return self._ordinals[place], self._offsets[place]

    def __len__(self) -> int:
        return len(self._ordinals)
