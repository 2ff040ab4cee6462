"""Linux's inotify, bound by ctypes: the system calls and the layout of events, nothing else.

What the numbers mean stands in inotify(7). Every function raises OSError with the kernel's errno.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "ATTRIB",
    "CLOSE_WRITE",
    "CREATE",
    "DELETE",
    "DELETE_SELF",
    "EXCL_UNLINK",
    "IGNORED",
    "ISDIR",
    "MASK_ADD",
    "MODIFY",
    "MOVED_FROM",
    "MOVED_TO",
    "MOVE_SELF",
    "ONLYDIR",
    "OVERFLOW",
    "UNMOUNT",
    "Inotify",
    "events",
]

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE = 0x200
DELETE_SELF = 0x400
MOVE_SELF = 0x800
UNMOUNT = 0x2000
OVERFLOW = 0x4000
IGNORED = 0x8000
ONLYDIR = 0x1000000
EXCL_UNLINK = 0x4000000
MASK_ADD = 0x20000000
ISDIR = 0x40000000

_EVENT = struct.Struct("=iIII")  # watch, mask, cookie, length of the name that follows
_READ_BYTES = 256 * 1024

# statfs' f_type where files also change at the other end, of which inotify never hears.
_NETWORK_FILE_SYSTEMS = {
    0x6969: "NFS",
    0x517B: "SMB",
    0xFF534D42: "CIFS",
    0xFE534D42: "SMB2",
    0x01021997: "9p",
    0x65735546: "FUSE",
    0x00C36400: "Ceph",
    0x0BD00BD0: "Lustre",
    0x5346414F: "AFS",
    0x01161970: "GFS2",
    0x7461636F: "OCFS2",
    0x786F4256: "VirtualBox shared folder",
    0xBACBACBC: "VMware shared folder",
}

_libc = ctypes.CDLL(None, use_errno=True)


class Inotify:
    """One instance of the kernel's, with its table of watches."""

    def __init__(self) -> None:
        self._descriptor = _call("inotify_init1", os.O_NONBLOCK | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    def add(self, folder: bytes, mask: int) -> int:
        """The number of the folder's watch: the same one for the same folder, however it is spelled."""
        return _call("inotify_add_watch", self._descriptor, folder, ctypes.c_uint32(mask))

    def remove(self, watch: int) -> None:
        _call("inotify_rm_watch", self._descriptor, watch)

    def read(self) -> bytes:
        """Events in the kernel's layout, as many as fit; nothing when there are none."""
        try:
            return os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return b""

    def network_file_system(self, folder: bytes) -> str | None:
        """The kind of network file system that a folder lies on; None on a local one."""
        answer = ctypes.create_string_buffer(512)  # struct statfs: 120 bytes at most today
        _call("statfs", folder, answer)
        # f_type comes first; the magic numbers fit 32 bits, however wide the field is.
        kind = int.from_bytes(answer.raw[: ctypes.sizeof(ctypes.c_long)], sys.byteorder) & 0xFFFFFFFF
        return _NETWORK_FILE_SYSTEMS.get(kind)

    def close(self) -> None:
        os.close(self._descriptor)


def events(buffer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """(watch, mask, cookie, name) of each event in what one read returned."""
    unpack = _EVENT.unpack_from
    header = _EVENT.size
    offset, end = 0, len(buffer)
    while offset < end:
        watch, mask, cookie, length = unpack(buffer, offset)
        offset += header
        name = buffer[offset : offset + length].rstrip(b"\0") if length else b""
        offset += length
        yield watch, mask, cookie, name


def _call(function: str, *arguments: Any) -> int:
    call: Any = getattr(_libc, function, None)
    if call is None or not sys.platform.startswith("linux"):
        raise OSError(errno.ENOSYS, f"{os.strerror(errno.ENOSYS)}: {function}")
    result = int(call(*arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
