from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.transport.s3.crt import combine_crc64nvme, crc32c, crc64nvme, encode_crc64


def test_checksums_have_their_known_values() -> None:
    assert crc64nvme(b"123456789") == 0xAE8B14860A799888
    assert crc64nvme(b"") == 0
    assert crc32c(b"123456789") == 0xE3069283


def test_a_checksum_is_written_as_s3_writes_it() -> None:
    assert encode_crc64(crc64nvme(b"123456789")) == "rosUhgp5mIg="
    assert encode_crc64(0) == "AAAAAAAAAAA="


@given(first=st.binary(max_size=100), second=st.binary(max_size=100))
def test_checksums_of_parts_make_the_checksum_of_the_whole(first: bytes, second: bytes) -> None:
    whole = crc64nvme(first + second)

    assert crc64nvme(second, crc64nvme(first)) == whole
    assert combine_crc64nvme(crc64nvme(first), crc64nvme(second), len(second)) == whole
    assert crc64nvme(memoryview(second), crc64nvme(bytearray(first))) == whole
