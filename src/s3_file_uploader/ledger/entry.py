"""The rows of the ledger as values."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import Evidence, Fingerprint, Receipt

__all__ = ["ENTRY_COLUMNS", "Entry", "Finished", "Intent", "entry_of"]


class Entry(NamedTuple):
    """One file on the disk. Times ending in `_at` are on the ledger's running clock, in seconds.

    A tuple, as there are several for each file that goes, and a frozen dataclass costs five times as much.
    """

    id: int
    rule: int
    folder: bytes
    relative: bytes
    name: bytes
    state: State
    generation: int
    fingerprint: Fingerprint
    is_symlink: bool
    evidence: Evidence
    changed_at: float
    claim_found: int
    claimed_at: float
    due_at: float | None
    reason: str
    attempts: int
    key: str | None
    checksum: str | None
    etag: str | None
    version_id: str | None
    delivered_at_wall: float | None

    @property
    def path(self) -> bytes:
        folder = self.folder
        return folder + self.name if folder.endswith(b"/") else folder + b"/" + self.name

    def receipt(self, bucket: str) -> Receipt | None:
        if self.checksum is None or self.key is None:
            return None
        return Receipt(
            bucket, self.key, self.fingerprint.size, self.checksum, self.etag or "", self.version_id or ""
        )


# The columns behind `entry_of`, for `SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder`.
ENTRY_COLUMNS = (
    "file.id, file.rule, folder.path, folder.relative, file.name, file.state, file.generation, file.device,"
    " file.inode, file.size, file.mtime_ns, file.ctime_ns, file.is_symlink, file.evidence, file.changed_at,"
    " file.claim_found, file.claimed_at, file.due_at, file.reason, file.attempts, file.key, file.checksum, file.etag, file.version_id,"
    " file.delivered_at_wall"
)
_STATES = {state.value: state for state in State}
_EVIDENCE = {evidence.value: evidence for evidence in Evidence}
_new = tuple.__new__  # a third of the time of NamedTuple's own `_make`


def entry_of(row: tuple[Any, ...]) -> Entry:
    # A file is read a few times on its way: made in one go, from slices.
    return _new(
        Entry,
        (
            *row[:5],
            _STATES[row[5]],
            row[6],
            _new(Fingerprint, row[7:12]),
            row[12] == 1,
            _EVIDENCE[row[13]],
            *row[14:],
        ),
    )


class Intent(NamedTuple):
    """A removal under way: the file lies under a hidden name, or is about to. `id` makes that name."""

    id: int
    file: int
    generation: int
    rule: str
    folder: bytes
    name: bytes
    fingerprint: Fingerprint
    is_symlink: bool
    leased: bool
    details: dict[str, Any]
    superseded: bool = False

    @property
    def path(self) -> bytes:
        return os.path.join(self.folder, self.name)


class Finished(NamedTuple):
    """One of the last files that left the folder. `finished_at_wall` is in seconds since the epoch."""

    rule: str
    path: bytes
    state: State
    reason: str
    size: int
    key: str | None
    checksum: str | None
    etag: str | None
    version_id: str | None
    delivered_at_wall: float | None
    finished_at_wall: float
