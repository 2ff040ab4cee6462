"""What a run came to: whether a drain is done, and the summary at the end. Reads the ledger, in its thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.ledger.entry import ENTRY_COLUMNS, Entry, entry_of
from s3_file_uploader.lifecycle import State
from s3_file_uploader.pipeline.progress import Progress, Summary

if TYPE_CHECKING:
    from s3_file_uploader.errors import DeliveryError
    from s3_file_uploader.ledger import Ledger

__all__ = ["DRAIN_ATTEMPTS", "is_done", "summarise"]

DRAIN_ATTEMPTS = 5  # a drain does not wait for a file that failed so often
_LONGEST_WAIT_SECONDS = 60.0  # what waits longer than this is not what a drain waits for
_MOST_LISTED = 10_000


def is_done(ledger: Ledger, now: float) -> bool:
    """Whether nothing can go any more without a person or a change: what is left is held, parked or failed.

    Files that a writer has open are not waited for; those that only settle are.
    """
    return (
        ledger.connection.execute(
            "SELECT 1 FROM file WHERE state = 'sending'"
            " OR (state = 'ready' AND (due_at IS NULL OR attempts < ?))"
            " OR (state = 'delivered' AND due_at IS NULL)"
            " OR (state = 'settling' AND due_at <= ? AND claim_found <> 1) LIMIT 1",
            (DRAIN_ATTEMPTS, now + _LONGEST_WAIT_SECONDS),
        ).fetchone()
        is None
    )


def summarise(ledger: Ledger, progress: Progress, unreachable: DeliveryError | None) -> Summary:
    """The end of a run in numbers, with the files that stay and why."""
    counts = {
        str(state): int(count)
        for state, count in ledger.connection.execute("SELECT state, count(*) FROM file GROUP BY state")
    }
    return Summary(
        delivered=progress.files_done,
        delivered_bytes=progress.bytes_done,
        removed=progress.files_removed,
        failed=_reasons(ledger, "state = 'ready' AND attempts > 0"),
        parked=_reasons(ledger, "state = 'parked'"),
        held=_reasons(ledger, "state = 'settling' AND reason <> ''"),
        unremoved=_reasons(ledger, "state = 'delivered'"),
        waiting=counts.get(State.READY.value, 0) + counts.get(State.SENDING.value, 0),
        unreachable=unreachable,
    )


def _reasons(ledger: Ledger, condition: str) -> list[tuple[bytes, str]]:
    return [(entry.path, entry.reason) for entry in _entries(ledger, condition)]


def _entries(ledger: Ledger, condition: str) -> list[Entry]:
    return [
        entry_of(row)
        for row in ledger.connection.execute(
            f"SELECT {ENTRY_COLUMNS} FROM file JOIN folder ON folder.id = file.folder"  # noqa: S608  # our own conditions
            f" WHERE {condition} ORDER BY file.mtime_ns, file.name LIMIT ?",
            (_MOST_LISTED,),
        )
    ]
