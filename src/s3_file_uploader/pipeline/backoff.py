"""How long to wait before another try: doubling, bounded, with full jitter. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["backoff_seconds", "is_worth_telling"]


def backoff_seconds(
    failures: int, *, first_seconds: float, longest_seconds: float, random: Callable[[], float]
) -> float:
    """A wait chosen evenly from 0 to first·2^(failures-1), at most `longest_seconds`; `random` is in [0, 1).

    Full jitter keeps ten thousand devices that lost the same network from coming back at the same instant.
    """
    ceiling = min(longest_seconds, first_seconds * 2.0 ** min(max(failures - 1, 0), 60))
    return ceiling * random()


def is_worth_telling(failures: int) -> bool:
    """The 1st, 2nd, 4th, 8th … failure of the same file: what lasts is told ever more rarely, and never not at all."""
    return failures & (failures - 1) == 0
