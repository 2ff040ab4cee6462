"""What is saved of a delivery before its task is appended: where to look for it, and for its status.

It is written once, durably, and is all that a later process needs. The task's number is not in it: the
stream tells that, since our task is the newest one after `after` with this URL, bucket and key. `after`
was asked once the file had been found to be the delivered one; so whatever is found after it, be it an
older request of the same file that came late, was worked on when the file was what it is now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.transport.stream_manager.tasks import Task

if TYPE_CHECKING:
    from s3_file_uploader.model import Checkpoint, Fingerprint

__all__ = ["Saved"]

_KIND = "stream-manager"


class Saved(NamedTuple):
    """Where a task and its status are.

    The task comes after `after` in `stream`, and its status at `status_from` in `status_stream` or later.
    A reboot may number the device of `fingerprint` anew: the rest of it tells.
    """

    stream: str
    after: int
    status_stream: str
    status_from: int
    task: Task
    fingerprint: tuple[int, ...]

    def to_checkpoint(self) -> Checkpoint:
        return {
            "kind": _KIND,
            "leaves_nothing": True,
            "upload_id": f"{self.stream}>{self.after}",
            "stream": self.stream,
            "after": self.after,
            "status_stream": self.status_stream,
            "status_from": self.status_from,
            "task": list(self.task),
            "fingerprint": list(self.fingerprint),
        }

    @classmethod
    def of(cls, checkpoint: Checkpoint | None, task: Task, fingerprint: Fingerprint) -> Saved | None:
        """None for what is not ours, or is of another task or other content."""
        if checkpoint is None or checkpoint.get("kind") != _KIND:
            return None
        try:
            saved = cls(
                checkpoint["stream"],
                checkpoint["after"],
                checkpoint["status_stream"],
                checkpoint["status_from"],
                Task(*checkpoint["task"]),
                tuple(checkpoint["fingerprint"]),
            )
        except (KeyError, TypeError):
            return None
        names = all(isinstance(one, str) for one in (saved.stream, saved.status_stream))
        numbers = all(type(one) is int for one in (saved.after, saved.status_from))
        is_this = saved.task == task and saved.fingerprint[1:] == tuple(fingerprint)[1:]
        return saved if names and numbers and is_this else None
