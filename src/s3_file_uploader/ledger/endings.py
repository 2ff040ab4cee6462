"""How deliveries end in the ledger: receipts, failures, removals, and the history of what left."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, Intent, entry_of
from s3_file_uploader.lifecycle import Event, State, follow
from s3_file_uploader.model import Checkpoint, Fingerprint, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s3_file_uploader.ledger.ledger import Ledger

__all__ = ["HISTORY_ROWS", "Endings", "forget"]

HISTORY_ROWS = 10_000
_INTENT_COLUMNS = (
    "id, file, generation, rule, folder, name, device, inode, size, mtime_ns, ctime_ns, is_symlink, leased,"
    " details"
)


def forget(ledger: Ledger, entry: Entry, state: State, reason: str, wall: float) -> int:
    """Move a row into the history if it still is what `entry` says; 1 if so, else 0."""
    connection = ledger.connection
    changed = connection.execute(
        "DELETE FROM file WHERE id = ? AND generation = ? AND state = ?",
        (entry.id, entry.generation, entry.state.value),
    ).rowcount
    if not changed:
        return 0
    record(ledger, entry, state, reason, wall)
    return 1


def record(ledger: Ledger, entry: Entry, state: State, reason: str, wall: float) -> None:
    """Write down that a file left its folder; the history keeps the last HISTORY_ROWS."""
    number = ledger.connection.execute(
        "INSERT INTO history (rule, path, state, reason, size, key, checksum, etag, version_id, delivered_at_wall,"
        " finished_at_wall) SELECT name, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM rule WHERE id = ?",
        (
            *(entry.path, state.value, reason, entry.fingerprint.size, entry.key, entry.checksum, entry.etag),
            *(entry.version_id, entry.delivered_at_wall, wall, entry.rule),
        ),
    ).lastrowid
    if number is not None and number % 1000 == 0:
        ledger.connection.execute("DELETE FROM history WHERE id <= ?", (number - HISTORY_ROWS,))
    ledger.add_totals(entry.rule, {state.value: 1})


class Endings:
    """Receipts, failures and removals. Each step names the row's generation: an answer for older content is void."""

    def __init__(self, ledger: Ledger, wall: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._wall = wall

    def prove(self, proven: Sequence[tuple[Entry, Receipt]]) -> list[Entry]:
        """Write the receipts of files that are still what was sent; returns those. Commit durably."""
        delivered = follow(State.SENDING, Event.PROVEN)
        rows: list[Entry] = []
        totals: dict[int, dict[str, int]] = {}
        for entry, receipt in proven:
            changed = self._ledger.connection.execute(
                "UPDATE file SET state = ?, checksum = ?, etag = ?, version_id = ?, delivered_at_wall = ?, reason = '',"
                " due_at = NULL, attempts = 0 WHERE id = ? AND generation = ? AND state = 'sending'",
                (
                    *(delivered.value, receipt.checksum, receipt.etag, receipt.version_id, self._wall()),
                    *(entry.id, entry.generation),
                ),
            ).rowcount
            if changed:
                rows.append(entry)
                total = totals.setdefault(entry.rule, {"delivered": 0, "delivered_bytes": 0})
                total["delivered"] += 1
                total["delivered_bytes"] += receipt.size
        self._ledger.connection.executemany(
            "DELETE FROM checkpoint WHERE file = ?", [(row.id,) for row in rows]
        )
        for rule, total in totals.items():
            self._ledger.add_totals(rule, total)
        return rows

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
        state = follow(State.DELIVERED, event)
        if not forget(self._ledger, entry, state, reason, self._wall()):
            record(self._ledger, entry, state, reason, self._wall())

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
        seen = entry.fingerprint
        number = self._ledger.connection.execute(
            f"INSERT INTO intent ({_INTENT_COLUMNS}) VALUES (NULL{', ?' * 13})",
            (
                *(entry.id, entry.generation, rule_name, entry.folder, entry.name),
                *(seen.device, seen.inode, seen.size, seen.mtime_ns, seen.ctime_ns),
                *(int(entry.is_symlink), int(leased), json.dumps(details)),
            ),
        ).lastrowid
        return Intent(
            *(number or 0, entry.id, entry.generation, rule_name, entry.folder, entry.name),
            *(seen, entry.is_symlink, leased, details),
        )

    def intents(self) -> list[Intent]:
        rows = self._ledger.connection.execute(f"SELECT {_INTENT_COLUMNS} FROM intent ORDER BY id")
        return [_intent_of(row) for row in rows]

    def drop_intents(self, numbers: Iterable[int]) -> None:
        self._ledger.connection.executemany(
            "DELETE FROM intent WHERE id = ?", [(number,) for number in numbers]
        )

    def delivered_entry(self, intent: Intent) -> Entry | None:
        """The row that an intent is about, unless its name was used again for other content."""
        row = self._ledger.connection.execute(
            f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"
            " WHERE file.id = ? AND file.generation = ? AND file.state = 'delivered'",
            (intent.file, intent.generation),
        ).fetchone()
        return None if row is None else entry_of(row)

    # Checkpoints.

    def save_checkpoint(self, entry: Entry, data: Checkpoint | None) -> None:
        """Keep, or with None drop, what a transport needs to go on. Commit durably."""
        if data is None:
            self._ledger.connection.execute("DELETE FROM checkpoint WHERE file = ?", (entry.id,))
            return
        self._ledger.connection.execute(
            "INSERT INTO checkpoint VALUES (?, ?, ?) ON CONFLICT (file) DO UPDATE SET data = excluded.data",
            (entry.id, entry.rule, json.dumps(data)),
        )

    def checkpoint(self, file: int) -> Checkpoint | None:
        row = self._ledger.connection.execute(
            "SELECT data FROM checkpoint WHERE file = ?", (file,)
        ).fetchone()
        return None if row is None else dict(json.loads(row[0]))

    # Pauses, for status.

    def note_pause(self, destination: str, reason: str | None) -> None:
        if reason is None:
            self._ledger.connection.execute("DELETE FROM pause WHERE destination = ?", (destination,))
        else:
            self._ledger.connection.execute(
                "INSERT INTO pause VALUES (?, ?, ?) ON CONFLICT (destination) DO UPDATE SET reason = excluded.reason",
                (destination, reason, self._wall()),
            )


def _intent_of(row: tuple[Any, ...]) -> Intent:
    number, file, generation, rule, folder, name, *seen, is_symlink, leased, details = row
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
    )
