"""Many rows in one statement: half the time of one statement per row, and none of it holds up other threads.

SQLite works without Python's lock while a statement runs, so a statement for 64 rows lets the sockets
go on where 64 statements would ask for the lock 64 times. Only a few sizes of statements are made:
each is kept prepared, and a large one takes memory.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Sequence

__all__ = ["chunks", "execute_in", "execute_rows"]

_SIZES = (64, 16, 4, 1)


def chunks(rows: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """The rows in pieces of those few sizes, in order."""
    start = 0
    for size in _SIZES:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def execute_rows(
    connection: sqlite3.Connection, before: str, rows: Sequence[tuple[Any, ...]], after: str = ""
) -> int:
    """`before (?, …), (?, …) after`: how many rows of the table changed."""
    changed = 0
    for piece in chunks(rows):
        one = f"({', '.join('?' * len(piece[0]))})"
        values = ", ".join([one] * len(piece))
        changed += connection.execute(
            f"{before} {values} {after}", tuple(chain.from_iterable(piece))
        ).rowcount
    return changed


def execute_in(
    connection: sqlite3.Connection, before: str, values: Sequence[Any], after: str = ""
) -> list[tuple[Any, ...]]:
    """The rows that `before (?, …) after` returns, for all the values; none when it is no query."""
    rows: list[tuple[Any, ...]] = []
    for piece in chunks(values):
        rows += connection.execute(
            f"{before} ({', '.join('?' * len(piece))}) {after}", tuple(piece)
        ).fetchall()
    return rows
