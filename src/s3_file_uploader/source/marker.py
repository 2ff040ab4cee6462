"""A done marker's part in the removal of its file.

The marker is hidden after the data and unlinked after it: under its own name it is gone before the
data is, so a name used again is never "done" too early; and a removal that is undone, or cut short,
finds it whole. A marker that was written anew meanwhile is a newer file's, and is given back.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from s3_file_uploader.model import Fingerprint
from s3_file_uploader.source.hiding import hidden_marker_name, move_to_our_name, put_back, status_at

if TYPE_CHECKING:
    import os

    from s3_file_uploader.source.intent import Prepared

__all__ = ["drop_marker", "hide_marker", "restore_marker"]


def hide_marker(prepared: Prepared, hidden: bytes) -> bool:
    """Take the marker that `prepare` saw out of the way, if it is there; whether there was one."""
    edge, folder_fd, marker = prepared.edge, prepared.folder_fd, prepared.target.marker
    if marker is None or prepared.marker_fingerprint is None:
        return False
    seen = status_at(edge, folder_fd, marker)
    if seen is None or not _is_that_marker(seen, prepared.marker_fingerprint):
        return False
    with suppress(FileNotFoundError):
        move_to_our_name(edge, folder_fd, marker, folder_fd, hidden_marker_name(hidden))
    return True


def drop_marker(prepared: Prepared, hidden: bytes) -> None:
    """The data is gone: unlink its hidden marker, or give back one that belongs to a newer file."""
    edge, folder_fd, marker = prepared.edge, prepared.folder_fd, prepared.target.marker
    if marker is None:
        return
    hidden_marker = hidden_marker_name(hidden)
    status = status_at(edge, folder_fd, hidden_marker)
    if status is None:
        return
    known = prepared.marker_fingerprint
    if known is not None and _is_that_marker(status, known):
        edge.unlink(folder_fd, hidden_marker)
    else:
        restore_marker(prepared, hidden)


def restore_marker(prepared: Prepared, hidden: bytes) -> bool:
    """Give a hidden marker its name back, or drop it where a newer one stands; False if neither can be."""
    edge, folder_fd, marker = prepared.edge, prepared.folder_fd, prepared.target.marker
    if marker is None:
        return True
    hidden_marker = hidden_marker_name(hidden)
    if status_at(edge, folder_fd, hidden_marker) is None:
        return True
    if put_back(edge, folder_fd, hidden_marker, marker) is None:
        return True
    if status_at(edge, folder_fd, marker) is None:
        return False
    edge.unlink(folder_fd, hidden_marker)
    return True


def _is_that_marker(status: os.stat_result, fingerprint: Fingerprint) -> bool:
    return Fingerprint.of(status).same_but_for_ctime(fingerprint)
