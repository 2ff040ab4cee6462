"""The few files that are open at once, however many streams there are."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_manager_local.store.edge import Edge

__all__ = ["MOST_OPEN", "Descriptors"]

MOST_OPEN = 128


class Descriptors:
    """Opens files when they are asked for, and closes those asked for longest ago.

    Used on one thread. A descriptor is good until the next call; who needs it longer duplicates it.
    """

    def __init__(self, edge: Edge, most: int = MOST_OPEN) -> None:
        self._edge = edge
        self._most = most
        self._open: OrderedDict[str, int] = OrderedDict()

    def get(self, path: str) -> int:
        """A descriptor of the file, for reading and writing. Raises OSError."""
        descriptor = self._open.get(path)
        if descriptor is None:
            return self._keep(path, self._edge.open_file(path))
        self._open.move_to_end(path)
        return descriptor

    def create(self, path: str) -> int:
        """A descriptor of a new, empty file. Raises OSError."""
        self.drop(path)
        return self._keep(path, self._edge.create_file(path))

    def drop(self, path: str) -> None:
        """Close the file if it is open."""
        descriptor = self._open.pop(path, None)
        if descriptor is not None:
            self._close(descriptor)

    def drop_folder(self, path: str) -> None:
        """Close what is open of the files in this folder."""
        for each in [each for each in self._open if each.startswith(f"{path}/")]:
            self.drop(each)

    def close(self) -> None:
        while self._open:
            self._close(self._open.popitem()[1])

    def _keep(self, path: str, descriptor: int) -> int:
        self._open[path] = descriptor
        if len(self._open) > self._most:
            self._close(self._open.popitem(last=False)[1])
        return descriptor

    def _close(self, descriptor: int) -> None:
        # Linux has closed it even where it reports an error; what an fsync would say, fsync says.
        with contextlib.suppress(OSError):
            self._edge.close(descriptor)
