"""What the bytes of a segment stand on: a file, or memory."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from stream_manager_local.store.descriptors import Descriptors
    from stream_manager_local.store.edge import Edge
    from stream_manager_local.store.folder import Folder

__all__ = ["FileMedium", "Medium", "MemoryMedium"]

_COPY_BYTES = 1 << 16  # below, one copy costs less than a second piece


class Medium(Protocol):
    """Bytes that grow at their end. All but `duplicate` raises OSError where the disk does."""

    def write(self, header: bytes, payload: bytes, offset: int) -> None:
        """Put both at `offset`, whole, or raise and leave what stood before `offset` as it was."""

    def read(self, offset: int, count: int) -> bytes:
        """`count` bytes from `offset` on; fewer where they end."""

    def truncate(self, size: int) -> None: ...

    def remove(self) -> None:
        """Give the space back."""

    def duplicate(self) -> int | None:
        """A descriptor to call fsync on, the caller's to close; None when there is nothing to sync."""


class FileMedium:
    """One file of a folder; opened when it is needed."""

    __slots__ = ("_folder", "_may_have_rest", "_name")

    def __init__(self, folder: Folder, name: str) -> None:
        self._folder = folder
        self._name = name
        self._may_have_rest = False

    @property
    def _path(self) -> str:
        return f"{self._folder.path}/{self._name}"

    @property
    def _edge(self) -> Edge:
        return self._folder.edge

    @property
    def _descriptors(self) -> Descriptors:
        return self._folder.descriptors

    def create(self) -> None:
        self._descriptors.create(self._path)

    def size(self) -> int:
        return self._edge.size(self._descriptors.get(self._path))

    def write(self, header: bytes, payload: bytes, offset: int) -> None:
        descriptor = self._descriptors.get(self._path)
        if self._may_have_rest:
            self._cut(offset)
        whole = len(header) + len(payload)
        try:
            if whole < _COPY_BYTES:
                written = self._edge.write(descriptor, header + payload, offset)
            else:
                written = self._edge.write_two(descriptor, header, payload, offset)
            if written < whole:
                self._write_rest((header + payload)[written:], offset + written)
        except OSError:
            # Whatever is there of it goes, now or, where the disk refuses that too, before the next write.
            self._may_have_rest = True
            with contextlib.suppress(OSError):
                self._cut(offset)
            raise

    def read(self, offset: int, count: int) -> bytes:
        descriptor = self._descriptors.get(self._path)
        data = self._edge.read(descriptor, count, offset)
        while 0 < len(data) < count:
            more = self._edge.read(descriptor, count - len(data), offset + len(data))
            if not more:
                break
            data += more
        return data

    def truncate(self, size: int) -> None:
        self._edge.truncate(self._descriptors.get(self._path), size)

    def remove(self) -> None:
        self._descriptors.drop(self._path)
        self._edge.unlink(self._path)

    def duplicate(self) -> int | None:
        return self._edge.duplicate(self._descriptors.get(self._path))

    def _cut(self, size: int) -> None:
        self.truncate(size)
        self._may_have_rest = False

    def _write_rest(self, rest: bytes, offset: int) -> None:
        descriptor = self._descriptors.get(self._path)
        while rest:
            written = self._edge.write(descriptor, rest, offset)
            if not written:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            rest, offset = rest[written:], offset + written


class MemoryMedium:
    """Bytes in memory, as compact as in a file."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, header: bytes, payload: bytes, offset: int) -> None:
        self._data[offset:] = header + payload

    def read(self, offset: int, count: int) -> bytes:
        return bytes(self._data[offset : offset + count])

    def truncate(self, size: int) -> None:
        del self._data[size:]

    def remove(self) -> None:
        self._data = bytearray()

    def duplicate(self) -> int | None:
        return None
