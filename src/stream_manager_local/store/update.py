"""What of a stream may be changed, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.definition import OtherExport
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from stream_manager_local.protocol.definition import StreamDefinition

__all__ = ["check_sizes", "check_update"]


def check_sizes(definition: StreamDefinition) -> None:
    """Raises Refused(INVALID_REQUEST) when a segment would be larger than the stream."""
    if definition.segment_size > definition.max_size:
        raise Refused(
            Status.INVALID_REQUEST,
            f"definition.streamSegmentSize is {definition.segment_size}: it must be at most "
            f"definition.maxSize, which is {definition.max_size}",
        )


def check_update(before: StreamDefinition, after: StreamDefinition, total_bytes: int, newest: int) -> None:
    """Raises Refused when a stream that has `total_bytes` bytes cannot become what is asked for."""
    if after.persistence != before.persistence:
        raise Refused(
            Status.UPDATE_NOT_ALLOWED,
            f"definition.persistence cannot be changed: stream {before.name!r} has "
            f"{before.persistence.name} ({int(before.persistence)}). Send that, or delete the stream first",
        )
    check_sizes(after)
    if after.max_size < total_bytes:
        raise Refused(
            Status.UPDATE_FAILED,
            f"definition.maxSize is {after.max_size}, but stream {before.name!r} has {total_bytes} bytes now: "
            "it must be at least that",
        )
    known = {export.identifier for export in before.exports}
    for export in after.exports:
        if isinstance(export, OtherExport) and export.identifier not in known:
            _check_start(export, newest)


def _check_start(export: OtherExport, newest: int) -> None:
    start = export.wire.get("startSequenceNumber")
    if isinstance(start, int) and start and start >= newest:
        raise Refused(
            Status.INVALID_REQUEST,
            f"startSequenceNumber of the export {export.identifier!r} is {start}: it must be less than "
            f"the newest sequence number of the stream, which is {newest}",
        )
