"""Finding a stream on the disk again, in whatever state the last process or a power cut left it.

All segments but the last have a follower that says how many messages they have, and are read when
somebody reads. The last one is gone through: behind its last whole message, the rest of one that was
being written is cut off.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from stream_manager_local.store.cursors import Cursors
from stream_manager_local.store.folder import Broken
from stream_manager_local.store.segment import Segment
from stream_manager_local.store.stream import Stream

if TYPE_CHECKING:
    from stream_manager_local.protocol.definition import StreamDefinition
    from stream_manager_local.store.folder import Folder
    from stream_manager_local.store.shared import Shared

__all__ = ["open_stream"]


def open_stream(folder: Folder, shared: Shared) -> Stream:
    """The stream whose folder this is. Raises Broken and OSError; the folder is as before then."""
    definition = folder.read_definition()
    segments = _segments(folder, definition)
    cursors = _cursors(folder, definition, segments[-1].end)
    return Stream(definition, shared, folder, segments, cursors)


def _segments(folder: Folder, definition: StreamDefinition) -> list[Segment]:
    bases = folder.segment_bases()
    if not bases:
        raise Broken("it has no segment: what it had, and how its messages were numbered, is lost")
    segments = []
    for base, follower in itertools.pairwise(bases):
        medium = folder.medium(base)
        limit = definition.segment_size
        segments.append(Segment(medium, base, limit, count=follower - base, size=medium.size()))
    segments.append(_last(folder, bases[-1], definition.segment_size))
    return segments


def _last(folder: Folder, base: int, limit: int) -> Segment:
    medium = folder.medium(base)
    segment = Segment(medium, base, limit)
    recovered = segment.recover(medium.size())
    if recovered.cut_bytes:
        folder.report(
            f"the last {recovered.cut_bytes} bytes were no whole message and are cut off; "
            f"the next message gets the number {segment.end}"
        )
    if recovered.lost_messages:
        folder.report(f"{recovered.lost_messages} messages are damaged on the disk")
    return segment


def _cursors(folder: Folder, definition: StreamDefinition, end: int) -> Cursors:
    identifiers = [export.identifier for export in definition.exports]
    data = folder.read_cursors()
    if data is None:
        return Cursors(identifiers)
    try:
        return Cursors.from_json(data, identifiers, end)
    except ValueError as error:
        folder.report(f"how far its exports were cannot be understood, all begin anew: {error}")
        return Cursors(identifiers)
