"""Status messages: how a task went, as UTF-8 JSON with the keys and numbers of AWS's models.

`sequenceNumber` in the context is that of the task in its own stream, which is what the client got when
it appended the task. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import EventType, StatusLevel, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_manager_local.protocol.definition import StatusConfig

__all__ = ["IN_PROGRESS_CHOICES", "LEVELS", "Ending", "begins_with_status", "is_told", "status_payload"]

IN_PROGRESS_CHOICES = ("never", "multipart", "always")

# Which level each status has is not documented; these are ours.
LEVELS = {
    TaskStatus.SUCCESS: StatusLevel.INFO,
    TaskStatus.IN_PROGRESS: StatusLevel.INFO,
    TaskStatus.WARNING: StatusLevel.WARN,
    TaskStatus.CANCELED: StatusLevel.WARN,
    TaskStatus.FAILURE: StatusLevel.ERROR,
}


_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Ending:
    """How a task ended; `warning` is what went wrong beside it, `wire` the task as statuses repeat it."""

    status: TaskStatus
    message: str
    wire: Mapping[str, object] = field(default_factory=dict)
    warning: str = ""


def is_told(status: TaskStatus, config: StatusConfig | None) -> bool:
    """Whether the exporter's definition wants to hear of it."""
    return config is not None and config.stream_name is not None and LEVELS[status] <= config.level


def begins_with_status(choice: str, *, is_multipart: bool) -> bool:
    """Whether a task that begins is InProgress; the evidence for the real component is contradictory."""
    return choice == "always" or (choice == "multipart" and is_multipart)


def status_payload(
    status: TaskStatus,
    message: str,
    *,
    task: Mapping[str, object],
    export_identifier: str,
    stream_name: str,
    sequence_number: int,
    epoch_millis: int,
) -> bytes:
    """The bytes to append to a status stream."""
    return _encode(
        {
            "eventType": int(EventType.S3_TASK),
            "statusLevel": int(LEVELS[status]),
            "status": int(status),
            "statusContext": {
                "s3ExportTaskDefinition": task,
                "exportIdentifier": export_identifier,
                "streamName": stream_name,
                "sequenceNumber": sequence_number,
            },
            "message": message,
            "timestampEpochMs": epoch_millis,
        }
    ).encode()
