"""The file system's edge: every effect that the store has on the disk, one method each.

It exists so that a test can count, fail or lose any single step by overriding one method. It decides
nothing: a method makes its call and lets OSError through.
"""

from __future__ import annotations

import os
import shutil

__all__ = ["Edge"]

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MOST_AT_ONCE = 1 << 30  # Linux moves a little less than 2 GiB in one call


class Edge:
    """The real file system. One instance serves all threads: it has no state."""

    def open_file(self, path: str) -> int:
        return os.open(path, _FLAGS)

    def create_file(self, path: str) -> int:
        """An empty file, whatever stood there before."""
        return os.open(path, _FLAGS | os.O_CREAT | os.O_TRUNC, 0o600)

    def open_folder(self, path: str) -> int:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close(self, descriptor: int) -> None:
        os.close(descriptor)

    def duplicate(self, descriptor: int) -> int:
        return os.dup(descriptor)

    def size(self, descriptor: int) -> int:
        return os.fstat(descriptor).st_size

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        """Up to `count` bytes; fewer only where the file ends, or where Linux moves no more at once."""
        return os.pread(descriptor, min(count, _MOST_AT_ONCE), offset)

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        """Returns how many bytes were written: all, or fewer when the disk has no room for more."""
        return os.pwrite(descriptor, data, offset)

    def write_two(self, descriptor: int, first: bytes, second: bytes, offset: int) -> int:
        """`write`, of two pieces that stand one behind the other."""
        return os.pwritev(descriptor, [first, second], offset)

    def truncate(self, descriptor: int, size: int) -> None:
        os.ftruncate(descriptor, size)

    def fsync(self, descriptor: int) -> None:
        """Until the disk has it: milliseconds, or seconds. Called in threads, but for definitions."""
        os.fsync(descriptor)

    def rename(self, old: str, new: str) -> None:
        os.rename(old, new)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def make_folder(self, path: str) -> None:
        os.mkdir(path, 0o700)

    def remove_tree(self, path: str) -> None:
        shutil.rmtree(path)

    def exists(self, path: str) -> bool:
        return os.path.lexists(path)

    def names(self, path: str) -> list[str]:
        return os.listdir(path)
