"""A transport whose every step waits for the test, and a far side that remembers all it was ever given.

It keeps the transports' contract in full: the file is opened once, looked at before the first byte
and again before a receipt. What goes wrong is what a far side and a network can do.
"""

from __future__ import annotations

import os
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.errors import DeliveryError, Interrupted, TransferFault
from s3_file_uploader.model import Receipt
from s3_file_uploader.transport.fake import Fault, fault_error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.contract import Delivery, OpenFile

__all__ = ["Carriage", "FarSide", "Put", "SteppedTransport"]

_EARLY = frozenset({Fault.UNREACHABLE, Fault.MISCONFIGURED, Fault.THROTTLED})
_STORES = frozenset({Fault.NONE, Fault.LOST_ANSWER, Fault.UNPROVEN})


@dataclass(slots=True, eq=False)
class Put:
    """One object that arrived. `number` is its delivery's place in the order in which they began."""

    content: bytes
    number: int
    is_acknowledged: bool = False


@dataclass(slots=True)
class FarSide:
    """What outlives every process: the objects, each key's in the order in which they arrived."""

    arrived: dict[str, list[Put]] = field(default_factory=dict)
    faults: deque[Fault] = field(default_factory=deque)  # of the next deliveries
    refused: set[str] = field(default_factory=set)  # keys that were ever answered with a refusal
    deliveries: int = 0

    def vouches_for(self, key: str, content: bytes) -> Put | None:
        """The acknowledged object with this content, unless an older delivery overwrote it."""
        puts = self.arrived.get(key, [])
        for place, put in enumerate(puts):
            later = puts[place + 1 :]
            if (
                put.content == content
                and put.is_acknowledged
                and all(one.number > put.number for one in later)
            ):
                return put
        return None


@dataclass(slots=True, eq=False)
class Carriage:
    """One delivery under way."""

    delivery: Delivery
    future: asyncio.Future[Receipt]
    number: int
    phase: int = 0
    opened: OpenFile | None = None
    content: bytes = b""
    put: Put | None = None

    @property
    def is_over(self) -> bool:
        return self.phase < 0


class SteppedTransport:
    """`open_file`: how a delivery's file is opened; `arrived` is told of each object, `proven` of each receipt.

    Before each step `passing` is told so, and may let others act first.
    """

    def __init__(
        self,
        far_side: FarSide,
        loop: asyncio.AbstractEventLoop,
        open_file: Callable[[Delivery], OpenFile],
        arrived: Callable[[Carriage], None],
        proven: Callable[[Carriage], None],
        passing: Callable[[str], None],
    ) -> None:
        self._far_side = far_side
        self._loop = loop
        self._open_file = open_file
        self._arrived = arrived
        self._proven = proven
        self._passing = passing
        self.carriages: list[Carriage] = []

    def deliver(self, delivery: Delivery) -> asyncio.Future[Receipt]:
        self._far_side.deliveries += 1
        future: asyncio.Future[Receipt] = self._loop.create_future()
        self.carriages.append(Carriage(delivery, future, self._far_side.deliveries))
        return future

    async def abandon(self, checkpoint: Checkpoint) -> None:
        raise AssertionError("nothing is ever begun here that would have to be taken back")

    async def close(self) -> None:
        for carriage in list(self.carriages):
            self._end(carriage, Interrupted("the transport is closed"))

    def next_before(self, held_at: int | None) -> int | None:
        """The place of the first delivery that may go on, where all are held in some phase."""
        for which, carriage in enumerate(self.carriages):
            if held_at is None or carriage.phase < held_at or carriage.future.done():
                return which
        return None

    def step(self, which: int) -> None:
        """One delivery takes its next step."""
        if not self.carriages:
            return
        carriage = self.carriages[which % len(self.carriages)]
        if carriage.future.done():
            self._end(carriage, Interrupted("stopped"))
            return
        self._passing("carry")
        try:
            (self._begin, self._read_half, self._read_rest, self._arrive, self._prove)[carriage.phase](
                carriage
            )
        except DeliveryError as error:
            self._end(carriage, error)
        except Exception as error:  # a bug of a transport's is one of the faults
            self._end(carriage, error)

    def _fault(self) -> Fault:
        return self._far_side.faults[0] if self._far_side.faults else Fault.NONE

    def _raise(self, carriage: Carriage) -> None:
        fault = self._far_side.faults.popleft()
        if fault in (Fault.REFUSED, Fault.DENIED, Fault.UNPROVEN):
            self._far_side.refused.add(carriage.delivery.key)
        raise fault_error(fault)

    def _begin(self, carriage: Carriage) -> None:
        if self._fault() in _EARLY:
            self._raise(carriage)
        carriage.opened = self._open_file(carriage.delivery)
        carriage.opened.check_unchanged()
        carriage.phase = 1

    def _read_half(self, carriage: Carriage) -> None:
        assert carriage.opened is not None
        carriage.content = os.read(carriage.opened.fileno(), carriage.opened.size // 2)
        carriage.phase = 2

    def _read_rest(self, carriage: Carriage) -> None:
        assert carriage.opened is not None
        while chunk := os.read(carriage.opened.fileno(), 65536):
            carriage.content += chunk
        if len(carriage.content) != carriage.opened.size:
            raise TransferFault("the body is not as long as was announced")
        carriage.phase = 3

    def _arrive(self, carriage: Carriage) -> None:
        if self._fault() in _STORES:
            carriage.put = Put(carriage.content, carriage.number)
            self._far_side.arrived.setdefault(carriage.delivery.key, []).append(carriage.put)
            self._arrived(carriage)
        if self._far_side.faults:
            if self._far_side.faults[0] is not Fault.NONE:
                self._raise(carriage)
            self._far_side.faults.popleft()
        carriage.phase = 4

    def _prove(self, carriage: Carriage) -> None:
        assert carriage.opened is not None
        assert carriage.put is not None
        carriage.opened.check_unchanged()
        carriage.put.is_acknowledged = True
        self._proven(carriage)
        self._end(carriage, None)

    def _end(self, carriage: Carriage, error: Exception | None) -> None:
        carriage.phase = -1
        self.carriages.remove(carriage)
        if carriage.opened is not None:
            carriage.opened.close()
        if carriage.future.done():
            return
        if error is not None:
            carriage.future.set_exception(error)
            return
        delivery, content = carriage.delivery, carriage.content
        checksum = f"crc32:{zlib.crc32(content):08x}"
        carriage.future.set_result(Receipt(delivery.bucket, delivery.key, len(content), checksum))
