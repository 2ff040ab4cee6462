"""The folder of one stream: its definition, how far its exports are, its segments.

The definition is replaced durably: written beside, synced, renamed, the folder synced. So is the folder
itself when it is made or taken away. How far exports are is replaced without waiting for the disk: a
killed process loses nothing of it, and after a power cut some tasks are exported again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from typing import TYPE_CHECKING

from stream_manager_local.protocol.definition import StreamDefinition
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store.medium import FileMedium
from stream_manager_local.store.names import (
    CURSORS,
    DEFINITION,
    TEMPORARY,
    folder_name,
    segment_base,
    segment_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.store.descriptors import Descriptors
    from stream_manager_local.store.edge import Edge

__all__ = ["Broken", "Folder"]

_FORMAT = 1
_MOST_SMALL_BYTES = 16 << 20
_number = itertools.count()


class Broken(Exception):
    """A folder that is none of a stream, or not one that this version can read."""


class Folder:
    """Paths and files; what they mean is for others to say. All methods raise OSError."""

    def __init__(
        self, path: str, edge: Edge, descriptors: Descriptors, report: Callable[[str], None]
    ) -> None:
        self.path = path
        self.edge = edge
        self.descriptors = descriptors
        self._report = report
        self._name = os.path.basename(path)

    def create(self, definition: StreamDefinition) -> None:
        """With its definition and an empty segment; there all at once, or not at all.

        Raises FileExistsError when there is something of that name.
        """
        self.name_as(definition.name)
        root, name = os.path.split(self.path)
        if self.edge.exists(self.path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path)
        temporary = Folder(_temporary(root, name), self.edge, self.descriptors, self._report)
        self.edge.make_folder(temporary.path)
        try:
            self.edge.close(self.edge.create_file(temporary._path(segment_name(0))))
            temporary.write_definition(definition)
            self.edge.rename(temporary.path, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                self.edge.remove_tree(temporary.path)
            raise
        self._sync(root)

    def name_as(self, stream: str) -> None:
        """How the stream is called in reports."""
        self._name = stream

    def report(self, what: str) -> None:
        self._report(f"stream {self._name!r}: {what}")

    def hide(self) -> None:
        """Take the stream off the disk in one step; its files can be read until `remove`."""
        root = os.path.dirname(self.path)
        temporary = _temporary(root, os.path.basename(self.path))
        self.edge.rename(self.path, temporary)
        self.descriptors.drop_folder(self.path)
        self.path = temporary
        self._sync(root)

    def remove(self) -> None:
        """Remove all files."""
        self.descriptors.drop_folder(self.path)
        self.edge.remove_tree(self.path)

    def open(self) -> int:
        return self.edge.open_folder(self.path)

    def close(self, descriptor: int) -> None:
        self.edge.close(descriptor)

    def medium(self, base: int) -> FileMedium:
        return FileMedium(self, segment_name(base))

    def segment_bases(self) -> list[int]:
        """The first sequence numbers of all segments, in order."""
        bases = (segment_base(name) for name in self.edge.names(self.path))
        return sorted(base for base in bases if base is not None)

    def write_definition(self, definition: StreamDefinition) -> None:
        data = json.dumps({"format": _FORMAT, "definition": definition.to_wire()}, indent=1).encode()
        self._replace(DEFINITION, data, is_durable=True)
        self._sync(self.path)

    def read_definition(self) -> StreamDefinition:
        """Raises Broken when it is not there, damaged, or written by a newer version."""
        try:
            found = json.loads(self._read(DEFINITION))
            if found["format"] != _FORMAT:
                raise Broken(f"{DEFINITION} has the format {found['format']!r}: a newer version wrote it")
            definition = StreamDefinition.from_wire(found["definition"])
        except FileNotFoundError:
            raise Broken(f"it has no {DEFINITION}") from None
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, Refused) as error:
            raise Broken(f"{DEFINITION} cannot be understood: {error}") from error
        if folder_name(definition.name) != os.path.basename(self.path):
            raise Broken(f"{DEFINITION} is that of {definition.name!r}, whose folder has another name")
        self.name_as(definition.name)
        return definition

    def write_cursors(self, data: bytes) -> None:
        self._replace(CURSORS, data, is_durable=False)

    def read_cursors(self) -> bytes | None:
        try:
            return self._read(CURSORS)
        except FileNotFoundError:
            return None

    def _read(self, name: str) -> bytes:
        descriptor = self.edge.open_file(self._path(name))
        try:
            return self.edge.read(descriptor, _MOST_SMALL_BYTES, 0)
        finally:
            self.edge.close(descriptor)

    def _replace(self, name: str, data: bytes, *, is_durable: bool) -> None:
        temporary = self._path(TEMPORARY + name)
        descriptor = self.edge.create_file(temporary)
        try:
            written = 0
            while written < len(data):
                written += self.edge.write(descriptor, data[written:], written)
            if is_durable:
                self.edge.fsync(descriptor)
        finally:
            self.edge.close(descriptor)
        self.edge.rename(temporary, self._path(name))

    def _sync(self, path: str) -> None:
        descriptor = self.edge.open_folder(path)
        try:
            self.edge.fsync(descriptor)
        finally:
            self.edge.close(descriptor)

    def _path(self, name: str) -> str:
        return os.path.join(self.path, name)


def _temporary(root: str, name: str) -> str:
    return os.path.join(root, f"{TEMPORARY}{next(_number)}-{name}")
