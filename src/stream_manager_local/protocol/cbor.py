"""CBOR (RFC 8949), as it stands in frames.

`head` is for what is written so often that even the encoder, which is C, takes too long.
"""

import struct

from cbor2 import CBORDecoder, dumps, loads

__all__ = ["INTEGER", "TEXT", "CBORDecoder", "dumps", "head", "loads"]

INTEGER, TEXT = 0x00, 0x60  # the kinds that `head` is used for

_INSIDE, _ONE, _TWO, _FOUR, _EIGHT = 0x17, 0x18, 0x19, 0x1A, 0x1B
_PACK_2, _PACK_4, _PACK_8 = struct.Struct(">BH").pack, struct.Struct(">BI").pack, struct.Struct(">BQ").pack


def head(kind: int, value: int) -> bytes:
    """What an integer is, or what stands before a text of `value` bytes; from 0 to 2^64 - 1."""
    if value <= _INSIDE:
        return bytes((kind | value,))
    if value <= 0xFF:  # noqa: PLR2004  # as many bytes as it needs
        return bytes((kind | _ONE, value))
    if value <= 0xFFFF:  # noqa: PLR2004  # two bytes
        return _PACK_2(kind | _TWO, value)
    if value <= 0xFFFFFFFF:  # noqa: PLR2004  # four bytes
        return _PACK_4(kind | _FOUR, value)
    return _PACK_8(kind | _EIGHT, value)
