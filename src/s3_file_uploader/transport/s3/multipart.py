"""Files above 16 MiB: many parts, a few at a time, continued where a crash or a dead link cut them off.

The upload id is in the ledger before the first part leaves. What the store says it has is believed
part by part, and only where its checksum is that of our own bytes, read again. Nothing is visible
under the key until the whole is complete, and it is completed only while the file still is what was
claimed.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import (
    Concern,
    DeliveryError,
    FileChanged,
    FileVanished,
    Interrupted,
    Refused,
    Unproven,
)
from s3_file_uploader.transport.s3.checkpoint import (
    checkpoint_of,
    part_size_in,
    part_size_of,
    upload_id_in,
)
from s3_file_uploader.transport.s3.crt import combine_crc64nvme, encode_crc64
from s3_file_uploader.transport.s3.exchange import FileSlice
from s3_file_uploader.transport.s3.faults import ContentRejected, UploadGone, delivery_error
from s3_file_uploader.transport.s3.upload import CHECKSUM_HEADER, check_echo, digest_slice, receipt_of
from s3_file_uploader.transport.s3.xml import (
    Part,
    ServiceError,
    complete_body,
    complete_result_of,
    parts_of,
    upload_id_of,
)

if TYPE_CHECKING:
    from s3_file_uploader.model import Checkpoint, Receipt
    from s3_file_uploader.transport.contract import Delivery, OpenFile
    from s3_file_uploader.transport.s3.reactor import Reactor, Signal, Task
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["Multipart"]

STREAMS = 4  # parts of one file in flight


class Lender(Protocol):
    """Who has connections to spare."""

    @property
    def is_awaited(self) -> bool: ...

    def borrow(self) -> bool: ...

    def give_back(self, *, is_large: bool) -> None: ...


class Save(Protocol):
    async def __call__(self, delivery: Delivery, checkpoint: Checkpoint | None) -> None: ...


class Multipart:
    """One multipart upload, from CreateMultipartUpload or a checkpoint to its receipt."""

    def __init__(
        self,
        delivery: Delivery,
        file: OpenFile,
        *,
        store: Store,
        reactor: Reactor,
        buffer: memoryview,
        slots: Lender,
        save: Save,
    ) -> None:
        self._delivery = delivery
        self._file = file
        self._store = store
        self._reactor = reactor
        self._buffer = buffer
        self._slots = slots
        self._save = save
        self._upload_id = ""
        self._part_size = part_size_of(file.size)
        self._there: dict[int, Part] = {}  # what the store said it has, not believed yet
        self._crcs: dict[int, int] = {}
        self._etags: dict[int, str] = {}
        self._next_number = 1
        self._extras: set[Task] = set()
        self._extra_ended: Signal | None = None
        self._failure: BaseException | None = None

    async def run(self) -> Receipt:
        self._file.check_unchanged()
        receipt = await self._resume()
        if receipt is not None:
            return receipt
        if not self._upload_id:
            await self._create()
        try:
            await self._send_parts()
            self._file.check_unchanged()
            return await self._complete()
        except (FileChanged, FileVanished, Refused, Unproven, UploadGone):
            await self._abandon()
            raise

    # -- beginning and continuing

    async def _create(self) -> None:
        response = await self._store.request(
            "CreateMultipartUpload",
            "POST",
            self._delivery.key,
            query=(("uploads", ""),),
            headers={"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"},
        )
        self._upload_id = upload_id_of(response.body)
        try:
            await self._save(self._delivery, checkpoint_of(self._delivery, self._upload_id, self._part_size))
        except Interrupted:
            # Nobody will know of it after we are gone.
            with contextlib.suppress(DeliveryError):
                await self._abort(self._upload_id)
            raise

    async def _resume(self) -> Receipt | None:
        """Take up the upload of the checkpoint, if it is of this content; a receipt if it was complete."""
        checkpoint = self._delivery.checkpoint
        upload_id = upload_id_in(checkpoint, self._delivery)
        if checkpoint is None or not upload_id:
            return None
        part_size = part_size_in(checkpoint, self._delivery.source.fingerprint)
        if not part_size:
            await self.forget()
            return None
        self._part_size = part_size
        try:
            self._there = await self._list(upload_id)
        except UploadGone:
            receipt = await self._already_there()
            if receipt is None:
                await self._save(self._delivery, None)
                self._part_size = part_size_of(self._file.size)
            return receipt
        self._upload_id = upload_id
        return None

    async def forget(self) -> None:
        """Take back the upload of a checkpoint that is of no use, if it is ours and can be taken back."""
        upload_id = upload_id_in(self._delivery.checkpoint, self._delivery)
        if upload_id:
            try:
                await self._abort(upload_id)
            except DeliveryError as error:
                # Gone, or no right to abort: nothing to wait for. An unreachable store is another matter.
                if error.concern in (Concern.DESTINATION, Concern.PROCESS):
                    raise
        await self._save(self._delivery, None)

    async def _list(self, upload_id: str) -> dict[int, Part]:
        found: dict[int, Part] = {}
        marker: int | None = 0
        while marker is not None:
            query = (("uploadId", upload_id), ("part-number-marker", str(marker)))
            response = await self._store.request("ListParts", "GET", self._delivery.key, query=query)
            parts, following = parts_of(response.body)
            found.update((part.number, part) for part in parts)
            marker = following if following is None or following > marker else None
        return found

    # -- parts

    @property
    def _part_count(self) -> int:
        return max(1, -(-self._file.size // self._part_size))

    async def _send_parts(self) -> None:
        """One stream of parts of our own, and more on borrowed connections; the first failure ends all."""
        parent = self._reactor.current()
        try:
            while (number := self._take()) is not None:
                self._borrow(parent)
                await self._carry(number)
            while self._extras:
                await self._until_an_extra_ends()
        except BaseException as error:
            self._failure = self._failure or error
            for task in list(self._extras):
                self._reactor.cancel(task, Interrupted("another part failed"))
            while self._extras:
                await self._until_an_extra_ends()
            raise

    def _take(self) -> int | None:
        number = self._next_number
        if number > self._part_count:
            return None
        self._next_number += 1
        return number

    def _borrow(self, parent: Task) -> None:
        left = self._part_count - self._next_number + 1
        while len(self._extras) < min(STREAMS - 1, left) and self._slots.borrow():
            extra = self._reactor.spawn(self._stream(), lambda _, error: self._ended(parent, error))
            self._extras.add(extra)

    async def _stream(self) -> Task:
        """Parts on a borrowed connection, until somebody else waits for it."""
        while not self._slots.is_awaited and (number := self._take()) is not None:
            await self._carry(number)
        return self._reactor.current()

    def _ended(self, parent: Task, error: BaseException | None) -> None:
        self._slots.give_back(is_large=True)
        self._extras = {task for task in self._extras if not task.is_done}
        if error is not None and self._failure is None:
            self._failure = error
            self._reactor.cancel(parent, error)
        if self._extra_ended is not None:
            self._extra_ended.set()

    async def _until_an_extra_ends(self) -> None:
        self._extra_ended = self._reactor.signal()
        await self._extra_ended.wait()

    async def _carry(self, number: int) -> None:
        """One part: sent, unless the store has it already and its checksum is that of our bytes."""
        offset = (number - 1) * self._part_size
        size = min(self._part_size, self._file.size - offset)
        there = self._there.get(number)
        digest = await digest_slice(
            self._file,
            offset,
            size,
            store=self._store,
            reactor=self._reactor,
            buffer=self._buffer,
            with_md5=there is not None and not there.checksum,
        )
        checksum = encode_crc64(digest.crc)
        self._crcs[number] = digest.crc
        if there is not None and there.size == size and _is_same(there, checksum, digest.md5):
            self._etags[number] = there.etag
            return
        self._file.check_unchanged()
        try:
            response = await self._store.request(
                "UploadPart",
                "PUT",
                self._delivery.key,
                query=(("partNumber", str(number)), ("uploadId", self._upload_id)),
                headers={CHECKSUM_HEADER: checksum},
                body=FileSlice(self._file, offset, size, self._delivery.progress),
                payload_hash=digest.payload_hash,
            )
        except ContentRejected:
            self._file.check_unchanged()  # a file that changed under us is the likelier reason
            raise
        echo = response.headers.get(CHECKSUM_HEADER)
        if echo is not None:  # what proves the whole is the echo of the whole
            check_echo(echo, checksum)
        self._etags[number] = response.headers.get("etag", "")

    # -- the end

    @property
    def _checksum(self) -> str:
        crc = self._crcs[1]
        for number in range(2, self._part_count + 1):
            size = min(self._part_size, self._file.size - (number - 1) * self._part_size)
            crc = combine_crc64nvme(crc, self._crcs[number], size)
        return encode_crc64(crc)

    async def _complete(self) -> Receipt:
        checksum = self._checksum
        parts = [
            Part(number, 0, self._etags[number], encode_crc64(self._crcs[number]))
            for number in range(1, self._part_count + 1)
        ]
        try:
            response = await self._store.request(
                "CompleteMultipartUpload",
                "POST",
                self._delivery.key,
                query=(("uploadId", self._upload_id),),
                headers={
                    CHECKSUM_HEADER: checksum,
                    "x-amz-checksum-type": "FULL_OBJECT",
                    "x-amz-mp-object-size": str(self._file.size),
                },
                body=complete_body(parts),
                seconds=self._store.complete_seconds,
            )
            result = complete_result_of(response.body)
            if isinstance(result, ServiceError):
                raise delivery_error(
                    response.status,
                    result,
                    operation="CompleteMultipartUpload",
                    bucket=self._delivery.bucket,
                    key=self._delivery.key,
                    headers=response.headers,
                )
        except UploadGone:
            # A first try whose answer was lost may have completed it.
            receipt = await self._already_there()
            if receipt is None:
                raise
            return receipt
        self._file.check_unchanged()
        if not result.checksum_crc64nvme:
            return await self._by_head(checksum)
        check_echo(result.checksum_crc64nvme, checksum)
        return receipt_of(self._delivery, self._file.size, checksum, response.headers, result.etag)

    async def _by_head(self, checksum: str) -> Receipt:
        """Ask for the proof that the answer did not carry."""
        response = await self._store.request(
            "HeadObject", "HEAD", self._delivery.key, headers={"x-amz-checksum-mode": "ENABLED"}
        )
        headers = response.headers
        check_echo(headers.get(CHECKSUM_HEADER, ""), checksum)
        if headers.get("content-length", "") != str(self._file.size):
            raise Unproven("the store says the object has another size")
        self._file.check_unchanged()
        return receipt_of(self._delivery, self._file.size, checksum, headers, headers.get("etag", ""))

    async def _already_there(self) -> Receipt | None:
        """A receipt if the object under the key is this very content."""
        if len(self._crcs) == self._part_count:
            checksum = self._checksum
        else:
            whole = await digest_slice(
                self._file, 0, self._file.size, store=self._store, reactor=self._reactor, buffer=self._buffer
            )
            checksum = encode_crc64(whole.crc)
        try:
            return await self._by_head(checksum)
        except (Interrupted, FileChanged, FileVanished):
            raise
        except DeliveryError:  # not there, not this content, or no right to look: send it again
            return None

    async def _abandon(self) -> None:
        """Leave no parts behind that nobody will use; kept for another try if the store cannot be reached."""
        with contextlib.suppress(DeliveryError):
            with contextlib.suppress(UploadGone):
                await self._abort(self._upload_id)
            await self._save(self._delivery, None)

    async def _abort(self, upload_id: str) -> None:
        await self._store.request(
            "AbortMultipartUpload", "DELETE", self._delivery.key, query=(("uploadId", upload_id),)
        )


def _is_same(there: Part, checksum: str, md5: str) -> bool:
    """Some stores list parts without checksums; an ETag that is the MD5 of our bytes says as much."""
    return there.checksum == checksum if there.checksum else there.etag.strip('"') == md5
