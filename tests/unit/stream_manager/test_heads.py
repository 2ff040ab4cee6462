"""Verify `head`: what the store says of an object, against the file."""

from __future__ import annotations

import asyncio
import base64
import os
import zlib
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import AccessDenied, DeliveryError, FileChanged, Refused, Unproven, Unreachable
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.transport.s3.checksums import CRC32C, CRC64NVME
from s3_file_uploader.transport.stream_manager.heads import Heads, compare
from support.deliveries import PlainSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.deliveries import PlainFile

CONTENT = bytes(range(256)) * 3000  # more than is read at a time


def crc32(content: bytes) -> str:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


OF_CONTENT: dict[str, Callable[[bytes], str]] = {
    "crc64nvme": CRC64NVME.of,
    "crc32c": CRC32C.of,
    "crc32": crc32,
}


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[PlainFile]:
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    file = PlainSource(str(path), Fingerprint.of(os.stat(path))).open()
    yield file
    file.close()


def headers(**checksums: str) -> dict[str, str]:
    told = {f"x-amz-checksum-{name}": value for name, value in checksums.items()}
    return {"content-length": str(len(CONTENT)), **told}


@pytest.mark.parametrize("name", OF_CONTENT)
def test_a_checksum_over_the_whole_object_must_be_the_files(opened: PlainFile, name: str) -> None:
    value, other = OF_CONTENT[name](CONTENT), OF_CONTENT[name](CONTENT[:-1] + b"x")
    assert compare(headers(**{name: value}), opened) == f"{name}:{value}"
    with pytest.raises(Unproven, match=f"the object's {name} is"):
        compare(headers(**{name: other}), opened)


def test_of_several_the_strongest_is_compared(opened: PlainFile) -> None:
    all_of_them = {name: of(CONTENT) for name, of in OF_CONTENT.items()}
    assert compare(headers(**all_of_them), opened).startswith("crc64nvme:")


@pytest.mark.parametrize("told", [{}, {"crc32": "AAAAAA==-3"}, {"sha256": "x"}, {"crc64nvme": ""}])
def test_without_one_that_can_be_compared_the_size_must_do(opened: PlainFile, told: dict[str, str]) -> None:
    assert compare(headers(**told), opened) == ""


@pytest.mark.parametrize("length", ["", "0", str(len(CONTENT) - 1), "many"])
def test_another_size_is_another_object(opened: PlainFile, length: str) -> None:
    with pytest.raises(Unproven, match=f"the file {len(CONTENT)}"):
        compare({**headers(crc32=crc32(CONTENT)), "content-length": length}, opened)


def test_a_file_that_has_become_shorter_meanwhile_has_changed(opened: PlainFile) -> None:
    os.truncate(f"/proc/self/fd/{opened.fileno()}", 10)
    with pytest.raises(FileChanged):
        compare(headers(crc32=crc32(CONTENT)), opened)


class Way:
    """To a store that answers with this error."""

    def __init__(self, error: DeliveryError) -> None:
        self._error = error

    async def ask(self, errand: Callable[[Any], Any]) -> None:
        raise self._error


@pytest.mark.parametrize("code", ["404", "NoSuchKey"])
def test_an_object_that_is_not_there_is_no_proof(code: str) -> None:
    with pytest.raises(Unproven, match="the store has no such object") as caught:
        asyncio.run(Heads(Way(Refused("not there", code=code))).comparison("key"))
    assert caught.value.advice


@pytest.mark.parametrize("error", [AccessDenied("no", code="403"), Unreachable("gone")])
def test_a_store_that_does_not_say_is_no_proof_of_anything(error: DeliveryError) -> None:
    with pytest.raises(type(error)) as caught:
        asyncio.run(Heads(Way(error)).comparison("key"))
    assert caught.value is error
