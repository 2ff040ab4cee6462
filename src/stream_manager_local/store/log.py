"""The segments of one stream, oldest first; the last one grows."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from stream_manager_local.store.segment import Batch, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_manager_local.store.segment import Message, Segment

__all__ = ["Log", "messages_of"]

_BATCH = 1000
_BATCH_BYTES = 1 << 20


class Log:
    """Messages by their sequence numbers. There is always one segment, which may be empty."""

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._bases = [segment.base for segment in segments]
        self.total_bytes = sum(segment.size for segment in segments)

    @property
    def segments(self) -> list[Segment]:
        """All of them; not to be changed."""
        return self._segments

    @property
    def active(self) -> Segment:
        """The one that grows."""
        return self._segments[-1]

    @property
    def oldest(self) -> int:
        return self._bases[0]

    @property
    def end(self) -> int:
        """The sequence number that the next message gets."""
        return self._segments[-1].end

    def append(self, payload: bytes, time_millis: int) -> None:
        """Raises OSError, and is as before then."""
        active = self._segments[-1]
        before = active.size
        active.append(payload, time_millis)
        self.total_bytes += active.size - before

    def read(self, start: int, most: int, most_bytes: int) -> list[Message]:
        """Messages from `start` on, or from the oldest. Raises Unreadable and OSError, see Segment."""
        start = max(start, self._bases[0])
        batch = Batch(most, most_bytes)
        place = bisect_right(self._bases, start) - 1
        try:
            while place < len(self._segments) and self._segments[place].fill(batch, start):
                place += 1
        except Unreadable:
            if not batch.messages:
                raise
        return batch.messages

    def last_millis(self) -> int | None:
        """When the last message came in; None before the first, and when that cannot be read."""
        for segment in reversed(self._segments[-2:]):
            if segment.count:
                return segment.last_millis()
        return None

    def roll(self, segment: Segment) -> None:
        """Go on in this segment, which is new."""
        self._segments.append(segment)
        self._bases.append(segment.base)

    def drop_oldest(self) -> Segment:
        """Take the oldest segment out; it is the caller's to remove. Never the last one."""
        segment = self._segments.pop(0)
        del self._bases[0]
        self.total_bytes -= segment.size
        return segment


def messages_of(segment: Segment) -> Iterator[Message]:
    """All that can be read of a segment."""
    start = segment.base
    while start < segment.end:
        batch = Batch(_BATCH, _BATCH_BYTES)
        try:
            segment.fill(batch, start)
        except Unreadable as damage:
            start = damage.next_readable
            continue
        except OSError:
            return
        yield from batch.messages
        start = batch.messages[-1].sequence_number + 1
