"""One file to one object: a single PUT, or a multipart upload above 16 MiB.

The rule of receipts lives here: the file is the one in the ledger before its first byte leaves and
still is after the answer, and the store echoed the checksum that we computed. No echo, no receipt.
Where an object must not be replaced and one is there, it is ours if it holds these very bytes: the
answer to an earlier try was lost.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import (
    AccessDenied,
    AlreadyExists,
    DeliveryError,
    FileChanged,
    FileUnreadable,
    Refused,
    Unproven,
)
from s3_file_uploader.model import Receipt
from s3_file_uploader.transport.s3.cargo import FileSlice, read_into
from s3_file_uploader.transport.s3.checksums import check_echo
from s3_file_uploader.transport.s3.crew import BUFFER_BYTES, WORK_BYTES
from s3_file_uploader.transport.s3.faults import ContentRejected
from s3_file_uploader.transport.s3.sigv4 import EMPTY_SHA256, UNSIGNED_PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from s3_file_uploader.transport.contract import Delivery, OpenFile
    from s3_file_uploader.transport.s3.attributes import Attributes
    from s3_file_uploader.transport.s3.checksums import Checksum
    from s3_file_uploader.transport.s3.crew import Crew
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["Digest", "digest_slice", "find", "look", "look_for_same", "put_whole", "receipt_of", "taken"]

_NOT_THERE = ("404", "NoSuchKey")


class _Updated(Protocol):
    def update(self, data: memoryview, /) -> object: ...


@dataclass(frozen=True, slots=True)
class Digest:
    """What is known of a slice's bytes: its checksum, and the hash that its request is signed with.

    `md5` is empty unless it was asked for.
    """

    value: str
    payload_hash: str
    md5: str = ""


async def put_whole(
    delivery: Delivery,
    file: OpenFile,
    *,
    store: Store,
    attributes: Attributes,
    crew: Crew,
) -> Receipt:
    """One PUT for the whole file."""
    size, checksum = file.size, attributes.checksum
    body = FileSlice(file, 0, size, delivery.progress)
    if size <= BUFFER_BYTES:
        content = _read_whole(file, size)
        value = checksum.of(content)
        payload_hash = _hash(content, store)
        body.content = content
        del content  # the request lets go of its own reference as soon as it can
    else:
        digest = await digest_slice(file, 0, size, store=store, checksum=checksum, crew=crew)
        value, payload_hash = digest.value, digest.payload_hash
    file.check_unchanged()
    headers = attributes.headers_of(delivery)
    headers.update(checksum.announced(value))
    headers.update(attributes.condition)
    try:
        response = await store.request(
            "PutObject", "PUT", delivery.key, headers=headers, body=body, payload_hash=payload_hash
        )
    except ContentRejected:
        file.check_unchanged()  # a file that changed under us is the likelier reason
        raise
    except AlreadyExists as error:
        receipt = await look_for_same(delivery, file, store=store, checksum=checksum, value=value)
        if receipt is None:
            raise taken(delivery) from error
        return receipt
    file.check_unchanged()
    if checksum.is_told_by_head:
        return await look(delivery, file, store=store, checksum=checksum, value=value)
    check_echo(checksum, checksum.echo(response.headers), value)
    return receipt_of(delivery, size, checksum.receipt(value, size), response.headers)


def receipt_of(
    delivery: Delivery, size: int, proof: str, headers: Mapping[str, str], etag: str = ""
) -> Receipt:
    """`etag` where it did not come in the headers."""
    return Receipt(
        delivery.bucket,
        delivery.key,
        size,
        proof,
        (etag or headers.get("etag", "")).strip('"'),
        headers.get("x-amz-version-id", ""),
    )


def taken(delivery: Delivery) -> AlreadyExists:
    """What is said of a name that another object has."""
    return AlreadyExists(
        f"another object has the name s3://{delivery.bucket}/{delivery.key} and is not replaced (OnExisting)",
        code="PreconditionFailed",
    )


async def find(delivery: Delivery, *, store: Store) -> Mapping[str, str] | None:
    """What the store says of the object under the key; None if there is none."""
    try:
        response = await store.request(
            "HeadObject", "HEAD", delivery.key, headers={"x-amz-checksum-mode": "ENABLED"}
        )
    except DeliveryError as error:
        if error.code in _NOT_THERE:
            return None
        raise
    return response.headers


async def look(
    delivery: Delivery, file: OpenFile, *, store: Store, checksum: Checksum, value: str
) -> Receipt:
    """Ask for the proof that the answer to the upload did not carry."""
    headers = await find(delivery, store=store)
    if headers is None:
        raise Unproven("the store took the bytes, and says that no such object is there")
    check_echo(checksum, checksum.echo(headers), value)
    if headers.get("content-length", "") != str(file.size):
        raise Unproven("the store says the object has another size")
    file.check_unchanged()
    return receipt_of(delivery, file.size, checksum.receipt(value, file.size), headers)


async def look_for_same(
    delivery: Delivery, file: OpenFile, *, store: Store, checksum: Checksum, value: str
) -> Receipt | None:
    """A receipt if the object under the key is this very content; a size alone says nothing here."""
    if checksum.is_told_by_head:
        return None
    try:
        return await look(delivery, file, store=store, checksum=checksum, value=value)
    except (Unproven, Refused, AccessDenied):  # not there, not this content, or no right to look
        return None


async def digest_slice(
    file: OpenFile,
    offset: int,
    size: int,
    *,
    store: Store,
    checksum: Checksum,
    crew: Crew,
    with_md5: bool = False,
) -> Digest:
    """A first pass over bytes that are about to be sent; the second finds them in the page cache."""
    running = checksum.running()
    sha = hashlib.sha256() if store.signs_payload else None
    md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
    wanted = [each for each in (running, sha, md5) if each is not None]
    end = offset + size
    for start in range(offset, end, WORK_BYTES):
        await crew.do(partial(_feed, wanted, file, start, min(start + WORK_BYTES, end)))
    payload_hash = UNSIGNED_PAYLOAD if sha is None else sha.hexdigest()
    return Digest(running.text(), payload_hash, "" if md5 is None else md5.hexdigest())


def _feed(wanted: Sequence[_Updated], file: OpenFile, start: int, end: int, buffer: memoryview) -> None:
    for offset in range(start, end, BUFFER_BYTES):
        view = read_into(buffer, file, offset, min(BUFFER_BYTES, end - offset))
        for each in wanted:
            each.update(view)


def _read_whole(file: OpenFile, size: int) -> bytes:
    """A small file's bytes; one byte more is asked for, to see one that has grown."""
    try:
        content = os.pread(file.fileno(), size + 1, 0)
    except OSError as error:
        raise FileUnreadable(f"the file cannot be read: {error.strerror}") from error
    if len(content) != size:
        file.check_unchanged()
        raise FileChanged(f"the file has {len(content)} bytes or more, not {size}")
    return content


def _hash(content: bytes, store: Store) -> str:
    if not store.signs_payload:
        return UNSIGNED_PAYLOAD
    return hashlib.sha256(content).hexdigest() if content else EMPTY_SHA256
