"""The framing of the fake nucleus, held against values worked out by hand and against damage."""

from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.nucleus.frames import DamagedFrame, Frame, FrameTooLong, Header, HeaderKind, Unframing, encode

ALL_KINDS = {
    "true": Header(HeaderKind.TRUE, True),
    "false": Header(HeaderKind.FALSE, False),
    "byte": Header(HeaderKind.BYTE, -5),
    "int16": Header(HeaderKind.INT16, -300),
    "int32": Header.int32(70_000),
    "int64": Header(HeaderKind.INT64, -(1 << 40)),
    "bytes": Header(HeaderKind.BYTES, b"\x00\xff"),
    "string": Header.string("é"),
    "timestamp": Header(HeaderKind.TIMESTAMP, 1_700_000_000_000),
    "uuid": Header(HeaderKind.UUID, UUID(int=7)),
}
FRAME = Frame(ALL_KINDS, b'{"a": 1}')


def test_an_empty_frame_is_its_lengths_and_two_crcs() -> None:
    # A known example of the format: 16 bytes in all, none of headers.
    assert encode(Frame()) == bytes.fromhex("000000100000000005c248eb7d98c8ff")


def test_a_header_of_every_kind_comes_back_as_it_was() -> None:
    assert Unframing().feed(encode(FRAME)) == [FRAME]


@given(st.lists(st.binary(max_size=40), max_size=4), st.integers(1, 30))
def test_frames_come_out_whole_however_they_are_cut(payloads: list[bytes], piece: int) -> None:
    frames = [Frame({":stream-id": Header.int32(n)}, payload) for n, payload in enumerate(payloads)]
    raw, unframing = b"".join(map(encode, frames)), Unframing()
    found = [frame for at in range(0, len(raw), piece) for frame in unframing.feed(raw[at : at + piece])]
    assert found == frames


@pytest.mark.parametrize("at", range(len(encode(FRAME))))
def test_a_frame_with_one_damaged_byte_is_never_taken(at: int) -> None:
    damaged = bytearray(encode(FRAME))
    damaged[at] ^= 0x40
    with pytest.raises(DamagedFrame):
        Unframing().feed(bytes(damaged))


def test_a_frame_that_is_too_long_is_refused_by_its_first_bytes() -> None:
    exact = encode(Frame(payload=b"x" * 84))
    assert len(Unframing(most_bytes=len(exact) - 12).feed(exact)) == 1
    with pytest.raises(FrameTooLong):
        Unframing(most_bytes=len(exact) - 13).feed(exact[:12])


def test_a_header_is_read_as_what_it_is_only() -> None:
    assert (FRAME.text("string"), FRAME.text("int32"), FRAME.text("none")) == ("é", None, None)
    assert (FRAME.number("int32"), FRAME.number("int64"), FRAME.number("none")) == (70_000, None, None)
