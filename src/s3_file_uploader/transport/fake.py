"""A transport that keeps objects in memory, for tests: honest by default, and as bad as its script says.

It keeps the contract in full. A fault is chosen for each delivery by `script`, and stands for what a
far side or a network can do.
"""

from __future__ import annotations

import asyncio
import os
import zlib
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from s3_file_uploader.errors import (
    AccessDenied,
    Misconfigured,
    Refused,
    Throttled,
    TransferFault,
    Unproven,
    Unreachable,
)
from s3_file_uploader.model import Receipt

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.transport.contract import Delivery

__all__ = ["FakeTransport", "Fault", "fault_error"]

_CHUNK_BYTES = 256 * 1024


class Fault(Enum):
    """What goes wrong with one delivery."""

    NONE = "none"
    BROKEN = "broken"  # half the bytes left, then the connection died
    LOST_ANSWER = "lost answer"  # the object is there, and nobody told us
    REFUSED = "refused"
    DENIED = "denied"
    UNPROVEN = "unproven"  # the far side took it and echoed no checksum
    THROTTLED = "throttled"
    UNREACHABLE = "unreachable"
    MISCONFIGURED = "misconfigured"
    BUG = "bug"  # an error of no class of ours


_ERRORS: dict[Fault, Callable[[], Exception]] = {
    Fault.BROKEN: lambda: TransferFault("the connection was reset"),
    Fault.LOST_ANSWER: lambda: TransferFault("no answer came"),
    Fault.REFUSED: lambda: Refused("the store says no", code="InvalidRequest"),
    Fault.DENIED: lambda: AccessDenied("403 AccessDenied", code="AccessDenied"),
    Fault.UNPROVEN: lambda: Unproven("no checksum came back"),
    Fault.THROTTLED: lambda: Throttled("503 SlowDown", code="SlowDown"),
    Fault.UNREACHABLE: lambda: Unreachable("no connection"),
    Fault.MISCONFIGURED: lambda: Misconfigured("404 NoSuchBucket", code="NoSuchBucket"),
    Fault.BUG: lambda: RuntimeError("a bug in a transport"),
}


def fault_error(fault: Fault) -> Exception:
    return _ERRORS[fault]()


@dataclass(slots=True)
class FakeTransport:
    """`objects` is what the far side holds, by key. `pause` is awaited with every delivery's file open."""

    script: Callable[[Delivery], Fault] = field(default=lambda _delivery: Fault.NONE)
    pause: Callable[[Delivery], object] | None = None
    objects: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)  # every key that was written, in order
    is_closed: bool = False

    async def deliver(self, delivery: Delivery) -> Receipt:
        fault = self.script(delivery)
        if fault in (Fault.UNREACHABLE, Fault.MISCONFIGURED, Fault.THROTTLED):
            await asyncio.sleep(0)
            raise fault_error(fault)
        opened = delivery.source.open()
        try:
            opened.check_unchanged()
            content = _read(opened.fileno())
            if self.pause is not None:
                waited = self.pause(delivery)
                if asyncio.iscoroutine(waited):
                    await waited
            await asyncio.sleep(0)
            self._take(delivery, content, fault)
            opened.check_unchanged()
        finally:
            opened.close()
        delivery.progress(len(content))
        return Receipt(delivery.bucket, delivery.key, len(content), f"crc32:{zlib.crc32(content):08x}")

    def _take(self, delivery: Delivery, content: bytes, fault: Fault) -> None:
        if fault in (Fault.NONE, Fault.LOST_ANSWER, Fault.UNPROVEN):
            self.objects[delivery.key] = content
            self.puts.append(delivery.key)
        if fault is not Fault.NONE:
            raise fault_error(fault)

    async def close(self) -> None:
        self.is_closed = True


def _read(descriptor: int) -> bytes:
    chunks = []
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        chunks.append(chunk)
    return b"".join(chunks)
