"""Producers at work in a folder, with real files and descriptors, and the record of what they made.

Every operation can always be asked for: one that makes no sense now does nothing. A producer that
would have to wait in open() until a lease is given back waits: its file is already found, and it
gets it, wherever its name has gone by then, as soon as the lease is gone.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import time
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MARKER", "Handle", "Producers", "Record"]

MARKER = b".done"
_RDWR = os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK


@dataclass(slots=True, eq=False)
class Record:
    """One file, from the moment its inode is made. Times are on the test's own clock, in seconds."""

    inode: int
    keys: set[str]  # of every name that a producer gave it
    changed_at: float
    content: bytes = b""
    closed: list[bytes] = field(default_factory=list)  # what it was when nobody had it open for writing
    done: list[bytes] = field(default_factory=list)  # what it was when its marker was written
    writers: int = 0  # open for writing, mapped, or waiting to be


@dataclass(slots=True, eq=False)
class Handle:
    """A file that a producer holds open for writing; `waits_for` while its open() waits for a lease."""

    record: Record
    descriptor: int
    written_at: float
    waits_for: Callable[[int], None] | None = None
    mapping: mmap.mmap | None = None
    is_closing: bool = False


class Producers:
    """`wall_ns` is the device's clock, which sets the times of files; `now` the test's."""

    def __init__(self, folder: bytes, now: Callable[[], float], wall_ns: Callable[[], int]) -> None:
        self.folder = folder
        self._folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        self._now = now
        self._wall_ns = wall_ns
        self.records: dict[int, Record] = {}
        self.handles: list[Handle] = []
        self._written = 0
        self.takes_turns = False  # only one producer at a time has a file open

    def close(self) -> None:
        for handle in list(self.handles):
            self.end(handle)
        os.close(self._folder_fd)

    # What they do.

    def write(self, name: bytes, size: int, keep: bool = False) -> None:
        """Append to a file, made if it is not there; with `keep` it stays open."""
        self._open(name, lambda descriptor: self._append(descriptor, size), keep=keep, may_create=True)

    def open_quietly(self, name: bytes) -> None:
        """Open for writing, and write nothing yet."""
        self._open(name, _nothing, keep=True)

    def rewrite(self, name: bytes) -> None:
        """Other bytes of the same length."""

        def act(descriptor: int) -> None:
            os.pwrite(descriptor, self._fresh(os.fstat(descriptor).st_size), 0)
            self._date(descriptor)

        self._open(name, act)

    def rewrite_and_restore(self, name: bytes) -> None:
        """The same, and the file's times are put back as they were."""

        def act(descriptor: int) -> None:
            before = os.fstat(descriptor)
            os.pwrite(descriptor, self._fresh(before.st_size), 0)
            os.utime(descriptor, ns=(before.st_atime_ns, before.st_mtime_ns))

        self._open(name, act)

    def truncate(self, name: bytes) -> None:
        def act(descriptor: int) -> None:
            os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
            self._date(descriptor)

        self._open(name, act)

    def more(self, which: int, size: int) -> None:
        """Write on through a descriptor that was kept open."""
        for handle in self._handle(which):
            self._change(handle, lambda descriptor: self._append(descriptor, size))

    def map_more(self, which: int) -> None:
        """Write on through a mapping, which outlives its descriptor's use."""
        for handle in self._handle(which):
            self._change(handle, partial(self._write_mapped, handle))

    def finish(self, which: int) -> None:
        """Close what was kept open."""
        for handle in self._handle(which):
            self.end(handle)

    def replace(self, name: bytes, size: int) -> None:
        """Write under a temporary name and rename into place."""
        temporary = b".temporary"
        self.delete(temporary)
        self._create(temporary, lambda descriptor: self._append(descriptor, size), keep=False)
        self.rename(temporary, name)

    def rename(self, name: bytes, to: bytes) -> None:
        record, replaced = self._record(name), self._record(to)
        if record is None or record is replaced:
            return
        os.rename(self._path(name), self._path(to))
        self._give(to, record)
        self._forget_if_gone(replaced)

    def link(self, name: bytes, to: bytes) -> None:
        """A second name for the same file."""
        record = self._record(name)
        if record is not None and self._record(to) is None:
            os.link(self._path(name), self._path(to))
            self._give(to, record)

    def delete(self, name: bytes) -> None:
        record = self._record(name)
        if record is not None:
            os.unlink(self._path(name))
            self._forget_if_gone(record)

    def restore_times(self, name: bytes, seconds: int) -> None:
        """Give a file another date, as a restored backup has it."""
        if self._record(name) is not None:
            then = self._wall_ns() + seconds * 1_000_000_000
            os.utime(self._path(name), ns=(then, then))

    def mark(self, name: bytes) -> None:
        """Say that a file is done."""
        record = self._record(name)
        if record is None or record.writers:
            return
        with open(self._path(name + MARKER), "wb") as marker:
            self._date(marker.fileno())
        record.done.append(record.content)

    # How.

    def _give(self, name: bytes, record: Record) -> None:
        record.keys.add(name.decode())
        record.changed_at = self._now()

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self.folder, name)

    def _record(self, name: bytes) -> Record | None:
        try:
            return self.records[os.lstat(self._path(name)).st_ino]
        except FileNotFoundError:
            return None

    def _handle(self, which: int) -> list[Handle]:
        granted = [handle for handle in self.handles if handle.waits_for is None]
        return [granted[which % len(granted)]] if granted else []

    def _fresh(self, size: int) -> bytes:
        """Bytes that were never written before."""
        self._written += 1
        return (b"%d;" % self._written * (size + 1))[:size]

    def _date(self, descriptor: int) -> None:
        now = self._wall_ns()
        os.utime(descriptor, ns=(now, now))

    def _append(self, descriptor: int, size: int) -> None:
        os.pwrite(descriptor, self._fresh(size), os.fstat(descriptor).st_size)
        self._date(descriptor)

    def _write_mapped(self, handle: Handle, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        if not size:
            return
        if handle.mapping is None or len(handle.mapping) > size:
            if handle.mapping is not None:
                handle.mapping.close()
            handle.mapping = mmap.mmap(descriptor, size)
        handle.mapping[:] = self._fresh(len(handle.mapping))
        self._date(descriptor)

    def _open(
        self, name: bytes, act: Callable[[int], None], *, keep: bool = False, may_create: bool = False
    ) -> None:
        if self._record(name) is None:
            if may_create:
                self._create(name, act, keep=keep)
            return
        found = os.open(self._path(name), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
        record = self.records[os.fstat(found).st_ino]
        for other in [one for one in self.handles if self.takes_turns and one.record is record]:
            self.end(other)
        handle = Handle(record, found, self._now(), act, is_closing=not keep)
        record.writers += 1
        self.handles.append(handle)
        self._try_to_enter(handle)

    def _create(self, name: bytes, act: Callable[[int], None], *, keep: bool) -> None:
        descriptor = os.open(self._path(name), _RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        inode = os.fstat(descriptor).st_ino
        assert inode not in self.records, "two files with one inode: the test has lost track"
        record = self.records[inode] = Record(inode, set(), self._now(), writers=1)
        self._give(name, record)
        handle = Handle(record, descriptor, self._now(), is_closing=not keep)
        self.handles.append(handle)
        self._change(handle, act)

    def go_on(self) -> None:
        """Whoever waited in open() and need not any more goes on."""
        for handle in list(self.handles):
            if handle.waits_for is not None:
                self._try_to_enter(handle)

    def _try_to_enter(self, handle: Handle) -> None:
        try:
            descriptor = os.open(f"/proc/self/fd/{handle.descriptor}", _RDWR)
        except BlockingIOError:
            return
        os.close(handle.descriptor)
        act, handle.waits_for, handle.descriptor = handle.waits_for, None, descriptor
        assert act is not None
        self._change(handle, act)

    def _change(self, handle: Handle, act: Callable[[int], None]) -> None:
        record, descriptor = handle.record, handle.descriptor
        before = os.fstat(descriptor)
        act(descriptor)
        # The clock of an older kernel ticks every few milliseconds: no two changes within one tick.
        while (after := os.fstat(descriptor)).st_ctime_ns == before.st_ctime_ns and act is not _nothing:
            time.sleep(0.0005)
            os.utime(descriptor, ns=(after.st_atime_ns, after.st_mtime_ns))
        content = os.pread(descriptor, after.st_size + 1, 0)
        is_written = content != record.content
        if is_written or not record.closed:
            record.changed_at = handle.written_at = self._now()
        record.content = content
        # Where turns are taken, nobody has a file open without an event that says so.
        if handle.is_closing or (self.takes_turns and not is_written):
            self.end(handle)

    def end(self, handle: Handle) -> None:
        if handle.mapping is not None:
            handle.mapping.close()
        os.close(handle.descriptor)
        self.handles.remove(handle)
        record = handle.record
        record.writers -= 1
        if not record.writers:
            record.closed.append(record.content)

    def _forget_if_gone(self, record: Record | None) -> None:
        """A producer took the last name of a file away: what was in it is its own affair."""
        if record is not None and not self.has_a_name(record):
            self.records.pop(record.inode, None)

    def has_a_name(self, record: Record) -> bool:
        return record.inode in self.names()

    def names(self) -> dict[int, list[bytes]]:
        """What stands in the folder: names by inode."""
        found: dict[int, list[bytes]] = {}
        with os.scandir(self._folder_fd) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if stat.S_ISREG(entry.stat(follow_symlinks=False).st_mode):
                        found.setdefault(entry.inode(), []).append(os.fsencode(entry.name))
        return found


def _nothing(_descriptor: int) -> None: ...
