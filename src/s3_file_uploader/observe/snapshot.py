"""A snapshot: what the program knows of its rules at one moment, for `status` and whoever shows it.

It is taken from the ledger alone, beside a running daemon or without one. It asks no disk and no
network, and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.ledger.database import Lock
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import printable

if TYPE_CHECKING:
    from s3_file_uploader.ledger.entry import Entry
    from s3_file_uploader.ledger.reader import Pause, Reader

__all__ = ["HELD", "WAITING", "Amount", "RuleSnapshot", "Snapshot", "path_fields", "take"]

HELD = "held"


@dataclass(frozen=True, slots=True)
class Amount:
    """Files, and their bytes."""

    files: int = 0
    size_bytes: int = 0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.files + other.files, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class RuleSnapshot:
    """One rule. `now`: what is on the disk, by state and by HELD, which is part of settling no more.

    `ever` counts since the ledger was made; `waiting_again`: files that wait for another try.
    """

    name: str
    now: dict[str, Amount]
    ever: dict[str, int]
    waiting_again: int = 0
    oldest_waiting: Entry | None = None

    def amount(self, *states: str) -> Amount:
        return sum((self.now.get(state, Amount()) for state in states), Amount())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rules of one ledger, and its unfinished uploads. `pid` is the daemon's, None when none runs."""

    folder: str
    is_running: bool
    pid: int | None
    rules: list[RuleSnapshot] = field(default_factory=list)
    pauses: list[Pause] = field(default_factory=list)
    uploads_under_way: int = 0  # of large files, of which something lies in a bucket
    uploads_given_up: int = 0  # nobody goes on with them; to be aborted


def take(folder: str, reader: Reader | None) -> Snapshot:
    """Look at the ledger in `folder`; `reader` is None where nothing was ever written to it."""
    lock = Lock(folder)
    is_running = lock.is_held()
    pid = _pid_of(lock.holder()) if is_running else None
    if reader is None:
        return Snapshot(folder, is_running, pid)
    with reader.one_view():
        return Snapshot(
            folder,
            is_running,
            pid,
            _rules(reader),
            reader.pauses(),
            sum(not upload.data.get("leaves_nothing") for upload in reader.uploads_under_way()),
            len(reader.uploads_given_up()),
        )


def _pid_of(holder: str) -> int | None:
    number = holder.removeprefix("process ")
    return int(number) if number.isdigit() else None


def _rules(reader: Reader) -> list[RuleSnapshot]:
    amounts: dict[str, dict[str, Amount]] = {name: {} for name in reader.rules.values()}
    for count in reader.counts():
        state = HELD if count.is_held else count.state.value
        of_rule = amounts.setdefault(count.rule, {})
        of_rule[state] = of_rule.get(state, Amount()) + Amount(count.files, count.size_bytes)
    totals, again = reader.totals(), dict(reader.waiting_again())
    return [
        RuleSnapshot(name, now, totals.get(name, {}), again.get(name, 0), reader.oldest_waiting(name))
        for name, now in amounts.items()
    ]


def path_fields(path: bytes) -> dict[str, str]:
    """A path for JSON: `path` for people, and `path_base64` where that text is not the path itself."""
    text = printable(path)
    if text.encode("utf-8") == path:
        return {"path": text}
    import base64  # noqa: PLC0415  # names that need it are rare

    return {"path": text, "path_base64": base64.b64encode(path).decode("ascii")}


# The states of files whose content has not arrived yet.
WAITING = (State.SETTLING.value, HELD, State.READY.value, State.SENDING.value)
