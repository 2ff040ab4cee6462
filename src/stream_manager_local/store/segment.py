"""A segment: a run of messages that is written at its end, read anywhere, and removed as a whole.

Sequence numbers are those of the stream; inside the segment a message has an ordinal, from 0 on.
Whatever is read is checked. A damaged place costs the messages in it and no other: the reader looks
for the next whole record behind it, and remembers where that is.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

from stream_manager_local.store.index import STRIDE_BYTES, SparseIndex
from stream_manager_local.store.record import (
    OVERHEAD_BYTES,
    Record,
    Window,
    encode_header,
    next_record,
    seed_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_manager_local.store.medium import Medium

__all__ = ["Batch", "Message", "Recovered", "Segment", "Unreadable"]


class Message(NamedTuple):
    """One message of a stream."""

    sequence_number: int
    ingest_time_millis: int
    payload: bytes


class Batch:
    """Messages that are collected: at most `most`, with no more than `most_bytes` of payload but for the first."""

    __slots__ = ("_bytes_left", "_most", "messages")

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._bytes_left = most_bytes
        self.messages: list[Message] = []

    def add(self, message: Message) -> bool:
        """False when it has no room any more."""
        self._bytes_left -= len(message.payload)
        if self.messages and (self._bytes_left < 0 or len(self.messages) >= self._most):
            return False
        self.messages.append(message)
        return True

    @property
    def is_full(self) -> bool:
        return len(self.messages) >= self._most


class Unreadable(Exception):
    """The messages numbered from `first` up to, not including, `next_readable` are damaged."""

    def __init__(self, first: int, next_readable: int) -> None:
        super().__init__(f"messages {first} to {next_readable - 1} are damaged")
        self.first = first
        self.next_readable = next_readable


class Recovered(NamedTuple):
    """What was wrong with a segment: bytes cut from its end, messages lost before it."""

    cut_bytes: int
    lost_messages: int


class _Hole(NamedTuple):
    """Damage: the next whole record is numbered `ordinal`, and begins at `offset`."""

    first: int
    ordinal: int
    offset: int


class Segment:
    """The messages `base` to `base + count - 1`, in the first `size` bytes of the medium.

    `limit` is the most bytes that it may take. `newest_millis` is when its last message came in, None
    while that is not known; `newest_monotonic` the same on the monotonic clock, for a message that came
    in since the process runs.
    """

    # A stream of 256 MiB may have a quarter of a million of them.
    __slots__ = (
        "_holes",
        "_index",
        "_last_read",
        "_seed",
        "base",
        "count",
        "limit",
        "medium",
        "newest_millis",
        "newest_monotonic",
        "size",
    )

    def __init__(self, medium: Medium, base: int, limit: int, *, count: int = 0, size: int = 0) -> None:
        self.medium = medium
        self.base = base
        self.limit = limit
        self.count = count
        self.size = size
        self.newest_millis: int | None = None
        self.newest_monotonic: float | None = None
        self._seed = seed_of(base)
        self._index: SparseIndex | None = None
        self._holes: dict[int, _Hole] | None = None
        self._last_read = (0, 0)  # (ordinal, offset): who reads in order goes on from there

    @property
    def end(self) -> int:
        """The sequence number behind its last one."""
        return self.base + self.count

    @property
    def mark_count(self) -> int:
        """How many places it remembers: what the index costs."""
        return 0 if self._index is None else len(self._index)

    def append(self, payload: bytes, time_millis: int) -> None:
        """Write one message at the end. Raises OSError, and is as before then."""
        header = encode_header(self._seed, self.count, time_millis, payload)
        self.medium.write(header, payload, self.size)
        self._saw(self.count, self.size)
        self.count += 1
        self.size += OVERHEAD_BYTES + len(payload)
        self.newest_millis = time_millis

    def fill(self, batch: Batch, start: int) -> bool:
        """Add the messages from the sequence number `start` on, or all; whether there is room for those behind.

        Raises Unreadable at the first that is damaged, and OSError; the batch keeps what it has got.
        """
        base, first = self.base, max(0, start - self.base)
        for item in self._items(*self._seek(first)):
            if isinstance(item, _Hole):
                if item.ordinal > first:
                    raise Unreadable(max(start, base + item.first), base + item.ordinal)
            elif item.ordinal >= first:
                if not batch.add(Message(base + item.ordinal, item.time_millis, item.payload)):
                    return False
                self._last_read = (item.ordinal + 1, item.end)
                if batch.is_full:
                    return False
        return True

    def recover(self, size: int) -> Recovered:
        """Find out what is in the first `size` bytes of the medium; cut off what is no message at the end.

        Raises OSError.
        """
        self.count, self.size = sys.maxsize, size
        ordinal = end = lost = 0
        for item in self._items(0, 0):
            if isinstance(item, Record):
                ordinal, end = item.ordinal + 1, item.end
                self.newest_millis = item.time_millis
            elif item.ordinal < self.count:
                lost += item.ordinal - item.first
            elif self._holes is not None:
                self._holes.pop(item.first, None)
        self.count, self.size = ordinal, end
        if end < size:
            self.medium.truncate(end)
        return Recovered(size - end, lost)

    def first_millis(self) -> int | None:
        """When its first message came in; None when that cannot be read."""
        try:
            record = Window(self.medium, self.size, self._seed).record(0, 0)
        except OSError:
            return None
        return None if record is None else record.time_millis

    def last_millis(self) -> int | None:
        """When its last message came in: reads all of it the first time. None when that cannot be read."""
        if self.newest_millis is None:
            try:
                for item in self._items(0, 0):
                    if isinstance(item, Record):
                        self.newest_millis = item.time_millis
            except OSError:
                return None
        return self.newest_millis

    def _saw(self, ordinal: int, offset: int) -> None:
        if offset >= STRIDE_BYTES:
            if self._index is None:
                self._index = SparseIndex()
            self._index.saw(ordinal, offset)

    def _seek(self, ordinal: int) -> tuple[int, int]:
        """(ordinal, offset) of a record at or before the one asked for, as near as is known."""
        marked = (0, 0) if self._index is None else self._index.at_or_before(ordinal)
        return self._last_read if marked[0] < self._last_read[0] <= ordinal else marked

    def _items(self, ordinal: int, offset: int) -> Iterator[Record | _Hole]:
        """What stands from a known record on, to the end. Raises OSError."""
        window = Window(self.medium, self.size, self._seed)
        while ordinal < self.count and offset < self.size:
            record = window.record(offset, ordinal)
            if record is None:
                hole = self._hole(ordinal, offset)
                yield hole
                ordinal, offset = hole.ordinal, hole.offset
            else:
                self._saw(ordinal, offset)
                yield record
                ordinal, offset = ordinal + 1, record.end
        if ordinal < self.count < sys.maxsize:
            yield _Hole(ordinal, self.count, self.size)  # a power cut took the end

    def _hole(self, ordinal: int, offset: int) -> _Hole:
        if self._holes is None:
            self._holes = {}
        hole = self._holes.get(ordinal)
        if hole is None:
            record = next_record(self.medium, self.size, self._seed, offset, ordinal)
            if record is None or record.ordinal >= self.count:
                hole = _Hole(ordinal, self.count, self.size)
            else:
                hole = _Hole(ordinal, record.ordinal, record.offset)
            self._holes[ordinal] = hole
        return hole
