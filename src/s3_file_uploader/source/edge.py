"""The file system's edge: every effect that claiming, removing and archiving have, one method each.

It exists so that a test can fail, delay or "crash" any single step by overriding one method. It
decides nothing and translates nothing: a method makes its call and lets OSError through. Names are
relative to the descriptor of an open folder, never to the working directory, and links are followed
only where a method's name says so.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

__all__ = ["FILE_FLAGS", "FOLDER_FLAGS", "Edge"]

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

# O_NONBLOCK: a fifo or a tty that took the file's place must not hold the thread that opens it.
FILE_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC

# Linux's own numbers: the fcntl module of some builds lacks the names.
_F_SETSIG = 10
_F_SETLEASE = 1024
_F_GETLEASE = 1025

_RENAME_NOREPLACE = 1

# statfs' f_type where a lease is refused with EAGAIN for want of a delegation or an oplock, not
# because of a writer: NFS, SMB, CIFS, SMB2.
_NETWORK_FILE_SYSTEMS = frozenset({0x6969, 0x517B, 0xFF534D42, 0xFE534D42})

_libc = ctypes.CDLL(None, use_errno=True)


class Edge:
    """The real file system. One instance serves all threads: it has no state."""

    # -- folders

    def open_folder(self, folder: bytes, base: bytes, follow_symlinks: bool) -> int:
        """A descriptor of `folder`; below `base` no component may be a link unless links are followed.

        `base` is the fixed part of the rule's pattern: what a person wrote out may hold links.
        """
        below = folder[len(base) :] if folder.startswith(base) else b""
        if follow_symlinks or not below.strip(b"/"):
            return os.open(folder, FOLDER_FLAGS)
        descriptor = os.open(base, FOLDER_FLAGS)
        for component in below.split(b"/"):
            if not component:
                continue
            parent = descriptor
            try:
                descriptor = os.open(component, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
            finally:
                os.close(parent)
        return descriptor

    def open_folder_at(self, folder_fd: int, name: bytes) -> int:
        return os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=folder_fd)

    def make_folder(self, folder_fd: int, name: bytes) -> None:
        os.mkdir(name, dir_fd=folder_fd)

    def remove_folder(self, folder_fd: int, name: bytes) -> None:
        os.rmdir(name, dir_fd=folder_fd)

    def names(self, folder_fd: int) -> Iterator[bytes]:
        """What stands in a folder, a few at a time."""
        with os.scandir(folder_fd) as entries:
            for entry in entries:
                yield os.fsencode(entry.name)

    def entries(self, folder_fd: int) -> AbstractContextManager[Iterator[os.DirEntry[str]]]:
        """What stands in a folder with the kind of each, as it is read; a context to be left."""
        return os.scandir(folder_fd)

    def mount_of(self, descriptor: int) -> int | None:
        """The mount a descriptor is on: a rename across mounts fails even on one file system."""
        try:
            with open(f"/proc/self/fdinfo/{descriptor}", "rb") as lines:
                return next((int(line.split()[1]) for line in lines if line.startswith(b"mnt_id:")), None)
        except OSError:
            return None

    # -- files

    def open_at(self, folder_fd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
        return os.open(name, flags | os.O_CLOEXEC, mode, dir_fd=folder_fd)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def fstat(self, descriptor: int) -> os.stat_result:
        return os.fstat(descriptor)

    def stat_at(self, folder_fd: int, name: bytes) -> os.stat_result:
        """Of the name itself: a link is not followed."""
        return os.stat(name, dir_fd=folder_fd, follow_symlinks=False)

    def stat_followed_at(self, folder_fd: int, name: bytes) -> os.stat_result:
        return os.stat(name, dir_fd=folder_fd)

    def rename(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        os.rename(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd)

    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        """EEXIST when `new` exists; ENOSYS or EINVAL where the system or file system cannot do it."""
        function: Any = getattr(_libc, "renameat2", None)
        if function is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), old, None, new)
        if function(from_fd, old, to_fd, new, _RENAME_NOREPLACE) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), old, None, new)

    def link(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        os.link(old, new, src_dir_fd=from_fd, dst_dir_fd=to_fd, follow_symlinks=False)

    def unlink(self, folder_fd: int, name: bytes) -> None:
        os.unlink(name, dir_fd=folder_fd)

    def fsync(self, descriptor: int) -> None:
        os.fsync(descriptor)

    # -- content and what belongs to it

    def read_at(self, descriptor: int, count: int, offset: int) -> bytes:
        return os.pread(descriptor, count, offset)

    def copy(self, from_fd: int, to_fd: int, offset: int, count: int) -> int:
        """Copy up to `count` bytes from `offset` on to where `to_fd` stands, inside the kernel."""
        return os.sendfile(to_fd, from_fd, offset, count)

    def set_times(self, descriptor: int, atime_ns: int, mtime_ns: int) -> None:
        os.utime(descriptor, ns=(atime_ns, mtime_ns))

    def set_mode(self, descriptor: int, mode: int) -> None:
        os.fchmod(descriptor, mode)

    # -- leases (Linux)

    def set_lease_signal(self, descriptor: int, number: int) -> None:
        _fcntl(descriptor, _F_SETSIG, number)

    def set_lease(self, descriptor: int, kind: int) -> None:
        _fcntl(descriptor, _F_SETLEASE, kind)

    def get_lease(self, descriptor: int) -> int:
        return _fcntl(descriptor, _F_GETLEASE, 0)

    def is_on_network(self, descriptor: int) -> bool:
        """Whether the file lies on a file system that answers EAGAIN for reasons of its own."""
        function: Any = getattr(_libc, "fstatfs", None)
        answer = ctypes.create_string_buffer(512)  # struct statfs: 120 bytes at most today
        if function is None or function(descriptor, answer) != 0:
            return False
        # f_type comes first; the magic numbers all fit 32 bits, however wide the field is.
        width = ctypes.sizeof(ctypes.c_long)
        return int.from_bytes(answer.raw[:width], sys.byteorder) & 0xFFFFFFFF in _NETWORK_FILE_SYSTEMS


def _fcntl(descriptor: int, command: int, argument: int) -> int:
    if sys.platform != "linux":
        raise OSError(errno.EINVAL, "leases exist on Linux only")
    return fcntl.fcntl(descriptor, command, argument)
