"""The event-stream framing that a nucleus speaks on its socket, written from the format and nothing else.

Nothing of AWS's client is used: were the same code at both ends, a mistake in it would agree with itself.
A frame is a prelude (total length, length of the headers, CRC of both), headers, a payload and a CRC of
all before it. All numbers are big-endian.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from enum import IntEnum
from uuid import UUID

__all__ = ["DamagedFrame", "Frame", "FrameTooLong", "Header", "HeaderKind", "Unframing", "encode"]

_PRELUDE = struct.Struct(">III")
_CRC = struct.Struct(">I")
_LEAST_BYTES = _PRELUDE.size + _CRC.size
# What AWS's own library takes as the most.
_MOST_BYTES = 24 * 1024 * 1024
_MOST_HEADER_BYTES = 128 * 1024

HeaderValue = bool | int | bytes | str | UUID


class HeaderKind(IntEnum):
    TRUE = 0
    FALSE = 1
    BYTE = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


_NUMBERS = {
    HeaderKind.BYTE: struct.Struct(">b"),
    HeaderKind.INT16: struct.Struct(">h"),
    HeaderKind.INT32: struct.Struct(">i"),
    HeaderKind.INT64: struct.Struct(">q"),
    HeaderKind.TIMESTAMP: struct.Struct(">q"),
}


class DamagedFrame(Exception):
    """What arrived is no frame: its lengths, its headers or one of its CRCs are wrong."""


class FrameTooLong(DamagedFrame):
    """It announces more bytes than this nucleus reads."""


@dataclass(frozen=True)
class Header:
    kind: HeaderKind
    value: HeaderValue

    @classmethod
    def string(cls, value: str) -> Header:
        return cls(HeaderKind.STRING, value)

    @classmethod
    def int32(cls, value: int) -> Header:
        return cls(HeaderKind.INT32, value)


@dataclass(frozen=True)
class Frame:
    headers: dict[str, Header] = field(default_factory=dict)
    payload: bytes = b""

    def text(self, name: str) -> str | None:
        """A header that is a string."""
        header = self.headers.get(name)
        return str(header.value) if header is not None and header.kind == HeaderKind.STRING else None

    def number(self, name: str) -> int | None:
        """A header that is an int32, as all those of the protocol's own are."""
        header = self.headers.get(name)
        return int(header.value) if header is not None and header.kind == HeaderKind.INT32 else None


def encode(frame: Frame) -> bytes:
    headers = b"".join(_encode_header(name, header) for name, header in frame.headers.items())
    total = _LEAST_BYTES + len(headers) + len(frame.payload)
    lengths = struct.pack(">II", total, len(headers))
    before = lengths + _CRC.pack(zlib.crc32(lengths)) + headers + frame.payload
    return before + _CRC.pack(zlib.crc32(before))


def _encode_header(name: str, header: Header) -> bytes:
    raw = name.encode()
    start = bytes([len(raw)]) + raw + bytes([header.kind])
    if header.kind in {HeaderKind.TRUE, HeaderKind.FALSE}:
        return start
    if header.kind in _NUMBERS:
        return start + _NUMBERS[header.kind].pack(header.value)
    if isinstance(header.value, UUID):
        return start + header.value.bytes
    value = header.value.encode() if isinstance(header.value, str) else header.value
    assert isinstance(value, bytes)
    return start + struct.pack(">H", len(value)) + value


class Unframing:
    """Frames out of bytes that come in any pieces. `most_bytes` is of what follows the prelude."""

    def __init__(self, most_bytes: int | None = None) -> None:
        self._most_bytes = _MOST_BYTES if most_bytes is None else most_bytes
        self._held = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete now. A frame is judged as soon as its prelude is there."""
        self._held += data
        found = []
        while len(self._held) >= _PRELUDE.size:
            total, headers = self._measure()
            if len(self._held) < total:
                break
            raw = bytes(self._held[:total])
            del self._held[:total]
            found.append(_decode(raw, headers))
        return found

    def _measure(self) -> tuple[int, int]:
        total, headers, crc = _PRELUDE.unpack_from(self._held)
        if crc != zlib.crc32(bytes(self._held[:8])):
            raise DamagedFrame("the CRC of the prelude is wrong")
        if total < _LEAST_BYTES + headers or headers > _MOST_HEADER_BYTES:
            raise DamagedFrame(f"lengths that cannot be: {total} bytes with {headers} of headers")
        if total - _PRELUDE.size > self._most_bytes:
            raise FrameTooLong(f"{total} bytes")
        return total, headers


def _decode(raw: bytes, headers_bytes: int) -> Frame:
    (crc,) = _CRC.unpack(raw[-_CRC.size :])
    if crc != zlib.crc32(raw[: -_CRC.size]):
        raise DamagedFrame("the CRC of the message is wrong")
    end = _PRELUDE.size + headers_bytes
    try:
        headers = _decode_headers(raw[_PRELUDE.size : end])
    except (IndexError, ValueError, struct.error) as error:
        raise DamagedFrame(f"headers that cannot be read: {error}") from error
    return Frame(headers, raw[end : -_CRC.size])


def _decode_headers(raw: bytes) -> dict[str, Header]:
    found: dict[str, Header] = {}
    at = 0
    while at < len(raw):
        name_end = at + 1 + raw[at]
        name = _slice(raw, at + 1, name_end).decode()
        kind = HeaderKind(raw[name_end])
        value, at = _decode_value(raw, kind, name_end + 1)
        found[name] = Header(kind, value)
    return found


def _decode_value(raw: bytes, kind: HeaderKind, at: int) -> tuple[HeaderValue, int]:
    if kind in {HeaderKind.TRUE, HeaderKind.FALSE}:
        return kind == HeaderKind.TRUE, at
    if kind in _NUMBERS:
        number = _NUMBERS[kind]
        return number.unpack_from(raw, at)[0], at + number.size
    if kind == HeaderKind.UUID:
        return UUID(bytes=_slice(raw, at, at + 16)), at + 16
    (length,) = struct.unpack_from(">H", raw, at)
    value = _slice(raw, at + 2, at + 2 + length)
    return (value.decode() if kind == HeaderKind.STRING else value), at + 2 + length


def _slice(raw: bytes, start: int, end: int) -> bytes:
    if end > len(raw):
        raise ValueError("cut short")
    return raw[start:end]
