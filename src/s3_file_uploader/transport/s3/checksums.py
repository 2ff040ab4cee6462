"""How content is proven: what is computed of our bytes, how a request says it, which answer says the same.

Four ways: two CRCs that the store computes over the whole object and echoes, MD5 for stores that know
no other (an ETag that is the MD5 is their echo), and none, which leaves the size that HEAD tells. A
value is text as it travels: base64 of a CRC, hexadecimal digits of an MD5 as in an ETag. Pure: no
request is made here, and nothing is believed that does not equal what we computed.
"""

from __future__ import annotations

import base64
import hashlib
from functools import reduce
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import Unproven
from s3_file_uploader.transport.s3 import crt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "CHECKSUMS",
    "CRC32C",
    "CRC64NVME",
    "MD5",
    "NO_ECHO",
    "SIZE_ONLY",
    "Checksum",
    "Running",
    "check_echo",
]

NO_ECHO = "NoEcho"  # the code of an error: nothing was said, which is not to say that it is wrong

_Bytes = bytes | bytearray | memoryview


class Running(Protocol):
    """A checksum over bytes that come in pieces."""

    def update(self, data: _Bytes, /) -> None: ...

    def text(self) -> str: ...


class Checksum(Protocol):
    """One way to prove content.

    `name` stands in settings and receipts, `element` in the store's XML (empty: it is not told there).
    `is_told_by_head`: only HEAD says anything, no other answer.
    """

    @property
    def name(self) -> str: ...

    @property
    def element(self) -> str: ...

    @property
    def is_told_by_head(self) -> bool: ...

    def of(self, content: _Bytes) -> str:
        """The value over bytes in memory."""
        ...

    def running(self) -> Running: ...

    def whole(self, parts: Sequence[tuple[str, int]]) -> str:
        """The value of an object made of parts, from the value and the size in bytes of each."""
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

    def of_completed(self, checksum: str, etag: str) -> str:
        """The value that the answer to CompleteMultipartUpload tells, or empty."""
        ...

    def receipt(self, value: str, size: int) -> str:
        """As a receipt has it."""
        ...


class _RunningCrc:
    __slots__ = ("_compute", "_encode", "_value")

    def __init__(self, compute: Callable[[_Bytes, int], int], encode: Callable[[int], str]) -> None:
        self._compute = compute
        self._encode = encode
        self._value = 0

    def update(self, data: _Bytes, /) -> None:
        self._value = self._compute(data, self._value)

    def text(self) -> str:
        return self._encode(self._value)


class _Crc:
    """A CRC that S3 knows over whole objects, whatever their parts (FULL_OBJECT)."""

    is_told_by_head = False

    def __init__(
        self,
        name: str,
        width: int,
        compute: Callable[[_Bytes, int], int],
        combine: Callable[[int, int, int], int],
    ) -> None:
        self.name = name
        self.element = f"Checksum{name.upper()}"
        self._header = f"x-amz-checksum-{name}"
        self._opening = {"x-amz-checksum-algorithm": name.upper(), "x-amz-checksum-type": "FULL_OBJECT"}
        self._width = width
        self._compute = compute
        self._combine = combine

    def of(self, content: _Bytes) -> str:
        return self._encoded(self._compute(content, 0))

    def running(self) -> Running:
        return _RunningCrc(self._compute, self._encoded)

    def whole(self, parts: Sequence[tuple[str, int]]) -> str:
        crcs = ((self._decoded(value), size) for value, size in parts)
        crc, _ = reduce(lambda so_far, part: (self._combine(so_far[0], *part), 0), crcs)
        return self._encoded(crc)

    def announced(self, value: str) -> dict[str, str]:
        return {self._header: value}

    def opening(self) -> dict[str, str]:
        return self._opening

    def closing(self, value: str) -> dict[str, str]:
        return {self._header: value, "x-amz-checksum-type": "FULL_OBJECT"}

    def echo(self, headers: Mapping[str, str]) -> str:
        return headers.get(self._header, "")

    def of_completed(self, checksum: str, etag: str) -> str:
        del etag
        return checksum

    def receipt(self, value: str, size: int) -> str:
        del size
        return f"{self.name}:{value}"

    def _encoded(self, crc: int) -> str:
        return base64.b64encode(crc.to_bytes(self._width, "big")).decode("ascii")

    def _decoded(self, value: str) -> int:
        return int.from_bytes(base64.b64decode(value), "big")


class _RunningMd5:
    __slots__ = ("_hash",)

    def __init__(self) -> None:
        self._hash = hashlib.md5(usedforsecurity=False)

    def update(self, data: _Bytes, /) -> None:
        self._hash.update(data)

    def text(self) -> str:
        return self._hash.hexdigest()


class _Md5:
    """MD5: the store checks Content-MD5, and its ETag is the MD5, or of an object in parts that of the parts' MD5s."""

    name = "md5"
    element = ""
    is_told_by_head = False

    def of(self, content: _Bytes) -> str:
        return hashlib.md5(content, usedforsecurity=False).hexdigest()

    def running(self) -> Running:
        return _RunningMd5()

    def whole(self, parts: Sequence[tuple[str, int]]) -> str:
        return f"{self.of(b''.join(bytes.fromhex(value) for value, _size in parts))}-{len(parts)}"

    def announced(self, value: str) -> dict[str, str]:
        return {"content-md5": base64.b64encode(bytes.fromhex(value)).decode("ascii")}

    def opening(self) -> dict[str, str]:
        return {}

    def closing(self, value: str) -> dict[str, str]:
        del value
        return {}

    def echo(self, headers: Mapping[str, str]) -> str:
        return headers.get("etag", "").strip('"')

    def of_completed(self, checksum: str, etag: str) -> str:
        del checksum
        return etag.strip('"')

    def receipt(self, value: str, size: int) -> str:
        del size
        return f"{self.name}:{value}"


class _Nothing:
    """For `_SizeOnly`: no byte is looked at."""

    __slots__ = ()

    def update(self, data: _Bytes, /) -> None:
        del data

    def text(self) -> str:
        return ""


class _SizeOnly:
    """No checksum: what HEAD says of the size is all that is known of the far side."""

    name = "size"
    element = ""
    is_told_by_head = True

    def of(self, content: _Bytes) -> str:
        del content
        return ""

    def running(self) -> Running:
        return _Nothing()

    def whole(self, parts: Sequence[tuple[str, int]]) -> str:
        del parts
        return ""

    def announced(self, value: str) -> dict[str, str]:
        del value
        return {}

    def opening(self) -> dict[str, str]:
        return {}

    def closing(self, value: str) -> dict[str, str]:
        del value
        return {}

    def echo(self, headers: Mapping[str, str]) -> str:
        del headers
        return ""

    def of_completed(self, checksum: str, etag: str) -> str:
        del checksum, etag
        return ""

    def receipt(self, value: str, size: int) -> str:
        del value
        return f"{self.name}:{size}"


def check_echo(checksum: Checksum, echo: str, value: str) -> None:
    """Unproven unless the store says that it holds bytes of this very value."""
    if echo == value:
        return
    name = checksum.name.upper()
    if not echo:
        raise Unproven(
            f"the store did not confirm the checksum of what it stored (no {name} in its answer)",
            code=NO_ECHO,
        )
    advice = ""
    if checksum is MD5:
        advice = (
            "An ETag is not the MD5 where the store encrypts with KMS: set ChecksumAlgorithm to crc64nvme."
        )
    raise Unproven(
        f"the store says it holds other bytes: {name} {echo[:48]!r}, sent {value!r}", advice=advice
    )


CRC64NVME: Checksum = _Crc("crc64nvme", 8, crt.crc64nvme, crt.combine_crc64nvme)
CRC32C: Checksum = _Crc("crc32c", 4, crt.crc32c, crt.combine_crc32c)
MD5: Checksum = _Md5()
SIZE_ONLY: Checksum = _SizeOnly()
CHECKSUMS = {"crc64nvme": CRC64NVME, "crc32c": CRC32C, "md5": MD5, "off": SIZE_ONLY}
