"""Looking at the disk: which files a selection takes, streamed folder by folder.

Scanning is the truth that everything else relies on. It is a generator that remembers nothing of
what it has yielded, so a million files cost no memory; it sorts nothing, opens no file and changes
nothing. What cannot be read is yielded as `Trouble`, never raised: the rest goes on, and the files of
that folder are unknown, not gone.

Each folder below the fixed part of the pattern is opened relative to its parent, without following
links; the fixed part is what a person wrote out and may lead through some. With `follow_symlinks`,
folders behind links come last, each real folder is looked at once, and whatever was reached through
a link is marked `is_symlink`: it may be sent, and is never removed.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.listing import BATCH_SIZE, Batch, Listing
from s3_file_uploader.source.sight import Gone, Sight, Trouble, look, open_folder, trouble

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from s3_file_uploader.source.selection import Selection

__all__ = [
    "BATCH_SIZE",
    "DEEPEST",
    "Batch",
    "FolderSeen",
    "Gone",
    "ScanEnded",
    "Seen",
    "Trouble",
    "look",
    "scan",
]

DEEPEST = 100  # folders below the fixed part: each one on the way down holds a descriptor


@dataclass(frozen=True, slots=True)
class FolderSeen:
    """A folder was looked at; only if `complete` have the files gone that were not yielded."""

    folder: bytes
    complete: bool


@dataclass(frozen=True, slots=True)
class ScanEnded:
    """The end. If `complete`, folders that were not reported are no longer there."""

    complete: bool


Seen = Batch | FolderSeen | Trouble | ScanEnded


def scan(
    selection: Selection,
    *,
    follow_symlinks: bool = False,
    start: bytes | None = None,
    entering: Callable[[bytes], object] | None = None,
    edge: Edge | None = None,
) -> Generator[Seen, None, None]:
    """Look at every folder that the pattern reaches, or only at `start` and below.

    `entering` is called with each folder before it is read: a watch that is set there misses nothing
    between the scan and itself.
    """
    walk = _Walk(selection, edge or Edge(), follow_symlinks, entering or _pass)
    folder = selection.pattern.base if start is None else start
    places = selection.pattern.places(folder)
    if places:
        yield from walk.start(folder, places)
    yield ScanEnded(walk.complete)


class _Walk:
    """One scan on its way."""

    def __init__(
        self,
        selection: Selection,
        edge: Edge,
        follow_symlinks: bool,
        entering: Callable[[bytes], object],
    ) -> None:
        self._selection = selection
        self._pattern = selection.pattern
        self._edge = edge
        self._follow_symlinks = follow_symlinks
        self._entering = entering
        self._waiting: dict[bytes, int] = {}  # trees still to be walked, and the places of their tops
        self._visited: set[tuple[int, int, int]] = set()  # device, inode, places: where links are followed
        self.complete = True

    def start(self, folder: bytes, places: int) -> Iterator[Seen]:
        """The tree at `folder`, then what links in it lead to, in an order that is always the same."""
        self._waiting[folder] = places
        while self._waiting:
            folder = min(self._waiting)
            yield from self._tree(folder, self._waiting.pop(folder))

    def _tree(self, folder: bytes, places: int) -> Iterator[Seen]:
        try:
            folder_fd, through_link = open_folder(
                self._edge, folder, self._pattern.base, follow_symlinks=self._follow_symlinks
            )
        except OSError as error:
            yield self._troubled(folder, error)
        else:
            yield from self._folder(folder_fd, folder, places, 0, through_link)

    def _folder(
        self, folder_fd: int, folder: bytes, places: int, depth: int, through_link: bool
    ) -> Iterator[Seen]:
        """A folder and those below it. Closes `folder_fd`."""
        try:
            if self._was_visited(folder_fd, places):
                return
            self._entering(folder)
            relative = self._pattern.relative_folder(folder)
            sight = Sight(self._edge, folder_fd, folder, relative, self._follow_symlinks, through_link)
            listing = Listing(self._selection, sight, places)
            yield from listing.batches()
            if listing.error is not None:
                yield self._troubled(folder, listing.error)
            yield FolderSeen(folder, complete=listing.error is None)
            self._waiting.update((os.path.join(folder, name), below) for name, below in listing.links)
            for name, below in listing.folders:
                yield from self._subfolder(sight, name, below, depth + 1)
        finally:
            self._edge.close(folder_fd)

    def _subfolder(self, parent: Sight, name: bytes, places: int, depth: int) -> Iterator[Seen]:
        folder = os.path.join(parent.folder, name)
        if depth > DEEPEST:
            reason = f"more than {DEEPEST} folders below the fixed part of the pattern"
            yield self._troubled(folder, OSError(errno.ENAMETOOLONG, reason))
            return
        try:
            folder_fd = self._edge.open_folder_at(parent.folder_fd, name)
        except OSError as error:
            yield self._troubled(folder, error)
        else:
            yield from self._folder(folder_fd, folder, places, depth, parent.through_link)

    def _was_visited(self, folder_fd: int, places: int) -> bool:
        if not self._follow_symlinks:
            return False
        status = self._edge.fstat(folder_fd)
        key = status.st_dev, status.st_ino, places
        if key in self._visited:
            return True
        self._visited.add(key)
        return False

    def _troubled(self, folder: bytes, error: OSError) -> Trouble:
        self.complete = False
        return trouble(folder, error)


def _pass(_folder: bytes) -> None:
    """Nobody wants to know."""
