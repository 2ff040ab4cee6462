"""The queue: what waits for a time, what is held, what is ready, and the claims on it.

Deciding is not done here: `waiting` hands out rows with the facts that a decision needs, and the
answers come back through `settle`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, entry_of
from s3_file_uploader.ledger.rows import execute_rows
from s3_file_uploader.lifecycle import Event, State, follow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s3_file_uploader.ledger.ledger import Ledger

__all__ = ["Newest", "Queue", "Settled", "Waiting"]

_SELECT = f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"


class Newest(NamedTuple):
    """The newest candidates of one folder, by (mtime, name): over all, and over those not dated in the future."""

    overall: bytes
    not_in_future: bytes | None

    @property
    def has_future(self) -> bool:
        return self.overall != self.not_in_future


class Waiting(NamedTuple):
    """A settling file whose time has come, with what is known of its folder."""

    entry: Entry
    newest: Newest


class Settled(NamedTuple):
    """The decision on a waiting file: ready, or to be looked at again at `due_at` (None: when its folder changes)."""

    entry: Entry
    is_ready: bool
    due_at: float | None = None
    reason: str = ""


class Queue:
    """Ordered work. All times are on the running clock, in seconds."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def next_due(self) -> float | None:
        return self._ledger.connection.execute(  # type: ignore[no-any-return]  # REAL or NULL by the schema
            "SELECT min(due_at) FROM file WHERE due_at IS NOT NULL"
        ).fetchone()[0]

    def wake_retries(self, now: float) -> int:
        """Put back into their queues what waited for this moment: retries, and removals to be tried again."""
        return self._ledger.connection.execute(
            "UPDATE file SET due_at = NULL WHERE due_at <= ? AND state IN ('ready', 'delivered')", (now,)
        ).rowcount

    def waiting(self, now: float, wall_ns: int, limit: int) -> list[Waiting]:
        """Settling files whose time has come. `wall_ns` tells which files are dated in the future."""
        rows = self._ledger.connection.execute(
            f"{_SELECT} WHERE file.due_at <= ? AND file.state = 'settling' ORDER BY file.due_at LIMIT ?",
            (now, limit),
        ).fetchall()
        newest: dict[tuple[int, bytes], Newest] = {}
        result = []
        for row in rows:
            entry = entry_of(row)
            place = (entry.rule, entry.folder)
            if place not in newest:
                newest[place] = self.newest(entry.rule, entry.folder, wall_ns)
            result.append(Waiting(entry, newest[place]))
        return result

    def newest(self, rule: int, folder: bytes, wall_ns: int) -> Newest:
        """The active files of a folder that has at least one candidate."""
        number = self._ledger.known_folder_id(rule, folder)
        overall = self._newest_name(number, (1 << 63) - 1)
        return Newest(overall or b"", self._newest_name(number, wall_ns))

    def _newest_name(self, folder: int | None, latest_ns: int) -> bytes | None:
        row = self._ledger.connection.execute(
            "SELECT name FROM file WHERE folder = ? AND mtime_ns <= ? ORDER BY mtime_ns DESC, name DESC LIMIT 1",
            (folder, latest_ns),
        ).fetchone()
        return None if row is None else row[0]

    def settle(self, decisions: Iterable[Settled]) -> None:
        decided = list(decisions)
        execute_rows(
            self._ledger.connection,
            f"UPDATE file SET state = '{follow(State.SETTLING, Event.SETTLED).value}', due_at = NULL, reason = ''"
            " FROM (VALUES",
            [(one.entry.id, one.entry.generation) for one in decided if one.is_ready],
            ") AS decided WHERE id = column1 AND generation = column2 AND state = 'settling'",
        )
        execute_rows(
            self._ledger.connection,
            "UPDATE file SET due_at = column3, reason = column4 FROM (VALUES",
            [
                (one.entry.id, one.entry.generation, one.due_at, one.reason)
                for one in decided
                if not one.is_ready
            ],
            ") AS decided WHERE id = column1 AND generation = column2 AND state = 'settling'",
        )

    def peek(self, rule: int, limit: int, *, but_not: Sequence[int] = ()) -> list[Entry]:
        """The oldest ready files of a rule, not yet claimed."""
        rows = self._ledger.connection.execute(
            f"{_SELECT} WHERE file.rule = ? AND file.state = 'ready' AND file.due_at IS NULL"
            " ORDER BY file.mtime_ns, file.name LIMIT ?",
            (rule, limit + len(but_not)),
        ).fetchall()
        return [entry for entry in map(entry_of, rows) if entry.id not in but_not][:limit]

    def claim(self, entries: Iterable[tuple[Entry, str]]) -> None:
        """Ready files are now being sent to the keys given."""
        execute_rows(
            self._ledger.connection,
            f"UPDATE file SET state = '{follow(State.READY, Event.CLAIMED).value}', key = column3 FROM (VALUES",
            [(entry.id, entry.generation, key) for entry, key in entries],
            ") AS claimed WHERE id = column1 AND generation = column2 AND state = 'ready'",
        )

    def holder_of_key(self, rules: Sequence[int], key: str, *, but_not: int) -> Entry | None:
        """Another waiting file of these rules (those with one bucket) that has this object name."""
        marks = ",".join("?" * len(rules))
        row = self._ledger.connection.execute(
            f"{_SELECT} WHERE file.key = ? AND file.state IN ('ready', 'sending') AND file.id <> ?"
            f" AND file.rule IN ({marks}) LIMIT 1",
            (key, but_not, *rules),
        ).fetchone()
        return None if row is None else entry_of(row)

    def interrupt_all(self) -> int:
        """At start: what a dead process was sending is ready again."""
        return self._ledger.connection.execute(
            "UPDATE file SET state = ?, due_at = NULL WHERE state = 'sending'",
            (follow(State.SENDING, Event.INTERRUPTED).value,),
        ).rowcount

    def delivered(self, rule: int, limit: int) -> list[Entry]:
        """A rule's delivered files that wait for their disposal, in the order of their rows."""
        return [
            entry_of(row)
            for row in self._ledger.connection.execute(
                f"{_SELECT} WHERE file.rule = ? AND file.state = 'delivered' AND file.due_at IS NULL"
                " AND file.id NOT IN (SELECT file FROM intent) ORDER BY file.id LIMIT ?",
                (rule, limit),
            )
        ]

    def release_parked(self, select: Callable[[Entry], bool], now: float) -> int:
        """A person asks for another try: parked files settle again with their attempts forgotten."""
        settling = follow(State.PARKED, Event.RELEASED).value
        rows = self._ledger.connection.execute(
            f"{_SELECT} WHERE file.state = 'parked' ORDER BY file.id"
        ).fetchall()
        chosen = [entry for entry in map(entry_of, rows) if select(entry)]
        self._ledger.connection.executemany(
            "UPDATE file SET state = ?, due_at = ?, reason = '', attempts = 0, key = NULL WHERE id = ? AND state = 'parked'",
            [(settling, now, entry.id) for entry in chosen],
        )
        return len(chosen)

    def hasten_retries(self, select: Callable[[Entry], bool], now: float) -> int:
        """A person does not want to wait: retries and delayed removals happen now."""
        rows = self._ledger.connection.execute(
            f"{_SELECT} WHERE file.due_at > ? AND file.state IN ('ready', 'delivered')", (now,)
        ).fetchall()
        chosen = [entry for entry in map(entry_of, rows) if select(entry)]
        self._ledger.connection.executemany(
            "UPDATE file SET due_at = NULL WHERE id = ?", [(entry.id,) for entry in chosen]
        )
        return len(chosen)

    def backlog(self) -> tuple[int, int]:
        """How many files, and bytes, are still to be sent."""
        count, size = self._ledger.connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM file WHERE state IN ('settling', 'ready', 'sending')"
        ).fetchone()
        return int(count), int(size)

    def counts(self) -> dict[tuple[int, str], tuple[int, int]]:
        """Files and bytes by rule and state; reads the whole table, so not for hot paths."""
        return {
            (int(rule), str(state)): (int(count), int(size))
            for rule, state, count, size in self._ledger.connection.execute(
                "SELECT rule, state, count(*), sum(size) FROM file GROUP BY rule, state"
            )
        }
