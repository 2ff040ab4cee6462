"""`s3-file-uploader status`: whether a daemon runs, and what each rule has to do and has done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader.cli.places import add_place_arguments, find_place, open_reader
from s3_file_uploader.cli.presentation import (
    columns,
    destination,
    duration,
    files,
    iso_moment,
    size,
    write_json,
)
from s3_file_uploader.model import printable
from s3_file_uploader.observe.snapshot import HELD, WAITING, RuleSnapshot, Snapshot, path_fields, take

if TYPE_CHECKING:
    import argparse

    from s3_file_uploader.config import Settings
    from s3_file_uploader.ledger.entry import Entry

__all__ = ["add_arguments", "run"]

_STATES = ("settling", HELD, "ready", "sending", "delivered", "retained", "parked")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument("--json", action="store_true", help="as JSON, a stable contract")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    reader, place = open_reader(find_place(arguments))
    try:
        snapshot = take(place.folder, reader)
    finally:
        if reader is not None:
            reader.close()
    if arguments.json:
        write_json(as_json(snapshot, place.name), out)
    else:
        out.writelines(f"{line}\n" for line in _lines(snapshot, place.settings, time.time()))
    return 0


def as_json(snapshot: Snapshot, name: str) -> dict[str, Any]:
    return {
        "format": 1,
        "name": name,
        "ledger": snapshot.folder,
        "daemon": {"running": snapshot.is_running, "pid": snapshot.pid},
        "paused": [
            {"destination": pause.destination, "reason": pause.reason, "since": iso_moment(pause.since_wall)}
            for pause in snapshot.pauses
        ],
        "rules": [_rule_json(rule) for rule in snapshot.rules],
        "uploads": {"under_way": snapshot.uploads_under_way, "given_up": snapshot.uploads_given_up},
    }


def _rule_json(rule: RuleSnapshot) -> dict[str, Any]:
    return {
        "name": rule.name,
        "now": {
            state: {"files": rule.amount(state).files, "bytes": rule.amount(state).size_bytes}
            for state in _STATES
        },
        "waiting_again": rule.waiting_again,
        "ever": {
            what: rule.ever.get(what, 0)
            for what in ("delivered", "delivered_bytes", "removed", "retained", "vanished")
        },
        "oldest_waiting": _file_json(rule.oldest_waiting) if rule.oldest_waiting else None,
    }


def _file_json(entry: Entry) -> dict[str, Any]:
    return {
        **path_fields(entry.path),
        "state": entry.state.value,
        "size": entry.fingerprint.size,
        "modified": iso_moment(entry.fingerprint.mtime_ns / 1e9),
    }


def _lines(snapshot: Snapshot, settings: Settings, now: float) -> list[str]:
    pid = f" (process {snapshot.pid})" if snapshot.pid else ""
    running = f"a daemon runs{pid}" if snapshot.is_running else "no daemon runs"
    lines = [f"{settings.name}: {running}; ledger in {snapshot.folder}"]
    destinations = {rule.name: (rule.path_name, destination(rule)) for rule in settings.rules}
    for rule in snapshot.rules:
        lines += ["", *_rule_lines(rule, destinations.get(rule.name), now, is_running=snapshot.is_running)]
    if not snapshot.rules:
        lines.append("nothing is known yet: no run has begun")
    if snapshot.uploads_given_up:
        lines += ["", f"{_uploads(snapshot.uploads_given_up)} given up, to be aborted: `uploads list`"]
    for pause in snapshot.pauses:
        since = duration(now - pause.since_wall)
        lines += ["", f"paused for {since}: {pause.destination}", f"  {printable(pause.reason.encode())}"]
    return lines


def _uploads(count: int) -> str:
    return "1 unfinished upload" if count == 1 else f"{count} unfinished uploads"


def _rule_lines(
    rule: RuleSnapshot, places: tuple[str, str] | None, now: float, *, is_running: bool
) -> list[str]:
    where = f": {places[0]} → {places[1]}" if places else ""
    waiting = rule.amount(*WAITING)
    rows = [
        ("waiting", str(waiting.files), size(waiting.size_bytes), _again(rule)),
        *(
            _row(rule, state, note if is_running else _WITHOUT_DAEMON.get(state, note))
            for state, note in _ROWS
            if rule.amount(state).files
        ),
        ("delivered", str(rule.ever.get("delivered", 0)), size(rule.ever.get("delivered_bytes", 0)), "ever"),
        ("removed", str(rule.ever.get("removed", 0)), "", "ever"),
    ]
    lines = [f"rule {rule.name}{where}", *(f"  {line}" for line in columns(rows, right=(1, 2)))]
    oldest = rule.oldest_waiting
    if oldest is not None:
        age = duration(now - oldest.fingerprint.mtime_ns / 1e9)
        lines.append(f"  oldest waiting: {printable(oldest.path)} ({oldest.state.value}, {age} old)")
    return lines


_ROWS = (
    ("settling", "of these, until they have settled"),
    (HELD, "of these, until something happens in their folder: `list --state held`"),
    ("sending", "of these, on their way now"),
    ("delivered", "arrived, not removed yet"),
    ("retained", "arrived and kept"),
    ("parked", "need a person: `list --state parked`, then `retry`"),
)


# A daemon that was killed leaves them so.
_WITHOUT_DAEMON = {"sending": "of these, cut off: the next `run` or `drain` goes on with them"}


def _row(rule: RuleSnapshot, state: str, note: str) -> tuple[str, str, str, str]:
    amount = rule.amount(state)
    return (f"· {state}", str(amount.files), size(amount.size_bytes), note)


def _again(rule: RuleSnapshot) -> str:
    return f"{files(rule.waiting_again)} for another try" if rule.waiting_again else ""
