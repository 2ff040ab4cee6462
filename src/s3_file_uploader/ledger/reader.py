"""The ledger as everybody else sees it: read beside a running daemon, without its lock.

WAL gives each query a consistent view and never makes the writer wait. Long answers are read page by
page, so that a listing left open in a pager does not keep the WAL from being reset. Nothing here
writes, and nothing here is on the daemon's way.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger.database import DATABASE, open_reading, translated
from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, Finished, entry_of
from s3_file_uploader.ledger.uploads import GivenUp, UnderWay, given_up_in, under_way_in
from s3_file_uploader.lifecycle import State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

    from typing_extensions import Self

__all__ = ["Count", "Pause", "Reader", "ledgers_below"]

_PAGE_ROWS = 1000
_SELECT = f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"
_FINISHED = (
    "SELECT rule, path, state, reason, size, key, checksum, etag, version_id, delivered_at_wall,"
    " finished_at_wall FROM history"
)
_IS_HELD = "file.state = 'settling' AND file.due_at IS NULL"


@dataclass(frozen=True, slots=True)
class Count:
    """Files of one rule in one state; `is_held`: settling, until something happens in their folder."""

    rule: str
    state: State
    is_held: bool
    files: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Pause:
    """A destination that takes nothing for now. `since_wall` is in seconds since the epoch."""

    destination: str
    reason: str
    since_wall: float


def ledgers_below(state_directory: str) -> list[str]:
    """The names of the ledgers that lie in a state directory, those of other users included."""
    with contextlib.suppress(OSError), os.scandir(state_directory) as entries:
        return sorted(entry.name for entry in entries if _may_be_ledger(entry))
    return []


def _may_be_ledger(folder: os.DirEntry[str]) -> bool:
    """What cannot be looked into is named, so that whoever opens it is told why not."""
    if os.path.lexists(os.path.join(folder.path, DATABASE)):
        return True
    return folder.is_dir() and not os.access(folder.path, os.X_OK, effective_ids=True)


class Reader:
    """An open ledger, to be looked at. Every method raises LedgerError (or a class below it) on trouble."""

    def __init__(self, connection: sqlite3.Connection, folder: str) -> None:
        self._connection = connection
        self.folder = folder
        self.rules: dict[int, str] = {
            int(number): str(name) for number, name in self._rows("SELECT id, name FROM rule ORDER BY id")
        }

    @classmethod
    def open(cls, folder: str) -> Reader | None:
        """The ledger in `folder`; None where there is none, or one that nothing was written to yet."""
        connection = open_reading(folder)
        if connection is None:
            return None
        with translated(folder):
            is_made = connection.execute("PRAGMA user_version").fetchone()[0] > 0
        if not is_made:
            connection.close()
            return None
        return cls(connection, folder)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def one_view(self) -> Iterator[None]:
        """All that is read inside is of one moment."""
        with translated(self.folder):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                self._connection.execute("ROLLBACK")

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with translated(self.folder):
            return self._connection.execute(query, values).fetchall()

    def meta(self, key: str) -> Any:
        """A single value of the ledger's, or None."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", (key,))
        return rows[0][0] if rows else None

    def counts(self) -> list[Count]:
        """What there is on the disk. Reads the whole table: a second for a million files."""
        return [
            Count(self.rules.get(rule, "?"), State(state), bool(held), files, size)
            for rule, state, held, files, size in self._rows(
                f"SELECT rule, state, {_IS_HELD} AS held, count(*), sum(size) FROM file"
                " GROUP BY rule, state, held ORDER BY rule, state, held"
            )
        ]

    def waiting_again(self) -> list[tuple[str, int]]:
        """By rule, how many files wait for another try of their delivery or their removal."""
        return [
            (self.rules.get(rule, "?"), files)
            for rule, files in self._rows(
                "SELECT rule, count(*) FROM file WHERE due_at IS NOT NULL AND state IN ('ready', 'delivered')"
                " GROUP BY rule"
            )
        ]

    def totals(self) -> dict[str, dict[str, int]]:
        """What was ever counted, by rule and then by what: delivered, delivered_bytes, removed, …"""
        result: dict[str, dict[str, int]] = {}
        for rule, what, value in self._rows("SELECT rule, what, value FROM total ORDER BY rule, what"):
            result.setdefault(self.rules.get(rule, "?"), {})[str(what)] = int(value)
        return result

    def pauses(self) -> list[Pause]:
        return [
            Pause(*row)
            for row in self._rows("SELECT destination, reason, since_wall FROM pause ORDER BY since_wall")
        ]

    def oldest_waiting(self, rule: str) -> Entry | None:
        """Of a rule's files that are not held, the one with the oldest content that has not arrived yet."""
        for number, name in self.rules.items():
            if name == rule:
                rows = self._rows(
                    f"{_SELECT} WHERE file.rule = ? AND file.state IN ('settling', 'ready', 'sending')"
                    f" AND NOT ({_IS_HELD}) ORDER BY file.mtime_ns, file.name LIMIT 1",
                    (number,),
                )
                return entry_of(rows[0]) if rows else None
        return None

    def files(
        self, state: State | None = None, *, held: bool = False, limit: int | None = None
    ) -> Iterator[Entry]:
        """Files on the disk in the order in which they were found; `held`: only those."""
        condition = f" AND {_IS_HELD}" if held else " AND file.state = ?" if state is not None else ""
        values = [state.value] if state is not None and not held else []
        after = 0
        while limit is None or limit > 0:
            count = _PAGE_ROWS if limit is None else min(_PAGE_ROWS, limit)
            rows = self._rows(
                f"{_SELECT} WHERE file.id > ?{condition} ORDER BY file.id LIMIT ?", (after, *values, count)
            )
            yield from map(entry_of, rows)
            if len(rows) < count:
                return
            after = rows[-1][0]
            limit = None if limit is None else limit - count

    def finished(self, state: State, *, limit: int | None = None) -> Iterator[Finished]:
        """The last files that left, the latest first; the history is bounded."""
        rows = self._rows(
            f"{_FINISHED} WHERE state = ? ORDER BY id DESC LIMIT ?",
            (state.value, -1 if limit is None else limit),
        )
        return map(_finished_of, rows)

    def find(self, path: bytes) -> list[Entry]:
        """What is known of the file at this absolute path, by each rule that takes it."""
        folder, name = os.path.split(path)
        rows = self._rows(f"{_SELECT} WHERE folder.path = ? AND file.name = ?", (folder, name))
        return [entry_of(row) for row in rows]

    def last_finished(self, path: bytes) -> Finished | None:
        """How the last file at this path left, as far as the history goes back."""
        rows = self._rows(f"{_FINISHED} WHERE path = ? ORDER BY id DESC LIMIT 1", (path,))
        return _finished_of(rows[0]) if rows else None

    def uploads_under_way(self) -> list[UnderWay]:
        """Large files of which something lies on the far side, and whose next delivery goes on from there."""
        with translated(self.folder):
            return under_way_in(self._connection)

    def upload_of(self, entry: Entry) -> UnderWay | None:
        """What has begun to arrive of this very content."""
        with translated(self.folder):
            found = under_way_in(
                self._connection, "WHERE file = ? AND generation = ?", (entry.id, entry.generation)
            )
        return found[0] if found else None

    def uploads_given_up(self) -> list[GivenUp]:
        """What nobody goes on with, and is still to be aborted."""
        with translated(self.folder):
            return given_up_in(self._connection)

    def is_sound(self) -> bool:
        """SQLite's own check of the whole file; reads all of it."""
        return bool(self._rows("PRAGMA quick_check(1)")[0][0] == "ok")


def _finished_of(row: tuple[Any, ...]) -> Finished:
    return Finished(row[0], row[1], State(row[2]), *row[3:])
