"""The message for the fleet: what was delivered, what waits, what failed, in a size that the nucleus carries.

Pure: a snapshot of the ledger goes in, JSON comes out. docs/reference/json.md describes each field.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from s3_file_uploader.lifecycle import State
from s3_file_uploader.observe.snapshot import HELD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.observe.snapshot import RuleSnapshot, Snapshot

__all__ = ["IOT_CORE_BYTES", "LOCAL_BYTES", "VERSION", "encoded", "fitting", "message"]

VERSION = 1
# Measured: 7 000 bytes to IoT Core pass and 7 300 do not; 9 500 on a local topic pass.
IOT_CORE_BYTES = 6_500
LOCAL_BYTES = 9_000
_LONGEST_TEXT = 240
_MOST_PAUSES = 8
_BACKLOG = (State.SETTLING.value, State.READY.value, State.SENDING.value)


def message(
    snapshot: Snapshot,
    *,
    now: float,
    thing: str,
    program: str,
    up_seconds: float,
    in_flight: int,
    troubles: int,
    trouble: Mapping[str, Any] | None,
    configuration_problem: str,
) -> dict[str, Any]:
    """All of it. `now` in seconds since the epoch; `troubles`: folders that cannot be looked at."""
    rules = [_rule(rule) for rule in snapshot.rules]
    totals = {name: sum(rule[name] for rule in rules) for name in _COUNTS}
    in_trouble = bool(snapshot.pauses or troubles or totals["failed_files"] or configuration_problem)
    return {
        "version": VERSION,
        "time": _time(now),
        "thing": thing,
        "program": program,
        "up_seconds": int(up_seconds),
        "state": "trouble" if in_trouble else "ok",
        **totals,
        "in_flight_files": in_flight,
        "oldest_backlog_seconds": _oldest(snapshot, now),
        "missing_folders": troubles,
        "configuration_refused": _short(configuration_problem) or None,
        "paused": [
            {"destination": pause.destination, "reason": _short(pause.reason)}
            for pause in snapshot.pauses[:_MOST_PAUSES]
        ],
        "last_trouble": dict(trouble) if trouble else None,
        "rules": sorted(
            rules, key=lambda rule: (-rule["failed_files"], -rule["backlog_files"], rule["name"])
        ),
        "rules_left_out": 0,
    }


_COUNTS = (
    "delivered_files",
    "delivered_bytes",
    "backlog_files",
    "backlog_bytes",
    "held_files",
    "failed_files",
    "retrying_files",
)


def _rule(rule: RuleSnapshot) -> dict[str, Any]:
    backlog = rule.amount(*_BACKLOG)
    return {
        "name": rule.name,
        "delivered_files": rule.ever.get("delivered", 0),
        "delivered_bytes": rule.ever.get("delivered_bytes", 0),
        "backlog_files": backlog.files,
        "backlog_bytes": backlog.size_bytes,
        "held_files": rule.amount(HELD).files,
        "failed_files": rule.amount(State.PARKED.value).files,
        "retrying_files": rule.waiting_again,
    }


def _oldest(snapshot: Snapshot, now: float) -> int | None:
    """By the files' own modification times, which a device without a clock battery may have wrong."""
    times = [
        rule.oldest_waiting.fingerprint.mtime_ns for rule in snapshot.rules if rule.oldest_waiting is not None
    ]
    return max(0, int(now - min(times) / 1e9)) if times else None


def _time(now: float) -> str:
    import time  # noqa: PLC0415  # its name is a field's here

    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def encoded(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told, separators=(",", ":")).encode("ascii")


def fitting(told: Mapping[str, Any], limit_bytes: int) -> dict[str, Any]:
    """The same with as many rules as fit, those in trouble first; then without reasons."""
    fits = dict(told)
    while len(encoded(fits)) > limit_bytes and fits["rules"]:
        keep = len(fits["rules"]) * 3 // 4
        fits["rules_left_out"] += len(fits["rules"]) - keep
        fits["rules"] = fits["rules"][:keep]
    if len(encoded(fits)) > limit_bytes:
        fits["paused"] = fits["paused"][:1]
    if len(encoded(fits)) > limit_bytes:
        fits |= {"paused": [], "last_trouble": None, "configuration_refused": None}
    return fits
