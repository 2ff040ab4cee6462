"""Read leases: the one way to learn, without any rights over other processes, that nobody writes.

Linux refuses a read lease with EAGAIN exactly while some process has the file open for writing (or
mapped so), and while the lease is held an opener for writing waits and shows in F_GETLEASE. The
lease needs a file of our own or CAP_LEASE, and a file system that can; any other answer is no
evidence, never "nobody writes". This module holds no state and opens nothing.
"""

from __future__ import annotations

import errno
import fcntl
import signal
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3_file_uploader.source.edge import Edge

__all__ = ["LeaseResult", "ignore_lease_signal", "probe", "release", "still_stands", "take"]

# A broken lease signals its holder, with SIGIO unless told otherwise, whose default is to kill.
# SIGURG's default is to be ignored, so a lease is safe to hold even where SIGIO is not ignored.
_HARMLESS_SIGNAL = int(signal.SIGURG)


class LeaseResult(Enum):
    """What asking for a read lease told."""

    GRANTED = "granted"  # nobody has the file open for writing
    WRITER = "writer"  # somebody has
    NO_EVIDENCE = "no evidence"  # not our file, or the file system or system has no leases


def ignore_lease_signal() -> None:
    """Ignore SIGIO in this process. Once, at its start, from the main thread."""
    signal.signal(signal.SIGIO, signal.SIG_IGN)


def take(edge: Edge, descriptor: int) -> LeaseResult:
    """Ask for a read lease on a file opened for reading only; keep it if it is granted."""
    try:
        edge.set_lease_signal(descriptor, _HARMLESS_SIGNAL)
        edge.set_lease(descriptor, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN and not edge.is_on_network(descriptor):
            return LeaseResult.WRITER
        return LeaseResult.NO_EVIDENCE
    return LeaseResult.GRANTED


def still_stands(edge: Edge, descriptor: int) -> bool:
    """Whether nobody asked to write since the lease was taken: a waiting writer shows here."""
    try:
        return edge.get_lease(descriptor) == fcntl.F_RDLCK
    except OSError:
        return False


def release(edge: Edge, descriptor: int) -> None:
    """Give the lease back; harmless when it is gone already."""
    try:
        edge.set_lease(descriptor, fcntl.F_UNLCK)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EINVAL):
            raise


def probe(edge: Edge, descriptor: int) -> LeaseResult:
    """Ask and give back at once: is some process writing right now?"""
    result = take(edge, descriptor)
    if result is LeaseResult.GRANTED:
        release(edge, descriptor)
    return result
