"""How long the exporter waits, and between what. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Patience", "is_worth_telling"]


@dataclass(frozen=True, slots=True)
class Patience:
    """Times in seconds. AWS says that exports are tried again at intervals of up to five minutes, for ever."""

    first_retry: float = 1.0
    longest_retry: float = 300.0
    status: float = 30.0  # for a status stream that takes nothing, before the status is given up
    status_retry: float = 0.5
    take_back: float = 10.0  # for the abort of a multipart upload
    most_spoiled: int = 3  # tries of a file that changes while it is uploaded

    def retry_seconds(self, failures: int, random: Callable[[], float]) -> float:
        """Before the next try: doubling, of which the later half is left to chance, so that not all come at once."""
        longest = min(self.longest_retry, self.first_retry * 2.0 ** min(failures - 1, 60))
        return longest * (0.5 + random() / 2)


def is_worth_telling(failures: int) -> bool:
    """The 1st, 2nd, 4th, 8th … in a row."""
    return failures & (failures - 1) == 0
