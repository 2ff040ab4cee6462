"""How deliveries end in the ledger: receipts, failures, removals, and the history of what left."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, Intent, entry_of
from s3_file_uploader.ledger.rows import execute_in, execute_rows
from s3_file_uploader.lifecycle import Event, State, follow
from s3_file_uploader.model import Fingerprint, Receipt

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from s3_file_uploader.ledger.ledger import Ledger

__all__ = ["HISTORY_ROWS", "Endings", "drop", "forget"]

HISTORY_ROWS = 10_000
_INTENT_COLUMNS = (
    "id, file, generation, rule, folder, name, device, inode, size, mtime_ns, ctime_ns, is_symlink, leased,"
    " details"
)
_HISTORY_COLUMNS = "rule, path, state, reason, size, mtime_ns, key, checksum, etag, version_id, delivered_at_wall, finished_at_wall"
_HISTORY_SELECT = "SELECT (SELECT name FROM rule WHERE id = column1), " + ", ".join(
    f"column{number}" for number in range(2, 13)
)


def forget(ledger: Ledger, entry: Entry, state: State, reason: str, wall: float) -> int:
    """Move a row into the history if it still is what `entry` says; 1 if so, else 0."""
    if not drop(ledger, entry):
        return 0
    record(ledger, [(entry, state, reason)], wall)
    return 1


def drop(ledger: Ledger, entry: Entry) -> bool:
    """Delete a row if it still is what `entry` says."""
    deleted = ledger.connection.execute(
        "DELETE FROM file WHERE id = ? AND generation = ? AND state = ?",
        (entry.id, entry.generation, entry.state.value),
    )
    return deleted.rowcount > 0


def record(ledger: Ledger, left: Sequence[tuple[Entry, State, str]], wall: float) -> None:
    """Write down that files left their folders, and why; the history keeps the last HISTORY_ROWS."""
    rows = [
        (
            *(
                entry.rule,
                entry.path,
                state.value,
                reason,
                entry.fingerprint.size,
                entry.fingerprint.mtime_ns,
            ),
            *(entry.key, entry.checksum, entry.etag, entry.version_id, entry.delivered_at_wall, wall),
        )
        for entry, state, reason in left
    ]
    connection = ledger.connection
    before = _last_history(connection)
    execute_rows(
        connection, f"INSERT INTO history ({_HISTORY_COLUMNS}) {_HISTORY_SELECT} FROM (VALUES", rows, ")"
    )
    last = _last_history(connection)
    if last // 1000 > before // 1000:
        connection.execute("DELETE FROM history WHERE id <= ?", (last - HISTORY_ROWS,))
    for (rule, state), count in Counter((entry.rule, state) for entry, state, _ in left).items():
        ledger.add_totals(rule, {state.value: count})


def _last_history(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM history").fetchone()[0])


class Endings:
    """Receipts, failures and removals. Each step names the row's generation: an answer for older content is void."""

    def __init__(self, ledger: Ledger, wall: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._wall = wall

    def prove(self, proven: Sequence[tuple[Entry, Receipt]]) -> list[Entry]:
        """Write the receipts of files that are still what was sent; returns those rows as they are now.

        Commit durably.
        """
        wall = self._wall()
        current = self._current([entry for entry, _ in proven], State.SENDING)
        rows = [
            entry._replace(
                state=follow(State.SENDING, Event.PROVEN),
                attempts=0,
                reason="",
                due_at=None,
                checksum=receipt.checksum,
                etag=receipt.etag,
                version_id=receipt.version_id,
                delivered_at_wall=wall,
            )
            for entry, receipt in proven
            if (entry.id, entry.generation) in current
        ]
        connection = self._ledger.connection
        execute_rows(
            connection,
            f"UPDATE file SET state = '{State.DELIVERED.value}', checksum = column2, etag = column3, version_id = column4,"
            " delivered_at_wall = column5, reason = '', due_at = NULL, attempts = 0 FROM (VALUES",
            [(row.id, row.checksum, row.etag, row.version_id, wall) for row in rows],
            ") AS proven WHERE id = column1",
        )
        execute_in(connection, "DELETE FROM checkpoint WHERE file IN", [row.id for row in rows])
        sizes: dict[int, list[int]] = {}
        for entry, receipt in proven:
            if (entry.id, entry.generation) in current:
                sizes.setdefault(entry.rule, []).append(receipt.size)
        for rule, of_rule in sizes.items():
            self._ledger.add_totals(rule, {"delivered": len(of_rule), "delivered_bytes": sum(of_rule)})
        return rows

    def _current(self, entries: Sequence[Entry], state: State) -> set[tuple[int, int]]:
        """(id, generation) of the rows that are in `state`, of those of the entries."""
        return {
            (row[0], row[1])
            for row in execute_in(
                self._ledger.connection,
                f"SELECT id, generation FROM file WHERE state = '{state.value}' AND id IN",
                [entry.id for entry in entries],
            )
        }

    def postpone(
        self, entry: Entry, event: Event, *, reason: str, due_at: float | None, attempts: int
    ) -> bool:
        """A claim that did not end with a receipt: back to where `event` leads."""
        return bool(
            self._ledger.connection.execute(
                "UPDATE file SET state = ?, reason = ?, due_at = ?, attempts = ?"
                " WHERE id = ? AND generation = ? AND state = ?",
                (
                    *(follow(entry.state, event).value, reason, due_at, attempts),
                    *(entry.id, entry.generation, entry.state.value),
                ),
            ).rowcount
        )

    def rename(self, entry: Entry, key: str) -> None:
        """Another object has the file's object name: it has this one from now on."""
        self._ledger.connection.execute(
            "UPDATE file SET key = ? WHERE id = ? AND generation = ? AND state = 'sending'",
            (key, entry.id, entry.generation),
        )

    def touch(self, entry: Entry, ctime_ns: int) -> None:
        """Our own renames moved a delivered file's ctime; its content is as proven."""
        self._ledger.connection.execute(
            "UPDATE file SET ctime_ns = ? WHERE id = ? AND generation = ? AND state = 'delivered'",
            (ctime_ns, entry.id, entry.generation),
        )

    def note_claim(self, entry: Entry, *, found: int, now: float) -> None:
        """What a claim found that could not go on: 1 a writer, 2 no evidence (`claim_found`)."""
        self._ledger.connection.execute(
            "UPDATE file SET claim_found = ?, claimed_at = ? WHERE id = ? AND generation = ?",
            (found, now, entry.id, entry.generation),
        )

    def delay_removal(self, entry: Entry, *, reason: str, due_at: float) -> None:
        """A delivered file could not be removed now: an error on this one file, retried, never uploaded again."""
        self._ledger.connection.execute(
            "UPDATE file SET reason = ?, due_at = ?, attempts = attempts + 1"
            " WHERE id = ? AND generation = ? AND state = 'delivered'",
            (reason, due_at, entry.id, entry.generation),
        )

    def retain(self, entry: Entry) -> None:
        """Delivered and kept in its folder by choice."""
        self._ledger.connection.execute(
            "UPDATE file SET state = ?, due_at = NULL WHERE id = ? AND generation = ? AND state = 'delivered'",
            (follow(State.DELIVERED, Event.RETAINED).value, entry.id, entry.generation),
        )

    def finish(self, entry: Entry, event: Event, reason: str = "") -> None:
        """A delivered file has left its folder, removed or archived. Its row goes, unless the name was used again."""
        self.finish_all([(entry, event, reason)])

    def finish_all(self, finished: Sequence[tuple[Entry, Event, str]]) -> None:
        """The same for many."""
        entries = [entry for entry, _, _ in finished]
        current = self._current(entries, State.DELIVERED)
        numbers = [entry.id for entry in entries if (entry.id, entry.generation) in current]
        execute_in(self._ledger.connection, "DELETE FROM file WHERE id IN", numbers)
        left = [(entry, follow(State.DELIVERED, event), reason) for entry, event, reason in finished]
        record(self._ledger, left, self._wall())

    def unsettle(self, entry: Entry, *, now: float) -> None:
        """A delivered file is no longer what was sent: all that was known is void until it is looked at again."""
        self._ledger.connection.execute(
            "UPDATE file SET state = ?, generation = generation + 1, ctime_ns = 0, changed_at = ?, due_at = ?,"
            " evidence = 0, claim_found = 0, reason = '', attempts = 0, key = NULL, checksum = NULL, etag = NULL, version_id = NULL,"
            " delivered_at_wall = NULL WHERE id = ? AND generation = ? AND state = 'delivered'",
            (follow(State.DELIVERED, Event.CHANGED).value, now, now, entry.id, entry.generation),
        )

    def park(self, entries: Iterable[Entry], reason: str) -> int:
        """Refuse files that wait: kept on disk, with the reason, until a person or a change releases them."""
        return sum(
            self._ledger.connection.execute(
                "UPDATE file SET state = ?, reason = ?, due_at = NULL WHERE id = ? AND generation = ? AND state = ?",
                (
                    follow(entry.state, Event.REFUSED).value,
                    reason,
                    entry.id,
                    entry.generation,
                    entry.state.value,
                ),
            ).rowcount
            for entry in entries
        )

    # Removals under way.

    def intend(self, entry: Entry, rule_name: str, *, leased: bool, details: dict[str, Any]) -> Intent:
        """Write down that a delivered file is about to get its hidden name. Commit durably before the rename."""
        return self.intend_all([(entry, rule_name, leased, details)])[0]

    def intend_all(self, removals: Sequence[tuple[Entry, str, bool, dict[str, Any]]]) -> list[Intent]:
        """The same for many: (row, name of its rule, leased, details). Most share one object of details."""
        distinct = {id(details): details for *_, details in removals}
        texts = {number: json.dumps(details) for number, details in distinct.items()}
        connection = self._ledger.connection
        row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'intent'").fetchone()
        first = 1 + (int(row[0]) if row else 0)  # one writer: nobody takes a number in between
        intents = [
            Intent(
                *(number, entry.id, entry.generation, rule_name, entry.folder, entry.name),
                *(entry.fingerprint, entry.is_symlink, leased, details),
            )
            for number, (entry, rule_name, leased, details) in enumerate(removals, first)
        ]
        execute_rows(
            connection,
            f"INSERT INTO intent ({_INTENT_COLUMNS}) VALUES",
            [
                (
                    *(one.id, one.file, one.generation, one.rule, one.folder, one.name, *one.fingerprint),
                    *(int(one.is_symlink), int(one.leased), texts[id(one.details)]),
                )
                for one in intents
            ],
        )
        return intents

    def intents(self) -> list[Intent]:
        rows = self._ledger.connection.execute(
            f"SELECT {_INTENT_COLUMNS}, superseded FROM intent ORDER BY id"
        )
        return [_intent_of(row) for row in rows]

    def mark_superseded(self, numbers: Iterable[int]) -> None:
        """Newer content has the names of these hidden files: they must not get them back."""
        execute_in(self._ledger.connection, "UPDATE intent SET superseded = 1 WHERE id IN", list(numbers))

    def supersede(self, intents: Sequence[Intent]) -> None:
        """Mark all older removals of the same names, whose files are hidden still."""
        self._ledger.connection.executemany(
            "UPDATE intent SET superseded = 1 WHERE id < ? AND name = ? AND folder = ?",
            [(one.id, one.name, one.folder) for one in intents],
        )

    def drop_intents(self, numbers: Iterable[int]) -> None:
        execute_in(self._ledger.connection, "DELETE FROM intent WHERE id IN", list(numbers))

    def delivered_entry(self, intent: Intent) -> Entry | None:
        """The row that an intent is about, unless its name was used again for other content."""
        row = self._ledger.connection.execute(
            f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"
            " WHERE file.id = ? AND file.generation = ? AND file.state = 'delivered'",
            (intent.file, intent.generation),
        ).fetchone()
        return None if row is None else entry_of(row)

    # Pauses, for status.

    def keep_pauses(self, names: Mapping[str, str]) -> None:
        """Forget the pauses of all destinations but these; their names may be others from now on.

        At start there are none: what paused an earlier run is found again, or is over.
        """
        pauses = self._ledger.connection.execute(
            "SELECT destination, reason, since_wall FROM pause"
        ).fetchall()
        self._ledger.connection.execute("DELETE FROM pause")
        self._ledger.connection.executemany(
            "INSERT OR REPLACE INTO pause VALUES (?, ?, ?)",
            [(names[name], reason, since) for name, reason, since in pauses if name in names],
        )

    def note_pause(self, destination: str, reason: str | None) -> None:
        if reason is None:
            self._ledger.connection.execute("DELETE FROM pause WHERE destination = ?", (destination,))
        else:
            self._ledger.connection.execute(
                "INSERT INTO pause VALUES (?, ?, ?) ON CONFLICT (destination) DO UPDATE SET reason = excluded.reason",
                (destination, reason, self._wall()),
            )


def _intent_of(row: tuple[Any, ...]) -> Intent:
    number, file, generation, rule, folder, name, *seen, is_symlink, leased, details, superseded = row
    return Intent(
        number,
        file,
        generation,
        rule,
        folder,
        name,
        Fingerprint(*seen),
        bool(is_symlink),
        bool(leased),
        json.loads(details),
        bool(superseded),
    )
