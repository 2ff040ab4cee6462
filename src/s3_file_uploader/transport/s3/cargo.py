"""A part of a file on its way into a connection: what is read, what was taken, what must be offered again."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.errors import FileChanged, FileUnreadable
from s3_file_uploader.transport.s3.connection import ConnectionLost
from s3_file_uploader.transport.s3.crew import BUFFER_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.transport.contract import OpenFile
    from s3_file_uploader.transport.s3.connection import Connection

__all__ = ["Cargo", "FileSlice", "read_into"]

SMALLEST_STEP_BYTES = 32 * 1024  # two TLS records
_OF_THE_SOCKET = (errno.EPIPE, errno.ECONNRESET, errno.ETIMEDOUT, errno.EHOSTUNREACH)


@dataclass(slots=True)
class FileSlice:
    """A part of a file as a body. `progress` is told each time bytes of it left.

    `content` is the bytes themselves where they were read already; it is let go as soon as it can be.
    """

    file: OpenFile
    offset: int
    size: int
    progress: Callable[[int], None]
    content: bytes | None = None


class Cargo:
    """One body and its connection, for one thread at a time. `is_refused`: wait until it is writable."""

    __slots__ = ("_body", "_connection", "_end", "_offset", "_refusals", "_refused", "_uses_sendfile", "step")

    def __init__(self, connection: Connection, body: FileSlice, *, uses_sendfile: bool) -> None:
        self._connection = connection
        self._body = body
        self._offset = body.offset
        self._end = body.offset + body.size
        self._uses_sendfile = uses_sendfile
        self._refused = 0  # bytes that were offered and not taken: over TLS, as many must be offered again
        self._refusals = 0
        self.step = BUFFER_BYTES

    @property
    def left(self) -> int:
        """In bytes."""
        return self._end - self._offset

    @property
    def is_refused(self) -> bool:
        return bool(self._refused)

    def move(self, buffer: memoryview, *, most: int) -> int:
        """Send until the connection takes no more, or about `most` bytes have left; how many did.

        ConnectionLost if it broke; FileChanged or FileUnreadable if the file did.
        """
        moved = 0
        while moved < most and self.left:
            size = self._refused or min(self.step, self.left, most - moved)
            sent = self._offer(buffer, size)
            self._offset += sent
            moved += sent
            if sent < size:
                self._refused = size - sent
                self._refusals += 1
                break
            # A slow line takes little at a time: read little, as what was not taken is read again.
            shrinks = self._refusals > 1
            self.step = (
                max(SMALLEST_STEP_BYTES, self.step // 2) if shrinks else min(BUFFER_BYTES, self.step * 2)
            )
            self._refused = self._refusals = 0
        if moved:
            self._body.progress(moved)
        return moved

    def _offer(self, buffer: memoryview, size: int) -> int:
        if self._uses_sendfile:
            sent = self._sendfile(size)
            if sent is not None:
                return sent
            self._uses_sendfile = False
        return self._connection.send(read_into(buffer, self._body.file, self._offset, size))

    def _sendfile(self, size: int) -> int | None:
        """None if this file system cannot do it."""
        file = self._body.file
        try:
            sent = self._connection.send_file(file.fileno(), self._offset, size)
        except OSError as error:
            if error.errno in _OF_THE_SOCKET:
                raise ConnectionLost(error.strerror) from None
            return None  # not the socket's: let the ordinary read say what is wrong, if anything is
        if sent == 0:
            raise _ended_early(file, self._offset)
        return 0 if sent is None else sent


def read_into(buffer: memoryview, file: OpenFile, offset: int, size: int) -> memoryview:
    """The bytes of the file, in the buffer; FileUnreadable, or FileChanged where it ends before."""
    view = buffer[:size]
    try:
        got = os.preadv(file.fileno(), [view], offset)
    except OSError as error:
        raise FileUnreadable(f"the file cannot be read at byte {offset}: {error.strerror}") from error
    if got != size:
        raise _ended_early(file, offset + got)
    return view


def _ended_early(file: OpenFile, end: int) -> FileChanged:
    file.check_unchanged()
    return FileChanged(f"the file ends at byte {end}, not where it did")
