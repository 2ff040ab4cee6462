"""After a crash: each removal that was begun is finished or undone, and nothing stays hidden.

A removal is finished only if a lease vouched for the file before the crash and one can be had again;
whatever is not certain gets its name back and settles anew. Every step may be cut short again and
repeated: `recover` gives the same answer however often it runs. It never guesses at content.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from s3_file_uploader.errors import RemovalFailed
from s3_file_uploader.model import printable
from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import FILE_FLAGS
from s3_file_uploader.source.hidden import digits_of
from s3_file_uploader.source.hiding import (
    hidden_data_name,
    hidden_marker_name,
    is_hidden_marker,
    status_at,
)
from s3_file_uploader.source.intent import Conclusion, Intent, Outcome, Prepared, Target
from s3_file_uploader.source.lease import LeaseResult
from s3_file_uploader.source.marker import drop_marker, restore_marker
from s3_file_uploader.source.refusal import unopened
from s3_file_uploader.source.removal import conclude, fingerprint_at, undo

if TYPE_CHECKING:
    from s3_file_uploader.source.edge import Edge

__all__ = ["adopt", "recover"]


def recover(edge: Edge, intent: Intent) -> Outcome:
    """Finish or undo one removal that the ledger has an intent for.

    REMOVED: forget the intent, the file is removed. UNDONE: forget it, the file has its name.
    LEFT_HIDDEN: keep the intent and call again later, or `adopt` it if superseded. GONE: nothing of it is there any more.
    Raises RemovalFailed where the folder cannot be looked at now: keep the intent as well.
    """
    target = intent.target
    try:
        folder_fd = edge.open_folder(target.folder, target.base, target.follow_symlinks)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            if not os.path.isdir(target.base):
                raise _not_there(target) from error
            return Outcome(Conclusion.GONE, "its folder is gone")
        raise unopened(error, target.path) from error
    prepared = Prepared(
        edge,
        target,
        folder_fd,
        marker_fingerprint=intent.marker_fingerprint,
        superseded=intent.superseded,
    )
    try:
        entry = status_at(edge, folder_fd, intent.hidden)
        if entry is None:
            return _nothing_hidden(prepared, intent)
        prepared.entry = (entry.st_dev, entry.st_ino)
        return _hidden_found(prepared, intent)
    except OSError as error:
        raise unopened(error, target.path) from error
    finally:
        prepared.close()


def _not_there(target: Target) -> RemovalFailed:
    """The fixed part of the pattern itself is missing: that may be a disk which is not mounted yet."""
    return RemovalFailed(
        f"{printable(target.path)} was being removed, and {printable(target.base)} is not there now",
        advice="Mount its disk; the removal is then finished or undone by itself.",
    )


def _nothing_hidden(prepared: Prepared, intent: Intent) -> Outcome:
    """The crash came before the file was hidden, after it was put back, or after it was unlinked."""
    delivered = intent.target.fingerprint
    there = fingerprint_at(prepared)
    # The same file, changed or not. An inode's number may be used again at once, by a new file of that
    # name: to call that one undone is harmless, for it settles like any other.
    if there is not None and (there.device, there.inode) == (delivered.device, delivered.inode):
        if not restore_marker(prepared, intent.hidden):
            return Outcome(Conclusion.LEFT_HIDDEN, "its done marker is still hidden")
        return Outcome(Conclusion.UNDONE, "it was not removed yet", there)
    drop_marker(prepared, intent.hidden)
    return Outcome(Conclusion.REMOVED)


def _hidden_found(prepared: Prepared, intent: Intent) -> Outcome:
    if _has_both_names(prepared, intent):
        prepared.superseded = False  # what has its name is this very file
        return undo(prepared, intent.hidden, "it was being put back")
    if not _reopen(prepared, intent):
        return undo(prepared, intent.hidden, "its removal was cut short and nothing vouches for it now")
    return conclude(prepared, intent.hidden)


def _has_both_names(prepared: Prepared, intent: Intent) -> bool:
    """We died between link and unlink on the way back."""
    there = status_at(prepared.edge, prepared.folder_fd, intent.target.name)
    return there is not None and (there.st_dev, there.st_ino) == prepared.entry


def _reopen(prepared: Prepared, intent: Intent) -> bool:
    """Open the hidden file again as `prepare` does; False where it has to be undone."""
    edge, is_symlink = prepared.edge, intent.target.is_symlink
    flags = FILE_FLAGS if is_symlink else FILE_FLAGS | os.O_NOFOLLOW
    if not (intent.leased or is_symlink):
        return False
    try:
        prepared.descriptor = edge.open_at(prepared.folder_fd, intent.hidden, flags)
    except OSError:
        return False
    result = lease.take(edge, prepared.descriptor)
    prepared.leased = result is LeaseResult.GRANTED
    # A link's target stays whatever happens, so no lease is needed to let the link go.
    return prepared.leased or (is_symlink and result is LeaseResult.NO_EVIDENCE)


def adopt(edge: Edge, target: Target, hidden: bytes) -> Outcome:
    """Give a hidden file that cannot have its own name the new one `target.name`, so that it is found again.

    Of `target` only folder, base, name, marker and follow_symlinks count. UNDONE: it has the name.
    With a marker wanted, its own hidden one comes back under the new name, or an empty one is made:
    it was done once, or it would not have been on its way out. LEFT_HIDDEN: the name is taken or
    cannot be given. REMOVED: it was the empty marker of a file that is gone.
    """
    try:
        folder_fd = edge.open_folder(target.folder, target.base, target.follow_symlinks)
    except OSError as error:
        raise unopened(error, target.path) from error
    prepared = Prepared(edge, target, folder_fd)
    try:
        if is_hidden_marker(hidden):
            return _adopt_marker(edge, folder_fd, hidden)
        status = status_at(edge, folder_fd, hidden)
        if status is None:
            return Outcome(Conclusion.GONE, "somebody else took it away")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            return Outcome(Conclusion.LEFT_HIDDEN, "it is not a regular file")
        _bring_marker(prepared, hidden)
        outcome = undo(prepared, hidden, "it got a name of its own")
    except OSError as error:
        raise unopened(error, target.path) from error
    finally:
        prepared.close()
    return outcome


def _bring_marker(prepared: Prepared, hidden: bytes) -> None:
    """Where the hidden data has no hidden marker any more, make one: `undo` brings both to light.

    Under a name that nobody else makes, its marker comes to light first: if we died in between, data
    without a marker would wait for ever.
    """
    edge, folder_fd, target = prepared.edge, prepared.folder_fd, prepared.target
    if target.marker is None:
        return
    hidden_marker = hidden_marker_name(hidden)
    if status_at(edge, folder_fd, hidden_marker) is None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        edge.close(edge.open_at(folder_fd, hidden_marker, flags, 0o644))
    if digits_of(hidden) in target.name:
        restore_marker(prepared, hidden)


def _adopt_marker(edge: Edge, folder_fd: int, hidden: bytes) -> Outcome:
    status = status_at(edge, folder_fd, hidden)
    if status is None:
        return Outcome(Conclusion.GONE, "somebody else took it away")
    if status_at(edge, folder_fd, hidden_data_name(hidden)) is not None:
        return Outcome(Conclusion.LEFT_HIDDEN, "the marker of a hidden file: it comes back with that")
    if status.st_size != 0:
        return Outcome(Conclusion.LEFT_HIDDEN, "the marker of a file that is gone, with content of its own")
    edge.unlink(folder_fd, hidden)
    return Outcome(Conclusion.REMOVED, "the marker of a file that is gone")
