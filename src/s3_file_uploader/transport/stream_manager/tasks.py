"""Tasks and what Stream Manager says of them. Pure.

A status is believed only where everything in it equals what was asked for: the stream, the sequence
number, the file's URL, the bucket and the key. What cannot be read, is about something else or of a
kind that nobody knows is no status.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.errors import AccessDenied, DeliveryError, Misconfigured, Refused

if TYPE_CHECKING:
    from s3_file_uploader.transport.stream_manager.values import Message

__all__ = ["Status", "Task", "fault_of", "status_of", "task_of"]

SUCCESS, FAILURE, IN_PROGRESS, WARNING, CANCELED = range(5)
_TERMINAL = (SUCCESS, FAILURE, CANCELED)
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist", re.IGNORECASE)
_DENIED = re.compile(r"AccessDenied|Access Denied|InvalidAccessKeyId|SignatureDoesNotMatch", re.IGNORECASE)


class Task(NamedTuple):
    """What was asked for: the file at this URL to that key."""

    url: str
    bucket: str
    key: str


class Status(NamedTuple):
    """`kind` is Stream Manager's number: 0 success, 1 failure, 2 in progress, 3 warning, 4 canceled."""

    kind: int
    stream: str
    sequence: int
    task: Task
    message: str

    @property
    def is_terminal(self) -> bool:
        return self.kind in _TERMINAL

    @property
    def is_success(self) -> bool:
        return self.kind == SUCCESS


def task_of(payload: bytes) -> Task | None:
    """The task in a message of an export stream; None where there is none."""
    try:
        said = json.loads(payload)
        return _task(said)
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def status_of(message: Message) -> Status | None:
    """The status in a message of a status stream; None for what is none of a known kind."""
    try:
        said = json.loads(message.payload)
        context = said["statusContext"]
        kind, sequence, stream = said["status"], context["sequenceNumber"], context["streamName"]
        if said.get("eventType", 0) != 0 or type(kind) is not int or type(sequence) is not int:
            return None
        if not SUCCESS <= kind <= CANCELED:
            return None
        task = _task(context["s3ExportTaskDefinition"])
        return Status(kind, str(stream), sequence, task, str(said.get("message") or ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _task(said: dict[str, object]) -> Task:
    task = Task(said["inputUrl"], said["bucket"], said["key"])  # type: ignore[arg-type]  # looked at below
    if not all(isinstance(one, str) for one in task):
        raise TypeError("not a task")
    return task


def fault_of(status: Status) -> DeliveryError:
    """What a failure means. Its text is the store's or Java's: only AWS's own words are known."""
    said = status.message or "no reason was given"
    if status.kind == CANCELED:
        return Refused(f"Stream Manager canceled the upload: {said}", code="Canceled")
    text = f"Stream Manager could not upload it: {said}"
    if _NO_BUCKET.search(said):
        return Misconfigured(text, code="NoSuchBucket", advice="Look at BucketName, and make the bucket.")
    if _DENIED.search(said):
        return AccessDenied(
            text, code="AccessDenied", advice="Allow s3:PutObject to the device's token exchange role."
        )
    return Refused(
        text, code="Failure", advice="Read the reason, mend its cause, then `s3-file-uploader retry FILE`."
    )
