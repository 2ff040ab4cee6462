"""One folder's entries, read once and handed on in batches: what a scan does a million times.

The kind of an entry comes with its name, so that only what may be a candidate is asked for more:
one stat each, relative to the open folder. Nothing is kept but the folders to go down into.
"""

from __future__ import annotations

import os
import stat
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.source.hidden import PREFIX, is_hidden

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_file_uploader.model import Candidate
    from s3_file_uploader.source.selection import Selection
    from s3_file_uploader.source.sight import Sight

__all__ = ["BATCH_SIZE", "Batch", "Listing"]

BATCH_SIZE = 1000  # candidates

_ENCODING = sys.getfilesystemencoding()
_ENCODING_ERRORS = sys.getfilesystemencodeerrors()


@dataclass(frozen=True, slots=True)
class Batch:
    """Some candidates of one folder, at most `BATCH_SIZE`, and names of files hidden in it."""

    folder: bytes
    relative: bytes
    candidates: list[Candidate]
    hidden: list[bytes]


class Listing:
    """Reads one open folder. `places` are those of the folder in the selection's pattern.

    Afterwards `folders` and `links` hold the names and places of the folders to go down into, and
    `error` what kept some part of the folder from being read.
    """

    def __init__(self, selection: Selection, sight: Sight, places: int) -> None:
        pattern = selection.pattern
        self._pattern = pattern
        self._sight = sight
        self._places = places
        self._takes = selection.chooser(sight.relative) if pattern.holds_files(places) else None
        self._goes_down = pattern.holds_folders(places)
        self._candidates: list[Candidate] = []
        self._hidden: list[bytes] = []
        self.folders: list[tuple[bytes, int]] = []
        self.links: list[tuple[bytes, int]] = []
        self.error: OSError | None = None

    def batches(self) -> Iterator[Batch]:
        """Read the folder."""
        try:
            with self._sight.edge.entries(self._sight.folder_fd) as entries:
                for entry in entries:
                    self._see(entry)
                    if len(self._candidates) >= BATCH_SIZE or len(self._hidden) >= BATCH_SIZE:
                        yield self._batch()
        except OSError as error:
            self.error = error
        if self._candidates or self._hidden:
            yield self._batch()

    def _batch(self) -> Batch:
        batch = Batch(self._sight.folder, self._sight.relative, self._candidates, self._hidden)
        self._candidates, self._hidden = [], []
        return batch

    def _see(self, entry: os.DirEntry[str]) -> None:
        try:
            if not entry.is_file(follow_symlinks=False):
                self._see_other(entry, os.fsencode(entry.name))
            elif self._takes is not None:
                self._see_file(entry, entry.name.encode(_ENCODING, _ENCODING_ERRORS))
        except FileNotFoundError:
            pass  # gone since its name was read
        except OSError as error:
            self.error = error

    def _see_file(self, entry: os.DirEntry[str], name: bytes) -> None:
        if self._takes is not None and self._takes(name):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISREG(status.st_mode):
                self._candidates.append(self._sight.candidate(name, status))
        elif name.startswith(PREFIX) and is_hidden(name):
            self._hidden.append(name)

    def _see_other(self, entry: os.DirEntry[str], name: bytes) -> None:
        if entry.is_symlink():
            if self._sight.follow_symlinks:
                self._see_link(name)
        elif self._goes_down and entry.is_dir(follow_symlinks=False):
            self._see_folder(name)

    def _see_folder(self, name: bytes) -> None:
        if below := self._pattern.step(self._places, name):
            self.folders.append((name, below))

    def _see_link(self, name: bytes) -> None:
        below = self._pattern.step(self._places, name)
        is_wanted = self._takes is not None and self._takes(name)
        if not (below or is_wanted):
            return
        status = self._sight.edge.stat_followed_at(self._sight.folder_fd, name)
        if is_wanted and stat.S_ISREG(status.st_mode):
            self._candidates.append(self._sight.candidate(name, status, is_link=True))
        elif below and stat.S_ISDIR(status.st_mode):
            self.links.append((name, below))
