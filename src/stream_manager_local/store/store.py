"""All streams, below one folder.

    root/.lock                                 held by the process that uses the store
    root/<readable part>-<digest>/             a stream with File persistence, see names.py
        stream.json                            its definition
        exports.json                           how far its exports are
        00000000000000000000.segment, …        its messages, named by their first sequence number
    root/.uploads.json                         the exporter's, nothing of the store's
    root/.unfinished-…                         being made or taken away; removed at the next start

Streams with Memory persistence are not here at all: when the process ends, they and their definitions
are gone.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Persistence, Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store.descriptors import Descriptors
from stream_manager_local.store.edge import Edge
from stream_manager_local.store.events import Created, Watchers
from stream_manager_local.store.folder import Broken, Folder
from stream_manager_local.store.lock import Lock, StoreUnusable
from stream_manager_local.store.names import LOCK, folder_name, is_temporary
from stream_manager_local.store.recovery import open_stream
from stream_manager_local.store.shared import Choices, Shared
from stream_manager_local.store.stream import Stream
from stream_manager_local.store.syncing import Syncer
from stream_manager_local.store.update import check_sizes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stream_manager_local.protocol.definition import StreamDefinition
    from stream_manager_local.store.events import Event

__all__ = ["MOST_STREAMS", "UPLOADS", "Store"]

MOST_STREAMS = 10_000
UPLOADS = ".uploads.json"
_LEAST_WAIT_SECONDS = 0.5
_MOST_WAIT_SECONDS = 60.0


class Store:
    """Streams by their names. Used on one thread, that of the loop."""

    def __init__(self, root: str, lock: Lock, shared: Shared) -> None:
        self._root = root
        self._lock = lock
        self._shared = shared
        self._streams: dict[str, Stream] = {}

    @classmethod
    def open(
        cls,
        root: Path | str,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        report: Callable[[str], None],
        choices: Choices | None = None,
        edge: Edge | None = None,
    ) -> Store:
        """Take the folder, which must exist, and find again what is in it; may take seconds.

        `wall` is in seconds since the epoch, `monotonic` in seconds; `report` takes one line for the log.
        A stream that cannot be opened is reported, left as it is, and keeps no other from opening.
        Raises StoreUnusable.
        """
        edge = edge or Edge()
        lock = Lock(os.fspath(root))
        shared = Shared(
            wall=wall,
            monotonic=monotonic,
            report=report,
            choices=choices or Choices(),
            edge=edge,
            descriptors=Descriptors(edge),
            syncer=Syncer(edge),
            watchers=Watchers(),
        )
        store = cls(os.fspath(root), lock, shared)
        try:
            store._recover()
        except OSError as error:
            store.close()
            raise StoreUnusable(f"the store in {store._root} cannot be opened: {error}") from error
        except BaseException:
            store.close()
            raise
        return store

    def create(self, definition: StreamDefinition) -> Stream:
        """A new, empty stream; on the disk, for certain, when this returns.

        Raises Refused: INVALID_REQUEST when there is one of that name, UNKNOWN_FAILURE when the disk refuses.
        """
        name = definition.name
        if name in self._streams:
            raise Refused(Status.INVALID_REQUEST, f"stream already exists: {name!r}")
        check_sizes(definition)
        if len(self._streams) >= MOST_STREAMS:
            raise Refused(
                Status.INVALID_REQUEST, f"there are {MOST_STREAMS} streams, and no more fit: delete some"
            )
        folder = self._new_folder(definition) if definition.persistence is Persistence.FILE else None
        stream = self._streams[name] = Stream(definition, self._shared, folder)
        self._shared.watchers.tell(Created(stream))
        return stream

    def delete(self, name: str) -> None:
        """Raises Refused: RESOURCE_NOT_FOUND, UNKNOWN_FAILURE when the disk refuses."""
        stream = self.get(name)
        stream.hide()
        del self._streams[name]
        stream.delete()

    def get(self, name: str) -> Stream:
        """Raises Refused(RESOURCE_NOT_FOUND)."""
        try:
            return self._streams[name]
        except KeyError:
            raise Refused(Status.RESOURCE_NOT_FOUND, f"stream {name!r} does not exist") from None

    def update(self, definition: StreamDefinition) -> Stream:
        """Give the stream of that name this definition, for certain when this returns.

        Raises Refused, and the stream is as before then: RESOURCE_NOT_FOUND, UPDATE_NOT_ALLOWED for
        another persistence, INVALID_REQUEST for sizes that contradict each other, UPDATE_FAILED for a
        stream that has more than the new size, or when the disk refuses.
        """
        stream = self.get(definition.name)
        stream.update(definition)
        return stream

    def names(self) -> list[str]:
        """Of all streams, in the order in which they were made or found."""
        return list(self._streams)

    def watch(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call it with each event of each stream. Returns what ends that."""
        return self._shared.watchers.watch(callback)

    def expire(self) -> float:
        """Drop what is past its time to live, save how far exports are; returns seconds until the next look."""
        wait = _MOST_WAIT_SECONDS
        for stream in list(self._streams.values()):
            stream.save()
            wait = min(wait, stream.expire())
        return max(wait, _LEAST_WAIT_SECONDS)

    def close(self) -> None:
        """Save what is not saved and let go of the folder. The store cannot be used any more; once more is no harm."""
        try:
            for stream in self._streams.values():
                stream.save()
            self._shared.syncer.close()
            self._shared.descriptors.close()
        finally:
            self._lock.release()

    def _recover(self) -> None:
        """Raises OSError when the root itself cannot be read."""
        for name in sorted(self._shared.edge.names(self._root)):
            path = os.path.join(self._root, name)
            if name == LOCK or name.startswith(UPLOADS):
                continue
            try:
                if is_temporary(name):
                    self._shared.edge.remove_tree(path)
                else:
                    stream = open_stream(self._folder(path), self._shared)
                    self._streams[stream.definition.name] = stream
            except (Broken, OSError) as error:
                self._shared.report(f"{path} is left alone, it cannot be used as a stream: {error}")

    def _folder(self, path: str) -> Folder:
        shared = self._shared
        return Folder(path, shared.edge, shared.descriptors, shared.report)

    def _new_folder(self, definition: StreamDefinition) -> Folder:
        folder = self._folder(os.path.join(self._root, folder_name(definition.name)))
        try:
            folder.create(definition)
        except FileExistsError as error:
            raise Refused(
                Status.UNKNOWN_FAILURE,
                f"stream {definition.name!r} cannot be made: {folder.path} is there, and was no stream that could "
                "be used when the server started (its log says why). Move that folder away",
            ) from error
        except OSError as error:
            raise Refused(
                Status.UNKNOWN_FAILURE,
                f"stream {definition.name!r} cannot be made: {error}. Look at the disk of the store",
            ) from error
        return folder
