"""The checksums that a store may prove an object with: how a request says one, which answer tells it. Pure."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.transport.s3 import crt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["CHECKSUMS", "Checksum"]


class Checksum(Protocol):
    """A value is text as it travels: base64 of a CRC, the hexadecimal digits of an MD5 as in an ETag."""

    def of(self, content: bytes) -> str: ...

    def whole(self, part: bytes) -> str:
        """The value of an object that was sent as this one part."""
        ...

    def announced(self, value: str) -> dict[str, str]:
        """The headers of a request that carries bytes of this value."""
        ...

    def opening(self) -> dict[str, str]:
        """The headers that begin an upload in parts."""
        ...

    def closing(self, value: str) -> dict[str, str]:
        """The headers that complete an upload in parts whose whole has this value."""
        ...

    def echo(self, headers: Mapping[str, str]) -> str:
        """The value that an answer's headers tell, or empty."""
        ...


class _Crc:
    """A CRC that S3 computes over whole objects, whatever their parts."""

    def __init__(self, name: str, width: int, compute: Callable[[bytes], int]) -> None:
        self._header = f"x-amz-checksum-{name}"
        self._opening = {"x-amz-checksum-algorithm": name.upper(), "x-amz-checksum-type": "FULL_OBJECT"}
        self._width = width
        self._compute = compute

    def of(self, content: bytes) -> str:
        return base64.b64encode(self._compute(content).to_bytes(self._width, "big")).decode("ascii")

    def whole(self, part: bytes) -> str:
        return self.of(part)

    def announced(self, value: str) -> dict[str, str]:
        return {self._header: value}

    def opening(self) -> dict[str, str]:
        return self._opening

    def closing(self, value: str) -> dict[str, str]:
        return {self._header: value, "x-amz-checksum-type": "FULL_OBJECT"}

    def echo(self, headers: Mapping[str, str]) -> str:
        return headers.get(self._header, "")


class _Md5:
    """Its echo is the ETag: the MD5 of the bytes, or of the MD5s of the parts and their number."""

    def of(self, content: bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def whole(self, part: bytes) -> str:
        return f"{self.of(bytes.fromhex(self.of(part)))}-1"

    def announced(self, value: str) -> dict[str, str]:
        return {"content-md5": base64.b64encode(bytes.fromhex(value)).decode("ascii")}

    def opening(self) -> dict[str, str]:
        return {}

    def closing(self, value: str) -> dict[str, str]:
        del value  # nothing can be said of the whole
        return {}

    def echo(self, headers: Mapping[str, str]) -> str:
        return headers.get("etag", "").strip('"')


CHECKSUMS: dict[str, Checksum] = {
    "crc64nvme": _Crc("crc64nvme", 8, crt.crc64nvme),
    "crc32c": _Crc("crc32c", 4, crt.crc32c),
    "md5": _Md5(),
}
