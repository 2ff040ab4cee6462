"""What can go wrong with a delivery of the fake transport, and what its far side holds of unfinished files."""

from __future__ import annotations

import io
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

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FakeUpload", "Fault", "fault_error"]


class Fault(Enum):
    """What goes wrong with one delivery."""

    NONE = "none"
    BROKEN = "broken"  # half the bytes left, then the connection died
    LOST_ANSWER = "lost answer"  # the object is there, and nobody told us
    REFUSED = "refused"
    DENIED = "denied"
    UNPROVEN = "unproven"  # the far side took it and echoed no checksum
    SILENT = "silent"  # connected, and never a word: ended by the deadline
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
    Fault.SILENT: lambda: TransferFault("no answer within the deadline"),
    Fault.THROTTLED: lambda: Throttled("503 SlowDown", code="SlowDown"),
    Fault.UNREACHABLE: lambda: Unreachable("no connection"),
    Fault.MISCONFIGURED: lambda: Misconfigured("404 NoSuchBucket", code="NoSuchBucket"),
    Fault.BUG: lambda: RuntimeError("a bug in a transport"),
}


def fault_error(fault: Fault) -> Exception:
    return _ERRORS[fault]()


@dataclass(slots=True, eq=False)
class FakeUpload:
    """The parts of a large file that arrived, in order; invisible until the object appears as a whole."""

    key: str
    body: io.BytesIO = field(default_factory=io.BytesIO)
    crc: int = 0

    @property
    def size(self) -> int:
        return self.body.tell()

    def take(self, part: bytes) -> None:
        self.body.write(part)
        self.crc = zlib.crc32(part, self.crc)
