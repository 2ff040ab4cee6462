"""Frames: cuts what arrives into them, and makes those that leave. No I/O.

    length i32, big-endian, of all that follows | operation i8 | payload

A connection begins with one byte 0x01 in each direction, before the first frame. The length is only
compared; memory grows with the bytes that have come. Of a frame that is larger than allowed the first
bytes are kept, so that its sender can be answered, and the rest is passed over.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from stream_manager_local.protocol.errors import Undecodable

__all__ = ["CONNECT_VERSION", "MOST_LENGTH", "Frame", "FrameSplitter", "encode_frame"]

CONNECT_VERSION = 1
MOST_LENGTH = 1 << 30  # all clients refuse to send or take more

_HEADER = struct.Struct(">ib")
_HEAD_BYTES = 4096


class Frame(NamedTuple):
    """`payload` is CBOR; of a frame that was too large only its first 4 KiB, then `is_cut` is true."""

    operation: int
    payload: bytes
    is_cut: bool = False


def encode_frame(operation: int, payload: bytes) -> bytes:
    """The frame, to be handed to the socket in one piece: one client's reader breaks on a split header."""
    assert len(payload) < MOST_LENGTH
    return _HEADER.pack(len(payload) + 1, operation) + payload


class FrameSplitter:
    """`most_bytes` is the largest payload that is kept whole."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._data: bytes | bytearray = b""
        self._at = 0
        self._cut: Frame | None = None
        self._to_skip = 0

    def feed(self, data: bytes) -> None:
        """What has just arrived, however it was cut."""
        if self._at >= len(self._data):
            self._data = data
        else:
            if isinstance(self._data, bytes):
                self._data = bytearray(memoryview(self._data)[self._at :])
            else:
                del self._data[: self._at]
            self._data += data
        self._at = 0

    @property
    def has_rest(self) -> bool:
        """Whether there is more than what `next` has given away: a frame that has yet to become whole."""
        return self._at < len(self._data) or self._cut is not None

    def next(self) -> Frame | None:
        """The next whole frame; None until more has been fed. Raises Undecodable."""
        if self._cut is not None:
            return self._skip()
        data, at = self._data, self._at
        if len(data) - at < _HEADER.size:
            return None
        length, operation = _HEADER.unpack_from(data, at)
        if not 1 <= length <= MOST_LENGTH:
            raise Undecodable(
                f"a frame says that it has {length} bytes: at least 1 and at most {MOST_LENGTH} are allowed"
            )
        start = at + _HEADER.size
        end = start + length - 1
        if length - 1 > self._most:
            return self._begin_skipping(operation, start, length - 1)
        if len(data) < end:
            return None
        self._at = end
        if isinstance(data, bytes):
            return Frame(operation, data[start:end])
        with memoryview(data) as view:
            return Frame(operation, bytes(view[start:end]))

    def _begin_skipping(self, operation: int, start: int, length: int) -> Frame | None:
        head = min(_HEAD_BYTES, length)
        if len(self._data) < start + head:
            return None
        self._cut = Frame(operation, bytes(self._data[start : start + head]), is_cut=True)
        self._to_skip = length
        self._at = start
        return self._skip()

    def _skip(self) -> Frame | None:
        here = min(self._to_skip, len(self._data) - self._at)
        self._at += here
        self._to_skip -= here
        if self._to_skip:
            return None
        cut, self._cut = self._cut, None
        return cut
