"""Whether a store keeps what is there, found out with a real delivery before OnExisting relies on it.

Some stores take `If-None-Match: *` and replace the object all the same, and nothing in their answer tells.
So the first small file that must replace nothing is put twice, under that condition both times. A store that
honours it refuses the second; one that does not replaces the object by the very same bytes, which harms nobody,
and gets no further file under that condition: the error says so. It needs no right that deliveries do not
need. The others wait meanwhile. What is too large to be sent twice goes on trust until a small file comes.
"""

from __future__ import annotations

import asyncio
import logging
from enum import Enum
from typing import TYPE_CHECKING

from s3_file_uploader.errors import AccessDenied, AlreadyExists, DeliveryError, Misconfigured, Refused
from s3_file_uploader.transport.s3.cargo import read_into

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3_file_uploader.model import Receipt
    from s3_file_uploader.transport.contract import Delivery
    from s3_file_uploader.transport.s3.attributes import Attributes
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["TRIAL_BYTES", "Trial", "replaces"]

TRIAL_BYTES = 1024 * 1024  # what may be sent twice, once in the life of a process
_ADVICE = (
    "Set OnExisting to overwrite, or use a store that knows If-None-Match; `s3-file-uploader check --probe`"
    " tells whether one does."
)
_log = logging.getLogger(__name__)


class _Known(Enum):
    NOTHING = "nothing"
    KEEPS = "keeps"  # or is trusted to
    REPLACES = "replaces"


class Trial:
    """One for each way to a store, on the event loop.

    `send` delivers; `replaces` puts a file again that has just been delivered, and says whether the store
    took it. `is_trusted`: nothing needs to be found out.
    """

    def __init__(
        self,
        send: Callable[[Delivery, Attributes], Awaitable[Receipt]],
        replaces: Callable[[Delivery, Attributes], Awaitable[bool]],
        *,
        is_trusted: bool = False,
    ) -> None:
        self._send = send
        self._replaces = replaces
        self._known = _Known.KEEPS if is_trusted else _Known.NOTHING
        self._running: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[Receipt]] = set()
        self._has_warned = False

    @property
    def is_passed(self) -> bool:
        return self._known is _Known.KEEPS

    def deliver(self, delivery: Delivery, attributes: Attributes) -> asyncio.Future[Receipt]:
        """Carry a file that must replace nothing; Misconfigured where the store does not do that."""
        task = asyncio.get_running_loop().create_task(self._deliver(delivery, attributes))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def ended(self) -> None:
        """Once whatever waits here has been told; after `send` refuses."""
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _deliver(self, delivery: Delivery, attributes: Attributes) -> Receipt:
        while self._running is not None:
            await asyncio.wait([self._running])
        if self._known is _Known.REPLACES:
            raise _not_kept(delivery)
        if self.is_passed or delivery.source.fingerprint.size > TRIAL_BYTES:
            if not self.is_passed:
                self._warn(delivery)
            return await self._send(delivery, attributes)
        self._running = asyncio.get_running_loop().create_future()
        try:
            return await self._try(delivery, attributes)
        finally:
            self._running.set_result(None)
            self._running = None

    async def _try(self, delivery: Delivery, attributes: Attributes) -> Receipt:
        try:
            receipt = await self._send(delivery, attributes)
        except AlreadyExists:
            self._known = _Known.KEEPS
            raise
        try:
            is_replaced = await self._replaces(delivery, attributes)
        except (
            DeliveryError
        ):  # that tells nothing of the store; the receipt stands, and the next small file tries
            return receipt
        if is_replaced:
            self._known = _Known.REPLACES
            raise _not_kept(delivery)
        self._known = _Known.KEEPS
        return receipt

    def _warn(self, delivery: Delivery) -> None:
        if not self._has_warned:
            self._has_warned = True
            reason = "whether the store keeps what is there (If-None-Match) shows with a file of at most 1 MiB only"
            advice = "`s3-file-uploader check --probe` tells."
            fields = {"bucket": delivery.bucket, "reason": reason, "try": advice}
            _log.warning("untried", extra={"fields": fields})


async def replaces(store: Store, delivery: Delivery, attributes: Attributes) -> bool:
    """Put a file of at most TRIAL_BYTES again that was just put: whether the store took it a second time."""
    file = delivery.source.open()
    try:
        content = bytes(read_into(memoryview(bytearray(file.size)), file, 0, file.size)) if file.size else b""
        file.check_unchanged()
    finally:
        file.close()
    checksum = attributes.checksum
    headers = {
        **attributes.headers_of(delivery),
        **checksum.announced(checksum.of(content)),
        **attributes.condition,
    }
    try:
        await store.request("PutObject", "PUT", delivery.key, headers=headers, body=content)
    except (Refused, AccessDenied):  # whatever the reason: it kept what is there
        return False
    return True


def _not_kept(delivery: Delivery) -> Misconfigured:
    return Misconfigured(
        f"the store of s3://{delivery.bucket} replaces objects although it is asked not to (If-None-Match), so"
        " OnExisting cannot be kept there",
        advice=_ADVICE,
    )
