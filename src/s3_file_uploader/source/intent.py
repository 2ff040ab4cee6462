"""The words of removal: what is to go, what the ledger must know before it moves, how it ended.

Values, and the one open file that a removal holds. Nothing is decided here.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3_file_uploader.model import Fingerprint
    from s3_file_uploader.source.edge import Edge
    from s3_file_uploader.source.shelf import Place

__all__ = ["Conclusion", "Intent", "Outcome", "Prepared", "Target"]


@dataclass(frozen=True, slots=True)
class Target:
    """A delivered file. `fingerprint` is the delivered one; `marker` its done marker's whole name.

    `is_symlink`: the name is a link, followed by choice: the link is removed, its target never.
    `place`: where the archive takes it; None to delete it.
    """

    folder: bytes
    base: bytes
    name: bytes
    fingerprint: Fingerprint
    marker: bytes | None = None
    follow_symlinks: bool = False
    is_symlink: bool = False
    place: Place | None = None

    @property
    def path(self) -> bytes:
        return os.path.join(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Intent:
    """What the ledger must hold durably before the file is hidden, and what `recover` starts from.

    `leased`: a lease vouched for the file; without one, a removal that was cut short is undone.
    `marker_fingerprint`: the done marker that `prepare` saw; None when there was none, or unknown.
    `superseded`: newer content had its name since, so it must never get it back.
    """

    target: Target
    hidden: bytes
    leased: bool
    marker_fingerprint: Fingerprint | None = None
    superseded: bool = False


class Conclusion(Enum):
    """How a removal ended."""

    REMOVED = "removed"  # or archived: `Outcome.kept_as` says where
    UNDONE = "undone"  # the file has its own name (again) and settles again
    LEFT_HIDDEN = "left hidden"  # it could not get its name back; call `recover` again later
    GONE = "gone"  # somebody else took it away


@dataclass(frozen=True, slots=True)
class Outcome:
    """`reason` is for people. `fingerprint`: of what stands under the name after UNDONE.

    `superseded`, with LEFT_HIDDEN: newer content has, or had, its name. Give it another: under its own
    it would be sent after the newer content, to the same key.
    """

    conclusion: Conclusion
    reason: str = ""
    fingerprint: Fingerprint | None = None
    kept_as: bytes | None = None
    superseded: bool = False


@dataclass(slots=True, eq=False)
class Prepared:
    """A file held open, under a lease where possible. Ends in `finish` or `abandon`, once."""

    edge: Edge
    target: Target
    folder_fd: int
    descriptor: int = -1
    leased: bool = False
    entry: tuple[int, int] = (-1, -1)  # device and inode of the name itself: a link's own
    marker_fingerprint: Fingerprint | None = None
    superseded: bool = False

    def intent(self, hidden: bytes) -> Intent:
        return Intent(self.target, hidden, self.leased, self.marker_fingerprint)

    def close(self) -> None:
        """Let go of lease and descriptors; a second call does nothing."""
        descriptor, self.descriptor = self.descriptor, -1
        folder_fd, self.folder_fd = self.folder_fd, -1
        try:
            if descriptor >= 0:
                self.edge.close(descriptor)  # gives the lease back too
        finally:
            if folder_fd >= 0:
                self.edge.close(folder_fd)
