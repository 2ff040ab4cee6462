"""A transport that keeps objects in memory, for tests: honest by default, and as bad as its script says.

It keeps the contract in full, and the common contract suite says so: small files in one piece, files
above `part_bytes` in parts that are taken up again where they broke off. A fault is chosen for each
delivery by `script`, and stands for what a far side or a network can do. It reads on the event loop
and is no measure of speed.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.errors import (
    DeliveryError,
    FileChanged,
    FileUnreadable,
    Interrupted,
    Refused,
    Unproven,
)
from s3_file_uploader.model import Receipt
from s3_file_uploader.transport.fake_faults import FakeUpload, Fault, fault_error
from s3_file_uploader.transport.outcome import settle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.contract import Delivery, OpenFile

__all__ = ["FakeTransport", "FakeUpload", "Fault", "fault_error"]

_CHUNK_BYTES = 256 * 1024
_PART_BYTES = 8 * 1024 * 1024
_KIND = "fake-parts"
_numbers = itertools.count(1)  # of uploads, over all transports of this process: none is ever used twice


_BEFORE_THE_FILE = (Fault.UNREACHABLE, Fault.MISCONFIGURED, Fault.THROTTLED)
_STORED = (Fault.NONE, Fault.LOST_ANSWER, Fault.UNPROVEN)


@dataclass(slots=True, eq=False)
class FakeTransport:
    """`objects` is what the far side holds, by key, and `uploads` what it holds of unfinished large files.

    Both may be handed to the next transport, as to the next process. `pause` is awaited with every
    delivery's file open and its bytes sent, before the object appears; `pace` with the size of each
    piece before it leaves.
    """

    script: Callable[[Delivery], Fault] = field(default=lambda _delivery: Fault.NONE)
    pause: Callable[[Delivery], object] | None = None
    pace: Callable[[int], Awaitable[None]] | None = None
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, FakeUpload] = field(default_factory=dict)
    part_bytes: int = _PART_BYTES
    deadline_seconds: float = 0.05
    refuses_abort: Fault = Fault.NONE  # what goes wrong with taking back what was begun
    puts: list[str] = field(default_factory=list)  # every key that was written, in order
    is_closed: bool = False
    _running: dict[asyncio.Future[Receipt], asyncio.Task[Receipt]] = field(default_factory=dict)

    def deliver(self, delivery: Delivery) -> asyncio.Future[Receipt]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Receipt] = loop.create_future()
        if self.is_closed:
            outcome.set_exception(Interrupted("shutting down"))
            return outcome
        task = self._running[outcome] = loop.create_task(self._carry(delivery))
        task.add_done_callback(lambda task: self._end(outcome, task))
        outcome.add_done_callback(lambda _: task.cancel())
        return outcome

    async def abandon(self, checkpoint: Checkpoint) -> None:
        if self.is_closed:
            raise Interrupted("shutting down")
        await asyncio.sleep(0)
        if checkpoint.get("kind") == _KIND and isinstance(checkpoint.get("upload_id"), str):
            self._abort(checkpoint["upload_id"])

    def _abort(self, upload_id: str) -> None:
        if self.refuses_abort is not Fault.NONE:
            raise fault_error(self.refuses_abort)
        self.uploads.pop(upload_id, None)

    async def close(self) -> None:
        self.is_closed = True
        running = dict(self._running)
        for outcome in running:
            if not outcome.done():
                outcome.set_exception(Interrupted("shutting down; what was saved is kept"))
        if running:
            await asyncio.wait(running.values())

    def _end(self, outcome: asyncio.Future[Receipt], task: asyncio.Task[Receipt]) -> None:
        del self._running[outcome]
        settle(outcome, task)

    # -- one delivery

    async def _carry(self, delivery: Delivery) -> Receipt:
        fault = self.script(delivery)
        if fault in _BEFORE_THE_FILE:
            await asyncio.sleep(0)
            raise fault_error(fault)
        with _our_errors():
            opened = delivery.source.open()
        try:
            with _our_errors():
                opened.check_unchanged()
                if fault is Fault.SILENT:
                    await asyncio.sleep(self.deadline_seconds)
                    raise fault_error(fault)
                carry = self._in_parts if opened.size > self.part_bytes else self._in_one_piece
                crc = await carry(delivery, opened, fault)
                opened.check_unchanged()
        except _Bug as bug:
            raise fault_error(Fault.BUG) from bug
        finally:
            opened.close()
        return Receipt(delivery.bucket, delivery.key, opened.size, f"crc32:{crc:08x}")

    async def _in_one_piece(self, delivery: Delivery, opened: OpenFile, fault: Fault) -> int:
        await self._forget(delivery)
        content = _read(opened, 0, opened.size)
        await self._send(delivery, content, opened.size // 2 if fault is Fault.BROKEN else None)
        await self._wait(delivery)
        self._appear(delivery, content, fault)
        return zlib.crc32(content)

    async def _in_parts(self, delivery: Delivery, opened: OpenFile, fault: Fault) -> int:
        upload_id = await self._upload(delivery, opened)
        upload = self.uploads[upload_id]
        breaks_at = opened.size // 2 if fault is Fault.BROKEN else None
        try:
            while upload.size < opened.size:
                if delivery.is_eased():
                    raise Interrupted("no other part is begun; what was saved is kept")
                part = _read(opened, upload.size, self.part_bytes)
                opened.check_unchanged()
                await self._send(delivery, part, None if breaks_at is None else breaks_at - upload.size)
                upload.take(part)
                if upload.size < opened.size:
                    await self._save(delivery, upload_id)
            await self._wait(delivery)
            opened.check_unchanged()
            self._appear(delivery, upload.body.getvalue(), fault)
        except (FileChanged, Refused, Unproven) as error:
            await self._take_back(delivery, upload_id, str(error))
            raise
        del self.uploads[upload_id]
        return upload.crc

    async def _send(self, delivery: Delivery, content: bytes, breaks_after: int | None) -> None:
        """The bytes leave, a piece at a time; the line breaks after that many, if at all."""
        for start in range(0, len(content), _CHUNK_BYTES):
            size = min(_CHUNK_BYTES, len(content) - start)
            if self.pace is not None:
                await self.pace(size)
            if breaks_after is not None and start + size > breaks_after:
                raise fault_error(Fault.BROKEN)
            delivery.progress(size)

    async def _wait(self, delivery: Delivery) -> None:
        if self.pause is not None:
            waited = self.pause(delivery)
            if asyncio.iscoroutine(waited):
                await waited
        await asyncio.sleep(0)

    def _appear(self, delivery: Delivery, content: bytes, fault: Fault) -> None:
        if fault in _STORED:
            self.objects[delivery.key] = content
            self.puts.append(delivery.key)
        if fault is Fault.BUG:
            raise _Bug
        if fault is not Fault.NONE:
            raise fault_error(fault)

    # -- what is left on the far side for the next try

    async def _upload(self, delivery: Delivery, opened: OpenFile) -> str:
        """The upload to go on with: that of the checkpoint if its bytes are the file's, else a new one."""
        upload_id = self._upload_id(delivery)
        if upload_id and _crc(opened, self.uploads[upload_id].size) == self.uploads[upload_id].crc:
            return upload_id
        await self._forget(delivery)
        upload_id = next(name for number in _numbers if (name := f"u{number}") not in self.uploads)
        self.uploads[upload_id] = FakeUpload(delivery.key)
        try:
            await self._save(delivery, upload_id)
        except BaseException:
            del self.uploads[upload_id]  # nobody would find it again
            raise
        return upload_id

    async def _save(self, delivery: Delivery, upload_id: str) -> None:
        try:
            await delivery.save(self._checkpoint(delivery, upload_id))
        except Exception as error:
            raise Interrupted(f"the checkpoint could not be saved: {error}") from error

    def _checkpoint(self, delivery: Delivery, upload_id: str) -> Checkpoint:
        arrived = self.uploads[upload_id].size
        return {
            "kind": _KIND,
            "upload_id": upload_id,
            "fingerprint": list(delivery.source.fingerprint),
            "part_size": self.part_bytes,
            "parts_arrived": -(-arrived // self.part_bytes),
            "bytes_arrived": arrived,
        }

    async def _take_back(self, delivery: Delivery, upload_id: str, reason: str) -> None:
        try:
            self._abort(upload_id)
        except DeliveryError:
            await delivery.give_up(reason)
        else:
            await delivery.save(None)

    def _upload_id(self, delivery: Delivery) -> str:
        """The upload that the checkpoint leads to, if it is one of this very content."""
        saved = delivery.checkpoint
        if not isinstance(saved, dict) or saved.get("kind") != _KIND:
            return ""
        if saved.get("fingerprint") != list(delivery.source.fingerprint):
            return ""
        return self._mine(delivery)

    def _mine(self, delivery: Delivery) -> str:
        upload_id = (delivery.checkpoint or {}).get("upload_id")
        if not isinstance(upload_id, str) or upload_id not in self.uploads:
            return ""
        return upload_id if self.uploads[upload_id].key == delivery.key else ""

    async def _forget(self, delivery: Delivery) -> None:
        """Take back what an older try left, now that it is of no use."""
        if delivery.checkpoint is None:
            return
        upload_id = self._mine(delivery)
        if upload_id or not self._leads_elsewhere(delivery):
            await self._take_back(delivery, upload_id, "the file has other content now")

    def _leads_elsewhere(self, delivery: Delivery) -> bool:
        """What is of another object is not ours to take back: the pipeline sees to it."""
        upload = self.uploads.get(str((delivery.checkpoint or {}).get("upload_id")))
        return upload is not None and upload.key != delivery.key


class _Bug(Exception):
    """Carries the fault BUG past what translates errors."""


@contextlib.contextmanager
def _our_errors() -> Iterator[None]:
    """Nothing but a DeliveryError leaves a transport."""
    try:
        yield
    except (DeliveryError, _Bug):
        raise
    except OSError as error:
        raise FileUnreadable(f"the file cannot be read: {error.strerror}") from error
    except Exception as error:  # whatever the source or the ledger fails with: the file is parked with it
        raise Refused(f"an error in this program: {type(error).__name__}: {error}") from error


def _read(opened: OpenFile, offset: int, size: int) -> bytes:
    """So many bytes from there, or to the end; FileChanged for a file that has become shorter."""
    chunks, wanted = [], min(size, opened.size - offset)
    while wanted:
        chunk = os.pread(opened.fileno(), wanted, offset)
        if not chunk:
            raise FileChanged("the file has become shorter")
        chunks.append(chunk)
        offset += len(chunk)
        wanted -= len(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _crc(opened: OpenFile, size: int) -> int:
    crc = 0
    for offset in range(0, size, _CHUNK_BYTES):
        crc = zlib.crc32(_read(opened, offset, min(_CHUNK_BYTES, size - offset)), crc)
    return crc
