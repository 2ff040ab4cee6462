"""Verify `head`: the store itself is asked whether it has what Stream Manager says that it uploaded.

The size always, and the checksum where the store tells one over the whole object: that takes reading
the file again, in the thread that looks at files.
"""

from __future__ import annotations

import base64
import os
import zlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import DeliveryError, FileChanged, Unproven
from s3_file_uploader.transport.s3.checksums import CRC32C, CRC64NVME

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping
    from typing import Any

    from s3_file_uploader.transport.contract import OpenFile
    from s3_file_uploader.transport.s3.checksums import Running
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["Heads", "compare"]

_PIECE_BYTES = 256 * 1024
_NOT_THERE = ("404", "NoSuchKey")


class Asked(Protocol):
    """A way to the store that takes questions."""

    def ask(self, errand: Callable[[Store], Coroutine[Any, Any, None]]) -> Awaitable[None]: ...


class Heads:
    """Asks for objects over the S3 engine's own way."""

    def __init__(self, way: Asked) -> None:
        self._way = way

    async def comparison(self, key: str) -> Callable[[OpenFile], str]:
        """What holds a file against the object of that key; Unproven where there is no such object.

        It returns the checksum that both have, or empty where the store tells none.
        """
        found: dict[str, str] = {}

        async def ask(store: Store) -> None:
            answer = await store.request(
                "HeadObject", "HEAD", key, headers={"x-amz-checksum-mode": "ENABLED"}
            )
            found.update(answer.headers)

        try:
            await self._way.ask(ask)
        except DeliveryError as error:
            if error.code in _NOT_THERE:
                raise Unproven(
                    f"Stream Manager says that {key} is there, and the store has no such object",
                    advice="Look at Stream Manager's log; the file is handed over again.",
                ) from error
            raise
        return partial(compare, found)


def compare(headers: Mapping[str, str], opened: OpenFile) -> str:
    """The checksum that both have, or empty where the store tells none; Unproven where something differs."""
    size = headers.get("content-length", "")
    if size != str(opened.size):
        raise Unproven(f"the object has {size or 'an unknown number of'} bytes, the file {opened.size}")
    for name, start in _COMPARABLE.items():
        told = headers.get(f"x-amz-checksum-{name}", "")
        if not told or "-" in told:  # with a dash: of parts, which nobody here knows
            continue
        ours = _text_of(start(), opened)
        if ours != told:
            raise Unproven(f"the object's {name} is {told}, the file's {ours}")
        return f"{name}:{told}"
    return ""


def _text_of(running: Running, opened: OpenFile) -> str:
    offset = 0
    while offset < opened.size:
        piece = os.pread(opened.fileno(), _PIECE_BYTES, offset)
        if not piece:
            raise FileChanged("the file has become shorter")
        running.update(piece)
        offset += len(piece)
    return running.text()


class _RunningCrc32:
    """What AWS's own SDKs send unless they are told otherwise."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes | bytearray | memoryview, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def text(self) -> str:
        return base64.b64encode(self._value.to_bytes(4, "big")).decode("ascii")


# The strongest first.
_COMPARABLE: Mapping[str, Callable[[], Running]] = {
    CRC64NVME.name: CRC64NVME.running,
    CRC32C.name: CRC32C.running,
    "crc32": _RunningCrc32,
}
