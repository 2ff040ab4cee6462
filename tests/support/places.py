"""The transports of the common contract suite, each with a far side that a test can look at.

Looking is done by somebody else's code where there is a server: botocore for S3. Adding a transport to
the suite is one class here and one row in PLACES.
"""

from __future__ import annotations

import asyncio
import base64
import zlib
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from awscrt.checksums import crc64nvme
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError, ResponseStreamingError

from s3_file_uploader.transport.fake import FakeTransport, FakeUpload, Fault
from s3_file_uploader.transport.s3 import Bandwidth, S3Transport
from s3_file_uploader.transport.s3.attributes import Attributes
from s3_file_uploader.transport.s3.checkpoint import PUT_LIMIT_BYTES, part_size_of
from s3_file_uploader.transport.s3.checksums import CHECKSUMS, MD5
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from support.looked_at import fresh_bucket
from support.s3_transports import IMPATIENT
from support.scripted_s3 import Line, ScriptedS3
from support.stores import STORES
from support.stream_manager_place import stream_manager_place

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from s3_file_uploader.transport.contract import Transport
    from support.looked_at import LookedAt
    from support.stores import KnownStore

# Some servers break off an answer where the object is replaced in that moment.
_READS = 20

__all__ = ["CARRIERS", "PLACES", "FakePlace", "Place", "S3Place", "checksum_of"]


class Place(Protocol):
    """A transport and its far side, which outlives every transport that is opened to it."""

    bucket: str

    def open(self, bytes_per_second: float | None = None) -> AbstractAsyncContextManager[Transport]: ...

    def open_faulty(self, fault: str) -> AbstractAsyncContextManager[Transport]:
        """`fault`: missing (the destination), denied, unreachable, silent, or unproven."""
        ...

    def objects(self) -> dict[str, int]:
        """The size in bytes of everything that anybody can see, by key."""
        ...

    def content(self, key: str) -> bytes | None: ...

    def checksum(self, key: str) -> str:
        """What the far side itself says of an object, written as in a receipt."""
        ...

    def unfinished(self) -> dict[str, int]:
        """How many bytes wait there of objects that nobody can see yet, by key."""
        ...

    def uploads(self) -> int:
        """How many were begun and not ended, some of them of one key."""
        ...

    def takes(self, key: str) -> bool:
        """Whether an object can have this name there."""
        ...

    @property
    def refuses_other_bytes(self) -> bool:
        """Than those that were announced; else they may lie there until the file is sent again."""
        ...

    def held_bytes(self) -> int:
        """What the far side itself takes of this process's memory."""
        ...


def checksum_of(content: bytes, algorithm: str) -> str:
    """What a receipt for `content` must say, in one pass over the whole."""
    if algorithm == "crc32":
        return f"crc32:{zlib.crc32(content):08x}"
    if algorithm == "md5":
        return f"md5:{_etag_of(content)}"
    assert algorithm == "crc64nvme"
    return "crc64nvme:" + base64.b64encode(crc64nvme(content).to_bytes(8, "big")).decode()


def _etag_of(content: bytes) -> str:
    """Of an object in parts: the MD5 of the parts' MD5s, and their number."""
    if len(content) <= PUT_LIMIT_BYTES:
        return MD5.of(content)
    size = part_size_of(len(content))
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return MD5.whole([(MD5.of(part), len(part)) for part in parts])


class FakePlace:
    refuses_other_bytes = True
    _faults = {  # noqa: RUF012  (a constant)
        "missing": Fault.MISCONFIGURED,
        "denied": Fault.DENIED,
        "unreachable": Fault.UNREACHABLE,
        "silent": Fault.SILENT,
        "unproven": Fault.UNPROVEN,
    }

    def __init__(self) -> None:
        self.bucket = "memory"
        self._objects: dict[str, bytes] = {}
        self._uploads: dict[str, FakeUpload] = {}

    @asynccontextmanager
    async def _open(self, **settings: Any) -> AsyncIterator[FakeTransport]:
        transport = FakeTransport(objects=self._objects, uploads=self._uploads, **settings)
        try:
            yield transport
        finally:
            await transport.close()

    def open(self, bytes_per_second: float | None = None) -> AbstractAsyncContextManager[FakeTransport]:
        async def pace(size: int) -> None:
            await asyncio.sleep(size / bytes_per_second if bytes_per_second else 0)

        return self._open(pace=pace)

    def open_faulty(self, fault: str) -> AbstractAsyncContextManager[FakeTransport]:
        chosen = self._faults[fault]
        return self._open(script=lambda _: chosen, refuses_abort=chosen)

    def objects(self) -> dict[str, int]:
        return {key: len(content) for key, content in self._objects.items()}

    def content(self, key: str) -> bytes | None:
        return self._objects.get(key)

    def checksum(self, key: str) -> str:
        return checksum_of(self._objects[key], "crc32")

    def unfinished(self) -> dict[str, int]:
        return {upload.key: upload.size for upload in self._uploads.values()}

    def uploads(self) -> int:
        return len(self._uploads)

    def takes(self, key: str) -> bool:
        return bool(key)

    def held_bytes(self) -> int:
        return sum(self.objects().values()) + sum(self.unfinished().values())


class S3Place:
    """`checksum` is the setting ChecksumAlgorithm; that which suits the store, if nothing is said."""

    def __init__(self, server: LookedAt, bucket: str, store: KnownStore, checksum: str = "") -> None:
        self._checksum = checksum or store.checksum
        self._server = server
        self._store = store
        self.bucket = bucket
        self.refuses_other_bytes = store.checks_md5 or self._checksum != "md5"

    def takes(self, key: str) -> bool:
        return self._store.takes(key)

    @asynccontextmanager
    async def _open(
        self, *, secret: str = "", endpoint_url: str = "", **settings: Any
    ) -> AsyncIterator[S3Transport]:
        server = self._server
        pair = (server.access_key, secret or server.secret_key)
        transport = S3Transport(
            Endpoint.of(self.bucket, server.region, endpoint_url or server.endpoint_url),
            credentials=CredentialSource(fetch=lambda profile, seconds: (*pair, None, None)),
            attributes=Attributes(checksum=CHECKSUMS[self._checksum]),
            **settings,
        )
        try:
            yield transport
        finally:
            await transport.close()

    def open(self, bytes_per_second: float | None = None) -> AbstractAsyncContextManager[S3Transport]:
        return self._open(bandwidth=None if bytes_per_second is None else Bandwidth(bytes_per_second))

    def open_as_stranger(self) -> AbstractAsyncContextManager[S3Transport]:
        """With a secret that is not the server's."""
        return self._open(secret="wrong")

    @asynccontextmanager
    async def open_faulty(self, fault: str) -> AsyncIterator[S3Transport]:
        if fault in _SCRIPTS and (fault != "denied" or not self._store.checks_signatures):
            with ScriptedS3(_SCRIPTS[fault]) as store:
                async with self._open(endpoint_url=store.url, deadlines=IMPATIENT) as transport:
                    yield transport
            return
        if fault == "unreachable":
            with ScriptedS3() as store:
                pass  # and now nobody listens there
        settings = {
            "denied": lambda: {"secret": "wrong"},
            "unreachable": lambda: {"endpoint_url": store.url},
        }
        async with self._open(**settings[fault]()) as faulty:
            yield faulty

    def objects(self) -> dict[str, int]:
        return self._server.list_objects(self.bucket)

    def content(self, key: str) -> bytes | None:
        for _ in range(_READS):
            try:
                return self._server.read_object(self.bucket, key)
            except self._server.client().exceptions.NoSuchKey:
                return None
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] < 500:
                    raise
            except (HTTPClientError, ResponseStreamingError, IncompleteReadError):
                pass
        raise AssertionError(f"{key!r} cannot be read")

    def checksum(self, key: str) -> str:
        if self._checksum == "md5":  # of what is there, as HEAD's ETag is not everywhere the same
            return checksum_of(self._server.read_object(self.bucket, key), "md5")
        answer = self._server.client().head_object(Bucket=self.bucket, Key=key, ChecksumMode="ENABLED")
        return f"crc64nvme:{answer['ChecksumCRC64NVME']}"

    def unfinished(self) -> dict[str, int]:
        found = {}
        for key, upload_id in self._server.open_uploads(self.bucket):
            parts = self._server.client().list_parts(Bucket=self.bucket, Key=key, UploadId=upload_id)
            found[key] = sum(part["Size"] for part in parts.get("Parts", []))
        return found

    def uploads(self) -> int:
        return len(self._server.open_uploads(self.bucket))

    def held_bytes(self) -> int:
        return 0


def _silent(line: Line) -> None:
    assert line.request() is not None
    line.stall()


def _unproven(line: Line) -> None:
    while (request := line.request()) is not None:
        line.body(request.size)
        line.answer(200, {"etag": '"e"'})


def _missing(line: Line) -> None:
    """SeaweedFS makes a bucket that is not there; S3 does not."""
    while (request := line.request()) is not None:
        line.body(request.size if "expect" not in request.headers else 0)
        line.refuse(404, "NoSuchBucket")


def _denied(line: Line) -> None:
    while (request := line.request()) is not None:
        line.body(request.size if "expect" not in request.headers else 0)
        line.refuse(403, "AccessDenied")


_SCRIPTS: dict[str, Callable[[Line], None]] = {
    "missing": _missing,
    "denied": _denied,
    "silent": _silent,
    "unproven": _unproven,
}


@contextmanager
def _fake(_ask: Callable[[str], Any]) -> Iterator[FakePlace]:
    yield FakePlace()


def _s3(store: KnownStore) -> Callable[[Callable[[str], Any]], AbstractContextManager[S3Place]]:
    @contextmanager
    def make(ask: Callable[[str], Any]) -> Iterator[S3Place]:
        server = ask(store.fixture)
        with fresh_bucket(server) as bucket:
            yield S3Place(server, bucket, store)

    return make


# How each place is made, given what asks pytest for a fixture: the server starts only for who needs it.
CARRIERS: dict[str, Any] = {"fake": _fake, **{name: _s3(store) for name, store in STORES.items()}}

# Where the far side reads the file itself there are no bytes on the way for a transport to answer for.
PLACES: dict[str, Any] = {**CARRIERS, "stream-manager": stream_manager_place}
