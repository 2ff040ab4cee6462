"""One file to one object: a single PUT, or a multipart upload above 16 MiB.

The rule of receipts lives here: the file is the one in the ledger before its first byte leaves and
still is after the answer, and the store echoed the CRC64NVME that we computed. No echo, no receipt.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.errors import FileChanged, FileUnreadable, Unproven
from s3_file_uploader.model import Receipt
from s3_file_uploader.transport.s3.crt import crc64nvme, encode_crc64
from s3_file_uploader.transport.s3.exchange import BUFFER_BYTES, TURN_BYTES, FileSlice, read_into
from s3_file_uploader.transport.s3.faults import ContentRejected
from s3_file_uploader.transport.s3.sigv4 import EMPTY_SHA256, UNSIGNED_PAYLOAD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.transport.contract import Delivery, OpenFile
    from s3_file_uploader.transport.s3.reactor import Reactor
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["CHECKSUM_HEADER", "Digest", "check_echo", "digest_slice", "put_whole", "receipt_of"]

CHECKSUM_HEADER = "x-amz-checksum-crc64nvme"


@dataclass(frozen=True, slots=True)
class Digest:
    """What is known of a slice's bytes: its CRC64NVME, and the hash that its request is signed with.

    `md5` is empty unless it was asked for.
    """

    crc: int
    payload_hash: str
    md5: str = ""


async def put_whole(
    delivery: Delivery, file: OpenFile, *, store: Store, reactor: Reactor, buffer: memoryview
) -> Receipt:
    """One PUT for the whole file."""
    size = file.size
    body = FileSlice(file, 0, size, delivery.progress)
    if size <= BUFFER_BYTES:
        content = _read_whole(file, size)
        crc = crc64nvme(content)
        payload_hash = _hash(content, store)
        body.content = content
        del content  # the request lets go of its own reference as soon as it can
    else:
        digest = await digest_slice(file, 0, size, store=store, reactor=reactor, buffer=buffer)
        crc, payload_hash = digest.crc, digest.payload_hash
    file.check_unchanged()
    checksum = encode_crc64(crc)
    try:
        response = await store.request(
            "PutObject",
            "PUT",
            delivery.key,
            headers={CHECKSUM_HEADER: checksum},
            body=body,
            payload_hash=payload_hash,
        )
    except ContentRejected:
        file.check_unchanged()  # a file that changed under us is the likelier reason
        raise
    file.check_unchanged()
    headers = response.headers
    check_echo(headers.get(CHECKSUM_HEADER, ""), checksum)
    return receipt_of(delivery, size, checksum, headers, headers.get("etag", ""))


def receipt_of(
    delivery: Delivery, size: int, checksum: str, headers: Mapping[str, str], etag: str
) -> Receipt:
    return Receipt(
        delivery.bucket,
        delivery.key,
        size,
        f"crc64nvme:{checksum}",
        etag.strip('"'),
        headers.get("x-amz-version-id", ""),
    )


def check_echo(echo: str, checksum: str) -> None:
    """Unproven unless the store says that it holds bytes of this very checksum."""
    if echo == checksum:
        return
    if not echo:
        raise Unproven(
            "the store did not confirm the checksum of what it stored (no CRC64NVME in its answer)"
        )
    raise Unproven(f"the store says it holds other bytes: CRC64NVME {echo[:32]!r}, sent {checksum!r}")


async def digest_slice(
    file: OpenFile,
    offset: int,
    size: int,
    *,
    store: Store,
    reactor: Reactor,
    buffer: memoryview,
    with_md5: bool = False,
) -> Digest:
    """A first pass over bytes that are about to be sent; the second finds them in the page cache."""
    crc, done, turn = 0, 0, 0
    sha = hashlib.sha256() if store.signs_payload else None
    md5 = hashlib.md5(usedforsecurity=False) if with_md5 else None
    while done < size:
        view = read_into(buffer, file, offset + done, min(BUFFER_BYTES, size - done))
        crc = crc64nvme(view, crc)
        if sha is not None:
            sha.update(view)
        if md5 is not None:
            md5.update(view)
        done += len(view)
        turn += len(view)
        if turn >= TURN_BYTES and done < size:
            turn = 0
            await reactor.pause()
    payload_hash = UNSIGNED_PAYLOAD if sha is None else sha.hexdigest()
    return Digest(crc, payload_hash, "" if md5 is None else md5.hexdigest())


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
