"""Files above 16 MiB: many parts, a few at a time, continued where a crash or a dead link cut them off.

The upload id is in the ledger before the first part leaves. What the store says it has is believed
part by part, and only where its checksum is that of our own bytes, read again. Nothing is visible
under the key until the whole is complete, and it is completed only while the file still is what was
claimed. An upload that is of no use any more is aborted, and handed over where that fails.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import (
    AccessDenied,
    AlreadyExists,
    Concern,
    DeliveryError,
    FileChanged,
    FileVanished,
    Interrupted,
    Refused,
    TransferFault,
    Unproven,
)
from s3_file_uploader.transport.s3.abort import abort_upload
from s3_file_uploader.transport.s3.checkpoint import (
    checkpoint_of,
    leads_here,
    part_size_in,
    part_size_of,
    smallest_part_size_of,
    upload_id_in,
    with_arrived,
)
from s3_file_uploader.transport.s3.checksums import CRC64NVME, check_echo
from s3_file_uploader.transport.s3.exchange import FileSlice
from s3_file_uploader.transport.s3.faults import ContentRejected, UploadGone, delivery_error
from s3_file_uploader.transport.s3.streams import Streams
from s3_file_uploader.transport.s3.upload import digest_slice, find, look, look_for_same, receipt_of, taken
from s3_file_uploader.transport.s3.xml import (
    Part,
    ServiceError,
    complete_body,
    complete_result_of,
    parts_of,
    upload_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.model import Checkpoint, Receipt
    from s3_file_uploader.transport.contract import Delivery, OpenFile
    from s3_file_uploader.transport.s3.attributes import Attributes
    from s3_file_uploader.transport.s3.crew import Crew
    from s3_file_uploader.transport.s3.reactor import Reactor
    from s3_file_uploader.transport.s3.store import Store
    from s3_file_uploader.transport.s3.streams import Lender
    from s3_file_uploader.transport.s3.upload import Digest
    from s3_file_uploader.transport.s3.xml import CompleteResult

__all__ = ["Keeper", "Multipart"]

_NO_UPLOAD = "NoSuchUpload"
TOLD_EVERY_BYTES = 64 * 1024 * 1024  # how far it has come, in the ledger; nothing but words depends on it


class Keeper(Protocol):
    """Who writes down what is left on the far side; returns once that is durable."""

    async def save(self, delivery: Delivery, checkpoint: Checkpoint | None) -> None: ...

    async def give_up(self, delivery: Delivery, reason: str) -> None: ...


class Multipart:
    """One multipart upload, from CreateMultipartUpload or a checkpoint to its receipt."""

    def __init__(
        self,
        delivery: Delivery,
        file: OpenFile,
        *,
        store: Store,
        attributes: Attributes,
        reactor: Reactor,
        crew: Crew,
        slots: Lender,
        keeper: Keeper,
    ) -> None:
        self._delivery = delivery
        self._file = file
        self._store = store
        self._attributes = attributes
        self._checksum = attributes.checksum
        self._reactor = reactor
        self._crew = crew
        self._slots = slots
        self._keeper = keeper
        self._upload_id = ""
        self._part_size = self._first_part_size
        self._there: dict[int, Part] = {}  # what the store said it has, not believed yet
        self._values: dict[int, str] = {}  # the checksum of each part
        self._etags: dict[int, str] = {}
        self._arrived: dict[int, int] = {}  # sizes of the parts that the store is said to have
        self._told_bytes = 0

    async def run(self) -> Receipt:
        self._file.check_unchanged()
        receipt = await self._resume()
        if receipt is not None:
            return receipt
        if not self._upload_id:
            receipt = await self._is_taken()
            if receipt is not None:
                return receipt
            await self._create()
        try:
            await Streams(self._part_count, self._carry, reactor=self._reactor, slots=self._slots).run()
            self._file.check_unchanged()
            return await self._complete()
        except (FileChanged, FileVanished, Refused, Unproven, UploadGone) as error:
            await self._abandon(error)
            raise
        except DeliveryError as error:
            with contextlib.suppress(DeliveryError):
                await self._keep(error)
            raise

    # -- beginning and continuing

    async def _is_taken(self) -> Receipt | None:
        """Before parts are sent in vain: AlreadyExists where an object must stay, a receipt if it is this content."""
        if self._attributes.may_replace:
            return None
        try:
            headers = await find(self._delivery, store=self._store)
        except AccessDenied:  # no right to look: the end of the upload will tell
            return None
        if headers is None:
            return None
        receipt = None
        if headers.get("content-length", "") == str(self._file.size):
            receipt = await self._already_there()
        if receipt is None:
            raise taken(self._delivery)
        return receipt

    async def _create(self) -> None:
        response = await self._store.request(
            "CreateMultipartUpload",
            "POST",
            self._delivery.key,
            query=(("uploads", ""),),
            headers={**self._attributes.headers_of(self._delivery), **self._checksum.opening()},
        )
        self._upload_id = upload_id_of(response.body)
        try:
            await self._keeper.save(self._delivery, self._checkpoint)
        except Interrupted:
            # Nobody will know of it after we are gone.
            with contextlib.suppress(DeliveryError):
                await abort_upload(self._store, self._delivery.key, self._upload_id)
            raise

    @property
    def _checkpoint(self) -> Checkpoint:
        saved = checkpoint_of(self._delivery, self._upload_id, self._part_size)
        return {**with_arrived(saved, self._arrived.values()), "checksum": self._checksum.name}

    async def _keep(self, error: DeliveryError) -> None:
        """For the next try. A line on which no part ever got through is tried with the smallest there may be."""
        if isinstance(error, TransferFault) and not self._arrived and self._attributes.parts is None:
            self._part_size = min(self._part_size, smallest_part_size_of(self._file.size))
            self._told_bytes = -1
        await self._tell(least_bytes=1)

    async def _tell(self, *, least_bytes: int = TOLD_EVERY_BYTES) -> None:
        """Let the ledger know how far it has come, if that is news of so many bytes."""
        arrived = sum(self._arrived.values())
        if abs(arrived - self._told_bytes) >= least_bytes:
            self._told_bytes = arrived
            await self._keeper.save(self._delivery, self._checkpoint)

    async def _resume(self) -> Receipt | None:
        """Take up the upload of the checkpoint, if it is of this content; a receipt if it was complete."""
        checkpoint = self._delivery.checkpoint
        upload_id = upload_id_in(checkpoint, self._delivery)
        if checkpoint is None or not upload_id:
            return None
        part_size = part_size_in(checkpoint, self._delivery.source.fingerprint)
        began_with = checkpoint.get("checksum", CRC64NVME.name)  # an upload keeps the algorithm it began with
        if not part_size:
            await self.forget()
            return None
        if began_with != self._checksum.name:
            await self.forget("ChecksumAlgorithm is another now")
            return None
        self._part_size = part_size
        try:
            self._there = await self._list(upload_id)
        except UploadGone:
            receipt = await self._already_there()
            if receipt is None:
                await self._keeper.save(self._delivery, None)
                self._part_size = self._first_part_size
                self._values.clear()  # of parts of another size
            return receipt
        except (AccessDenied, Refused):
            # No right to list, if aborting it is allowed. Where that is denied too, it may be allowed again later.
            await abort_upload(self._store, self._delivery.key, upload_id)
            await self._keeper.save(self._delivery, None)
            self._part_size = self._first_part_size
            return None
        self._upload_id = upload_id
        self._arrived = {number: part.size for number, part in self._there.items()}
        await self._tell(least_bytes=0)  # in any case: the way there may be another than before
        return None

    async def forget(self, reason: str = "the file has other content now") -> None:
        """Take back the upload of a checkpoint that is of no use, if it is ours and can be taken back."""
        checkpoint = self._delivery.checkpoint
        if not leads_here(checkpoint, self._delivery):
            return  # the pipeline's to see to
        upload_id = upload_id_in(checkpoint, self._delivery)
        if upload_id:
            await self._give_back(upload_id, reason)
        else:
            await self._keeper.save(self._delivery, None)

    async def _give_back(self, upload_id: str, reason: str) -> None:
        """Abort an upload; one that cannot be aborted now is handed over, to be aborted later."""
        try:
            await abort_upload(self._store, self._delivery.key, upload_id)
        except DeliveryError as error:
            if error.concern is Concern.PROCESS:
                raise
            await self._keeper.give_up(self._delivery, reason)
            if error.concern is Concern.DESTINATION:
                raise
        else:
            await self._keeper.save(self._delivery, None)

    async def _list(self, upload_id: str) -> dict[int, Part]:
        found: dict[int, Part] = {}
        marker: int | None = 0
        while marker is not None:
            parts, following = await self._page(upload_id, marker)
            found.update((part.number, part) for part in parts)
            marker = following if following is None or following > marker else None
        return found

    async def _page(
        self, upload_id: str, marker: int, *more: tuple[str, str]
    ) -> tuple[list[Part], int | None]:
        """What the store has of an upload after the part of that number, and where that listing goes on."""
        query = (("uploadId", upload_id), ("part-number-marker", str(marker)), *more)
        response = await self._store.request("ListParts", "GET", self._delivery.key, query=query)
        return parts_of(response.body, self._checksum.element)

    # -- parts

    @property
    def _first_part_size(self) -> int:
        """In bytes, unless a checkpoint says otherwise."""
        parts, size = self._attributes.parts, self._file.size
        return part_size_of(size) if parts is None else parts.size_of(size)

    @property
    def _part_count(self) -> int:
        return max(1, -(-self._file.size // self._part_size))

    async def _look(self, number: int) -> None:
        """A part broke on the way: it may have arrived all the same, and only its answer was lost."""
        try:
            parts, _ = await self._page(self._upload_id, number - 1, ("max-parts", "1"))
        except (TransferFault, Interrupted):
            raise
        except DeliveryError as error:
            if error.concern is Concern.DESTINATION:
                raise
            return  # no right to look: sent again
        self._there.update((part.number, part) for part in parts if part.number == number)

    async def _carry(self, number: int, is_again: bool = False) -> None:
        """One part: sent, unless the store has it already and its checksum is that of our bytes."""
        if is_again:
            await self._look(number)
        offset, size = self._extent(number)
        there = self._there.get(number)
        digest = await self._digest(number, with_md5=there is not None and not there.checksum)
        self._values[number] = digest.value
        if there is not None and there.size == size and _is_same(there, digest.value, digest.md5):
            self._etags[number] = there.etag
            self._arrived[number] = size
            return
        self._arrived.pop(number, None)
        self._file.check_unchanged()
        try:
            response = await self._store.request(
                "UploadPart",
                "PUT",
                self._delivery.key,
                query=(("partNumber", str(number)), ("uploadId", self._upload_id)),
                headers=self._checksum.announced(digest.value),
                body=FileSlice(self._file, offset, size, self._delivery.progress),
                payload_hash=digest.payload_hash,
            )
        except ContentRejected:
            self._file.check_unchanged()  # a file that changed under us is the likelier reason
            raise
        echo = self._checksum.echo(response.headers)
        if echo:  # what proves the whole is the echo of the whole
            check_echo(self._checksum, echo, digest.value)
        self._etags[number] = response.headers.get("etag", "")
        self._arrived[number] = size
        await self._tell()

    def _extent(self, number: int) -> tuple[int, int]:
        """Where a part begins, and its size, in bytes."""
        offset = (number - 1) * self._part_size
        return offset, min(self._part_size, self._file.size - offset)

    async def _digest(self, number: int, *, with_md5: bool = False) -> Digest:
        offset, size = self._extent(number)
        return await digest_slice(
            self._file,
            offset,
            size,
            store=self._store,
            checksum=self._checksum,
            crew=self._crew,
            with_md5=with_md5,
        )

    # -- the end

    @property
    def _value(self) -> str:
        """The checksum of the whole, once that of every part is known."""
        numbers = range(1, self._part_count + 1)
        return self._checksum.whole([(self._values[number], self._extent(number)[1]) for number in numbers])

    async def _complete(self) -> Receipt:
        value = self._value
        try:
            result, headers = await self._completed(value)
        except (UploadGone, AlreadyExists) as error:
            # A first try whose answer was lost may have completed it.
            receipt = await self._already_there()
            if receipt is None:
                if isinstance(error, AlreadyExists):
                    raise taken(self._delivery) from error
                raise
            if error.code != _NO_UPLOAD:
                await self._abandon(error)
            return receipt
        self._file.check_unchanged()
        told = self._checksum.of_completed(result.checksum, result.etag)
        if not told:
            return await self._prove(value)
        check_echo(self._checksum, told, value)
        size = self._file.size
        return receipt_of(self._delivery, size, self._checksum.receipt(value, size), headers, result.etag)

    async def _completed(self, value: str) -> tuple[CompleteResult, Mapping[str, str]]:
        parts = [
            Part(number, 0, self._etags[number], self._values[number])
            for number in range(1, self._part_count + 1)
        ]
        response = await self._store.request(
            "CompleteMultipartUpload",
            "POST",
            self._delivery.key,
            query=(("uploadId", self._upload_id),),
            headers={
                **self._checksum.closing(value),
                **self._attributes.condition,
                "x-amz-mp-object-size": str(self._file.size),
            },
            body=complete_body(parts, self._checksum.element),
            seconds=self._store.complete_seconds,
        )
        result = complete_result_of(response.body, self._checksum.element)
        if isinstance(result, ServiceError):
            raise delivery_error(
                response.status,
                result,
                operation="CompleteMultipartUpload",
                bucket=self._delivery.bucket,
                key=self._delivery.key,
                headers=response.headers,
            )
        return result, response.headers

    async def _prove(self, value: str) -> Receipt:
        """Ask for the proof that the answer did not carry."""
        return await look(self._delivery, self._file, store=self._store, checksum=self._checksum, value=value)

    async def _already_there(self) -> Receipt | None:
        """A receipt if the object under the key is this very content."""
        for number in range(1, self._part_count + 1):
            if number not in self._values:
                self._values[number] = (await self._digest(number)).value
        return await look_for_same(
            self._delivery, self._file, store=self._store, checksum=self._checksum, value=self._value
        )

    async def _abandon(self, error: DeliveryError) -> None:
        """Leave no parts behind that nobody will use."""
        with contextlib.suppress(DeliveryError):
            await self._give_back(self._upload_id, str(error))


def _is_same(there: Part, value: str, md5: str) -> bool:
    """Some stores list parts without checksums; an ETag that is the MD5 of our bytes says as much."""
    return there.checksum == value if there.checksum else there.etag.strip('"') == md5
