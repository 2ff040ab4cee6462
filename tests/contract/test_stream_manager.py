"""The stream-manager transport over stream-manager-local, with a real store behind it, or a bad one."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.errors import AccessDenied, DeliveryError, Misconfigured, Unproven
from s3_file_uploader.transport.registry import opener
from support.deliveries import Courier
from support.local_stream_manager import start_local_stream_manager
from support.scripted_s3 import Line, ScriptedS3
from support.stream_manager_lanes import open_lane
from support.stream_manager_place import settings_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine
    from pathlib import Path

    from s3_file_uploader.model import Receipt
    from s3_file_uploader.transport.contract import Transport
    from support.local_stream_manager import LocalStreamManager
    from support.seaweed import SeaweedFS


def bounded(work: Coroutine[Any, Any, Any]) -> Any:
    async def run() -> Any:
        return await asyncio.wait_for(work, 60)

    return asyncio.run(run())


@asynccontextmanager
async def opened(port: int, folder: Path, bucket: str, **more: Any) -> AsyncIterator[Transport]:
    """As the program opens it, from settings."""
    rule = Rule(
        name="rule",
        path_name=str(folder / "*"),
        bucket_name=bucket,
        transport="stream-manager",
        stream_manager_port=port,
        **more,
    )
    settings = Settings(name="test", state_directory=str(folder / "state"), rules=(rule,))
    transport = opener(settings)(rule)
    try:
        yield transport
    finally:
        await transport.close()


def new_file(folder: Path, content: bytes = b"content", name: str = "file.csv") -> str:
    (folder / name).write_bytes(content)
    return str(folder / name)


def missing(line: Line) -> None:
    while (request := line.request()) is not None:
        line.body(request.size)
        line.refuse(404, "NoSuchBucket")


def denied(line: Line) -> None:
    while (request := line.request()) is not None:
        line.body(request.size)
        line.refuse(403, "AccessDenied")


@pytest.mark.parametrize(("script", "expected"), [(missing, Misconfigured), (denied, AccessDenied)])
def test_what_the_store_refuses_is_told_through_stream_manager_as_the_error_that_fits(
    script: Callable[[Line], None], expected: type[DeliveryError], seaweed: SeaweedFS, tmp_path: Path
) -> None:
    async def run(port: int) -> None:
        async with open_lane(port, tmp_path, bucket="bucket") as lane:
            await lane.deliver(Courier("bucket").delivery(new_file(tmp_path), "key"))

    with ScriptedS3(script) as store:
        environment = {**settings_of(seaweed), "AWS_ENDPOINT_URL_S3": store.url}
        with (
            start_local_stream_manager(tmp_path, environment=environment) as server,
            pytest.raises(expected) as caught,
        ):
            bounded(run(server.port))
    assert caught.value.advice


@pytest.mark.parametrize("size", [0, 1000, 6 << 20])
def test_with_verify_head_the_receipt_has_the_checksum_that_the_store_tells(
    size: int,
    stream_manager: LocalStreamManager,
    seaweed: SeaweedFS,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in settings_of(seaweed).items():
        monkeypatch.setenv(name, value)

    async def run() -> Receipt:
        more = {"verify": "head", "endpoint_url": seaweed.endpoint_url, "region": seaweed.region}
        async with opened(stream_manager.port, tmp_path, bucket, **more) as transport:
            path = new_file(tmp_path, os.urandom(size))
            return await transport.deliver(Courier(bucket).delivery(path, "key"))

    receipt = bounded(run())
    answer = seaweed.client().head_object(Bucket=bucket, Key="key", ChecksumMode="ENABLED")
    assert receipt.checksum == f"crc64nvme:{answer['ChecksumCRC64NVME']}"


@pytest.mark.parametrize("meddle", ["another", "none"])
def test_with_verify_head_a_success_that_the_store_knows_nothing_of_is_no_receipt(
    meddle: str, seaweed: SeaweedFS, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings_of(seaweed).items():
        monkeypatch.setenv(name, value)
    if meddle == "another":
        seaweed.client().put_object(Bucket=bucket, Key="key", Body=b"CONTENT", ChecksumAlgorithm="CRC64NVME")
    courier = Courier(bucket)

    async def run(port: int) -> None:
        more = {"verify": "head", "endpoint_url": seaweed.endpoint_url, "region": seaweed.region}
        async with opened(port, tmp_path, bucket, **more) as transport:
            await transport.deliver(courier.delivery(new_file(tmp_path), "key"))

    with (
        start_local_stream_manager(tmp_path, "--success-without-upload") as server,
        pytest.raises(Unproven) as caught,
    ):
        bounded(run(server.port))
    assert caught.value.advice
    assert courier.saved[-1] is None


@pytest.mark.parametrize("mode", ["never", "multipart", "always"])
def test_files_arrive_whatever_stream_manager_tells_of_progress(
    mode: str, seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    async def run(port: int) -> None:
        async with open_lane(port, tmp_path, bucket=bucket) as lane:
            courier = Courier(bucket)
            files = [new_file(tmp_path, b"x" * size, f"f{size}") for size in (0, 10, 6 << 20)]
            await asyncio.gather(*(lane.deliver(courier.delivery(path, path[-3:])) for path in files))

    with start_local_stream_manager(
        tmp_path, "--in-progress", mode, environment=settings_of(seaweed)
    ) as server:
        bounded(run(server.port))
    assert len(seaweed.list_objects(bucket)) == 3


@pytest.mark.parametrize("way", ["never", "decode-first", "literal-first"])
def test_no_name_leads_a_server_to_another_file_however_it_reads_urls(
    way: str, seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    names = ["%41", "A", "a b", "a%20b", "a+b", "x#y", "x", "q?r", "q", "%2541", "é", "%C3%A9"]

    async def run(port: int) -> None:
        async with open_lane(port, tmp_path, bucket=bucket) as lane:
            courier = Courier(bucket)
            paths = [new_file(tmp_path, name.encode(), name) for name in names]
            await asyncio.gather(
                *(lane.deliver(courier.delivery(path, f"key{n}")) for n, path in enumerate(paths))
            )

    with start_local_stream_manager(
        tmp_path, "--decode-urls", way, environment=settings_of(seaweed)
    ) as server:
        bounded(run(server.port))
    for number, name in enumerate(names):
        assert seaweed.read_object(bucket, f"key{number}") == name.encode()


def test_objects_get_the_metadata_of_their_rule_and_file(
    stream_manager: LocalStreamManager, seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    async def run() -> None:
        more = {"metadata": (("Made-By", "camera 1"),), "metadata_from_file": ("mtime",)}
        async with opened(stream_manager.port, tmp_path, bucket, **more) as transport:
            path = new_file(tmp_path)
            os.utime(path, ns=(0, 1_500_000_000_123_456_789))
            await transport.deliver(Courier(bucket).delivery(path, "key"))

    bounded(run())
    answer = seaweed.client().head_object(Bucket=bucket, Key="key")
    assert answer["Metadata"] == {"made-by": "camera 1", "mtime": "1500000000.123456789"}
