"""Whether another user may read files here: the one that Stream Manager runs as.

Told by owners and permissions alone. Access lists, security modules and mounts of other containers are
not looked at, so the answer is "may", not "will".
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["OtherUser", "listener_of"]

_TABLES = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING = "0A"
_LOCAL, _STATE, _UID = 1, 3, 7  # columns of those tables


@dataclass(frozen=True, slots=True)
class OtherUser:
    """A user of this machine. `groups` are all that it is in."""

    uid: int
    name: str
    groups: frozenset[int]

    @classmethod
    def of(cls, uid: int) -> OtherUser:
        try:
            entry = pwd.getpwuid(uid)
        except KeyError:
            return cls(uid, f"user {uid}", frozenset())
        return cls(uid, entry.pw_name, frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid)))

    def obstacle(self, path: bytes, *, is_folder: bool = False) -> bytes | None:
        """What on the way to a file it may not enter or read; of a folder, enter. None: nothing."""
        if self.uid == 0:
            return None
        parent = path if is_folder else os.path.dirname(path)
        for folder in reversed([*_upwards(parent)]):
            if not self._may(folder, stat.S_IXUSR):
                return folder
        return None if is_folder or self._may(path, stat.S_IRUSR) else path

    def _may(self, path: bytes, owners_bit: int) -> bool:
        """What cannot be looked at, or is not there, is no obstacle that we know of."""
        try:
            found = os.stat(path)
        except OSError:
            return True
        if found.st_uid == self.uid:
            return bool(found.st_mode & owners_bit)
        if found.st_gid in self.groups:
            return bool(found.st_mode & owners_bit >> 3)
        return bool(found.st_mode & owners_bit >> 6)


def _upwards(folder: bytes) -> Iterable[bytes]:
    while True:
        yield folder
        if folder == os.path.dirname(folder):
            return
        folder = os.path.dirname(folder)


def listener_of(port: int, tables: Iterable[str] = _TABLES) -> int | None:
    """The user id of the process that listens on a TCP port of this machine; None where that is not told."""
    for table in tables:
        try:
            with open(table, encoding="ascii") as file:
                rows = [line.split() for line in file][1:]
        except OSError:
            continue
        for row in rows:
            if row[_STATE] == _LISTENING and int(row[_LOCAL].rpartition(":")[2], 16) == port:
                return int(row[_UID])
    return None
