"""The table of watched folders: which folder has which watch, and which have none and why.

A watch belongs to a directory, not to its path, and outlives a rename of either: so a folder may be
added any number of times, and each time its path is looked up anew. A folder that does not exist is
awaited: its nearest existing ancestor is watched for names that appear. Whatever cannot be watched
is said once and found by scanning.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.source import inotify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from threading import RLock

    from s3_file_uploader.source.inotify import Inotify

__all__ = ["MOST_AWAITED", "MOST_FOLDERS", "Unwatched", "Watches"]

MOST_FOLDERS = 8192  # each costs the kernel about 1 KiB that cannot be swapped out
MOST_AWAITED = 256
_APPEARING_TRIES = 16

_FOLDER = (
    inotify.CREATE
    | inotify.MODIFY
    | inotify.CLOSE_WRITE
    | inotify.ATTRIB
    | inotify.MOVED_FROM
    | inotify.MOVED_TO
    | inotify.DELETE
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLYDIR
    | inotify.EXCL_UNLINK
    | inotify.MASK_ADD
)
_ANCESTOR = (
    inotify.CREATE
    | inotify.MOVED_TO
    | inotify.DELETE_SELF
    | inotify.MOVE_SELF
    | inotify.ONLYDIR
    | inotify.MASK_ADD
)
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR})
_REASONS = {
    errno.ENOSPC: "the table of inotify watches is full (fs.inotify.max_user_watches)",
    errno.EMFILE: "no inotify instance is left (fs.inotify.max_user_instances, open files)",
    errno.ENOSYS: "this system has no inotify",
}


@dataclass(frozen=True, slots=True)
class Unwatched:
    """Scanning alone finds what happens in `folder`; an empty one stands for every folder."""

    folder: bytes
    reason: str
    code: str

    @classmethod
    def because(cls, folder: bytes, error: OSError) -> Unwatched:
        number = error.errno or 0
        reason = _REASONS.get(number) or error.strerror or str(error)
        return cls(folder, reason, errno.errorcode.get(number, ""))


@dataclass(slots=True)
class Watch:
    """What one watch is for: the paths of its folder, and the folders awaited below it."""

    folders: list[bytes] = field(default_factory=list)
    awaited: dict[bytes, bytes] = field(default_factory=dict)  # folder: the path of its ancestor here


class Watches:
    """Folders and their watches.

    `released` is called with the number of a watch that is no longer ours. The disk is never asked
    while `lock` is held.
    """

    def __init__(
        self,
        instance: Inotify,
        lock: RLock,
        *,
        say: Callable[[Unwatched], None],
        released: Callable[[int], None],
        most_folders: int = MOST_FOLDERS,
    ) -> None:
        self._instance = instance
        self._lock = lock
        self._say = say
        self._released = released
        self._most_folders = most_folders
        self._said: set[bytes | str] = set()
        self._ancestors: dict[bytes, int] = {}  # awaited folder: the watch of its ancestor
        self.by_number: dict[int, Watch] = {}
        self.numbers: dict[bytes, int] = {}

    def add(self, folder: bytes) -> None:
        """Watch a folder, or await it, or say why not."""
        is_new = folder not in self.numbers
        if is_new and len(self.numbers) >= self._most_folders:
            reason = f"more than {self._most_folders} folders are watched already"
            self._refuse(Unwatched(folder, reason, "LIMIT"), once_for="LIMIT")
            return
        try:
            if is_new and (kind := self._instance.network_file_system(folder)):
                reason = f"{kind} does not tell of changes made at its other end"
                self._refuse(Unwatched(folder, reason, "NETWORK"), once_for=folder)
                return
            number = self._instance.add(folder, _FOLDER)
        except OSError as error:
            self._failed(folder, error)
        else:
            with self._lock:
                self._bind(folder, number)

    def still_stands(self, folder: bytes, number: int) -> bool:
        """Whether the path still leads to the directory that is watched; if not, it is watched anew."""
        self.add(folder)
        return self.numbers.get(folder) == number

    def stop(self, folders: Iterable[bytes]) -> None:
        """Watch these folders no longer."""
        with self._lock:
            for folder in folders:
                self._unbind(folder)
                self._unawait(folder)

    def ended(self, number: int) -> Watch | None:
        """The directory is gone, or moved away: its paths now mean something else, or nothing."""
        with self._lock:
            watch = self.by_number.pop(number, None)
            if watch is not None:
                for folder in watch.folders:
                    del self.numbers[folder]
                for folder in watch.awaited:
                    del self._ancestors[folder]
                self._released(number)
        return watch

    def remove(self, number: int) -> None:
        """Give a watch back to the kernel."""
        try:
            self._instance.remove(number)
        except OSError:
            return  # the kernel has dropped it with its directory

    def below(self, folder: bytes) -> list[int]:
        """The watches of a folder and of all those below it."""
        inside = folder + b"/"
        return [
            number for path, number in list(self.numbers.items()) if path == folder or path.startswith(inside)
        ]

    def _failed(self, folder: bytes, error: OSError) -> None:
        with self._lock:
            self._unbind(folder)
        if error.errno in _MISSING:
            self._await(folder)
        elif error.errno in (errno.ENOSPC, errno.ENOMEM):
            self._refuse(Unwatched.because(folder, error), once_for="FULL")
        else:
            self._refuse(Unwatched.because(folder, error), once_for=folder)

    def _refuse(self, unwatched: Unwatched, *, once_for: bytes | str) -> None:
        if once_for in self._said or len(self._said) >= self._most_folders:
            return
        self._said.add(once_for)
        self._say(unwatched)

    def _await(self, folder: bytes) -> None:
        """Watch for its appearance, unless what is watched or awaited already will tell of that."""
        if os.path.dirname(folder) in self.numbers or self._is_awaited_above(folder):
            return
        for _ in range(_APPEARING_TRIES):
            if folder not in self._ancestors and len(self._ancestors) >= MOST_AWAITED:
                return
            ancestor, number = self._nearest(folder)
            if number is None:
                return
            with self._lock:
                self._bind_awaited(folder, ancestor, number)
            missing = folder[len(ancestor.rstrip(b"/")) + 1 :].partition(b"/")[0]
            if not os.path.lexists(os.path.join(ancestor, missing)):
                return
            if os.path.isdir(folder):
                self.add(folder)
                return

    def _is_awaited_above(self, folder: bytes) -> bool:
        return any(folder.startswith(awaited + b"/") for awaited in list(self._ancestors))

    def _nearest(self, folder: bytes) -> tuple[bytes, int | None]:
        ancestor = folder
        while ancestor not in (b"/", b""):
            ancestor = os.path.dirname(ancestor)
            try:
                return ancestor, self._instance.add(ancestor, _ANCESTOR)
            except OSError as error:
                if error.errno not in _MISSING:
                    break
        return ancestor, None

    def _bind(self, folder: bytes, number: int) -> None:
        self._said.discard(folder)
        self._unawait(folder)
        if self.numbers.get(folder) == number:
            return
        self._unbind(folder)
        self.by_number.setdefault(number, Watch()).folders.append(folder)
        self.numbers[folder] = number

    def _bind_awaited(self, folder: bytes, ancestor: bytes, number: int) -> None:
        if self._ancestors.get(folder) != number:
            self._unawait(folder)
        self.by_number.setdefault(number, Watch()).awaited[folder] = ancestor
        self._ancestors[folder] = number

    def _unbind(self, folder: bytes) -> None:
        number = self.numbers.pop(folder, None)
        if number is not None:
            self.by_number[number].folders.remove(folder)
            self._release_if_idle(number)

    def _unawait(self, folder: bytes) -> None:
        number = self._ancestors.pop(folder, None)
        if number is not None:
            del self.by_number[number].awaited[folder]
            self._release_if_idle(number)

    def _release_if_idle(self, number: int) -> None:
        watch = self.by_number[number]
        if not watch.folders:
            self._released(number)
            if not watch.awaited:
                del self.by_number[number]
                self.remove(number)
