"""`s3-file-uploader list`: the files that are known, one a line."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader.cli.places import add_place_arguments, find_place, open_reader
from s3_file_uploader.cli.presentation import iso_moment, size, without_path
from s3_file_uploader.ledger.entry import Entry
from s3_file_uploader.lifecycle import FINAL, State
from s3_file_uploader.model import printable
from s3_file_uploader.observe.snapshot import HELD, path_fields

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from s3_file_uploader.ledger.entry import Finished
    from s3_file_uploader.ledger.reader import Reader

__all__ = ["add_arguments", "entry_json", "finished_json", "run"]

_CHOICES = (*(state.value for state in State), HELD)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument(
        "--state", choices=_CHOICES, metavar="STATE", help=f"only these: {', '.join(_CHOICES)}"
    )
    parser.add_argument("--limit", type=_count, metavar="N", help="at most N files")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, a stable contract")


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


_count.__name__ = "number"  # argparse names it in its error


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    reader, _ = open_reader(find_place(arguments))
    if reader is None:
        return 0
    with reader:
        out.writelines(
            _json_line(reader, found) if arguments.json else _line(found)
            for found in _found(reader, arguments.state, arguments.limit)
        )
    return 0


def _found(reader: Reader, state: str | None, limit: int | None) -> Iterator[Entry | Finished]:
    if state is None:
        return reader.files(limit=limit)
    if state == HELD:
        return reader.files(held=True, limit=limit)
    wanted = State(state)
    if wanted in FINAL:
        return reader.finished(wanted, limit=limit)
    if wanted is State.RETAINED:  # kept in its folder, or archived away from it
        return _first(limit, reader.files(wanted, limit=limit), reader.finished(wanted, limit=limit))
    return reader.files(wanted, limit=limit)


def _first(limit: int | None, *found: Iterator[Entry] | Iterator[Finished]) -> Iterator[Entry | Finished]:
    for number, one in enumerate(chain[Any](*found)):
        if limit is not None and number >= limit:
            return
        yield one


def _line(found: Entry | Finished) -> str:
    if isinstance(found, Entry):
        amount, note = found.fingerprint.size, without_path(found.reason, found.path)
    else:
        amount, note = found.size, found.reason or (f"→ {found.key}" if found.key else "")
    note = f"  # {printable(note.encode('utf-8', 'surrogateescape'))}" if note else ""
    return f"{found.state.value:9} {size(amount):>8}  {printable(found.path)}{note}\n"


def _json_line(reader: Reader, found: Entry | Finished) -> str:
    value = entry_json(reader, found) if isinstance(found, Entry) else finished_json(found)
    return json.dumps(value) + "\n"


def entry_json(reader: Reader, entry: Entry) -> dict[str, Any]:
    """A file on the disk, for JSON."""
    return {
        **path_fields(entry.path),
        "rule": reader.rules.get(entry.rule),
        "state": entry.state.value,
        "held": entry.state is State.SETTLING and entry.due_at is None,
        "size": entry.fingerprint.size,
        "modified": iso_moment(entry.fingerprint.mtime_ns / 1e9),
        "reason": entry.reason or None,
        "attempts": entry.attempts,
        **_receipt_json(entry),
    }


def finished_json(finished: Finished) -> dict[str, Any]:
    """A file that has left, for JSON."""
    return {
        **path_fields(finished.path),
        "rule": finished.rule,
        "state": finished.state.value,
        "size": finished.size,
        "reason": finished.reason or None,
        **_receipt_json(finished),
        "finished": iso_moment(finished.finished_at_wall),
    }


def _receipt_json(row: Entry | Finished) -> dict[str, Any]:
    return {
        "key": row.key,
        "checksum": row.checksum,
        "etag": row.etag or None,
        "version_id": row.version_id or None,
        "delivered": iso_moment(row.delivered_at_wall),
    }
