"""Files above 16 MiB: many parts, a few at a time, continued where a crash or a dead link cut them off.

The upload id is in the ledger before the first part leaves. Nothing is visible under the key until the
whole is complete, and it is completed only while the file still is what was claimed. An upload that is
of no use any more is aborted, and handed over where that fails.
"""

from __future__ import annotations

import contextlib
from functools import partial
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
from s3_file_uploader.transport.s3.faults import UploadGone, delivery_error
from s3_file_uploader.transport.s3.parts import Parts
from s3_file_uploader.transport.s3.streams import Streams
from s3_file_uploader.transport.s3.upload import find, look, look_for_same, receipt_of, taken
from s3_file_uploader.transport.s3.xml import (
    ServiceError,
    complete_body,
    complete_result_of,
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
        self._parts = Parts(
            delivery,
            file,
            store=store,
            checksum=attributes.checksum,
            crew=crew,
            tell=self._tell,
        )
        self._parts.resize(self._usual_part_size)
        self._streams = partial(
            Streams, carry=self._parts.carry, reactor=reactor, slots=slots, is_eased=delivery.is_eased
        )
        self._keeper = keeper
        self._told_bytes = 0

    async def run(self) -> Receipt:
        self._file.check_unchanged()
        receipt = await self._resume()
        if receipt is not None:
            return receipt
        if not self._parts.upload_id:
            receipt = await self._is_taken()
            if receipt is not None:
                return receipt
            await self._create()
        try:
            await self._streams(self._parts.count).run()
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
        self._parts.upload_id = upload_id_of(response.body)
        try:
            await self._keeper.save(self._delivery, self._checkpoint)
        except Interrupted:
            # Nobody will know of it after we are gone.
            with contextlib.suppress(DeliveryError):
                await abort_upload(self._store, self._delivery.key, self._parts.upload_id)
            raise

    @property
    def _checkpoint(self) -> Checkpoint:
        saved = checkpoint_of(self._delivery, self._parts.upload_id, self._parts.size)
        return {**with_arrived(saved, self._parts.arrived.values()), "checksum": self._checksum.name}

    @property
    def _usual_part_size(self) -> int:
        """In bytes, unless a checkpoint says otherwise."""
        partition, size = self._attributes.partition, self._file.size
        return part_size_of(size) if partition is None else partition.part_size_of(size)

    async def _keep(self, error: DeliveryError) -> None:
        """For the next try. A line on which no part ever got through is tried with the smallest there may be."""
        is_ours_to_choose = self._attributes.partition is None
        if isinstance(error, TransferFault) and not self._parts.arrived and is_ours_to_choose:
            self._parts.resize(min(self._parts.size, smallest_part_size_of(self._file.size)))
            self._told_bytes = -1
        await self._tell(least_bytes=1)

    async def _tell(self, *, least_bytes: int = TOLD_EVERY_BYTES) -> None:
        """Let the ledger know how far it has come, if that is news of so many bytes."""
        arrived = sum(self._parts.arrived.values())
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
        parts = self._parts
        parts.resize(part_size)
        try:
            await parts.take_up(upload_id)
        except UploadGone:
            receipt = await self._already_there()
            if receipt is None:
                await self._keeper.save(self._delivery, None)
                parts.resize(self._usual_part_size)
            return receipt
        except (AccessDenied, Refused):
            # No right to list, if aborting it is allowed. Where that is denied too, it may be allowed again later.
            await abort_upload(self._store, self._delivery.key, upload_id)
            await self._keeper.save(self._delivery, None)
            parts.resize(self._usual_part_size)
            return None
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

    # -- the end

    async def _complete(self) -> Receipt:
        value = self._parts.value()
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
        response = await self._store.request(
            "CompleteMultipartUpload",
            "POST",
            self._delivery.key,
            query=(("uploadId", self._parts.upload_id),),
            headers={
                **self._checksum.closing(value),
                **self._attributes.condition,
                "x-amz-mp-object-size": str(self._file.size),
            },
            body=complete_body(self._parts.complete(), self._checksum.element),
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
        value = await self._parts.digested_value()
        return await look_for_same(
            self._delivery, self._file, store=self._store, checksum=self._checksum, value=value
        )

    async def _abandon(self, error: DeliveryError) -> None:
        """Leave no parts behind that nobody will use."""
        with contextlib.suppress(DeliveryError):
            await self._give_back(self._parts.upload_id, str(error))
