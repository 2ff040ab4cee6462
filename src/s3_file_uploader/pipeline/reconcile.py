"""Reconciling the ledger with the disk: the whole scan, the look at named paths, and what is gone.

Scanning is the truth. This runs in a rule's own scanning thread, which waits for the ledger between
batches, so a million files cost neither memory nor a long transaction.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from s3_file_uploader.ledger import Entry, Ledger, Sightings, Sightseen
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import Candidate, Evidence
from s3_file_uploader.source.hidden import tag_of
from s3_file_uploader.source.scan import Batch, Gone, Trouble, look, scan

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from concurrent.futures import Future

    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.rules import ActiveRule
    from s3_file_uploader.source.edge import Edge

__all__ = ["Reconcile", "Scanned", "Writes"]

T = TypeVar("T")
_ROWS_PER_STEP = 1000
_MOST_TO_HASH = 1000  # of one scan: the next one finds the rest


class Writes(Protocol):
    """The ledger's writer, as a scanning thread sees it: a job in a transaction, and its future."""

    def write(self, job: Callable[..., T], *arguments: Any, durable: bool = False) -> Future[T]: ...


@dataclass(slots=True)
class Scanned:
    """What one scan came to."""

    files: int = 0
    new: int = 0
    new_bytes: int = 0
    changed: int = 0
    gone: int = 0
    troubles: list[Trouble] = field(default_factory=list)
    hidden: list[tuple[bytes, bytes]] = field(default_factory=list)  # folder, hidden name
    to_hash_again: list[tuple[int, Candidate]] = field(default_factory=list)

    def add(self, sighted: Sightseen) -> None:
        self.new += sighted.new
        self.new_bytes += sighted.new_bytes
        self.changed += sighted.changed
        self.to_hash_again += sighted.to_hash_again[: _MOST_TO_HASH - len(self.to_hash_again)]


class _Seen:
    """Row numbers as bits: a million files cost 125 KB."""

    def __init__(self, up_to: int) -> None:
        self._bits = bytearray(up_to // 8 + 1)
        self._up_to = up_to

    def add(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if number <= self._up_to:
                self._bits[number >> 3] |= 1 << (number & 7)

    def __contains__(self, number: int) -> bool:
        return bool(self._bits[number >> 3] & (1 << (number & 7)))


class Reconcile:
    """Looks at one rule's part of the disk. All methods block; call them in the rule's scanning thread.

    A disk that hung may let a look go on when its rule is not in force any more: what it sees then is void,
    which is decided in the ledger's thread, where the next rules come into force.
    """

    def __init__(self, rule: ActiveRule, ledger: Ledger, writes: Writes, edge: Edge, clock: Clock) -> None:
        self._rule = rule
        self._writes = writes
        self._edge = edge
        self._clock = clock
        self._ledger = ledger
        self._sightings = Sightings(ledger, clock.wall)
        self.ledger_seconds = 0.0  # CPU that scans and looks took so far in the ledger's thread

    def scan(self, entering: Callable[[bytes], object] | None = None) -> Scanned:
        """Look at everything. Files that the ledger has and the disk has not are written off at the end.

        `entering` is called with each folder before it is read.
        """
        highest = self._writes.write(self._sightings.highest_id).result()
        seen, result = _Seen(highest), Scanned()
        for item in scan(
            self._rule.selection,
            follow_symlinks=self._rule.setting.follow_symlinks,
            entering=entering,
            edge=self._edge,
        ):
            if self._rule.is_leaving:
                return result
            if isinstance(item, Batch):
                sighted = self._observe(item.candidates)
                seen.add(sighted.seen_ids)
                result.files += len(item.candidates)
                result.add(sighted)
                result.hidden += [(item.folder, name) for name in item.hidden]
            elif isinstance(item, Trouble):
                result.troubles.append(item)
        device = None if result.files else self._device_of_base()
        result.gone = self._write_off(seen, highest, device)
        return result

    def _observe(self, candidates: Sequence[Candidate]) -> Sightseen:
        return self._writes.write(self._observe_now, candidates).result()

    def _observe_now(self, candidates: Sequence[Candidate]) -> Sightseen:
        if self._rule.is_leaving:
            return Sightseen()
        began = time.thread_time()
        try:
            return self._sightings.observe(
                self._rule.id,
                candidates,
                now=self._clock.now(),
                settle_seconds=self._rule.setting.settle_seconds,
                has_markers=bool(self._rule.setting.done_marker),
            )
        finally:
            self.ledger_seconds += time.thread_time() - began

    def _write_off(self, seen: _Seen, highest: int, empty_device: int | None) -> int:
        """`empty_device`: where the scan saw no file at all, the device that it looked at."""
        after = gone = 0
        while numbers := self._writes.write(self._numbers, after, highest).result():
            after = numbers[-1]
            if missing := [number for number in numbers if number not in seen]:
                entries = self._writes.write(self._sightings.entries, missing).result()
                entries = [entry for entry in entries if not _is_elsewhere(entry, empty_device)]
                gone += self._gone([entry for entry in entries if self._is_gone(entry)])
        return gone

    def _device_of_base(self) -> int | None:
        base, follow = self._rule.base, self._rule.setting.follow_symlinks
        try:
            folder_fd = self._edge.open_folder(base, base, follow)
        except OSError:
            return None
        try:
            return self._edge.fstat(folder_fd).st_dev
        finally:
            self._edge.close(folder_fd)

    def _numbers(self, after: int, highest: int) -> list[int]:
        if self._rule.is_leaving:
            return []
        began = time.thread_time()
        try:
            return self._sightings.numbers(self._rule.id, after=after, up_to=highest, limit=_ROWS_PER_STEP)
        finally:
            self.ledger_seconds += time.thread_time() - began

    def _is_gone(self, entry: Entry) -> bool:
        return any(isinstance(found, Gone) for found in self._look(entry.folder, [entry.name]))

    def _gone(self, entries: list[Entry]) -> int:
        if not entries:
            return 0
        return self._writes.write(self._gone_now, entries).result()

    def _gone_now(self, entries: list[Entry]) -> int:
        if self._rule.is_leaving:
            return 0
        return self._sightings.gone(entries, now=self._clock.now())

    def _look(self, folder: bytes, names: Iterable[bytes]) -> list[Candidate | Gone | Trouble]:
        return look(
            self._rule.selection,
            folder,
            list(names),
            follow_symlinks=self._rule.setting.follow_symlinks,
            edge=self._edge,
        )

    def look(self, folder: bytes, names: dict[bytes, Evidence]) -> Scanned:
        """Look at the named files of one folder only: something said that they changed."""
        result = Scanned()
        candidates: list[Candidate] = []
        gone: list[bytes] = []
        for found in self._look(folder, names):
            if isinstance(found, Candidate):
                candidates.append(_with_evidence(found, names.get(found.name, Evidence.NONE)))
            elif isinstance(found, Gone):
                gone.append(found.name)
        if candidates:
            result.files = len(candidates)
            result.add(self._observe(candidates))
            if self._rule.setting.done_marker:
                names_seen = [candidate.name for candidate in candidates]
                self._writes.write(self._release_named, folder, names_seen).result()
        if gone:
            entries = self._writes.write(self._sightings.find, self._rule.id, folder, gone).result()
            result.gone = self._gone(entries)
        return result

    def orphans(self, scanned: Scanned) -> list[tuple[bytes, bytes, bool]]:
        """Hidden files that no intent of ours explains: folder, name, and whether the tag is this ledger's."""
        return [
            (folder, name, tag_of(name) == self._ledger.tag) for folder, name in dict.fromkeys(scanned.hidden)
        ]

    def checksum(self, number: int) -> str | None:
        """The receipt's checksum of a row; None when it is gone or has none."""
        entries = self._writes.write(self._sightings.entries, [number]).result()
        return entries[0].checksum if entries else None

    def release_held(self) -> None:
        """In the ledger's thread: every held file of the rule is decided again."""
        self._sightings.release_rule(self._rule.id, self._clock.now())

    def _release_named(self, folder: bytes, names: Sequence[bytes]) -> None:
        self._sightings.release_named(self._rule.id, folder, names, self._clock.now())

    def distrust_watching(self) -> None:
        """In the ledger's thread: events were lost."""
        if not self._rule.is_leaving:
            self._sightings.distrust_watching(self._rule.id, self._clock.now())

    def confirm_device(self, number: int, candidate: Candidate, *, is_same: bool) -> None:
        """The disk got another number and the file was hashed again: the same content, or changed after all."""
        self._writes.write(self._confirm_now, number, candidate, is_same).result()

    def _confirm_now(self, number: int, candidate: Candidate, is_same: bool) -> None:
        if self._rule.is_leaving:
            return
        if is_same:
            self._sightings.renumber_device(number, candidate.fingerprint)
            return
        now = self._clock.now()
        for entry in self._sightings.entries([number]):
            self._sightings.change(number, State(entry.state), candidate, now=now, due_at=now)


def _with_evidence(candidate: Candidate, evidence: Evidence) -> Candidate:
    if candidate.evidence is evidence:
        return candidate
    return Candidate(
        *(candidate.folder, candidate.name, candidate.fingerprint, candidate.relative, evidence),
        candidate.is_symlink,
    )


def _is_elsewhere(entry: Entry, empty_device: int | None) -> bool:
    """A kept file of another disk than the empty one that is there now: an empty mount point, more likely than
    a disk that lost all its files. Were it forgotten, it would be sent again once its disk is back.
    """
    return (
        empty_device is not None
        and entry.state is State.RETAINED
        and entry.fingerprint.device != empty_device
    )
