"""Claiming: opening one file for one delivery, as what the ledger says it is or not at all.

A claim is a settled file's second look: it is opened relative to its folder without following links,
must be regular, must have the ledger's fingerprint, and must not be open for writing anywhere. It
never decides what to do about a file that fails the look; it raises the error that says what was
seen. Called thousands of times a second, so folders stay open for a second (`Folders`).
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.errors import (
    DeliveryError,
    FileBusy,
    FileChanged,
    FileUnreadable,
    FileVanished,
)
from s3_file_uploader.model import Fingerprint, is_regular, printable
from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import FILE_FLAGS
from s3_file_uploader.source.lease import LeaseResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.source.edge import Edge

__all__ = ["ClaimedSource", "Folders", "OpenedFile", "changed"]

_NO_ACCESS_TIME = getattr(os, "O_NOATIME", 0)
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_NOT_THE_FILE = frozenset({errno.ELOOP, errno.ENXIO, errno.ENODEV})
_FULL_TABLE = frozenset({errno.EMFILE, errno.ENFILE})


@dataclass(slots=True, eq=False)
class _Folder:
    """An open folder: closed once nobody uses it and it is no longer kept."""

    descriptor: int
    opened_at: float
    users: int = 0
    is_kept: bool = True
    may_skip_access_time: bool = True  # O_NOATIME is for owners; learnt from the first refusal


_Key = tuple[bytes, bytes, bool]


class Folders:
    """Descriptors of the folders claimed from last, shared by threads.

    None is served once it is older than `max_age_seconds`: a folder that was replaced by another of
    its name is then opened anew. `expire` closes what is too old to be served, so that an idle
    daemon keeps no file system from being unmounted; call it when nothing was claimed for a while.
    Removal never uses this.
    """

    def __init__(
        self,
        edge: Edge,
        *,
        clock: Callable[[], float] = time.monotonic,
        max_age_seconds: float = 1.0,
        capacity: int = 16,
    ) -> None:
        self._edge = edge
        self._clock = clock
        self._max_age_seconds = max_age_seconds
        self._capacity = capacity
        self._lock = threading.Lock()  # never held while the disk is asked: a hung mount blocks only its own
        self._kept: OrderedDict[_Key, _Folder] = OrderedDict()

    def acquire(self, folder: bytes, base: bytes, follow_symlinks: bool) -> tuple[_Folder, bool]:
        """An open folder and whether it comes from an earlier claim; `release` it after use."""
        key = (folder, base, follow_symlinks)
        now = self._clock()
        with self._lock:
            found = self._kept.get(key)
            if found is not None and now - found.opened_at < self._max_age_seconds:
                found.users += 1
                self._kept.move_to_end(key)
                return found, True
        opened = _Folder(self._edge.open_folder(folder, base, follow_symlinks), now, users=1)
        with self._lock:
            replaced = self._kept.pop(key, None)
            self._kept[key] = opened
            retired = [replaced] if replaced else []
            while len(self._kept) > self._capacity:
                retired.append(self._kept.popitem(last=False)[1])
            unused = _unused(retired)
        self._close(unused)
        return opened, False

    def release(self, folder: _Folder) -> None:
        with self._lock:
            folder.users -= 1
            is_last = folder.users == 0 and not folder.is_kept
        if is_last:
            self._close([folder])

    def forget(self, folder: bytes, base: bytes, follow_symlinks: bool) -> None:
        """Let the next claim open the folder anew."""
        with self._lock:
            dropped = self._kept.pop((folder, base, follow_symlinks), None)
            unused = _unused([dropped] if dropped else [])
        self._close(unused)

    def expire(self) -> None:
        """Close what is too old to be served."""
        oldest = self._clock() - self._max_age_seconds
        with self._lock:
            old = [key for key, folder in self._kept.items() if folder.opened_at <= oldest]
            unused = _unused([self._kept.pop(key) for key in old])
        self._close(unused)

    def close(self) -> None:
        """Close all; a folder still in use is closed by its last user."""
        with self._lock:
            unused = _unused(list(self._kept.values()))
            self._kept.clear()
        self._close(unused)

    def _close(self, folders: list[_Folder]) -> None:
        for folder in folders:
            self._edge.close(folder.descriptor)


def _unused(retired: list[_Folder]) -> list[_Folder]:
    for folder in retired:
        folder.is_kept = False
    return [folder for folder in retired if folder.users == 0]


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A claimed file: one descriptor, whose content is the fingerprint's as long as the check says so."""

    edge: Edge
    path: bytes
    fingerprint: Fingerprint
    descriptor: int

    def fileno(self) -> int:
        return self.descriptor

    @property
    def size(self) -> int:
        return self.fingerprint.size

    def check_unchanged(self) -> None:
        try:
            status = self.edge.fstat(self.descriptor)
        except OSError as error:
            raise _translated(error, self.path) from error
        now = Fingerprint.of(status)
        if now != self.fingerprint:
            raise changed(self.path, self.fingerprint, now)

    def close(self) -> None:
        self.edge.close(self.descriptor)


@dataclass(frozen=True, slots=True)
class ClaimedSource:
    """One file the ledger has as `fingerprint`, to be opened for its delivery.

    `base` is the fixed part of the rule's pattern. `needs_proof`: only a granted lease will do,
    because nothing else says yet that no process has it open.
    """

    edge: Edge
    folder: bytes
    base: bytes
    name: bytes
    fingerprint: Fingerprint
    follow_symlinks: bool = False
    needs_proof: bool = False
    folders: Folders | None = None

    @property
    def path(self) -> bytes:
        return os.path.join(self.folder, self.name)

    def open(self) -> OpenedFile:
        """Raises FileChanged, FileBusy, FileVanished or FileUnreadable; the contract says when."""
        try:
            descriptor = self._open_descriptor()
        except OSError as error:
            raise _translated(error, self.path) from error
        try:
            self._look(descriptor)
        except OSError as error:
            self.edge.close(descriptor)
            raise _translated(error, self.path) from error
        except BaseException:
            self.edge.close(descriptor)
            raise
        return OpenedFile(self.edge, self.path, self.fingerprint, descriptor)

    def _open_descriptor(self) -> int:
        if self.folders is not None:
            folder, is_old = self.folders.acquire(self.folder, self.base, self.follow_symlinks)
            try:
                return self._open_in(folder)
            except OSError as error:
                # The folder may be another one by now: only a fresh look may say that the file is gone.
                if not is_old or error.errno not in (errno.ENOENT, errno.ESTALE):
                    raise
            finally:
                self.folders.release(folder)
            self.folders.forget(self.folder, self.base, self.follow_symlinks)
        fresh = _Folder(self.edge.open_folder(self.folder, self.base, self.follow_symlinks), 0.0)
        try:
            return self._open_in(fresh)
        finally:
            self.edge.close(fresh.descriptor)

    def _open_in(self, folder: _Folder) -> int:
        flags = FILE_FLAGS if self.follow_symlinks else FILE_FLAGS | os.O_NOFOLLOW
        if folder.may_skip_access_time and _NO_ACCESS_TIME:
            try:
                return self.edge.open_at(folder.descriptor, self.name, flags | _NO_ACCESS_TIME)
            except PermissionError as error:
                if error.errno != errno.EPERM:
                    raise
                folder.may_skip_access_time = False
        return self.edge.open_at(folder.descriptor, self.name, flags)

    def _look(self, descriptor: int) -> None:
        status = self.edge.fstat(descriptor)
        if not is_regular(status):
            raise FileChanged(f"{printable(self.path)} is no longer a regular file")
        now = Fingerprint.of(status)
        if now != self.fingerprint:
            raise changed(self.path, self.fingerprint, now)
        result = lease.probe(self.edge, descriptor)
        if result is LeaseResult.WRITER:
            raise FileBusy(f"a process has {printable(self.path)} open for writing", writer_seen=True)
        if result is LeaseResult.NO_EVIDENCE and self.needs_proof:
            raise FileBusy(
                f"nothing tells yet whether a process has {printable(self.path)} open for writing",
                writer_seen=False,
            )


def changed(path: bytes, expected: Fingerprint, now: Fingerprint) -> FileChanged:
    """The error for a file that is not the expected one, saying in what they differ."""
    differing = [
        f"{field} {getattr(expected, field)} → {getattr(now, field)}"
        for field in ("size", "mtime_ns", "inode", "device", "ctime_ns")
        if getattr(expected, field) != getattr(now, field)
    ]
    error = FileChanged(f"{printable(path)} has changed: {', '.join(differing)}")
    error.only_device = expected.differs_only_in_device(now)
    return error


def _translated(error: OSError, path: bytes) -> DeliveryError:
    shown = printable(path)
    if error.errno in _GONE:
        return FileVanished(f"{shown} is gone")
    if error.errno in _NOT_THE_FILE:
        return FileChanged(f"{shown} is no longer a regular file")
    if error.errno == errno.EAGAIN:  # somebody holds a write lease on it
        return FileBusy(f"a process has {shown} open for writing", writer_seen=True)
    text = f"{shown} cannot be read: {error.strerror}"
    if error.errno in _FULL_TABLE:
        return FileUnreadable(text, advice="Raise the limit of open files (ulimit -n, LimitNOFILE).")
    return FileUnreadable(text)
