"""Putting a delivered file on the archive's shelf: moved where a rename can, else copied durably.

A file never replaces another one there: its modification time joins its name instead. A copy is
written under a hidden name, brought to the disk, and only then given its name, so that whatever has
a proper name in the archive is whole. This module removes no original.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from s3_file_uploader.source.edge import FILE_FLAGS
from s3_file_uploader.source.hiding import move_to_our_name, status_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3_file_uploader.source.edge import Edge

__all__ = ["Copying", "Place", "Shelved", "copy_to", "names_for", "open_place", "shelve"]

_CHUNK_BYTES = 8 << 20  # one sendfile; nothing of it passes through our memory
_COMPARED_BYTES = 1 << 20
_LONGEST_NAME = 255
_LONGEST_EXTENSION = 32


@dataclass(frozen=True, slots=True)
class Place:
    """A folder of the archive: `directory` is ArchiveDirectory, `relative` the file's folder in it."""

    directory: bytes
    relative: bytes = b""

    @property
    def folder(self) -> bytes:
        return os.path.join(self.directory, self.relative) if self.relative else self.directory


@dataclass(frozen=True, slots=True)
class Shelved:
    """Where the file is kept, and whether it was moved there; else the original still is where it was."""

    path: bytes
    is_moved: bool


@dataclass(frozen=True, slots=True)
class Copying:
    """An open file on its way into the archive as `name`.

    `hidden` is its hidden name, in its own folder and for an unfinished copy. `check` raises when the
    open file is no longer certain to be the delivered content; it is asked before a copy gets its name.
    """

    edge: Edge
    descriptor: int
    name: bytes
    hidden: bytes
    check: Callable[[], None]


def shelve(copying: Copying, folder_fd: int, place: Place) -> Shelved:
    """Move the hidden file of `folder_fd` to its place, or copy it when a rename cannot cross."""
    edge = copying.edge
    place_fd = open_place(edge, place)
    try:
        names = names_for(copying.name, edge.fstat(copying.descriptor).st_mtime_ns)
        try:
            kept = _move_to_free_name(edge, folder_fd, copying.hidden, place_fd, names)
            return Shelved(os.path.join(place.folder, kept), is_moved=True)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        return Shelved(os.path.join(place.folder, copy_to(copying, place_fd)), is_moved=False)
    finally:
        edge.close(place_fd)


def open_place(edge: Edge, place: Place) -> int:
    """The place's folder, made where missing: ArchiveDirectory itself, but nothing above it."""
    descriptor = _open_directory(edge, place.directory)
    for component in place.relative.split(b"/"):
        if not component:
            continue
        parent = descriptor
        try:
            descriptor = _open_or_make(edge, parent, component)
        finally:
            edge.close(parent)
    return descriptor


def _open_directory(edge: Edge, directory: bytes) -> int:
    try:
        return edge.open_folder(directory, directory, True)
    except FileNotFoundError:
        above, name = os.path.split(directory.rstrip(b"/"))
        parent = edge.open_folder(above, above, True)
    try:
        return _open_or_make(edge, parent, name)
    finally:
        edge.close(parent)


def _open_or_make(edge: Edge, parent: int, name: bytes) -> int:
    try:
        return edge.open_folder_at(parent, name)
    except FileNotFoundError:
        with suppress(FileExistsError):
            edge.make_folder(parent, name)
        edge.fsync(parent)
        return edge.open_folder_at(parent, name)


def names_for(name: bytes, mtime_ns: int) -> Iterator[bytes]:
    """`a.csv`, then `a~<mtime_ns>.csv`, `a~<mtime_ns>-2.csv` …, none longer than a name may be."""
    yield name
    stem, extension = os.path.splitext(name)
    if len(extension) > _LONGEST_EXTENSION:
        stem, extension = name, b""
    for number in count(1):
        suffix = b"~%d" % mtime_ns + (b"-%d" % number if number > 1 else b"") + extension
        yield stem[: _LONGEST_NAME - len(suffix)] + suffix


def _move_to_free_name(edge: Edge, from_fd: int, old: bytes, place_fd: int, names: Iterator[bytes]) -> bytes:
    while True:
        name = next(names)
        try:
            move_to_our_name(edge, from_fd, old, place_fd, name)
        except FileExistsError:
            continue
        return name


def copy_to(copying: Copying, place_fd: int) -> bytes:
    """Copy durably; the name it has there. A copy that was finished before a crash counts."""
    edge = copying.edge
    status = edge.fstat(copying.descriptor)
    there = _same_copy(copying, status, place_fd)
    if there is not None:
        copying.check()
        return there
    with suppress(FileNotFoundError):
        edge.unlink(place_fd, copying.hidden)  # half a copy that a crash left
    try:
        _write_copy(copying, status, place_fd)
        copying.check()
        names = names_for(copying.name, status.st_mtime_ns)
        kept = _move_to_free_name(edge, place_fd, copying.hidden, place_fd, names)
    except Exception:
        # Whatever it was: half a copy must not take the archive's room.
        with suppress(OSError):
            edge.unlink(place_fd, copying.hidden)
        raise
    edge.fsync(place_fd)
    return kept


def _write_copy(copying: Copying, status: os.stat_result, place_fd: int) -> None:
    edge, descriptor = copying.edge, copying.descriptor
    copy_fd = edge.open_at(place_fd, copying.hidden, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)
    try:
        offset = 0
        while offset < status.st_size:
            copied = edge.copy(descriptor, copy_fd, offset, min(_CHUNK_BYTES, status.st_size - offset))
            if copied == 0:
                raise OSError(errno.EIO, "it became shorter while it was copied")
            offset += copied
        with suppress(PermissionError):  # file systems without modes
            edge.set_mode(copy_fd, stat.S_IMODE(status.st_mode) & 0o777)
        edge.set_times(copy_fd, status.st_atime_ns, status.st_mtime_ns)
        edge.fsync(copy_fd)
    finally:
        edge.close(copy_fd)


def _same_copy(copying: Copying, status: os.stat_result, place_fd: int) -> bytes | None:
    """The name under which this very content, with this very time, is in the archive already."""
    for name in names_for(copying.name, status.st_mtime_ns):
        there = status_at(copying.edge, place_fd, name)
        if there is None:
            return None
        if (
            stat.S_ISREG(there.st_mode)
            and there.st_size == status.st_size
            and there.st_mtime_ns == status.st_mtime_ns
            and _has_same_content(copying.edge, copying.descriptor, place_fd, name, size=status.st_size)
        ):
            return name
    raise AssertionError("there is always a next name")


def _has_same_content(edge: Edge, descriptor: int, place_fd: int, name: bytes, *, size: int) -> bool:
    other = edge.open_at(place_fd, name, FILE_FLAGS | os.O_NOFOLLOW)
    try:
        return all(
            edge.read_at(descriptor, _COMPARED_BYTES, offset) == edge.read_at(other, _COMPARED_BYTES, offset)
            for offset in range(0, size, _COMPARED_BYTES)
        )
    finally:
        edge.close(other)
