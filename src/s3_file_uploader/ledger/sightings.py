"""What the disk shows, written into the ledger: new files, changed ones, and those that are gone."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger.endings import drop, forget
from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, entry_of
from s3_file_uploader.ledger.rows import execute_in, execute_rows
from s3_file_uploader.lifecycle import Event, State, follow
from s3_file_uploader.model import Candidate, Evidence, Fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from s3_file_uploader.ledger.ledger import Ledger

__all__ = ["Sightings", "Sightseen"]

_CHANGE = (
    "UPDATE file SET state = ?, generation = generation + 1, device = ?, inode = ?, size = ?, mtime_ns = ?,"
    " ctime_ns = ?, is_symlink = ?, evidence = ?, changed_at = ?, due_at = ?, claim_found = 0, reason = '', attempts = 0,"
    " key = NULL,"
    " checksum = NULL, etag = NULL, version_id = NULL, delivered_at_wall = NULL WHERE id = ?"
)
_INSERT = (
    "INSERT INTO file (rule, folder, name, state, device, inode, size, mtime_ns, ctime_ns, is_symlink, evidence,"
    " changed_at, due_at) VALUES"
)
# What waited for evidence is decided again at once.
_EVIDENCE = (
    "UPDATE file SET evidence = ?, due_at = CASE WHEN state = 'settling' THEN ? ELSE due_at END WHERE id = ?"
)
_NEWEST_FEW = 4
_SOON_SECONDS = 2.0  # who waits no longer than that is left alone
_PROVEN = frozenset({State.DELIVERED.value, State.RETAINED.value})


@dataclass(slots=True)
class Sightseen:
    """What one batch of looks came to. `seen_ids` are the rows of files that were known before."""

    seen_ids: list[int] = field(default_factory=list)
    new: int = 0
    new_bytes: int = 0  # to be sent more than before
    changed: int = 0
    to_hash_again: list[tuple[int, Candidate]] = field(default_factory=list)


class Sightings:
    """Sightings of candidates, compared with what the ledger has."""

    def __init__(self, ledger: Ledger, wall: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._wall = wall

    def observe(
        self,
        rule: int,
        candidates: Sequence[Candidate],
        *,
        now: float,
        settle_seconds: float,
        has_markers: bool = False,
    ) -> Sightseen:
        """Take in candidates that were just looked at. `now` is on the running clock.

        `has_markers`: each file of the rule waits for a marker of its own, and for no other file.
        """
        result = Sightseen()
        by_folder: dict[tuple[bytes, bytes], list[Candidate]] = {}
        for candidate in candidates:
            by_folder.setdefault((candidate.folder, candidate.relative), []).append(candidate)
        for (path, relative), group in by_folder.items():
            folder = self._ledger.folder_id(rule, path, relative)
            before = result.new + result.changed
            self._observe_folder((rule, folder), group, now, now + settle_seconds, result)
            if result.new + result.changed > before and not has_markers:
                self.release_held(folder, now)
        if result.new or result.changed:
            self._ledger.remember_clock(now)
        return result

    def _observe_folder(
        self, place: tuple[int, int], group: list[Candidate], now: float, due_at: float, result: Sightseen
    ) -> None:
        rule, folder = place
        known = self._known(folder, group)
        new: list[tuple[Any, ...]] = []
        for candidate in group:
            row = known.get(candidate.name)
            if row is None:
                new.append(_new_row(rule, folder, candidate, now, due_at))
                result.new_bytes += candidate.fingerprint.size
            else:
                result.seen_ids.append(row[0])
                self._compare(row, candidate, now, due_at, result)
        if new or result.changed:
            self._hasten_newest(folder, now)
        execute_rows(self._ledger.connection, _INSERT, new)
        result.new += len(new)

    def _known(self, folder: int, group: list[Candidate]) -> dict[bytes, tuple[Any, ...]]:
        execute = self._ledger.connection.execute
        if execute("SELECT 1 FROM file WHERE folder = ? LIMIT 1", (folder,)).fetchone() is None:
            return {}
        known: dict[bytes, tuple[Any, ...]] = {}
        for start in range(0, len(group), 500):
            names = [candidate.name for candidate in group[start : start + 500]]
            marks = ",".join("?" * len(names))
            for row in execute(
                "SELECT id, name, state, device, inode, size, mtime_ns, ctime_ns, evidence FROM file"
                f" WHERE folder = ? AND name IN ({marks})",
                (folder, *names),
            ):
                known[row[1]] = row
        return known

    def _compare(
        self, row: tuple[Any, ...], candidate: Candidate, now: float, due_at: float, result: Sightseen
    ) -> None:
        was, seen = Fingerprint(*row[3:8]), candidate.fingerprint
        if was == seen:
            if candidate.evidence is not Evidence.NONE and row[8] != candidate.evidence.value:
                self._ledger.connection.execute(_EVIDENCE, (candidate.evidence.value, now, row[0]))
            return
        if was.differs_only_in_device(seen):
            if row[2] in _PROVEN:
                result.to_hash_again.append((row[0], candidate))
            else:
                self.renumber_device(row[0], seen)
            return
        result.changed += 1
        if row[2] in _PROVEN:
            result.new += 1
            result.new_bytes += seen.size
        else:
            result.new_bytes += seen.size - was.size
        self.change(row[0], State(row[2]), candidate, now=now, due_at=due_at)

    def change(self, file: int, state: State, candidate: Candidate, *, now: float, due_at: float) -> None:
        """The content is another: all that was known of the old one is void, and it settles."""
        seen = candidate.fingerprint
        self._ledger.connection.execute(
            _CHANGE,
            (
                follow(state, Event.CHANGED).value,
                *(seen.device, seen.inode, seen.size, seen.mtime_ns, seen.ctime_ns),
                int(candidate.is_symlink),
                candidate.evidence.value,
                now,
                due_at,
                file,
            ),
        )

    def renumber_device(self, file: int, seen: Fingerprint) -> None:
        """The same content on a disk that got another number."""
        self._ledger.connection.execute("UPDATE file SET device = ? WHERE id = ?", (seen.device, file))

    def drop_rule(self, name: str, *, but_not: Collection[int] = ()) -> int:
        """A rule is gone from the configuration: its files are nobody's any more. Returns how many.

        `but_not` are rows that somebody has in hands still: they are left for the next time.
        """
        connection, of_rule = self._ledger.connection, "WHERE rule = (SELECT id FROM rule WHERE name = ?)"
        if not but_not:
            return connection.execute(f"DELETE FROM file {of_rule}", (name,)).rowcount
        numbers = [row[0] for row in connection.execute(f"SELECT id FROM file {of_rule}", (name,))]
        dropped = [number for number in numbers if number not in but_not]
        execute_in(connection, "DELETE FROM file WHERE id IN", dropped)
        return len(dropped)

    def reselect(self, rule: int, selected_by: str, takes: Callable[[bytes, bytes], bool]) -> int:
        """If the rule selects by other patterns than before, drop the files that it no longer takes.

        `selected_by` says by what; `takes` tells of a folder and a name. Returns how many.
        """
        execute, meta = self._ledger.connection.execute, f"selection of rule {rule}"
        before = execute("SELECT value FROM meta WHERE key = ?", (meta,)).fetchone()
        if before is not None and before[0] == selected_by:
            return 0
        execute(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (meta, selected_by),
        )
        rows = execute(
            "SELECT file.id, folder.path, file.name FROM file JOIN folder ON folder.id = file.folder WHERE file.rule = ?",
            (rule,),
        )
        dropped = [(number,) for number, folder, name in rows if not takes(folder, name)]
        self._ledger.connection.executemany("DELETE FROM file WHERE id = ?", dropped)
        return len(dropped)

    def release_held(self, folder: int, now: float) -> None:
        """Something happened in a folder: whoever was held there is looked at again."""
        self._ledger.connection.execute(
            "UPDATE file SET due_at = ? WHERE folder = ? AND state = 'settling' AND due_at IS NULL",
            (now, folder),
        )

    def release_named(self, rule: int, folder: bytes, names: Iterable[bytes], now: float) -> None:
        """Something happened to these files, or to their markers: those that are held are looked at again."""
        number = self._ledger.known_folder_id(rule, folder)
        self._ledger.connection.executemany(
            "UPDATE file SET due_at = ? WHERE folder = ? AND name = ? AND state = 'settling' AND due_at IS NULL",
            [(now, number, name) for name in names],
        )

    def _hasten_newest(self, folder: int, now: float) -> None:
        """Others come: who waits for ActiveFileTimeout may not be the newest any more, and is decided again.

        The active files are among the newest few; whoever else is there is decided again in vain.
        """
        self._ledger.connection.execute(
            "UPDATE file SET due_at = ? WHERE due_at > ? AND state = 'settling' AND id IN"
            " (SELECT id FROM file WHERE folder = ? ORDER BY mtime_ns DESC, name DESC LIMIT ?)",
            (now, now + _SOON_SECONDS, folder, _NEWEST_FEW),
        )

    def release_rule(self, rule: int, now: float) -> None:
        """Every held file of a rule is looked at again: at start, and where done markers come and go unseen."""
        self._ledger.connection.execute(
            "UPDATE file SET due_at = ? WHERE folder IN (SELECT id FROM folder WHERE rule = ?)"
            " AND state = 'settling' AND due_at IS NULL",
            (now, rule),
        )

    def distrust_watching(self, rule: int, now: float) -> None:
        """Events were lost: what was watched from its first event no longer counts as such."""
        self._ledger.connection.execute(
            "UPDATE file SET evidence = 0, due_at = ? WHERE rule = ? AND state = 'settling' AND evidence <> 0",
            (now, rule),
        )

    def highest_id(self) -> int:
        return int(self._ledger.connection.execute("SELECT coalesce(max(id), 0) FROM file").fetchone()[0])

    def numbers(self, rule: int, *, after: int, up_to: int, limit: int) -> list[int]:
        """Row numbers of a rule with after < number <= up_to, in order, at most `limit`."""
        return [
            row[0]
            for row in self._ledger.connection.execute(
                "SELECT id FROM file WHERE id > ? AND id <= ? AND rule = ? ORDER BY id LIMIT ?",
                (after, up_to, rule, limit),
            )
        ]

    def entries(self, numbers: Sequence[int]) -> list[Entry]:
        """The rows with these numbers, but for files that we are taking away ourselves."""
        marks = ",".join("?" * len(numbers))
        return [
            entry_of(row)
            for row in self._ledger.connection.execute(
                f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"
                f" WHERE file.id IN ({marks}) AND file.id NOT IN (SELECT file FROM intent)",
                tuple(numbers),
            )
        ]

    def find(self, rule: int, folder: bytes, names: Iterable[bytes]) -> list[Entry]:
        """The rows of the named files of one folder."""
        number = self._ledger.known_folder_id(rule, folder)
        if number is None:
            return []
        found: list[Entry] = []
        for name in names:
            found += [
                entry_of(row)
                for row in self._ledger.connection.execute(
                    f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"
                    " WHERE file.folder = ? AND file.name = ? AND file.id NOT IN (SELECT file FROM intent)",
                    (number, name),
                )
            ]
        return found

    def gone(self, entries: Iterable[Entry], *, now: float, reason: str = "no longer in the folder") -> int:
        """Somebody else took these files away: they have vanished, unless they changed since they were read.

        One that got an intent since then is on its way out by ourselves, under its hidden name. One that
        was looked at before we took it away, and written down after, never was there.
        """
        ours = {row[0] for row in self._ledger.connection.execute("SELECT file FROM intent")}
        count = 0
        for entry in entries:
            if entry.id in ours:
                continue
            if self._was_taken_by_us(entry):
                drop(self._ledger, entry)
            else:
                state = follow(entry.state, Event.GONE)
                count += forget(self._ledger, entry, state, reason, self._wall())
            number = self._ledger.known_folder_id(entry.rule, entry.folder)
            if number is not None:
                self.release_held(number, now)
        return count

    def _was_taken_by_us(self, entry: Entry) -> bool:
        found = self._ledger.connection.execute(
            "SELECT 1 FROM history WHERE path = ? AND size = ? AND mtime_ns = ? AND state <> 'vanished'",
            (entry.path, entry.fingerprint.size, entry.fingerprint.mtime_ns),
        )
        return found.fetchone() is not None


def _new_row(rule: int, folder: int, candidate: Candidate, now: float, due_at: float) -> tuple[Any, ...]:
    seen = candidate.fingerprint
    return (
        *(rule, folder, candidate.name, State.SETTLING.value, *seen),
        *(int(candidate.is_symlink), candidate.evidence.value, now, due_at),
    )
