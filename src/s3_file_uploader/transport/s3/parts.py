"""The parts of one multipart upload: what the store has of it, and how what it has not is sent.

What the store says it has is believed part by part, and only where its checksum is that of our own bytes,
read again. How many go at once is the business of `streams`; which upload they belong to, and what becomes
of it, that of `multipart`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.errors import Concern, DeliveryError, Interrupted, TransferFault
from s3_file_uploader.transport.s3.cargo import FileSlice
from s3_file_uploader.transport.s3.checkpoint import part_size_of
from s3_file_uploader.transport.s3.checksums import check_echo
from s3_file_uploader.transport.s3.faults import ContentRejected
from s3_file_uploader.transport.s3.upload import digest_slice
from s3_file_uploader.transport.s3.xml import Part, parts_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3_file_uploader.transport.contract import Delivery, OpenFile
    from s3_file_uploader.transport.s3.checksums import Checksum
    from s3_file_uploader.transport.s3.crew import Crew
    from s3_file_uploader.transport.s3.store import Store
    from s3_file_uploader.transport.s3.upload import Digest

__all__ = ["Parts"]


class Parts:
    """Of one file, and of one upload once `upload_id` is set. `arrived`: sizes in bytes, by number.

    `tell` is awaited with each part that the store has taken.
    """

    def __init__(
        self,
        delivery: Delivery,
        file: OpenFile,
        *,
        store: Store,
        checksum: Checksum,
        crew: Crew,
        tell: Callable[[], Awaitable[None]],
    ) -> None:
        self._delivery = delivery
        self._file = file
        self._store = store
        self._checksum = checksum
        self._crew = crew
        self._tell = tell
        self.upload_id = ""
        self.size = part_size_of(file.size)
        self.arrived: dict[int, int] = {}  # what the store is said to have
        self._there: dict[int, Part] = {}  # what it said it has, not believed yet
        self._values: dict[int, str] = {}  # the checksum of each
        self._etags: dict[int, str] = {}

    @property
    def count(self) -> int:
        return max(1, -(-self._file.size // self.size))

    def resize(self, size: int) -> None:
        """Parts of another size, in bytes; nothing of them has arrived."""
        self.size = size
        self._values.clear()

    async def take_up(self, upload_id: str) -> None:
        """Go on with what the store has of an upload."""
        self._there = await self._list(upload_id)
        self.upload_id = upload_id
        self.arrived = {number: part.size for number, part in self._there.items()}

    def complete(self) -> list[Part]:
        """What the upload is completed with, once all have arrived."""
        return [
            Part(number, 0, self._etags[number], self._values[number]) for number in range(1, self.count + 1)
        ]

    def value(self) -> str:
        """The checksum of the whole, once that of every part is known."""
        numbers = range(1, self.count + 1)
        return self._checksum.whole([(self._values[number], self._extent(number)[1]) for number in numbers])

    async def digested_value(self) -> str:
        """The same, from the file where a part was not looked at yet."""
        for number in range(1, self.count + 1):
            if number not in self._values:
                self._values[number] = (await self._digest(number)).value
        return self.value()

    async def _look(self, number: int) -> None:
        """A part broke on the way: it may have arrived all the same, and only its answer was lost."""
        try:
            parts, _ = await self._page(self.upload_id, number - 1, ("max-parts", "1"))
        except (TransferFault, Interrupted):
            raise
        except DeliveryError as error:
            if error.concern is Concern.DESTINATION:
                raise
            return  # no right to look: sent again
        self._there.update((part.number, part) for part in parts if part.number == number)

    async def carry(self, number: int, is_again: bool = False) -> None:
        """One part: sent, unless the store has it already and its checksum is that of our bytes."""
        if is_again:
            await self._look(number)
        offset, size = self._extent(number)
        there = self._there.get(number)
        digest = await self._digest(number, with_md5=there is not None and not there.checksum)
        self._values[number] = digest.value
        if there is not None and there.size == size and _is_same(there, digest.value, digest.md5):
            self._etags[number] = there.etag
            self.arrived[number] = size
            return
        self.arrived.pop(number, None)
        self._file.check_unchanged()
        try:
            response = await self._store.request(
                "UploadPart",
                "PUT",
                self._delivery.key,
                query=(("partNumber", str(number)), ("uploadId", self.upload_id)),
                headers=self._checksum.announced(digest.value),
                body=FileSlice(self._file, offset, size, self._delivery.progress),
                payload_hash=digest.payload_hash,
            )
        except ContentRejected:
            self._file.check_unchanged()  # a file that changed under us is the likelier reason
            raise
        self._file.check_unchanged()  # before other bytes are blamed on the store
        echo = self._checksum.echo(response.headers)
        if echo:  # what proves the whole is the echo of the whole
            check_echo(self._checksum, echo, digest.value)
        self._etags[number] = response.headers.get("etag", "")
        self.arrived[number] = size
        await self._tell()

    def _extent(self, number: int) -> tuple[int, int]:
        """Where a part begins, and its size, in bytes."""
        offset = (number - 1) * self.size
        return offset, min(self.size, self._file.size - offset)

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


def _is_same(there: Part, value: str, md5: str) -> bool:
    """Some stores list parts without checksums; an ETag that is the MD5 of our bytes says as much."""
    return there.checksum == value if there.checksum else there.etag.strip('"') == md5
