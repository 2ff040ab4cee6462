"""What DescribeMessageStream says of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_manager_local.store import ExportStatus, Stream

__all__ = ["describe"]


def describe(stream: Stream) -> dict[str, object]:
    """The value of `messageStreamInfo`. An export that has sent nothing is at sequence number -1."""
    return {
        "definition": stream.definition.to_wire(),
        "storageStatus": {
            "oldestSequenceNumber": stream.oldest,
            "newestSequenceNumber": stream.newest,
            "totalBytes": stream.total_bytes,
        },
        "exportStatuses": [
            _export_status(stream.export_status(export.identifier)) for export in stream.definition.exports
        ],
    }


def _export_status(status: ExportStatus) -> dict[str, object]:
    wire: dict[str, object] = {
        "exportConfigIdentifier": status.identifier,
        "lastExportedSequenceNumber": status.last_exported,
    }
    if status.last_export_millis is not None:
        wire["lastExportTime"] = status.last_export_millis
    if status.error_message is not None:
        wire["errorMessage"] = status.error_message
    wire["exportedBytesFromStream"] = status.exported_bytes
    wire["exportedMessagesCount"] = status.exported_messages
    return wire
