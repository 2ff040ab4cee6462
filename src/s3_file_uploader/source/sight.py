"""What stands under a name in an open folder: a candidate, nothing any more, or a trouble.

This is a look at named files only, for when something said that they changed. It opens no file.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.model import Candidate, Evidence, Fingerprint
from s3_file_uploader.source.edge import Edge

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3_file_uploader.source.selection import Selection

__all__ = ["Gone", "Sight", "Trouble", "look", "open_folder", "trouble"]

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
_LINK_IN_THE_WAY = frozenset({errno.ENOTDIR, errno.ELOOP})


@dataclass(frozen=True, slots=True)
class Gone:
    """No regular file that the selection takes stands under this name any more."""

    folder: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """A folder could not be looked at, or not wholly. `code` is errno's name (`EACCES`)."""

    folder: bytes
    reason: str
    code: str


@dataclass(frozen=True, slots=True)
class Sight:
    """An open folder as one rule sees it. `relative` is its path below the pattern's fixed part."""

    edge: Edge
    folder_fd: int
    folder: bytes
    relative: bytes
    follow_symlinks: bool
    through_link: bool

    def of(self, name: bytes) -> Candidate | Gone | Trouble:
        try:
            status = self.edge.stat_at(self.folder_fd, name)
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link and self.follow_symlinks:
                status = self.edge.stat_followed_at(self.folder_fd, name)
        except OSError as error:
            return Gone(self.folder, name) if error.errno in _GONE else trouble(self.folder, error)
        if not stat.S_ISREG(status.st_mode):
            return Gone(self.folder, name)
        return self.candidate(name, status, is_link=is_link)

    def candidate(self, name: bytes, status: os.stat_result, *, is_link: bool = False) -> Candidate:
        """The candidate that `status` is of; what was reached through a link counts as one."""
        fingerprint = Fingerprint(
            status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        )
        is_symlink = is_link or self.through_link
        return Candidate(self.folder, name, fingerprint, self.relative, Evidence.NONE, is_symlink)


def look(
    selection: Selection,
    folder: bytes,
    names: Iterable[bytes],
    *,
    follow_symlinks: bool = False,
    edge: Edge | None = None,
) -> list[Candidate | Gone | Trouble]:
    """Look at the named files of one folder, by the rules of a scan.

    A done marker's name stands for its file. Names that the selection does not take are left out. A
    missing folder takes its files along, unless the fixed part of the pattern itself is missing: that
    may be a disk which is not mounted yet.
    """
    wanted = _wanted(selection, folder, names)
    if not wanted:
        return []
    edge = edge or Edge()
    base = selection.pattern.base
    try:
        folder_fd, through_link = open_folder(edge, folder, base, follow_symlinks=follow_symlinks)
    except OSError as error:
        if error.errno in _GONE and folder != base and os.path.isdir(base):
            return [Gone(folder, name) for name in wanted]
        return [trouble(folder, error)]
    try:
        relative = selection.pattern.relative_folder(folder)
        sight = Sight(edge, folder_fd, folder, relative, follow_symlinks, through_link)
        return [sight.of(name) for name in wanted]
    finally:
        edge.close(folder_fd)


def open_folder(edge: Edge, folder: bytes, base: bytes, *, follow_symlinks: bool) -> tuple[int, bool]:
    """A descriptor of `folder`, and whether a link below `base` led to it."""
    try:
        return edge.open_folder(folder, base, follow_symlinks=False), False
    except OSError as error:
        if not follow_symlinks or error.errno not in _LINK_IN_THE_WAY:
            raise
    return edge.open_folder(folder, base, follow_symlinks=True), True


def trouble(folder: bytes, error: OSError) -> Trouble:
    return Trouble(folder, error.strerror or str(error), errno.errorcode.get(error.errno or 0, ""))


def _wanted(selection: Selection, folder: bytes, names: Iterable[bytes]) -> list[bytes]:
    pattern = selection.pattern
    if not pattern.holds_files(pattern.places(folder)):
        return []
    takes = selection.chooser(pattern.relative_folder(folder))
    files = dict.fromkeys(selection.marked(name) or name for name in names)
    return [name for name in files if name and takes(name)]
