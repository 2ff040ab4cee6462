"""Whether a store keeps what is there, found out before OnExisting relies on it: over the real stores and a scripted one."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.cli.doctor.support import Answer
from s3_file_uploader.errors import AlreadyExists, Interrupted, Misconfigured
from s3_file_uploader.transport.s3.attributes import Attributes
from s3_file_uploader.transport.s3.checksums import CHECKSUMS
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.transport import S3Transport
from support.deliveries import Courier
from support.dialects import Dialect
from support.looked_at import fresh_bucket
from support.s3_transports import PATIENT, new_file, transport_to
from support.scripted_s3 import Line, ScriptedS3
from support.stores import STORES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CAREFUL = Attributes(may_replace=False)


@asynccontextmanager
async def careful(server: Any, bucket: str, checksum: str) -> AsyncIterator[S3Transport]:
    transport = S3Transport(
        Endpoint.of(bucket, server.region, server.endpoint_url),
        credentials=CredentialSource(
            fetch=lambda profile, seconds: (server.access_key, server.secret_key, None, None)
        ),
        attributes=Attributes(checksum=CHECKSUMS[checksum], may_replace=False),
    )
    try:
        yield transport
    finally:
        await transport.close()


@pytest.mark.parametrize("name", STORES)
def test_a_store_that_replaces_what_it_was_asked_to_keep_gets_one_file_and_no_other(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    known = STORES[name]
    server = request.getfixturevalue(known.fixture)
    paths = [new_file(tmp_path, 10, key) for key in ("a", "b")]

    async def run(bucket: str) -> list[Any]:
        async with careful(server, bucket, known.checksum) as transport:
            courier = Courier(bucket)
            deliveries = [courier.delivery(path, path[-1]) for path in (*paths, paths[0])]
            return [
                (await asyncio.gather(transport.deliver(one), return_exceptions=True))[0]
                for one in deliveries
            ]

    with fresh_bucket(server) as bucket:
        *ended, again = asyncio.run(run(bucket))
        there = server.list_objects(bucket)
    if known.support.keeps_existing is Answer.YES:
        assert [receipt.key for receipt in ended] == ["a", "b"]
        assert there == {"a": 10, "b": 10}
        assert again.key == "a"  # its own content, proven
    else:
        assert [type(error) for error in (*ended, again)] == [Misconfigured] * 3
        assert there == {"a": 10}


def test_what_is_put_a_second_time_is_the_same_request(tmp_path: Path) -> None:
    async def run() -> None:
        async with transport_to(store, attributes=CAREFUL, deadlines=PATIENT) as transport:
            await transport.deliver(Courier("bucket").delivery(new_file(tmp_path, 100_000), "data.csv"))

    with ScriptedS3(Dialect()) as store:
        asyncio.run(run())
    first, second = store.requests
    told = ("content-type", "content-length", "if-none-match", "x-amz-checksum-crc64nvme")
    assert [first.headers[name] for name in told] == [second.headers[name] for name in told]
    assert first.path == second.path


def test_an_object_of_another_is_replaced_by_no_second_file(tmp_path: Path) -> None:
    async def run() -> None:
        async with transport_to(store, attributes=CAREFUL, deadlines=PATIENT) as transport:
            courier = Courier("bucket")
            for key in ("mine", "theirs"):
                with pytest.raises(Misconfigured):
                    await transport.deliver(courier.delivery(new_file(tmp_path, 10, key), key))

    with ScriptedS3(Dialect(ignores_conditions=True)) as store:
        store.objects["/bucket/theirs"] = b"theirs"
        asyncio.run(run())
    assert store.objects["/bucket/theirs"] == b"theirs"


def test_an_object_that_is_there_answers_the_question_by_itself(tmp_path: Path) -> None:
    async def run() -> None:
        async with transport_to(store, attributes=CAREFUL, deadlines=PATIENT) as transport:
            courier = Courier("bucket")
            with pytest.raises(AlreadyExists):
                await transport.deliver(courier.delivery(new_file(tmp_path, 10, "theirs"), "theirs"))
            await transport.deliver(courier.delivery(new_file(tmp_path, 10, "mine"), "mine"))

    with ScriptedS3(Dialect()) as store:
        store.objects["/bucket/theirs"] = b"theirs"
        asyncio.run(run())
    assert [request.path for request in store.requests if request.method == "PUT"] == [
        "/bucket/theirs",
        "/bucket/mine",
    ]


def test_closing_ends_a_trial_and_all_that_wait_for_it(tmp_path: Path) -> None:
    async def run() -> list[Any]:
        async with transport_to(store, attributes=CAREFUL, deadlines=PATIENT) as transport:
            courier = Courier("bucket")
            waiting = [
                transport.deliver(courier.delivery(new_file(tmp_path, 10, key), key)) for key in ("a", "b")
            ]
            while not store.requests:  # noqa: ASYNC110  (of another thread)
                await asyncio.sleep(0.01)
            await transport.close()
            assert all(one.done() for one in waiting)
            return await asyncio.gather(*waiting, return_exceptions=True)

    def silent(line: Line) -> None:
        line.request()
        line.stall()

    with ScriptedS3(silent) as store:
        ended = asyncio.run(run())
        store.is_over.set()
    assert [type(one) for one in ended] == [Interrupted] * 2
