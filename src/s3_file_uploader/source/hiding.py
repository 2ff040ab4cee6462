"""Moving a file to its hidden name and back, without ever overwriting anything.

The two directions differ in whose name is at stake. A hidden name and a name in the archive are
ours: nobody else makes one, so a look before a plain rename is enough where the file system cannot
refuse to overwrite. The name that we put a file back to is the producer's, who may make it anew at
any instant: there only an atomic refusal will do, and without one the file stays hidden.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from s3_file_uploader.source.hidden import PREFIX, is_hidden

if TYPE_CHECKING:
    from s3_file_uploader.source.edge import Edge

__all__ = [
    "NAME_TAKEN",
    "hidden_data_name",
    "hidden_marker_name",
    "is_hidden_marker",
    "move_to_our_name",
    "put_back",
    "status_at",
]

# What renameat2 answers where it, its flag or the file system's support for it is missing.
_CANNOT_REFUSE = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})

NAME_TAKEN = "a newer file has its name"

_FIRST_DIGIT_OF_ID = len(PREFIX) + 8
_MARKER_BIT = 8


def hidden_marker_name(hidden: bytes) -> bytes:
    """The hidden name of the done marker of the file hidden as `hidden`.

    The same id with its topmost bit set, which no id of a ledger has (SQLite's are signed): of the
    same fixed length, hidden from every rule, and never mistaken for data when the ledger is gone.
    """
    if not is_hidden(hidden) or is_hidden_marker(hidden):
        raise ValueError(f"not the hidden name of a file: {hidden!r}")
    return _with_first_digit(hidden, _first_digit(hidden) | _MARKER_BIT)


def hidden_data_name(hidden_marker: bytes) -> bytes:
    """The hidden name of the file whose done marker is hidden as `hidden_marker`."""
    return _with_first_digit(hidden_marker, _first_digit(hidden_marker) & ~_MARKER_BIT)


def is_hidden_marker(name: bytes) -> bool:
    return is_hidden(name) and bool(_first_digit(name) & _MARKER_BIT)


def _first_digit(name: bytes) -> int:
    return int(name[_FIRST_DIGIT_OF_ID : _FIRST_DIGIT_OF_ID + 1], 16)


def _with_first_digit(name: bytes, digit: int) -> bytes:
    return name[:_FIRST_DIGIT_OF_ID] + b"%x" % digit + name[_FIRST_DIGIT_OF_ID + 1 :]


def status_at(edge: Edge, folder_fd: int, name: bytes) -> os.stat_result | None:
    """Of the name itself, a link not followed; None when there is none."""
    try:
        return edge.stat_at(folder_fd, name)
    except FileNotFoundError:
        return None


def move_to_our_name(edge: Edge, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
    """Rename to a name that only we make. FileExistsError rather than overwrite."""
    try:
        edge.rename_noreplace(from_fd, old, to_fd, new)
    except OSError as error:
        if error.errno not in _CANNOT_REFUSE:
            raise
        # Not link + unlink: the unlink could hit a file that took the old name in between.
        if status_at(edge, to_fd, new) is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from error
        edge.rename(from_fd, old, to_fd, new)


def put_back(edge: Edge, folder_fd: int, hidden: bytes, name: bytes) -> str | None:
    """Give a hidden file its name back; None on success, else why it is still hidden."""
    try:
        edge.rename_noreplace(folder_fd, hidden, folder_fd, name)
    except FileExistsError:
        return _taken(edge, folder_fd, hidden, name)
    except FileNotFoundError:
        return "somebody else took it away while it was hidden"
    except OSError as error:
        if error.errno not in _CANNOT_REFUSE:
            return f"it cannot be given its name back: {error.strerror}"
        return _link_back(edge, folder_fd, hidden, name)
    return None


def _link_back(edge: Edge, folder_fd: int, hidden: bytes, name: bytes) -> str | None:
    try:
        edge.link(folder_fd, hidden, folder_fd, name)
        edge.unlink(folder_fd, hidden)
    except FileExistsError:
        return _taken(edge, folder_fd, hidden, name)
    except FileNotFoundError:
        return "somebody else took it away while it was hidden"
    except OSError as error:
        return f"it cannot be given its name back without the risk of overwriting: {error.strerror}"
    return None


def _taken(edge: Edge, folder_fd: int, hidden: bytes, name: bytes) -> str | None:
    """The name exists: a newer file's, or this very file's, when we died between link and unlink."""
    there, ours = status_at(edge, folder_fd, name), status_at(edge, folder_fd, hidden)
    if there is None or ours is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
        return NAME_TAKEN
    try:
        edge.unlink(folder_fd, hidden)
    except OSError as error:
        return f"its second, hidden name cannot be removed: {error.strerror}"
    return None
