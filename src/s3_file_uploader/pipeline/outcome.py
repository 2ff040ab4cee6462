"""What a run came to: whether a drain is done, and the summary at the end. Reads the ledger, in its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, entry_of
from s3_file_uploader.lifecycle import State
from s3_file_uploader.pipeline.progress import Progress, Summary
from s3_file_uploader.source.readiness import Reason

if TYPE_CHECKING:
    from collections.abc import Collection

    from s3_file_uploader.errors import DeliveryError
    from s3_file_uploader.ledger import Ledger
    from s3_file_uploader.pipeline.clock import Clock

__all__ = ["DRAIN_ATTEMPTS", "is_done", "summarise"]

DRAIN_ATTEMPTS = 5  # a drain does not wait for a file that failed so often
_LONGEST_WAIT_SECONDS = 60.0  # what waits longer than this is not what a drain waits for
_LATEST_CHANGE_SECONDS = 30.0  # after the start: what changes later than that is being written
_MOST_LISTED = 10_000


def is_done(ledger: Ledger, clock: Clock, but_for: Collection[int] = ()) -> bool:
    """Whether nothing can go any more without a person or a change: what is left is held, parked or failed.

    Waited for are files that only settle; not the newest of a folder, those that a writer has open,
    that lie in a folder which is not there, or that keep changing long after the drain began; nor, while
    they wait for another try, those of the ids `but_for`.
    """
    now = clock.now()
    waited_for: list[tuple[str, tuple[object, ...]]] = [  # asked one by one: each has an index of its own
        ("state = 'sending'", ()),
        ("state = 'ready' AND due_at IS NULL", ()),
        (
            (
                "state = 'ready' AND due_at IS NOT NULL AND attempts < ?"
                f" AND id NOT IN ({','.join('?' * len(but_for))})"
            ),
            (DRAIN_ATTEMPTS, *but_for),
        ),
        ("state = 'delivered' AND due_at IS NULL AND id NOT IN (SELECT file FROM intent)", ()),
        (
            (
                "state = 'settling' AND due_at <= ? AND claim_found <> 1 AND changed_at <= ?"
                " AND (due_at <= ? OR reason NOT IN (?, ?))"
            ),
            (
                *(now + _LONGEST_WAIT_SECONDS, clock.started_at + _LATEST_CHANGE_SECONDS),
                *(now, Reason.NEWEST.value, Reason.NEWEST_IN_FUTURE.value),
            ),
        ),
    ]
    return not any(
        ledger.connection.execute(f"SELECT 1 FROM file WHERE {condition} LIMIT 1", values).fetchone()
        for condition, values in waited_for
    )


def summarise(
    ledger: Ledger, progress: Progress, unreachable: DeliveryError | None, denied: Collection[int] = ()
) -> Summary:
    """The end of a run in numbers, with the files that stay and why. `denied`: ids of files that were."""
    counts = {
        str(state): int(count)
        for state, count in ledger.connection.execute("SELECT state, count(*) FROM file GROUP BY state")
    }
    return Summary(
        delivered=progress.files_done,
        delivered_bytes=progress.bytes_done,
        removed=progress.files_removed,
        failed=_reasons(
            ledger,
            f"state = 'ready' AND (attempts > 0 OR file.id IN ({','.join('?' * len(denied))}))",
            tuple(denied),
        ),
        parked=_reasons(ledger, "state = 'parked'"),
        held=_reasons(ledger, "state = 'settling' AND reason <> ''"),
        unremoved=_reasons(ledger, "state = 'delivered'"),
        troubles=sorted({place for found in progress.troubles.values() for place in found.items()}),
        waiting=counts.get(State.READY.value, 0) + counts.get(State.SENDING.value, 0),
        unreachable=unreachable,
        unmatched=sorted(progress.unmatched),
    )


def _reasons(ledger: Ledger, condition: str, values: tuple[int, ...] = ()) -> list[tuple[bytes, str]]:
    return [(entry.path, entry.reason) for entry in _entries(ledger, condition, values)]


def _entries(ledger: Ledger, condition: str, values: tuple[int, ...]) -> list[Entry]:
    return [
        entry_of(row)
        for row in ledger.connection.execute(
            f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"
            f" WHERE {condition} ORDER BY file.mtime_ns, file.name LIMIT ?",
            (*values, _MOST_LISTED),
        )
    ]
