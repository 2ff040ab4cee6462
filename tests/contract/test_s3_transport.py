"""The S3 transport against a real S3 server; what arrived is read back by somebody else's client."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import AccessDenied, DeliveryError, Interrupted
from s3_file_uploader.transport.s3 import Bandwidth, S3Transport
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from support.deliveries import Courier
from support.s3_transports import MIB, new_file

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.seaweed import SeaweedFS


@asynccontextmanager
async def transport_to(server: SeaweedFS, bucket: str, **settings: Any) -> AsyncIterator[S3Transport]:
    settings.setdefault(
        "credentials",
        CredentialSource(fetch=lambda profile, seconds: (server.access_key, server.secret_key, None, None)),
    )
    transport = S3Transport(Endpoint.of(bucket, server.region, server.endpoint_url), **settings)
    try:
        yield transport
    finally:
        await transport.close()


def is_object(server: SeaweedFS, bucket: str, key: str, path: str) -> bool:
    with open(path, "rb") as file:
        return server.read_object(bucket, key) == file.read()


SIZES = [0, 1, 1000, 256 * 1024, 256 * 1024 + 1, MIB, MIB + 1, 16 * MIB, 16 * MIB + 1, 24 * MIB]


@pytest.mark.parametrize("size", SIZES)
def test_an_object_holds_every_byte_of_its_file(
    seaweed: SeaweedFS, bucket: str, size: int, tmp_path: Path
) -> None:
    path = new_file(tmp_path, size)
    courier = Courier(bucket)

    async def run() -> str:
        async with transport_to(seaweed, bucket) as transport:
            receipt = await transport.deliver(courier.delivery(path, "dir/file"))
            assert (receipt.bucket, receipt.key, receipt.size) == (bucket, "dir/file", size)
            return receipt.checksum

    checksum = asyncio.run(run())
    with open(path, "rb") as file:
        assert seaweed.read_object(bucket, "dir/file") == file.read()
    answer = seaweed.client().head_object(Bucket=bucket, Key="dir/file", ChecksumMode="ENABLED")
    assert checksum == "crc64nvme:" + answer["ChecksumCRC64NVME"]
    assert courier.left_bytes == size
    assert seaweed.open_uploads(bucket) == []


KEYS = [
    "plain.csv",
    "with space.csv",
    "a+b&c=d;e,f.csv",
    "100%.csv",
    "run#1?x=y.csv",
    "[x] {y} 'z' ~!@$^*().csv",
    '"quoted"<angle>|pipe.csv',
    "Grüße/日本語/🚀.csv",
    "x" * 250,
    "new\nline",
]


@pytest.mark.parametrize("key", KEYS)
def test_any_key_names_the_object_it_says(seaweed: SeaweedFS, bucket: str, key: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with transport_to(seaweed, bucket) as transport:
            await transport.deliver(Courier(bucket).delivery(new_file(tmp_path, 10), key))

    asyncio.run(run())
    with open(tmp_path / "file", "rb") as file:
        assert seaweed.read_object(bucket, key) == file.read()


def test_hundreds_of_files_at_once_arrive_each_as_itself(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    files = {f"f{number}": new_file(tmp_path, number * 37, f"f{number}") for number in range(300)}

    async def run() -> None:
        async with transport_to(seaweed, bucket, concurrency=32) as transport:
            courier = Courier(bucket)
            await asyncio.gather(
                *(transport.deliver(courier.delivery(path, key)) for key, path in files.items())
            )

    asyncio.run(run())
    assert seaweed.list_objects(bucket) == {key: os.path.getsize(path) for key, path in files.items()}
    for key in ("f1", "f150", "f299"):
        with open(files[key], "rb") as file:
            assert seaweed.read_object(bucket, key) == file.read()


def test_an_object_is_replaced_as_a_whole(seaweed: SeaweedFS, bucket: str, tmp_path: Path) -> None:
    async def run() -> None:
        async with transport_to(seaweed, bucket) as transport:
            for size in (18 * MIB, 5, 17 * MIB):
                path = new_file(tmp_path, size)
                await transport.deliver(Courier(bucket).delivery(path, "key"))
                assert is_object(seaweed, bucket, "key", path)

    asyncio.run(run())


def test_an_upload_that_was_interrupted_is_continued_by_the_next_process(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    path = new_file(tmp_path, 60 * MIB)
    first, second = Courier(bucket), Courier(bucket)

    async def interrupted() -> None:
        async with transport_to(seaweed, bucket, bandwidth=Bandwidth(40 * MIB)) as transport:
            outcome = transport.deliver(first.delivery(path, "big"))
            await asyncio.wait_for(first.left(45 * MIB), 30)
            await transport.close()
            with pytest.raises(Interrupted):
                await outcome

    async def continued() -> None:
        async with transport_to(seaweed, bucket) as transport:
            await transport.deliver(second.delivery(path, "big", checkpoint=first.saved[-1]))

    asyncio.run(interrupted())
    assert "big" not in seaweed.list_objects(bucket)
    assert len(seaweed.open_uploads(bucket)) == 1
    asyncio.run(continued())
    assert second.left_bytes < 60 * MIB
    with open(path, "rb") as file:
        assert seaweed.read_object(bucket, "big") == file.read()
    assert seaweed.open_uploads(bucket) == []


def test_a_bandwidth_limit_is_held(seaweed: SeaweedFS, bucket: str, tmp_path: Path) -> None:
    """Only that it is not exceeded: how fast a busy machine can be is not for a test to say."""
    rate = 4 * MIB

    async def run() -> float:
        async with transport_to(seaweed, bucket, bandwidth=Bandwidth(rate)) as transport:
            courier = Courier(bucket)
            paths = [new_file(tmp_path, size, str(size)) for size in (MIB, 300_000, 2 * MIB, 1000)]
            began = asyncio.get_running_loop().time()
            await asyncio.gather(*(transport.deliver(courier.delivery(path, path[1:])) for path in paths))
            return asyncio.get_running_loop().time() - began

    assert asyncio.run(run()) > (3 * MIB + 301_000) / rate * 0.95 - 0.1


def test_a_wrong_secret_is_refused_by_the_server(seaweed: SeaweedFS, bucket: str, tmp_path: Path) -> None:
    source = CredentialSource(fetch=lambda profile, seconds: (seaweed.access_key, "wrong", None, None))

    async def run() -> None:
        async with transport_to(seaweed, bucket, credentials=source) as transport:
            await transport.deliver(Courier(bucket).delivery(new_file(tmp_path, 10), "key"))

    with pytest.raises(AccessDenied, match="SignatureDoesNotMatch"):
        asyncio.run(run())
    assert seaweed.list_objects(bucket) == {}


def test_bytes_that_are_not_what_was_announced_are_refused_by_the_server(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    """A file that changes between the two passes over it, as a writer that holds a memory map can do."""
    path = new_file(tmp_path, 2 * MIB)
    looks: list[int] = []

    def on_check() -> None:
        looks.append(1)
        if len(looks) == 2:  # after the checksum, before the first byte
            status = os.stat(path)
            with open(path, "r+b") as file:
                file.seek(MIB)
                file.write(b"!")
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    async def run() -> None:
        async with transport_to(seaweed, bucket) as transport:
            await transport.deliver(Courier(bucket).delivery(path, "key", on_check=on_check))

    with pytest.raises(DeliveryError) as caught:
        asyncio.run(run())
    assert type(caught.value).__name__ in ("FileChanged", "ContentRejected")
    assert seaweed.list_objects(bucket) == {}
