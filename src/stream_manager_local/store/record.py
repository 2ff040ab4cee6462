"""How one message stands in a segment: a header of 20 bytes, then its payload.

    crc32 u32 | length u32 | ordinal u32 | ingest time u64, ms since the epoch | payload

All little-endian. The checksum covers everything behind it and is seeded with the sequence number that
the segment begins with, so that neither a record of another place nor a run of zeros, which a power cut
leaves, is taken for a message. The ordinal counts from 0 in each segment; it lets a reader find its
place again behind damage. No message is empty, hence no record has the length 0.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stream_manager_local.store.medium import Medium

__all__ = ["OVERHEAD_BYTES", "Record", "Window", "encode_header", "next_record", "seed_of"]

_HEADER = struct.Struct("<IIIQ")
_CHECKSUM = struct.Struct("<I")
_COVERED = struct.Struct("<IIQ")
_BASE = struct.Struct("<Q")

OVERHEAD_BYTES = _HEADER.size

_FIRST_CHUNK_BYTES = 16 * 1024
_MOST_CHUNK_BYTES = 1 << 20

# How far behind a damaged record the next whole one is looked for, and how many places are tried.
# Looking through all of it takes a few tenths of a second, once for each damaged place.
_SEARCH_BYTES = 1 << 20
_MOST_CANDIDATES = 1000


class Record(NamedTuple):
    """A message, and where it begins and ends in its segment."""

    ordinal: int
    offset: int
    end: int
    time_millis: int
    payload: bytes


def seed_of(base: int) -> int:
    """What the checksums of a segment start from; `base` is its first sequence number."""
    return zlib.crc32(_BASE.pack(base))


def encode_header(seed: int, ordinal: int, time_millis: int, payload: bytes) -> bytes:
    """The 20 bytes that stand before `payload`."""
    covered = _COVERED.pack(len(payload), ordinal, time_millis)
    return _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(covered, seed))) + covered


class Window:
    """Looks at the records of a segment of `size` bytes, a chunk at a time."""

    def __init__(self, medium: Medium, size: int, seed: int) -> None:
        self._medium = medium
        self._size = size
        self._seed = seed
        self._chunk = b""
        self._view = memoryview(b"")
        self._chunk_at = 0
        self._chunk_bytes = _FIRST_CHUNK_BYTES

    def record(self, offset: int, ordinal: int) -> Record | None:
        """The record at `offset`; None when it is not a whole one, numbered `ordinal`. Raises OSError."""
        at = self._reach(offset, OVERHEAD_BYTES)
        if at < 0:
            return None
        checksum, length, found, time_millis = _HEADER.unpack_from(self._chunk, at)
        if found != ordinal or not length:
            return None
        at = self._reach(offset, OVERHEAD_BYTES + length)
        if at < 0:
            return None
        end = at + OVERHEAD_BYTES + length
        if zlib.crc32(self._view[at + _CHECKSUM.size : end], self._seed) != checksum:
            return None
        payload = self._chunk[at + OVERHEAD_BYTES : end]
        return Record(ordinal, offset, offset + OVERHEAD_BYTES + length, time_millis, payload)

    def length(self, offset: int) -> int:
        """What the header at `offset` says of its payload, be it true or not; 0 when there is none."""
        at = self._reach(offset, OVERHEAD_BYTES)
        return 0 if at < 0 else int(_HEADER.unpack_from(self._chunk, at)[1])

    def _reach(self, offset: int, count: int) -> int:
        """Where in the chunk `offset` is, once the `count` bytes from there are in it; -1: there are none."""
        at = offset - self._chunk_at
        if at >= 0 and at + count <= len(self._chunk):
            return at
        if offset + count > self._size:
            return -1
        wanted = min(max(count, self._chunk_bytes), self._size - offset)
        self._chunk = self._medium.read(offset, wanted)
        self._view = memoryview(self._chunk)
        self._chunk_at = offset
        self._chunk_bytes = min(2 * self._chunk_bytes, _MOST_CHUNK_BYTES)
        return 0 if count <= len(self._chunk) else -1


def next_record(medium: Medium, size: int, seed: int, offset: int, ordinal: int) -> Record | None:
    """The first whole record behind a damaged one, which is numbered `ordinal` and begins at `offset`.

    None when there is none within a mebibyte. Raises OSError.
    """
    window = Window(medium, size, seed)
    behind = offset + OVERHEAD_BYTES + window.length(offset)
    record = window.record(behind, ordinal + 1)
    if record is not None:
        return record
    found = medium.read(offset, min(_SEARCH_BYTES, size - offset))
    for position, candidate in _candidates(found, ordinal, size - offset):
        record = window.record(offset + position, candidate)
        if record is not None:
            return record
    return None


def _candidates(found: bytes, ordinal: int, room: int) -> Iterator[tuple[int, int]]:
    """(position, ordinal) of what may be a record in the bytes `found`, which begin with a damaged one.

    A record is not numbered higher than the bytes before it allow, and ends in the `room` bytes that
    the segment still has: hardly anything but a record looks like that.
    """
    count = 0
    unpack = _HEADER.unpack_from
    least = OVERHEAD_BYTES + 1
    for position in range(least, len(found) - OVERHEAD_BYTES):
        _, length, candidate, _ = unpack(found, position)
        if 0 < candidate - ordinal <= position // least and 0 < length <= room - position - OVERHEAD_BYTES:
            yield position, candidate
            count += 1
            if count == _MOST_CANDIDATES:
                return
