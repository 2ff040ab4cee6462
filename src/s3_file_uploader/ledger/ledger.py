"""The ledger as its one writer sees it: transactions, the running clock, rules and folders.

What is done with the rows is in `sightings` (what the disk shows), `queue` (what waits and goes) and
`endings` (receipts, removals, history). All of it is synchronous and uses one connection, from one
thread at a time; nothing here reads a clock or the disk.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from s3_file_uploader.ledger.database import Lock, Reserve, make_folder, open_writing, tag_of, translated

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

__all__ = ["Ledger"]

_FOLDERS_REMEMBERED = 4096


class Ledger:
    """An open ledger, locked. `folder` is its folder, `tag` what its hidden names carry."""

    def __init__(
        self, connection: sqlite3.Connection, folder: str, tag: str, lock: Lock | None = None
    ) -> None:
        self.connection = connection
        self.folder = folder
        self.tag = tag
        self._lock = lock
        self.reserve = Reserve(folder)
        self._is_durable: bool | None = None  # what the connection was told last
        self._folder_ids: dict[tuple[int, bytes], int] = {}
        self.rule_ids: dict[str, int] = {}

    @classmethod
    def open(cls, state_directory: str, name: str) -> Ledger:
        """Open or make the ledger `name`; LedgerBusy, LedgerCorrupt, LedgerNewer or LedgerError if it cannot be."""
        folder = os.path.join(state_directory, name)
        make_folder(folder)
        lock = Lock(folder)
        lock.take()
        try:
            ledger = cls(open_writing(folder), folder, tag_of(name), lock)
        except BaseException:
            lock.release()
            raise
        ledger.reserve.fill()
        return ledger

    def close(self) -> None:
        self.connection.close()
        if self._lock is not None:
            self._lock.release()

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        """All or nothing. `durable`: on the disk before this returns, also when the power fails then."""
        connection = self.connection
        with translated(self.folder):
            if durable is not self._is_durable:
                connection.execute("PRAGMA synchronous = FULL" if durable else "PRAGMA synchronous = NORMAL")
                self._is_durable = durable
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                connection.execute("COMMIT")
            except BaseException:
                self._folder_ids.clear()  # rows made in this transaction are gone again
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def running_clock_start(self) -> float:
        """A second later than anything the ledger holds: where this run's clock begins."""
        row = self.connection.execute("SELECT value FROM meta WHERE key = 'clock'").fetchone()
        return float(row[0]) + 1.0 if row else 0.0

    def remember_clock(self, now: float) -> None:
        self.connection.execute(
            "INSERT INTO meta VALUES ('clock', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (now,),
        )

    def register_rules(self, names: Sequence[str]) -> list[str]:
        """Make sure each rule has its number; returns the names of rules that the ledger knows and that are gone."""
        self.connection.executemany(
            "INSERT OR IGNORE INTO rule (name) VALUES (?)", [(name,) for name in names]
        )
        known = {
            str(name): int(number) for number, name in self.connection.execute("SELECT id, name FROM rule")
        }
        self.rule_ids = {name: known[name] for name in names}
        return sorted(set(known) - set(names))

    def folder_id(self, rule: int, path: bytes, relative: bytes) -> int:
        """The number of a folder, given one if it has none."""
        key = (rule, path)
        number = self._folder_ids.get(key)
        if number is not None:
            return number
        self.connection.execute(
            "INSERT INTO folder (rule, path, relative) VALUES (?, ?, ?)"
            " ON CONFLICT (rule, path) DO UPDATE SET relative = excluded.relative",
            (rule, path, relative),
        )
        row = self.connection.execute("SELECT id FROM folder WHERE rule = ? AND path = ?", key).fetchone()
        if len(self._folder_ids) >= _FOLDERS_REMEMBERED:
            self._folder_ids.clear()
        self._folder_ids[key] = number = int(row[0])
        return number

    def known_folder_id(self, rule: int, path: bytes) -> int | None:
        row = self.connection.execute(
            "SELECT id FROM folder WHERE rule = ? AND path = ?", (rule, path)
        ).fetchone()
        return None if row is None else int(row[0])

    def add_totals(self, rule: int, amounts: dict[str, int]) -> None:
        self.connection.executemany(
            "INSERT INTO total VALUES (?, ?, ?) ON CONFLICT (rule, what) DO UPDATE SET value = value + excluded.value",
            [(rule, what, amount) for what, amount in amounts.items() if amount],
        )

    def tidy(self) -> None:
        """Give back what a past backlog took: free pages, folders without files. Call when idle."""
        self.reserve.fill()
        with translated(self.folder):
            self.connection.execute(
                "DELETE FROM folder WHERE id NOT IN (SELECT folder FROM file)"
                " AND id IN (SELECT id FROM folder ORDER BY id LIMIT 10000)"
            )
            self._folder_ids.clear()
            # As a script: a single statement is stepped once only, and gives back one page.
            self.connection.executescript("PRAGMA incremental_vacuum(5000)")
            self.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
