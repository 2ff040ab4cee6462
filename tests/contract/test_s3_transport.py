"""What only the S3 transport promises, against a real S3 server; what every transport does is in test_contract."""

from __future__ import annotations

import asyncio
import gc
import os
import weakref
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import AccessDenied, DeliveryError
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


def test_a_delivery_that_has_ended_is_let_go_of_without_the_collector(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    """Else thousands of them lie about until it comes round."""

    async def run() -> bool:
        async with transport_to(seaweed, bucket) as transport:
            delivery = Courier(bucket).delivery(new_file(tmp_path, 10), "key")
            source = weakref.ref(delivery.source)
            await transport.deliver(delivery)
            del delivery
            await transport.deliver(Courier(bucket).delivery(new_file(tmp_path, 10, "other"), "other"))
            return source() is None

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run())
    finally:
        gc.enable()
