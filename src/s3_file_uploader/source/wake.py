"""Waking up when something happens in a watched folder: a hint, read in bulk.

Scanning is the truth. This only says where to look sooner, and what it saw of writers (`Evidence`):
a wrong silence costs time until the next scan, and a doubt is answered with `Evidence.NONE`. The
caller lags some milliseconds after the descriptor becomes readable and then takes everything at
once; many events on one file become one.

One thing it cannot tell: an empty file that was linked into place, rather than opened here, looks as
if its producer had not written to it yet. Files linked with content are told apart by their size.
"""

from __future__ import annotations

import os
import stat
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.model import Evidence
from s3_file_uploader.source import inotify
from s3_file_uploader.source.hidden import PREFIX, is_hidden
from s3_file_uploader.source.history import FileKey, Histories, History
from s3_file_uploader.source.inotify import Inotify
from s3_file_uploader.source.watches import MOST_FOLDERS, Unwatched, Watch, Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["MOST_FILES", "Unwatched", "Wake", "Watcher"]

MOST_FILES = 32_768  # whose history is kept: about 6 MB
_MOST_READS = 16  # in one go: the kernel's own queue holds fewer

_ENDS = inotify.IGNORED | inotify.UNMOUNT | inotify.DELETE_SELF | inotify.MOVE_SELF
_ABOUT_FOLDERS = _ENDS | inotify.ISDIR
_APPEARS = inotify.CREATE | inotify.MOVED_TO


@dataclass(slots=True)
class Wake:
    """What happened since the last reading, `at` that time of the caller's clock.

    `touched`: files by folder, to be looked at. `folders_changed`: folders that came, went, moved or
    can be read again, to be scanned and watched. `overflowed`: events were lost, scan everything and
    believe no evidence given before.
    """

    at: float
    touched: dict[bytes, dict[bytes, Evidence]] = field(default_factory=dict)
    folders_changed: set[bytes] = field(default_factory=set)
    overflowed: bool = False

    def __bool__(self) -> bool:
        return bool(self.touched or self.folders_changed or self.overflowed)


@dataclass(slots=True)
class _Gathered:
    """The events of one reading, on their way to a Wake."""

    touched: dict[int, dict[bytes, None]] = field(default_factory=dict)
    moves: dict[int, tuple[FileKey, History | None]] = field(default_factory=dict)  # by cookie
    changed: set[bytes] = field(default_factory=set)
    to_watch: set[bytes] = field(default_factory=set)
    overflowed: bool = False

    def touch(self, file: FileKey) -> None:
        number, name = file
        if name.startswith(PREFIX) and is_hidden(name):
            return  # our own doing
        self.touched.setdefault(number, {})[name] = None


class Watcher:
    """One inotify instance for all rules. `add` may be called from any thread, `read` from one."""

    def __init__(
        self,
        instance: Inotify,
        say: Callable[[Unwatched], None],
        *,
        most_folders: int = MOST_FOLDERS,
        most_files: int = MOST_FILES,
    ) -> None:
        self._instance = instance
        self._lock = threading.RLock()
        self._histories = Histories(most_files)
        self._watches = Watches(
            instance,
            self._lock,
            say=say,
            released=self._histories.forget_watch,
            most_folders=most_folders,
        )
        self._has_lost_events = False

    @classmethod
    def open(cls, say: Callable[[Unwatched], None]) -> Watcher | None:
        """None, after saying why, where the system has no inotify (left).

        `say` is called once for each reason why something is found by scanning only.
        """
        try:
            return cls(Inotify(), say)
        except OSError as error:
            say(Unwatched.because(b"", error))
            return None

    def fileno(self) -> int:
        return self._instance.fileno()

    def close(self) -> None:
        self._instance.close()

    def add(self, folders: Iterable[bytes]) -> None:
        """Watch these folders, without those below them. Adding one again looks its path up anew."""
        for folder in folders:
            self._watches.add(folder)

    def stop(self, folders: Iterable[bytes]) -> None:
        self._watches.stop(folders)

    def is_watched(self, folder: bytes) -> bool:
        return folder in self._watches.numbers

    def evidence(self, folder: bytes, name: bytes) -> Evidence:
        """What is known of a file's writers by what was read so far."""
        with self._lock:
            number = self._watches.numbers.get(folder)
            return Evidence.NONE if number is None else self._histories.evidence((number, name))

    def forget(self, folder: bytes, name: bytes) -> None:
        """What stands under this name from now on is another file."""
        with self._lock:
            number = self._watches.numbers.get(folder)
            if number is not None:
                self._histories.forget((number, name))

    def read(self, now: float) -> Wake:
        """Take everything that the kernel has; never waits."""
        gathered = _Gathered()
        with self._lock:
            self._drain(gathered)
            self._doubt_the_only_created(gathered)
        for folder in sorted(gathered.to_watch):
            self._watches.add(folder)
        for number in list(gathered.touched):
            self._check_path(number, gathered)
        with self._lock:
            return self._wake(gathered, now)

    def _wake(self, gathered: _Gathered, now: float) -> Wake:
        wake = Wake(now, folders_changed=gathered.changed, overflowed=gathered.overflowed)
        for number, names in gathered.touched.items():
            watch = self._watches.by_number.get(number)
            for folder in watch.folders if watch else ():
                wake.touched[folder] = {name: self._histories.evidence((number, name)) for name in names}
        return wake

    def _drain(self, gathered: _Gathered) -> None:
        is_empty = False
        for _ in range(_MOST_READS):
            buffer = self._instance.read()
            is_empty = not buffer
            if is_empty:
                break
            self._take(buffer, gathered)
        for origin, _history in gathered.moves.values():
            gathered.touch(origin)
        gathered.moves.clear()
        if self._has_lost_events:
            # While the note of a loss stood in the queue a second one left no note of its own.
            self._histories.clear()
            self._has_lost_events = not is_empty

    def _take(self, buffer: bytes, gathered: _Gathered) -> None:
        watches = self._watches.by_number
        for number, mask, cookie, name in inotify.events(buffer):
            watch = watches.get(number)
            if watch is None:
                if mask & inotify.OVERFLOW:
                    gathered.overflowed = self._has_lost_events = True
                continue
            if mask & _APPEARS and watch.awaited:
                _note_appearance(watch, name, gathered)
            if mask & _ABOUT_FOLDERS:
                self._take_folder_event(number, watch, mask, name, gathered)
            elif watch.folders:
                self._take_file_event((number, name), mask, cookie, gathered)

    def _take_file_event(self, file: FileKey, mask: int, cookie: int, gathered: _Gathered) -> None:
        histories = self._histories
        if mask & inotify.MODIFY:
            histories.modified(file)
        elif mask & inotify.CLOSE_WRITE:
            histories.closed(file)
        elif mask & inotify.CREATE:
            histories.created(file)
        elif mask & inotify.DELETE:
            histories.forget(file)
        elif mask & inotify.MOVED_FROM:
            gathered.moves[cookie] = file, histories.take(file)
            return  # said at the end, or with where it went
        elif mask & inotify.MOVED_TO:
            self._take_arrival(file, cookie, gathered)
        gathered.touch(file)

    def _take_arrival(self, file: FileKey, cookie: int, gathered: _Gathered) -> None:
        if cookie not in gathered.moves:
            self._histories.forget(file)
            return
        origin, history = gathered.moves.pop(cookie)
        self._histories.arrived(file, history, origin, may_return=is_hidden(origin[1]))
        if not is_hidden(file[1]):
            gathered.touch(origin)

    def _take_folder_event(
        self, number: int, watch: Watch, mask: int, name: bytes, gathered: _Gathered
    ) -> None:
        if mask & _ENDS:
            self._lose(number, gathered)
            gathered.changed.update(watch.folders)
            gathered.to_watch.update(watch.folders, watch.awaited)
            return
        for folder in watch.folders:
            path = os.path.join(folder, name) if name else folder
            gathered.changed.add(path)
            if mask & inotify.MOVED_FROM:
                self._lose_below(path)

    def _lose(self, number: int, gathered: _Gathered) -> None:
        """A folder ended or moved away, and with it the paths of those below."""
        watch = self._watches.ended(number)
        self._watches.remove(number)
        for folder in watch.folders if watch else ():
            self._lose_below(folder)
        gathered.touched.pop(number, None)

    def _lose_below(self, folder: bytes) -> None:
        for number in self._watches.below(folder):
            self._watches.ended(number)
            self._watches.remove(number)

    def _doubt_the_only_created(self, gathered: _Gathered) -> None:
        """Content without a write to be seen: the file was linked here, and who writes it is unknown."""
        created = {file for file in _files(gathered) if self._histories.is_only_created(file)}
        doubtful = {file for file in created if not self._looks_new(file)}
        if not doubtful:
            return
        self._drain(gathered)  # a write between the reading and the look is seen now
        for file in _files(gathered):
            if self._histories.is_only_created(file) and (file in doubtful or file not in created):
                self._histories.forget(file)

    def _looks_new(self, file: FileKey) -> bool:
        number, name = file
        try:
            status = os.lstat(os.path.join(self._watches.by_number[number].folders[0], name))
        except OSError:
            return True  # gone or going: there is nothing to be wrong about
        return stat.S_ISREG(status.st_mode) and status.st_size == 0 and status.st_nlink == 1

    def _check_path(self, number: int, gathered: _Gathered) -> None:
        """A folder above may have been renamed, which tells the watch below nothing."""
        watch = self._watches.by_number.get(number)
        for folder in list(watch.folders) if watch else ():
            if not self._watches.still_stands(folder, number):
                gathered.changed.add(folder)


def _files(gathered: _Gathered) -> list[FileKey]:
    return [(number, name) for number, names in gathered.touched.items() for name in names]


def _note_appearance(watch: Watch, name: bytes, gathered: _Gathered) -> None:
    for folder, ancestor in watch.awaited.items():
        appeared = os.path.join(ancestor, name)
        if folder == appeared or folder.startswith(appeared + b"/"):
            gathered.changed.add(folder)
            gathered.to_watch.add(folder)
