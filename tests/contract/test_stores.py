"""The table of what each store supports, held against the stores; and what uploads do where one falls short."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.cli.doctor.interruption import HeldInterruption
from s3_file_uploader.cli.doctor.probe import Probe
from s3_file_uploader.cli.doctor.support import Answer, Proof
from s3_file_uploader.errors import AccessDenied, DeliveryError, Unproven
from s3_file_uploader.transport.s3.inquiry import Inquiry
from support.deliveries import Courier
from support.looked_at import fresh_bucket
from support.places import S3Place, checksum_of
from support.s3_transports import MIB, new_file
from support.stores import ODD_KEYS, STORES, KnownStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Rented:
    """A bucket of a store, and what is known of the store."""

    def __init__(self, known: KnownStore, server: Any, bucket: str) -> None:
        self.known = known
        self.server = server
        self.bucket = bucket
        self.place = S3Place(server, bucket, known, "crc64nvme")

    def deliver(self, path: str, key: str) -> DeliveryError | None:
        async def run() -> None:
            async with self.place.open() as transport:
                await asyncio.wait_for(transport.deliver(Courier(self.bucket).delivery(path, key)), 60)

        try:
            asyncio.run(run())
        except DeliveryError as error:
            return error
        return None


@pytest.fixture(params=STORES)
def rented(request: pytest.FixtureRequest) -> Iterator[Rented]:
    known = STORES[request.param]
    server = request.getfixturevalue(known.fixture)
    with fresh_bucket(server) as bucket:
        yield Rented(known, server, bucket)


def test_the_table_says_what_the_probe_finds(rented: Rented) -> None:
    async def ask() -> None:
        async with rented.place.open() as transport:
            with closing(Inquiry(transport)) as inquiry, HeldInterruption() as held:
                probe = Probe(inquiry, held, bucket=rented.bucket, key="pre/probe")
                probe.ask_all(until_proven=False)
                assert probe.support == rented.known.support
                [finding] = probe.clean_up("store")
                assert "was removed" in finding.text

    asyncio.run(ask())
    assert rented.server.list_objects(rented.bucket) == {}
    assert rented.server.open_uploads(rented.bucket) == []


def test_the_table_says_what_another_client_sees(rented: Rented) -> None:
    client = rented.server.client(request_checksum_calculation="when_required")
    at, value = {"Bucket": rented.bucket, "Key": "key"}, checksum_of(b"first", "crc64nvme")
    answer = client.put_object(**at, Body=b"first", ChecksumCRC64NVME=value.partition(":")[2])
    echoes = "ChecksumCRC64NVME" in answer
    assert echoes == (rented.known.support.whole["crc64nvme"] is Proof.GIVEN)
    with suppress(client.exceptions.ClientError):
        client.put_object(**at, Body=b"second", IfNoneMatch="*")
    kept = rented.server.read_object(rented.bucket, "key") == b"first"
    assert kept == (rented.known.support.keeps_existing is Answer.YES)


def test_the_table_says_who_refuses_bytes_of_another_md5(rented: Rented) -> None:
    client = rented.server.client(request_checksum_calculation="when_required")
    wrong = base64.b64encode(hashlib.md5(b"another").digest()).decode()
    with suppress(client.exceptions.ClientError):
        client.put_object(Bucket=rented.bucket, Key="key", Body=b"bytes", ContentMD5=wrong)
    assert (rented.server.list_objects(rented.bucket) == {}) == rented.known.checks_md5


def test_the_table_says_whether_a_connection_stays_open(rented: Rented) -> None:
    with closing(http.client.HTTPConnection(rented.server.endpoint_url.removeprefix("http://"))) as line:
        line.request("GET", "/")
        answer = line.getresponse()
        answer.read()
        assert answer.will_close is not rented.known.keeps_connections


def test_the_table_says_who_refuses_a_wrong_signature(rented: Rented, tmp_path: Path) -> None:
    async def run() -> None:
        async with rented.place.open_as_stranger() as transport:
            await transport.deliver(Courier(rented.bucket).delivery(new_file(tmp_path, 10), "key"))

    with pytest.raises(AccessDenied if rented.known.checks_signatures else Unproven):
        asyncio.run(run())


@pytest.mark.parametrize("size", [10, 20 * MIB])
def test_a_file_is_delivered_where_the_store_proves_it_and_else_unproven_with_advice(
    rented: Rented, size: int, tmp_path: Path
) -> None:
    support, path = rented.known.support, new_file(tmp_path, size)
    proof = (support.whole if size == 10 else support.parts)["crc64nvme"]
    problem = rented.deliver(path, "folder/key")
    if proof is Proof.GIVEN:
        assert problem is None
    else:
        assert isinstance(problem, Unproven)
        assert "CRC64NVME" in str(problem)
        assert "s3-file-uploader check" in problem.advice
    # Proven or not, what is there is whole, and nothing half is left.
    with open(path, "rb") as file:
        assert rented.server.read_object(rented.bucket, "folder/key") == file.read()
    assert rented.server.open_uploads(rented.bucket) == []


@pytest.mark.parametrize("oddity", ODD_KEYS)
def test_an_odd_name_arrives_as_it_is_or_as_the_table_says(
    rented: Rented, oddity: str, tmp_path: Path
) -> None:
    key = ODD_KEYS[oddity]
    problem = rented.deliver(new_file(tmp_path, 10), key)
    there = list(rented.server.list_objects(rented.bucket))
    if oddity in rented.known.refuses:
        assert there == []
        assert problem is not None
        assert not isinstance(problem, Unproven)
    else:
        assert (there != [key]) == (oddity in rented.known.renames)
        assert len(there) == 1
