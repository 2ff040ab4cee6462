"""All that can be said of one file: from the ledger, the rules, the disk and the running daemon.

Gathering only: `explain_command` puts it into words or JSON.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader import control
from s3_file_uploader.cli.matching import why_not
from s3_file_uploader.errors import UploaderError
from s3_file_uploader.ledger.database import Lock
from s3_file_uploader.model import Evidence
from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import FILE_FLAGS, Edge
from s3_file_uploader.source.lease import LeaseResult

if TYPE_CHECKING:
    from s3_file_uploader.config import Settings
    from s3_file_uploader.ledger.entry import Entry, Finished
    from s3_file_uploader.ledger.reader import Pause, Reader
    from s3_file_uploader.ledger.uploads import UnderWay

__all__ = ["Compared", "Explanation", "explain"]


@dataclass(frozen=True, slots=True)
class Compared:
    """A rule's pattern and why it does not take the file; "" where it does."""

    rule: str
    pattern: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`now` is the daemon's running clock, None where none runs: then waiting times stand still."""

    path: bytes
    exists: bool
    entries: list[Entry] = field(default_factory=list)
    finished: Finished | None = None
    compared: list[Compared] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    is_running: bool = False
    now: float | None = None
    evidence: str = ""
    uploads: dict[int, UnderWay] = field(default_factory=dict)  # by row: what has begun to arrive


def explain(path: bytes, folder: str, reader: Reader | None, settings: Settings) -> Explanation:
    compared = [Compared(rule.name, rule.path_name, why_not(rule, path)) for rule in settings.rules]
    is_running = Lock(folder).is_held()
    entries: list[Entry] = []
    finished, pauses, uploads = None, [], {}
    if reader is not None:
        with reader.one_view():
            entries, finished, pauses = reader.find(path), reader.last_finished(path), reader.pauses()
            begun = ((entry.id, reader.upload_of(entry)) for entry in entries)
            uploads = {number: upload for number, upload in begun if upload is not None}
    return Explanation(
        path,
        os.path.lexists(path),
        entries,
        finished,
        compared,
        pauses,
        is_running,
        _running_clock(folder) if is_running and entries else None,
        _evidence(path, entries[0]) if entries else "",
        uploads,
    )


def _running_clock(folder: str) -> float | None:
    try:
        answer: Any = control.ask(folder, "status", timeout_seconds=2.0)
        return float(answer["now"])
    except (UploaderError, KeyError, TypeError, ValueError):
        return None  # the rest of the answer stands without it


def _evidence(path: bytes, entry: Entry) -> str:
    """What tells whether a process still has the file open for writing."""
    result = _lease(path, follows=entry.is_symlink)
    if result is LeaseResult.GRANTED:
        return "a read lease: no process has it open for writing"
    if result is LeaseResult.WRITER:
        return "a read lease is refused: a process has it open for writing"
    if entry.evidence is Evidence.CLOSED:
        return "its close was watched (inotify); leases are not possible here"
    if entry.evidence is Evidence.OPEN:
        return "watched (inotify) and not closed since its last change; leases are not possible here"
    return "time alone (SettleTimeUnverified): no lease is possible, and its writing was not watched"


def _lease(path: bytes, *, follows: bool) -> LeaseResult:
    flags = FILE_FLAGS if follows else FILE_FLAGS | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags)
    except OSError:
        return LeaseResult.NO_EVIDENCE
    try:
        return lease.probe(Edge(), descriptor)
    finally:
        os.close(descriptor)
