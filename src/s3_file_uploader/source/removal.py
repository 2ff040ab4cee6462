"""Removing a delivered file without losing a byte that was not delivered.

Two halves, so that the ledger can commit many intents at once in between:

    prepared = prepare(edge, target)       open, lease, is it still what was delivered?
    (commit prepared.intent(hidden))       durable, before anything moves
    outcome = finish(prepared, hidden)     rename to the hidden name, look again, unlink

The rename comes before the last look, so that a producer who makes the name anew makes a new file
and never writes into the one we unlink. A read lease is held from before the first look to the end:
a writer that comes in between shows in it. Whatever is not certain is put back, never over a newer
file. What a crash leaves is finished or undone by `recover`, or by `adopt` when the ledger is gone.

This module refuses to remove the target of a link, a file it cannot open, and anything that is not
the delivered content. The done marker is hidden after the data and unlinked after it, so that the
name is never "done" too early and an undone removal has its marker back.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from s3_file_uploader.errors import FileBusy, FileChanged, RemovalFailed
from s3_file_uploader.model import Fingerprint, is_regular, printable
from s3_file_uploader.source import lease
from s3_file_uploader.source.claim import changed
from s3_file_uploader.source.edge import FILE_FLAGS
from s3_file_uploader.source.hiding import NAME_TAKEN, move_to_our_name, put_back, status_at
from s3_file_uploader.source.intent import Conclusion, Intent, Outcome, Prepared, Target
from s3_file_uploader.source.lease import LeaseResult
from s3_file_uploader.source.marker import drop_marker, hide_marker, restore_marker
from s3_file_uploader.source.refusal import archive_refused, removal_refused, unopened
from s3_file_uploader.source.shelf import Copying, shelve

if TYPE_CHECKING:
    from s3_file_uploader.source.edge import Edge
    from s3_file_uploader.source.shelf import Place, Shelved

__all__ = [
    "Conclusion",
    "Intent",
    "Outcome",
    "Prepared",
    "Target",
    "abandon",
    "conclude",
    "fingerprint_at",
    "finish",
    "prepare",
    "undo",
]


def prepare(edge: Edge, target: Target) -> Prepared:
    """Open the file and check that it still is what was delivered; keep it open, and leased if possible.

    Raises FileChanged, FileBusy, FileVanished or RemovalFailed; nothing has moved then.
    """
    try:
        folder_fd = edge.open_folder(target.folder, target.base, target.follow_symlinks)
    except OSError as error:
        raise unopened(error, target.path) from error
    prepared = Prepared(edge, target, folder_fd)
    try:
        _open_file(prepared)
        _first_look(prepared)
    except OSError as error:
        prepared.close()
        raise unopened(error, target.path) from error
    except BaseException:
        prepared.close()
        raise
    return prepared


def abandon(prepared: Prepared) -> None:
    """Let the file go as it is."""
    prepared.close()


def _open_file(prepared: Prepared) -> None:
    target = prepared.target
    flags = FILE_FLAGS if target.is_symlink else FILE_FLAGS | os.O_NOFOLLOW
    prepared.descriptor = prepared.edge.open_at(prepared.folder_fd, target.name, flags)
    # Before the look: what the look sees can then no longer change unnoticed.
    result = lease.take(prepared.edge, prepared.descriptor)
    if result is LeaseResult.WRITER:
        raise FileBusy(f"a process has {printable(target.path)} open for writing", writer_seen=True)
    prepared.leased = result is LeaseResult.GRANTED


def _first_look(prepared: Prepared) -> None:
    edge, target = prepared.edge, prepared.target
    opened = edge.fstat(prepared.descriptor)
    if not is_regular(opened):
        raise FileChanged(f"{printable(target.path)} is no longer a regular file")
    now = Fingerprint.of(opened)
    if now != target.fingerprint:
        raise changed(target.path, target.fingerprint, now)
    entry = edge.stat_at(prepared.folder_fd, target.name)
    prepared.entry = (entry.st_dev, entry.st_ino)
    if stat.S_ISLNK(entry.st_mode) != target.is_symlink or (
        not target.is_symlink and prepared.entry != (opened.st_dev, opened.st_ino)
    ):
        raise FileChanged(f"{printable(target.path)} is another file now")
    if target.marker is not None:
        marker = status_at(edge, prepared.folder_fd, target.marker)
        prepared.marker_fingerprint = Fingerprint.of(marker) if marker else None


def finish(prepared: Prepared, hidden: bytes) -> Outcome:
    """Hide, look again, remove or archive; or put everything back. Closes `prepared` on every path.

    Raises RemovalFailed when the system refused and the file stands under its name, with the
    fingerprint of now in its `fingerprint`.
    """
    try:
        return _hide_and_conclude(prepared, hidden)
    finally:
        prepared.close()


def _hide_and_conclude(prepared: Prepared, hidden: bytes) -> Outcome:
    edge, folder_fd, target = prepared.edge, prepared.folder_fd, prepared.target
    try:
        # The last moment when ctime tells: a change whose mtime was put back shows here or never.
        now = Fingerprint.of(edge.fstat(prepared.descriptor))
        doubt = _doubt_before_hiding(prepared, now)
        if doubt is not None:
            return Outcome(Conclusion.UNDONE, doubt, now)
        move_to_our_name(edge, folder_fd, target.name, folder_fd, hidden)
    except FileNotFoundError:
        return Outcome(Conclusion.GONE, "somebody else took it away")
    except OSError as error:
        raise removal_refused(error, edge, folder_fd, target.path, target.fingerprint) from error
    return conclude(prepared, hidden)


def _doubt_before_hiding(prepared: Prepared, now: Fingerprint) -> str | None:
    if now != prepared.target.fingerprint:
        return "it changed before it was removed"
    return _writer_waits(prepared)


def conclude(prepared: Prepared, hidden: bytes) -> Outcome:
    """From the hidden file on: remove it if it is certain, else put it back. Recovery comes here too."""
    try:
        _check(prepared, hidden)
        if hide_marker(prepared, hidden):
            _check(prepared, hidden)
        kept_as = _dispose(prepared, hidden)
    except _UncertainError as doubt:
        return undo(prepared, hidden, str(doubt))
    except (OSError, RemovalFailed) as error:
        return _undo_refused(prepared, hidden, error)
    try:
        drop_marker(prepared, hidden)
    except OSError as error:
        return Outcome(Conclusion.REMOVED, f"its marker is left: {error.strerror}", kept_as=kept_as)
    return Outcome(Conclusion.REMOVED, kept_as=kept_as)


def _undo_refused(prepared: Prepared, hidden: bytes, error: OSError | RemovalFailed) -> Outcome:
    """The system refused: nothing is wrong with the file, which keeps its receipt."""
    outcome = undo(prepared, hidden, f"it could not be removed: {error}")
    if outcome.conclusion is not Conclusion.UNDONE:
        return outcome
    if isinstance(error, RemovalFailed):
        error.fingerprint = outcome.fingerprint
        raise error
    raise removal_refused(
        error, prepared.edge, prepared.folder_fd, prepared.target.path, outcome.fingerprint
    ) from error


class _UncertainError(Exception):
    """The hidden file is no longer certain to be the delivered content; says why."""


def _check(prepared: Prepared, hidden: bytes) -> None:
    """Raise unless the hidden file certainly is the delivered content."""
    edge, delivered = prepared.edge, prepared.target.fingerprint
    entry = status_at(edge, prepared.folder_fd, hidden)
    if entry is None or (entry.st_dev, entry.st_ino) != prepared.entry:
        raise _UncertainError("another file took its name before it was removed")
    now = Fingerprint.of(edge.fstat(prepared.descriptor))
    same = now == delivered if prepared.target.is_symlink else now.same_but_for_ctime(delivered)
    if not same:
        raise _UncertainError("it changed while it was being removed")
    # Last of all looks: what the kernel lets in after it is only who resolved the name before we hid it.
    waits = _writer_waits(prepared)
    if waits is not None:
        raise _UncertainError(waits)


def _writer_waits(prepared: Prepared) -> str | None:
    if prepared.leased and not lease.still_stands(prepared.edge, prepared.descriptor):
        return "a process is about to write to it"
    return None


def _dispose(prepared: Prepared, hidden: bytes) -> bytes | None:
    """Unlink the hidden file or put it into the archive; where it is kept."""
    edge, folder_fd, target = prepared.edge, prepared.folder_fd, prepared.target
    if target.place is None or target.is_symlink:
        edge.unlink(folder_fd, hidden)
        return None
    shelved = _shelve(prepared, hidden, target.place)
    if not shelved.is_moved:  # the copy took its time: look once more before the original goes
        _check(prepared, hidden)
        edge.unlink(folder_fd, hidden)
    return shelved.path


def _shelve(prepared: Prepared, hidden: bytes, place: Place) -> Shelved:
    target = prepared.target
    copying = Copying(
        prepared.edge, prepared.descriptor, target.name, hidden, lambda: _check(prepared, hidden)
    )
    try:
        return shelve(copying, prepared.folder_fd, place)
    except OSError as error:
        raise archive_refused(error, target.path, place.folder) from error


def undo(prepared: Prepared, hidden: bytes, reason: str) -> Outcome:
    """Give the data its name back, then its marker: never the other way, nor the marker alone."""
    edge, folder_fd, target = prepared.edge, prepared.folder_fd, prepared.target
    if prepared.superseded:
        return Outcome(Conclusion.LEFT_HIDDEN, f"{reason}; newer content had its name since", superseded=True)
    try:
        why_hidden = put_back(edge, folder_fd, hidden, target.name)
        if why_hidden is not None:
            if status_at(edge, folder_fd, hidden) is None:
                return Outcome(Conclusion.GONE, why_hidden)
            is_taken = why_hidden == NAME_TAKEN
            return Outcome(Conclusion.LEFT_HIDDEN, f"{reason}; {why_hidden}", superseded=is_taken)
        if not restore_marker(prepared, hidden):
            return Outcome(Conclusion.LEFT_HIDDEN, f"{reason}; its done marker is still hidden")
    except OSError as error:
        return Outcome(Conclusion.LEFT_HIDDEN, f"{reason}; {error.strerror}")
    return Outcome(Conclusion.UNDONE, reason, fingerprint_at(prepared))


def fingerprint_at(prepared: Prepared) -> Fingerprint | None:
    """Of what stands under the file's own name now."""
    edge, folder_fd, target = prepared.edge, prepared.folder_fd, prepared.target
    look = edge.stat_followed_at if target.is_symlink else edge.stat_at
    try:
        return Fingerprint.of(look(folder_fd, target.name))
    except OSError:
        return None  # taken away in this instant: the next look at the folder tells
