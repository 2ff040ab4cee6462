"""Uploads of large files that are under way, and those that were given up and are still to be aborted.

What a transport saved to go on with a delivery is its own; here it is kept together with where it
leads, so that nothing is left behind on a far side without being known: not when its file changes,
vanishes or is refused, not when the rule goes elsewhere or is gone.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from s3_file_uploader.ledger.rows import execute_in, execute_rows

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Sequence

    from s3_file_uploader.ledger.entry import Entry
    from s3_file_uploader.ledger.ledger import Ledger
    from s3_file_uploader.model import Checkpoint

__all__ = ["Destination", "GivenUp", "UnderWay", "Uploads", "given_up_in", "under_way_in"]

_MOST_GIVEN_UP = 10_000
_COLUMNS = (
    "checkpoint.file, checkpoint.generation, checkpoint.path, checkpoint.size, checkpoint.way,"
    " checkpoint.bucket, checkpoint.key, checkpoint.data, checkpoint.begun_at_wall"
)
_GIVEN_UP_COLUMNS = (
    "id, path, way, bucket, key, data, begun_at_wall, reason, given_up_at_wall, due_at, attempts, error"
)


class Destination(NamedTuple):
    """Where a rule's files go. `way` is the pipeline's: what it takes to get there again, as text."""

    way: str
    bucket: str


class UnderWay(NamedTuple):
    """An upload that its file's next delivery goes on with. `size` is the file's, in bytes."""

    file: int
    generation: int
    path: bytes
    size: int
    way: str
    bucket: str
    key: str
    data: Checkpoint
    begun_at_wall: float


class GivenUp(NamedTuple):
    """An upload that nobody goes on with. `due_at`, on the running clock, is when it is to be aborted."""

    id: int
    path: bytes
    way: str
    bucket: str
    key: str
    data: Checkpoint
    begun_at_wall: float
    reason: str
    given_up_at_wall: float
    due_at: float
    attempts: int
    error: str


def under_way_in(
    connection: sqlite3.Connection, condition: str = "", values: Sequence[Any] = ()
) -> list[UnderWay]:
    """The uploads under way, the oldest first."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM checkpoint {condition} ORDER BY checkpoint.file", values
    )
    return [UnderWay._make((*row[:7], _data_of(row[7]), row[8])) for row in rows]


def given_up_in(
    connection: sqlite3.Connection, condition: str = "", values: Sequence[Any] = ()
) -> list[GivenUp]:
    """Those given up, the longest given up first."""
    rows = connection.execute(f"SELECT {_GIVEN_UP_COLUMNS} FROM given_up {condition} ORDER BY id", values)
    return [GivenUp._make((*row[:5], _data_of(row[5]), *row[6:])) for row in rows]


def _data_of(text: str) -> Checkpoint:
    return dict(json.loads(text))


class Uploads:
    """The writer's side."""

    def __init__(self, ledger: Ledger, wall: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._wall = wall

    def save(self, entry: Entry, data: Checkpoint | None, to: Destination) -> None:
        """Keep, or with None drop, what a transport needs to go on. Commit durably.

        One that is replaced by another upload, or dropped by somebody who was not where it leads, is
        given up rather than forgotten: nobody has said that it is not there any more. One that was given
        up is not taken up again by the last words of a delivery that was stopped for it.
        """
        self.save_all([(entry, data, to)])

    def save_all(self, saves: Sequence[tuple[Entry, Checkpoint | None, Destination]]) -> None:
        """The same for many; of each file once."""
        known = self.saved([entry.id for entry, _, _ in saves])
        some_given_up = self._ledger.connection.execute("SELECT 1 FROM given_up LIMIT 1").fetchone()
        kept: list[tuple[Any, ...]] = []
        dropped: list[int] = []
        for entry, data, to in saves:
            if data is not None and some_given_up and self._is_given_up(entry, data):
                continue
            begun_at_wall = self._take_place(known.get(entry.id), data, to)
            if data is None:
                dropped.append(entry.id)
                continue
            kept.append(
                (
                    *(entry.id, entry.generation, entry.path, entry.fingerprint.size, to.way, to.bucket),
                    *(entry.key or "", json.dumps(data), begun_at_wall),
                )
            )
        execute_rows(self._ledger.connection, "INSERT OR REPLACE INTO checkpoint VALUES", kept)
        execute_in(self._ledger.connection, "DELETE FROM checkpoint WHERE file IN", dropped)

    def _take_place(self, known: UnderWay | None, data: Checkpoint | None, to: Destination) -> float:
        """See to what it replaces; returns when the upload was begun."""
        if known is None:
            return self._wall()
        if data is not None and known.data.get("upload_id") == data.get("upload_id"):
            return known.begun_at_wall
        if data is not None or known.way != to.way:
            self._add(known, "begun anew")
        return self._wall()

    def _is_given_up(self, entry: Entry, data: Checkpoint) -> bool:
        those = given_up_in(self._ledger.connection, "WHERE path = ?", (entry.path,))
        return any(one.data.get("upload_id") == data.get("upload_id") for one in those)

    def saved(self, files: Sequence[int]) -> dict[int, UnderWay]:
        """What was saved for these rows, by row; most have none."""
        rows = execute_in(self._ledger.connection, f"SELECT {_COLUMNS} FROM checkpoint WHERE file IN", files)
        return {row[0]: UnderWay._make((*row[:7], _data_of(row[7]), row[8])) for row in rows}

    def under_way(self) -> list[UnderWay]:
        return under_way_in(self._ledger.connection)

    def given_up(self) -> list[GivenUp]:
        return given_up_in(self._ledger.connection)

    # -- giving up

    def give_up(self, files: Sequence[int], reason: str) -> int:
        """The uploads of these files are of no use any more: they are to be aborted, now and until it is done."""
        known = self.saved(files)
        for upload in known.values():
            self._add(upload, reason)
        execute_in(self._ledger.connection, "DELETE FROM checkpoint WHERE file IN", list(known))
        return len(known)

    def give_up_useless(self, *, but_not: Collection[int]) -> int:
        """Those whose file is gone, has other content by now or is parked; `but_not` are being sent."""
        rows = self._ledger.connection.execute(
            "SELECT checkpoint.file, file.state, file.id FROM checkpoint LEFT JOIN file ON file.id = checkpoint.file"
            " WHERE file.id IS NULL OR file.state = 'parked' OR file.generation <> checkpoint.generation"
        ).fetchall()
        count = 0
        for number, state, found in rows:
            if number not in but_not:
                why = "gone" if found is None else "parked" if state == "parked" else "changed"
                count += self.give_up([number], _REASONS[why])
        return count

    def _add(self, upload: UnderWay, reason: str) -> None:
        if upload.data.get("leaves_nothing"):
            return  # there is nothing on the far side that anybody would have to take back
        connection = self._ledger.connection
        connection.execute(
            "INSERT INTO given_up (path, way, bucket, key, data, begun_at_wall, reason, given_up_at_wall)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(upload.path, upload.way, upload.bucket, upload.key, json.dumps(upload.data)),
                *(upload.begun_at_wall, reason, self._wall()),
            ),
        )
        connection.execute(
            "DELETE FROM given_up WHERE id <= (SELECT max(id) FROM given_up) - ?", (_MOST_GIVEN_UP,)
        )

    # -- aborting

    def due(self, now: float, limit: int) -> list[GivenUp]:
        """Those to be aborted now, at most so many; the longest waiting first."""
        rows = given_up_in(self._ledger.connection, "WHERE due_at <= ?", (now,))
        return sorted(rows, key=lambda upload: upload.due_at)[:limit]

    def next_due(self) -> float | None:
        row = self._ledger.connection.execute("SELECT min(due_at) FROM given_up").fetchone()
        return None if row[0] is None else float(row[0])

    def aborted(self, numbers: Sequence[int]) -> None:
        """The far side says that they are not there any more."""
        execute_in(self._ledger.connection, "DELETE FROM given_up WHERE id IN", numbers)

    def postpone(self, upload: GivenUp, *, error: str, due_at: float) -> None:
        self._ledger.connection.execute(
            "UPDATE given_up SET attempts = attempts + 1, error = ?, due_at = ? WHERE id = ?",
            (error, due_at, upload.id),
        )


_REASONS = {
    "gone": "its file is gone, or no rule takes it any more",
    "parked": "its file is parked",
    "changed": "its file has other content now",
}
