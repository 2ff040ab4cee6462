"""`s3-file-uploader explain FILE`: why is it not uploaded yet, or when was it?"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader.cli.explanation import Explanation, explain
from s3_file_uploader.cli.list_command import entry_json, finished_json
from s3_file_uploader.cli.places import add_place_arguments, find_place, open_reader
from s3_file_uploader.cli.presentation import destination, duration, iso_moment, moment, size, write_json
from s3_file_uploader.cli.uploads_command import arrived, is_handed_over, upload_json
from s3_file_uploader.errors import Refused
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import printable
from s3_file_uploader.observe.snapshot import path_fields

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from s3_file_uploader.config import Settings
    from s3_file_uploader.ledger.entry import Entry, Finished
    from s3_file_uploader.ledger.reader import Reader
    from s3_file_uploader.ledger.uploads import UnderWay

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="which file; it need not exist any more")
    add_place_arguments(parser, positional=False)
    parser.add_argument("--json", action="store_true", help="as JSON, a stable contract")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    path = os.path.abspath(os.fsencode(arguments.file))
    reader, place = open_reader(find_place(arguments))
    try:
        found = explain(path, place.folder, reader, place.settings)
        if arguments.json:
            write_json(_as_json(found, reader), out)
        else:
            out.writelines(f"{line}\n" for line in _lines(found, place.settings, time.time()))
    finally:
        if reader is not None:
            reader.close()
    return 0


def _as_json(found: Explanation, reader: Reader | None) -> dict[str, Any]:
    return {
        "format": 1,
        **path_fields(found.path),
        "exists": found.exists,
        "daemon": {"running": found.is_running},
        "known": [
            {**entry_json(reader, entry), **_timing(entry, found), "upload": _upload_json(entry, found)}
            for entry in found.entries
            if reader
        ],
        "left": finished_json(found.finished) if found.finished else None,
        "rules": [
            {
                "rule": one.rule,
                "pattern": one.pattern,
                "takes": not one.why_not,
                "why_not": one.why_not or None,
            }
            for one in found.compared
        ],
        "paused": [
            {"destination": pause.destination, "reason": pause.reason, "since": iso_moment(pause.since_wall)}
            for pause in found.pauses
        ],
    }


def _timing(entry: Entry, found: Explanation) -> dict[str, Any]:
    now = found.now
    return {
        "unchanged_seconds": None if now is None else round(now - entry.changed_at, 3),
        "due_in_seconds": None if now is None or entry.due_at is None else round(entry.due_at - now, 3),
        "evidence": found.evidence,
    }


def _upload_json(entry: Entry, found: Explanation) -> dict[str, Any] | None:
    upload = found.uploads.get(entry.id)
    return None if upload is None or is_handed_over(upload) else upload_json(upload)


def _lines(found: Explanation, settings: Settings, wall: float) -> Iterator[str]:
    yield printable(found.path)
    for entry in found.entries:
        yield from (f"  {line}" for line in _entry_lines(entry, found, settings))
    if not found.entries:
        yield from (f"  {line}" for line in _unknown_lines(found))
    if found.finished is not None:
        yield from (f"  {line}" for line in _finished_lines(found.finished, wall))
    for pause in found.pauses if found.entries else ():
        yield f"  paused: {pause.destination}, for {duration(wall - pause.since_wall)}: {pause.reason}"


def _entry_lines(entry: Entry, found: Explanation, settings: Settings) -> Iterator[str]:
    rule = next((rule for rule in settings.rules if _is_of(rule.name, found)), None)
    if rule is not None:
        yield f"rule {rule.name}: {rule.path_name} → {destination(rule)}"
    quiet = "" if found.now is None else f", unchanged for {duration(found.now - entry.changed_at)}"
    yield f"state: {entry.state.value}{quiet} ({size(entry.fingerprint.size)})"
    yield from _waiting_lines(entry, found)
    if entry.state in (State.SETTLING, State.READY):
        yield f"evidence of writers: {found.evidence}"
    if entry.attempts:
        yield f"failed attempts: {entry.attempts}"
    if entry.key:
        yield f"object: {printable(entry.key.encode())}"
    if (upload := found.uploads.get(entry.id)) is not None:
        yield _under_way(upload)
    if entry.checksum:
        yield f"proven: {entry.checksum}{_when(entry.delivered_at_wall)}"
    if entry.state is State.PARKED:
        yield f"try: {Refused.advice}"
    if not found.exists:
        yield "it is not on the disk any more: the next scan finds that out"
    if not found.is_running:
        yield "no daemon runs: nothing happens until `run` or `drain` is started"


def _under_way(upload: UnderWay) -> str:
    if is_handed_over(upload):
        stream = printable(str(upload.data.get("stream")).encode())
        return f"handed to Stream Manager: stream {stream}; what came of it is awaited"
    told = arrived(upload) or "begun"
    return f"half sent: {told} when the ledger was told last; it goes on from what the store has"


def _is_of(rule: str, found: Explanation) -> bool:
    return any(one.rule == rule and not one.why_not for one in found.compared)


def _waiting_lines(entry: Entry, found: Explanation) -> Iterator[str]:
    if entry.reason:
        yield f"{'why' if entry.state is State.PARKED else 'waits'}: {printable(entry.reason.encode())}"
    elif entry.state is State.READY and entry.due_at is None:
        yield "waits: for its turn; the oldest go first"
    elif entry.state is State.DELIVERED:
        yield "waits: to be removed"
    if entry.state is State.SETTLING and entry.due_at is None:
        yield "until: something happens in its folder"
    elif entry.due_at is not None and found.now is not None:
        yield f"until: {duration(max(0.0, entry.due_at - found.now))} from now, then it is looked at again"


def _unknown_lines(found: Explanation) -> Iterator[str]:
    if not found.exists:
        yield "is not on the disk" + ("" if found.finished else ", and is not known to have been")
    elif not found.compared:
        yield "is not known; say --config, or --path-name and --bucket-name, to compare it with the rules"
    elif all(one.why_not for one in found.compared):
        yield "no rule takes it:"
    else:
        yield "is taken by a rule and not seen yet: " + (
            "the next scan finds it" if found.is_running else "no daemon runs; start `run` or `drain`"
        )
    if found.exists:
        for one in found.compared:
            yield f"  rule {one.rule}, {one.pattern}: {one.why_not or 'takes it'}"


def _when(wall: float | None) -> str:
    return "" if wall is None else f", {moment(wall)}"


def _finished_lines(finished: Finished, wall: float) -> Iterator[str]:
    when = f"{moment(finished.finished_at_wall)}, {duration(wall - finished.finished_at_wall)} ago"
    yield f"the last file of this name: {finished.state.value} {when} ({size(finished.size)})"
    if finished.key:
        yield f"  object: {printable(finished.key.encode())}"
    if finished.checksum:
        yield f"  proven: {finished.checksum}{_when(finished.delivered_at_wall)}"
    if finished.reason:
        yield f"  reason: {printable(finished.reason.encode())}"
