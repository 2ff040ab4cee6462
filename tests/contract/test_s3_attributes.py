"""What objects are like beside their bytes, and each way to prove them, against a real server and scripted ones."""

from __future__ import annotations

import asyncio
import hashlib
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Rule
from s3_file_uploader.errors import AlreadyExists, TransferFault, Unproven
from s3_file_uploader.transport.s3 import S3Transport
from s3_file_uploader.transport.s3.attributes import Attributes, attributes_of, bucket_headers
from s3_file_uploader.transport.s3.checkpoint import Partition
from s3_file_uploader.transport.s3.checksums import CHECKSUMS
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.transport import Lane
from support.deliveries import Courier
from support.s3_transports import MIB, new_file, transport_to
from support.scripted_s3 import Line, Request, ScriptedS3, echo_of, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.model import Receipt
    from support.seaweed import SeaweedFS

LARGE = 17 * MIB  # more than one PUT takes
SIZES = pytest.mark.parametrize("size", [0, 10, MIB, LARGE], ids=["empty", "small", "medium", "parts"])
ALGORITHMS = pytest.mark.parametrize("algorithm", CHECKSUMS)


def wishes(**settings: Any) -> Attributes:
    return attributes_of(Rule(name="r", path_name="/data/*", bucket_name="bucket", **settings))


def deliver_to(
    server: SeaweedFS, bucket: str, attributes: Attributes, path: str, key: str, **settings: Any
) -> Receipt:
    async def run() -> Receipt:
        transport = S3Transport(
            Endpoint.of(bucket, server.region, server.endpoint_url),
            credentials=CredentialSource(
                fetch=lambda profile, seconds: (server.access_key, server.secret_key, None, None)
            ),
            attributes=attributes,
            **settings,
        )
        try:
            return await transport.deliver(Courier(bucket).delivery(path, key))
        finally:
            await transport.close()

    return asyncio.run(run())


def deliver(store: ScriptedS3, path: str, key: str = "file", **settings: Any) -> Receipt:
    async def run() -> Receipt:
        async with transport_to(store, **settings) as transport:
            return await transport.deliver(Courier("bucket").delivery(path, key))

    return asyncio.run(run())


# --- A real server -------------------------------------------------------------------------------------


@SIZES
@ALGORITHMS
def test_a_file_arrives_and_is_proven_by_the_checksum_that_was_chosen(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, algorithm: str, size: int
) -> None:
    path = new_file(tmp_path, size)
    receipt = deliver_to(seaweed, bucket, wishes(checksum_algorithm=algorithm), path, "key")
    with open(path, "rb") as file:
        content = file.read()
    assert seaweed.read_object(bucket, "key") == content
    name, _, value = receipt.checksum.partition(":")
    assert name == {"off": "size"}.get(algorithm, algorithm)
    if algorithm == "off":
        assert value == str(size)
    elif algorithm == "md5" and size < LARGE:
        assert value == receipt.etag == hashlib.md5(content, usedforsecurity=False).hexdigest()
    elif algorithm == "md5":
        assert value == receipt.etag
        assert value.endswith("-3")


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "parts"])
def test_attributes_are_those_of_the_object(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, size: int
) -> None:
    path = new_file(tmp_path, size)
    os.utime(path, ns=(0, 1_700_000_000_123_456_789))
    attributes = wishes(
        tags=(("site", "hall 7/b"), ("größe", "1 + 1")),
        metadata=(("unit", "car  7"),),
        metadata_from_file=("mtime",),
        cache_control="no-cache",
        content_encoding="gzip",
        storage_class="STANDARD_IA",
    )
    deliver_to(seaweed, bucket, attributes, path, "data.csv")
    client = seaweed.client()
    head = client.head_object(Bucket=bucket, Key="data.csv")
    assert head["ContentType"] == "text/csv"
    assert head["CacheControl"] == "no-cache"
    assert head["ContentEncoding"] == "gzip"
    assert head["StorageClass"] == "STANDARD_IA"
    assert head["Metadata"]["mtime"] == "1700000000.123456789"
    assert head["Metadata"]["unit"] in ("car  7", "car 7")  # a server may fold white space
    tags = client.get_object_tagging(Bucket=bucket, Key="data.csv")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in tags} == {"site": "hall 7/b", "größe": "1 + 1"}


@pytest.mark.parametrize("size", [10, MIB, LARGE], ids=["small", "medium", "parts"])
def test_the_payload_is_signed_where_that_is_always_wanted(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, size: int
) -> None:
    path = new_file(tmp_path, size)
    receipt = deliver_to(seaweed, bucket, Attributes(), path, "key", always_signs_payload=True)
    assert receipt.size == size
    assert seaweed.list_objects(bucket) == {"key": size}


@pytest.mark.parametrize(
    ("size", "parts"), [(5 * MIB, 0), (5 * MIB + 1, 1), (13 * MIB, 2)], ids=["at", "above", "two parts"]
)
def test_what_goes_in_parts_and_in_how_large_ones_can_be_asked_for(
    tmp_path: Path, size: int, parts: int
) -> None:
    attributes = Attributes(partition=Partition(put_limit_bytes=5 * MIB, part_bytes=7 * MIB))
    with ScriptedS3() as store:
        deliver(store, new_file(tmp_path, size), attributes=attributes)
    sent = [request for request in store.requests if "partNumber" in request.query]
    assert len(sent) == parts
    assert max((request.size for request in sent), default=0) <= 7 * MIB
    assert len(store.objects["/bucket/file"]) == size


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "parts"])
def test_an_object_that_exists_stays_as_it_is(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, size: int
) -> None:
    seaweed.client().put_object(Bucket=bucket, Key="key", Body=b"theirs")
    with pytest.raises(AlreadyExists, match="another object has the name"):
        deliver_to(seaweed, bucket, wishes(on_existing="skip"), new_file(tmp_path, size), "key")
    assert seaweed.read_object(bucket, "key") == b"theirs"
    assert seaweed.open_uploads(bucket) == []


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "parts"])
def test_an_object_that_exists_and_is_this_very_content_counts_as_delivered(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, size: int
) -> None:
    path = new_file(tmp_path, size)
    first = deliver_to(seaweed, bucket, wishes(on_existing="skip"), path, "key")
    second = deliver_to(seaweed, bucket, wishes(on_existing="rename"), path, "key")
    assert second.checksum == first.checksum
    assert seaweed.open_uploads(bucket) == []


def test_rules_share_a_transport_and_keep_their_attributes(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    path = new_file(tmp_path, 10)

    async def run() -> None:
        transport = S3Transport(
            Endpoint.of(bucket, seaweed.region, seaweed.endpoint_url),
            credentials=CredentialSource(
                fetch=lambda profile, seconds: (seaweed.access_key, seaweed.secret_key, None, None)
            ),
        )
        lanes = {name: Lane(transport, wishes(metadata=(("rule", name),))) for name in ("a", "b")}
        courier = Courier(bucket)
        await lanes["a"].deliver(courier.delivery(path, "a"))
        await lanes["a"].close()
        await lanes["b"].deliver(courier.delivery(path, "b"))
        await lanes["b"].close()
        assert transport.is_closed

    asyncio.run(run())
    for name in ("a", "b"):
        assert seaweed.client().head_object(Bucket=bucket, Key=name)["Metadata"] == {"rule": name}


# --- Scripted stores -----------------------------------------------------------------------------------


def asking(special: Callable[[Line, Request, bytes], bool]) -> Callable[[Line], None]:
    """A store that works, but for what `special` answers itself."""

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if request.headers.get("expect") == "100-continue":
                line.proceed()
            body = line.body(request.size)
            if not special(line, request, body):
                serve(line, request, body)

    return script


def is_complete(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


def test_what_concerns_the_bucket_goes_with_every_request(tmp_path: Path) -> None:
    rule = Rule(
        name="r",
        path_name="/data/*",
        bucket_name="bucket",
        expected_bucket_owner="123456789012",
        request_payer="requester",
    )
    with ScriptedS3() as store:
        deliver(store, new_file(tmp_path, LARGE), headers=bucket_headers(rule))
    assert len(store.requests) == 5  # begin, three parts, complete
    for request in store.requests:
        assert request.headers["x-amz-expected-bucket-owner"] == "123456789012"
        assert request.headers["x-amz-request-payer"] == "requester"


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "parts"])
def test_encryption_is_asked_for_once_where_the_object_is_made(tmp_path: Path, size: int) -> None:
    attributes = wishes(
        server_side_encryption="aws:kms",
        kms_key_id="alias/fleet",
        kms_encryption_context=(("fleet", "north"),),
        bucket_key_enabled=True,
        acl="bucket-owner-full-control",
    )
    with ScriptedS3() as store:
        deliver(store, new_file(tmp_path, size), attributes=attributes)
    prefix = "x-amz-server-side-encryption"
    first, *others = store.requests
    assert first.headers[prefix] == "aws:kms"
    assert first.headers[f"{prefix}-aws-kms-key-id"] == "alias/fleet"
    assert first.headers[f"{prefix}-context"] == "eyJmbGVldCI6Im5vcnRoIn0="
    assert first.headers[f"{prefix}-bucket-key-enabled"] == "true"
    assert first.headers["x-amz-acl"] == "bucket-owner-full-control"
    assert not any(name.startswith(prefix) for request in others for name in request.headers)


@pytest.mark.parametrize("size", [10, LARGE], ids=["small", "parts"])
def test_an_answer_that_was_lost_is_found_out_by_asking(tmp_path: Path, size: int) -> None:
    """The object is there, its answer was not heard, and the second try meets the first's object."""
    lost: list[int] = []

    def special(line: Line, request: Request, body: bytes) -> bool:
        if request.headers.get("if-none-match") != "*":
            return False
        if request.path in line.server.objects:
            line.refuse(412, "PreconditionFailed")
            return True
        if request.method == "PUT":
            line.server.objects[request.path] = body
        else:
            parts = line.server.uploads["u1"]
            line.server.objects[request.path] = b"".join(parts[number] for number in sorted(parts))
        lost.append(1)
        line.reset()
        return True

    path = new_file(tmp_path, size)
    attributes = wishes(on_existing="skip")

    async def run() -> Receipt:
        async with transport_to(store, attributes=attributes) as transport:
            courier = Courier("bucket")
            with suppress(TransferFault):  # on a connection that was used before, it is asked again at once
                return await transport.deliver(courier.delivery(path, "file"))
            return await transport.deliver(courier.delivery(path, "file"))

    with ScriptedS3(asking(special)) as store:
        receipt = asyncio.run(run())
    assert lost == [1]
    assert receipt.checksum.startswith("crc64nvme:")
    parts_sent = [request for request in store.requests if "partNumber" in request.query]
    assert len(parts_sent) == (3 if size == LARGE else 0)


def test_a_conflict_while_completing_is_answered_by_a_new_upload(tmp_path: Path) -> None:
    conflicts: list[int] = []

    def special(line: Line, request: Request, body: bytes) -> bool:
        del body
        if is_complete(request) and not conflicts:
            conflicts.append(1)
            line.refuse(409, "ConditionalRequestConflict")
            return True
        return False

    path = new_file(tmp_path, LARGE)

    async def run() -> None:
        async with transport_to(store, attributes=wishes(on_existing="skip")) as transport:
            courier = Courier("bucket")
            with pytest.raises(TransferFault, match="ConditionalRequestConflict"):
                await transport.deliver(courier.delivery(path, "file"))
            assert courier.saved[-1] is None
            assert store.uploads == {}
            await transport.deliver(courier.delivery(path, "file"))

    with ScriptedS3(asking(special)) as store:
        asyncio.run(run())
    assert len(store.objects["/bucket/file"]) == LARGE
    assert sum("partNumber" in request.query for request in store.requests) == 6


@pytest.mark.parametrize("looks", [404, 403], ids=["not there", "may not look"])
def test_an_object_that_comes_while_parts_are_sent_stays(tmp_path: Path, looks: int) -> None:
    def special(line: Line, request: Request, body: bytes) -> bool:
        del body
        if request.method == "HEAD":
            line.send(f"HTTP/1.1 {looks} No\r\ncontent-length: 0\r\n\r\n".encode())
        elif is_complete(request):
            line.refuse(412, "PreconditionFailed")
        else:
            return False
        return True

    with (
        ScriptedS3(asking(special)) as store,
        pytest.raises(AlreadyExists, match="another object has the name s3://bucket/file"),
    ):
        deliver(store, new_file(tmp_path, LARGE), attributes=wishes(on_existing="rename"))
    assert store.uploads == {}


def test_parts_are_not_sent_in_vain_where_the_name_is_taken(tmp_path: Path) -> None:
    with ScriptedS3() as store:
        store.objects["/bucket/file"] = b"theirs"
        with pytest.raises(AlreadyExists):
            deliver(store, new_file(tmp_path, LARGE), attributes=wishes(on_existing="skip"))
    assert [request.method for request in store.requests] == ["HEAD"]


def test_a_line_that_breaks_while_asking_whose_object_it_is_parks_nothing(tmp_path: Path) -> None:
    def special(line: Line, request: Request, body: bytes) -> bool:
        del body
        if request.method == "HEAD":
            line.reset()
        else:
            line.refuse(412, "PreconditionFailed")
        return True

    with ScriptedS3(asking(special)) as store, pytest.raises(TransferFault):
        deliver(store, new_file(tmp_path, 10), attributes=wishes(on_existing="skip"))


@pytest.mark.parametrize(
    ("algorithm", "echo"),
    [
        ("crc32c", {}),
        ("crc32c", {"x-amz-checksum-crc32c": "AAAAAA=="}),
        ("crc32c", {"x-amz-checksum-crc64nvme": "AAAAAAAAAAA="}),
        ("md5", {}),
        ("md5", {"etag": '"0123456789abcdef0123456789abcdef"'}),
    ],
)
def test_without_the_right_echo_there_is_no_receipt(
    tmp_path: Path, algorithm: str, echo: dict[str, str]
) -> None:
    def special(line: Line, request: Request, body: bytes) -> bool:
        del request, body
        line.answer(200, echo)
        return True

    with ScriptedS3(asking(special)) as store, pytest.raises(Unproven):
        deliver(store, new_file(tmp_path, 10), attributes=wishes(checksum_algorithm=algorithm))


@pytest.mark.parametrize("there", [b"", b"shorter"])
def test_without_a_checksum_an_object_of_another_size_is_no_proof(tmp_path: Path, there: bytes) -> None:
    def special(line: Line, request: Request, body: bytes) -> bool:
        del body
        if request.method == "PUT":
            line.answer(200, {"etag": '"e"'})
        elif there:
            line.answer(200, {**echo_of(there), "content-length": str(len(there))})
        else:
            line.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
        return True

    with ScriptedS3(asking(special)) as store, pytest.raises(Unproven):
        deliver(store, new_file(tmp_path, 10), attributes=wishes(checksum_algorithm="off"))


def test_an_upload_that_began_with_another_checksum_begins_anew(tmp_path: Path) -> None:
    """S3 keeps the algorithm that an upload began with; a person may change the setting in between."""

    def special(line: Line, request: Request, body: bytes) -> bool:
        del body
        if "partNumber" in request.query and "x-amz-checksum-crc32c" in request.headers:
            line.reset()
            return True
        return False

    path = new_file(tmp_path, LARGE)

    async def run() -> Courier:
        courier = Courier("bucket")
        async with transport_to(store, attributes=wishes(checksum_algorithm="crc32c")) as transport:
            with pytest.raises(TransferFault):
                await transport.deliver(courier.delivery(path, "file"))
        async with transport_to(store) as transport:
            await transport.deliver(courier.delivery(path, "file", checkpoint=courier.saved[-1]))
        return courier

    with ScriptedS3(asking(special)) as store:
        asyncio.run(run())
    begun = [request for request in store.requests if "uploads" in request.query]
    assert [request.headers["x-amz-checksum-algorithm"] for request in begun] == ["CRC32C", "CRC64NVME"]
    assert [request.method for request in store.requests].count("DELETE") == 1
