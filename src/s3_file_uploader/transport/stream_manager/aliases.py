"""Safe names for files whose own names a server might read in another way.

Stream Manager is handed a file as a `file://` URL. How it reads `%41`, `#`, `?`, a space or a byte that is
not ASCII in one is nobody's promise: decoded or not, it may come to another file, send that, and report
Success. So a path with any character outside `[A-Za-z0-9._/-]` is handed over under an alias: a symbolic link
with a safe name to the file's path. Where there is nothing to decode, every reading is the right one.

An alias is named by its path alone, so that after a restart the same file has the same URL. It is on
the disk, also after a power cut, before anybody is told of it. It is removed when the delivery has
ended, and those whose file is gone are swept at start: never more than there are files.

The folder of aliases lies beside the ledger's, which only its own user may enter: the user that Stream
Manager runs as passes through (mode 0711) without being able to list it.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Aliases", "alias_folder", "is_safe"]

_SCHEME = "file://"
_FOLDER_MODE = 0o711
_NAME_CHARACTERS = 32  # hexadecimal: 128 bits of the path's hash

# Segments of safe characters with one slash before each; `.` and `..` are nobody's to resolve.
_SAFE = re.compile(rb"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._-]+)+")
_ALIAS = re.compile(r"[0-9a-f]{32}(?:\.[A-Za-z0-9]{1,16})?")
_ENDING = re.compile(rb"\.[A-Za-z0-9]{1,16}\Z")


def alias_folder(state_directory: str, name: str) -> str:
    """Where the aliases of the ledger `name` are; no ledger's name begins with a dot."""
    return os.path.join(state_directory, f".aliases-{name}")


def is_safe(path: bytes) -> bool:
    """Whether every server reads this absolute path as we do."""
    return _SAFE.fullmatch(path) is not None


class Aliases:
    """The aliases in one folder. Everything here waits for the disk: call it off the event loop."""

    def __init__(self, folder: str, *, fsync: Callable[[int], None] = os.fsync) -> None:
        """ConfigurationError where the folder's own path would need an alias."""
        if not is_safe(os.fsencode(folder)):
            raise ConfigurationError(
                f"StateDirectory is {os.path.dirname(folder)!r}: with Transport stream-manager its path can hold "
                "only letters and digits of ASCII, `.`, `_`, `-` and `/`, since files with unusual names are handed "
                "to Stream Manager under a name in there",
                advice="Set StateDirectory to such a path, like /var/lib/s3-file-uploader.",
            )
        self._folder = folder
        self._fsync = fsync

    def url_for(self, path: bytes) -> str:
        """The URL to hand over for an absolute path; an alias that it leads through is on the disk by then.

        OSError where an alias cannot be made.
        """
        if is_safe(path):
            return _SCHEME + path.decode("ascii")
        alias = self._alias(path)
        self._make(alias, path)
        return _SCHEME + alias

    def release(self, path: bytes) -> None:
        """No delivery needs the alias of this path any more; nothing happens where it has none."""
        if not is_safe(path):
            with suppress(FileNotFoundError):
                os.unlink(self._alias(path))

    def sweep(self) -> int:
        """Remove the aliases whose files are gone; returns how many. Nothing else in the folder is touched."""
        try:
            names = os.listdir(self._folder)
        except FileNotFoundError:
            return 0
        return sum(
            self._remove_dead(os.path.join(self._folder, name)) for name in names if _ALIAS.fullmatch(name)
        )

    def _alias(self, path: bytes) -> str:
        ending = _ENDING.search(path)  # for whoever tells a file's type by it
        name = hashlib.sha256(path).hexdigest()[:_NAME_CHARACTERS]
        return os.path.join(self._folder, name + (ending[0].decode("ascii") if ending else ""))

    def _make(self, alias: str, path: bytes) -> None:
        self._make_folder()
        try:
            os.symlink(path, os.fsencode(alias))
        except FileExistsError:
            if _target(alias) != path:  # a damaged disk, or somebody's hand: it must not lead elsewhere
                os.unlink(alias)
                os.symlink(path, os.fsencode(alias))
        self._sync(self._folder)

    def _make_folder(self) -> None:
        try:
            os.makedirs(self._folder)
        except FileExistsError:
            return
        os.chmod(self._folder, _FOLDER_MODE)
        self._sync(os.path.dirname(self._folder))

    def _sync(self, folder: str) -> None:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._fsync(descriptor)
        finally:
            os.close(descriptor)

    @staticmethod
    def _remove_dead(alias: str) -> bool:
        target = _target(alias)
        if target is None or os.path.lexists(target):
            return False
        with suppress(FileNotFoundError):
            os.unlink(alias)
        return True


def _target(alias: str) -> bytes | None:
    """Where an alias leads; None for what is no link."""
    try:
        return os.readlink(os.fsencode(alias))
    except OSError:
        return None
