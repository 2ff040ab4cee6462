"""Each checksum against its published check value, in pieces, and put together from parts."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.errors import Unproven
from s3_file_uploader.transport.s3.checksums import CHECKSUMS, CRC32C, CRC64NVME, MD5, Checksum, check_echo

CHECK = b"123456789"


def crc(value: int, width: int) -> str:
    return base64.b64encode(value.to_bytes(width, "big")).decode()


@pytest.mark.parametrize(
    ("checksum", "value"),
    [
        (CRC64NVME, crc(0xAE8B14860A799888, 8)),
        (CRC32C, crc(0xE3069283, 4)),
        (MD5, "25f9e794323b453885f5181f1b624d0b"),
    ],
    ids=["crc64nvme", "crc32c", "md5"],
)
def test_the_published_check_value(checksum: Checksum, value: str) -> None:
    assert checksum.of(CHECK) == value


@pytest.mark.parametrize("name", CHECKSUMS)
@given(pieces=st.lists(st.binary(max_size=50), max_size=5))
def test_pieces_give_what_the_whole_gives(name: str, pieces: list[bytes]) -> None:
    running = CHECKSUMS[name].running()
    for piece in pieces:
        running.update(piece)
    assert running.text() == CHECKSUMS[name].of(b"".join(pieces))


@pytest.mark.parametrize("checksum", [CRC64NVME, CRC32C], ids=["crc64nvme", "crc32c"])
@given(parts=st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_the_crc_of_an_object_is_put_together_from_its_parts(checksum: Checksum, parts: list[bytes]) -> None:
    together = checksum.whole([(checksum.of(part), len(part)) for part in parts])
    assert together == checksum.of(b"".join(parts))


def test_the_etag_of_an_object_in_parts_is_the_md5_of_their_md5s() -> None:
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in (b"one", b"two"))
    expected = hashlib.md5(digests, usedforsecurity=False).hexdigest() + "-2"
    assert MD5.whole([(MD5.of(b"one"), 3), (MD5.of(b"two"), 3)]) == expected


def test_content_md5_is_in_base64_and_the_etag_in_hexadecimal_digits() -> None:
    assert MD5.announced(MD5.of(CHECK)) == {"content-md5": "JfnnlDI7RTiF9RgfG2JNCw=="}
    assert MD5.echo({"etag": '"25f9e794323b453885f5181f1b624d0b"'}) == MD5.of(CHECK)


def test_a_receipt_says_which_way_it_was_proven() -> None:
    assert {name: checksum.receipt("value", 9) for name, checksum in CHECKSUMS.items()} == {
        "crc64nvme": "crc64nvme:value",
        "crc32c": "crc32c:value",
        "md5": "md5:value",
        "off": "size:9",
    }


@pytest.mark.parametrize("checksum", [CRC64NVME, CRC32C, MD5], ids=["crc64nvme", "crc32c", "md5"])
def test_a_wrong_or_missing_echo_proves_nothing(checksum: Checksum) -> None:
    value = checksum.of(CHECK)
    check_echo(checksum, value, value)
    with pytest.raises(Unproven, match="did not confirm"):
        check_echo(checksum, "", value)
    with pytest.raises(Unproven, match="other bytes"):
        check_echo(checksum, checksum.of(b"other"), value)
