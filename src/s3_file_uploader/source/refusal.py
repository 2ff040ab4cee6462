"""What the system's refusal to remove or archive a file means, and which right a person has to give.

One place translates OSError for removal, recovery and archiving; it decides nothing else.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from s3_file_uploader.errors import (
    DeliveryError,
    FileBusy,
    FileChanged,
    FileVanished,
    RemovalFailed,
    UploaderError,
)
from s3_file_uploader.model import Fingerprint, printable

if TYPE_CHECKING:
    from s3_file_uploader.source.edge import Edge

__all__ = ["archive_refused", "removal_refused", "unopened"]


def removal_refused(
    error: OSError, edge: Edge, folder_fd: int, path: bytes, fingerprint: Fingerprint | None
) -> RemovalFailed:
    """For a rename or unlink that failed; `fingerprint` is that of the file as it now stands."""
    failed = RemovalFailed(
        f"{printable(path)} cannot be removed: {error.strerror}",
        advice=_advice(error, edge, folder_fd, printable(os.path.dirname(path))),
    )
    failed.fingerprint = fingerprint
    return failed


def archive_refused(error: OSError, path: bytes, directory: bytes) -> RemovalFailed:
    shown = printable(directory)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        advice = f"Make room in {shown}, or set ArchiveMaxBytes or ArchiveMaxAge."
    elif error.errno in (errno.EACCES, errno.EPERM):
        advice = f"Give the user that runs s3-file-uploader write and execute permission on {shown}."
    elif error.errno == errno.ENOENT:
        advice = f"Create the folder that ArchiveDirectory ({shown}) lies in, or mount its disk."
    else:
        advice = f"Look at ArchiveDirectory ({shown}) and its disk."
    return RemovalFailed(f"{printable(path)} cannot be archived: {error.strerror}", advice=advice)


def unopened(error: OSError, path: bytes) -> UploaderError:
    """For a delivered file, or its folder, that cannot be opened for a look."""
    gone = _gone_or_busy(error, path)
    if gone is not None:
        return gone
    return RemovalFailed(
        f"{printable(path)} cannot be opened to be removed: {error.strerror}",
        advice="Give the user that runs s3-file-uploader read permission on the file and write and "
        f"execute permission on {printable(os.path.dirname(path))}, or check the disk.",
    )


def _gone_or_busy(error: OSError, path: bytes) -> DeliveryError | None:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return FileVanished(f"{printable(path)} is gone")
    if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENODEV):
        return FileChanged(f"{printable(path)} is no longer a regular file")
    if error.errno == errno.EAGAIN:  # somebody holds a write lease on it
        return FileBusy(f"a process has {printable(path)} open for writing", writer_seen=True)
    return None


def _advice(error: OSError, edge: Edge, folder_fd: int, folder: str) -> str:
    if error.errno == errno.EROFS:
        return f"{folder} is mounted read-only: mount it writable, or set AfterUpload to keep."
    if error.errno == errno.EACCES:
        return f"Give the user that runs s3-file-uploader write and execute permission on {folder}."
    if error.errno == errno.EPERM:
        if _is_sticky(edge, folder_fd):
            return (
                f"{folder} has the sticky bit: only the owner of a file or of the folder may remove it. "
                "Take the bit away (chmod -t), or run s3-file-uploader as the folder's owner."
            )
        return "The file or its folder is immutable or append-only (lsattr shows it, chattr -i -a lifts it)."
    return f"Look at {folder} and its disk; `s3-file-uploader check` says which rights are missing."


def _is_sticky(edge: Edge, folder_fd: int) -> bool:
    try:
        return bool(edge.fstat(folder_fd).st_mode & stat.S_ISVTX)
    except OSError:
        return False
