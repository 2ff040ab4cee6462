"""The archive: where delivered files are kept on the device, and how much of it.

A file goes there as part of its removal (`removal.finish` moves it). Where a rename cannot reach, it
is copied first, under no lease and with its own name still in place, and then removed as usual:
`copy_ahead`. `enforce` keeps the archive within its limits and touches nothing outside of it.
"""

from __future__ import annotations

import heapq
import os
import stat
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from s3_file_uploader.errors import FileChanged
from s3_file_uploader.model import Fingerprint, is_regular, printable
from s3_file_uploader.source.claim import changed
from s3_file_uploader.source.edge import FILE_FLAGS
from s3_file_uploader.source.hidden import is_hidden
from s3_file_uploader.source.hiding import status_at
from s3_file_uploader.source.refusal import archive_refused, unopened
from s3_file_uploader.source.shelf import Copying, Place, copy_to, open_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_file_uploader.source.edge import Edge
    from s3_file_uploader.source.intent import Target

__all__ = ["Place", "Trimmed", "copy_ahead", "enforce"]

# Half a copy is overwritten when its file is tried again; one this old belongs to nobody any more.
_ORPHAN_AGE_SECONDS = 24 * 3600.0
_BATCH = 1024


def copy_ahead(edge: Edge, target: Target, hidden: bytes) -> tuple[Target, bytes | None]:
    """Copy a target across file systems before its removal; call it before `prepare`.

    Returns the target to prepare, and the path of the copy if one was made: then the target has no
    place any more and its removal is a plain one. `hidden` names the copy while it is incomplete.
    Raises FileChanged, FileVanished, FileBusy or RemovalFailed.
    """
    if target.place is None or target.is_symlink:
        return target, None
    try:
        folder_fd = edge.open_folder(target.folder, target.base, target.follow_symlinks)
    except OSError as error:
        raise unopened(error, target.path) from error
    try:
        kept = _copy_from(edge, folder_fd, target, target.place, hidden)
    finally:
        edge.close(folder_fd)
    return (target, None) if kept is None else (replace(target, place=None), kept)


def _copy_from(edge: Edge, folder_fd: int, target: Target, place: Place, hidden: bytes) -> bytes | None:
    """The path of the copy, or None where a rename will do."""
    try:
        place_fd = open_place(edge, place)
    except OSError as error:
        raise archive_refused(error, target.path, place.folder) from error
    try:
        mount = edge.mount_of(folder_fd)
        if mount is not None and mount == edge.mount_of(place_fd):
            return None
        descriptor = _open(edge, folder_fd, target)
        try:
            _check(edge, descriptor, target)
            copying = Copying(edge, descriptor, target.name, hidden, lambda: _check(edge, descriptor, target))
            return os.path.join(place.folder, copy_to(copying, place_fd))
        except OSError as error:
            raise archive_refused(error, target.path, place.folder) from error
        finally:
            edge.close(descriptor)
    finally:
        edge.close(place_fd)


def _open(edge: Edge, folder_fd: int, target: Target) -> int:
    try:
        return edge.open_at(folder_fd, target.name, FILE_FLAGS | os.O_NOFOLLOW)
    except OSError as error:
        raise unopened(error, target.path) from error


def _check(edge: Edge, descriptor: int, target: Target) -> None:
    """Raise unless the open file is the delivered content."""
    status = edge.fstat(descriptor)
    if not is_regular(status):
        raise FileChanged(f"{printable(target.path)} is no longer a regular file")
    if Fingerprint.of(status) != target.fingerprint:
        raise changed(target.path, target.fingerprint, Fingerprint.of(status))


@dataclass(frozen=True, slots=True)
class Trimmed:
    """What `enforce` removed, and what is left."""

    files: int = 0
    size_bytes: int = 0
    left_files: int = 0
    left_bytes: int = 0


@dataclass(frozen=True, slots=True, order=True)
class _Kept:
    """A file in the archive; ordered oldest first. `archived_ns` is its ctime: when it came here."""

    archived_ns: int
    folder: tuple[bytes, ...]
    name: bytes
    size_bytes: int


def enforce(
    edge: Edge,
    archive_directory: bytes,
    max_bytes: int | None,
    max_age_seconds: float | None,
    now: float,
) -> Trimmed:
    """Remove the oldest of the archive until it is within its limits. `now` is the time of day.

    Age counts from when a file came into the archive. Streams: memory does not grow with the number
    of files, a full look costs a stat each; call it now and then, not after each file.
    """
    try:
        root = edge.open_folder(archive_directory, archive_directory, True)
    except FileNotFoundError:
        return Trimmed()
    try:
        trimmed = _by_age(edge, root, max_age_seconds, now)
        while max_bytes is not None and trimmed.left_bytes > max_bytes:
            after = _by_size(edge, root, trimmed, max_bytes)
            if after.files == trimmed.files:
                break  # nothing of it can be removed; the next call tries again
            trimmed = after
        return trimmed
    finally:
        edge.close(root)


def _by_age(edge: Edge, root: int, max_age_seconds: float | None, now: float) -> Trimmed:
    files = size_bytes = left_files = left_bytes = 0
    for kept in _walk(edge, root, ()):
        age_seconds = now - kept.archived_ns / 1e9
        if is_hidden(kept.name):
            if age_seconds > _ORPHAN_AGE_SECONDS:
                _remove(edge, root, kept)
            continue
        is_old = max_age_seconds is not None and age_seconds > max_age_seconds
        if is_old and _remove(edge, root, kept):
            files += 1
            size_bytes += kept.size_bytes
        else:
            left_files += 1
            left_bytes += kept.size_bytes
    return Trimmed(files, size_bytes, left_files, left_bytes)


def _by_size(edge: Edge, root: int, trimmed: Trimmed, max_bytes: int) -> Trimmed:
    """One pass: the oldest few go, until the rest fits."""
    named = (kept for kept in _walk(edge, root, ()) if not is_hidden(kept.name))
    for kept in heapq.nsmallest(_BATCH, named):
        if trimmed.left_bytes <= max_bytes:
            break
        if _remove(edge, root, kept):
            trimmed = Trimmed(
                trimmed.files + 1,
                trimmed.size_bytes + kept.size_bytes,
                trimmed.left_files - 1,
                trimmed.left_bytes - kept.size_bytes,
            )
    return trimmed


def _walk(edge: Edge, folder_fd: int, below: tuple[bytes, ...]) -> Iterator[_Kept]:
    """Regular files of the archive, no link followed."""
    for name in edge.names(folder_fd):
        status = status_at(edge, folder_fd, name)
        if status is None:
            continue
        if stat.S_ISREG(status.st_mode):
            yield _Kept(status.st_ctime_ns, below, name, status.st_size)
        elif stat.S_ISDIR(status.st_mode):
            yield from _walk_below(edge, folder_fd, (*below, name))


def _walk_below(edge: Edge, parent_fd: int, below: tuple[bytes, ...]) -> Iterator[_Kept]:
    try:
        folder_fd = edge.open_folder_at(parent_fd, below[-1])
    except OSError:
        return  # replaced, removed or closed to us since the look: not ours to trim
    try:
        yield from _walk(edge, folder_fd, below)
    finally:
        edge.close(folder_fd)


def _remove(edge: Edge, root: int, kept: _Kept) -> bool:
    """Unlink, and remove the folders this leaves empty, but never the archive itself."""
    opened = [root]
    try:
        for component in kept.folder:
            opened.append(edge.open_folder_at(opened[-1], component))
        status = status_at(edge, opened[-1], kept.name)
        if status is None or status.st_ctime_ns != kept.archived_ns:
            return False
        edge.unlink(opened[-1], kept.name)
        with suppress(OSError):
            for depth in range(len(kept.folder), 0, -1):
                edge.remove_folder(opened[depth - 1], kept.folder[depth - 1])
    except OSError:
        return False
    finally:
        for descriptor in opened[1:]:
            edge.close(descriptor)
    return True
