"""How long to wait before another try: doubling, bounded, with full jitter. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["backoff_seconds"]


def backoff_seconds(
    failures: int, *, first_seconds: float, longest_seconds: float, random: Callable[[], float]
) -> float:
    """A wait chosen evenly from 0 to first·2^(failures-1), at most `longest_seconds`; `random` is in [0, 1).

    Full jitter keeps ten thousand devices that lost the same network from coming back at the same instant.
    """
    ceiling = min(longest_seconds, first_seconds * 2.0 ** min(max(failures - 1, 0), 60))
    return ceiling * random()
