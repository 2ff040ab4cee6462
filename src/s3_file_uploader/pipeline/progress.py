"""Live numbers of a running uploader, and what they came to at the end. Written by the pipeline, read by anyone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3_file_uploader.errors import DeliveryError

__all__ = ["Progress", "Summary"]


@dataclass(slots=True)
class Progress:
    """Since the start of this run. Sizes are in bytes; `bytes_sent` also counts what is on its way."""

    files_found: int = 0  # to be sent: known at the start, and found since
    bytes_found: int = 0
    files_done: int = 0  # delivered
    bytes_done: int = 0
    bytes_sent: int = 0
    files_removed: int = 0
    failures: int = 0  # deliveries that ended without a receipt and count against their file
    parked: int = 0
    in_flight: int = 0
    looked_at: set[str] = field(default_factory=set)  # rules whose first scan is over
    troubles: dict[str, dict[bytes, str]] = field(default_factory=dict)  # rule → folder → why not looked at
    unmatched: set[str] = field(default_factory=set)  # PathName of rules that no file has matched so far
    paused: dict[str, str] = field(default_factory=dict)  # destination → reason

    def sent(self, count: int) -> None:
        self.bytes_sent += count


@dataclass(frozen=True, slots=True)
class Summary:
    """How a run ended. `held` are files that stay by a rule's own choice, with the reason of each.

    `failed` are files that are still to be sent after failed tries; `unreachable` is the error of the
    destination that a drain gave up on, `troubles` the folders that could not be looked at, `unmatched`
    the PathName of rules that no file matched.
    """

    delivered: int
    delivered_bytes: int
    removed: int
    failed: list[tuple[bytes, str]] = field(default_factory=list)
    parked: list[tuple[bytes, str]] = field(default_factory=list)
    held: list[tuple[bytes, str]] = field(default_factory=list)
    unremoved: list[tuple[bytes, str]] = field(default_factory=list)
    troubles: list[tuple[bytes, str]] = field(default_factory=list)
    waiting: int = 0
    unreachable: DeliveryError | None = None
    unmatched: list[str] = field(default_factory=list)
