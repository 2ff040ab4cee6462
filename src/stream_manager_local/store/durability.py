"""Which messages of a stream the disk has for certain, and waiting for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from stream_manager_local.store.folder import Folder
    from stream_manager_local.store.segment import Segment
    from stream_manager_local.store.syncing import Syncer

__all__ = ["PATIENCE_SECONDS", "Durability"]

# A client of AWS's SDK gives up after 60 s, and an answer that comes later kills it.
PATIENCE_SECONDS = 50.0


class _Synced(NamedTuple):
    end: int  # messages below were written when it began
    error: OSError | None


class Durability:
    """Joins all who wait into as few calls of fsync as there can be.

    Whoever comes while one runs waits for the next, which covers everything written until it begins.
    After an error nobody knows what the disk has, and asking again would be answered with a yes: the
    messages it concerned stay refused, and the stream goes on in another file (`failed_end`).
    """

    def __init__(self, syncer: Syncer, folder: Folder, end: int) -> None:
        self._syncer = syncer
        self._folder = folder
        self._dirty: dict[Segment, None] = {}
        self._is_folder_dirty = False
        self._durable_end = end
        self._failed_from = 0
        self.failed_end = 0
        self._written_end = end
        self._running: asyncio.Future[_Synced] | None = None

    def wrote(self, segment: Segment) -> None:
        """The segment has a new message at its end."""
        self._dirty[segment] = None
        self._written_end = segment.end

    def made_file(self) -> None:
        """The folder has a new file."""
        self._is_folder_dirty = True

    def removed(self, segment: Segment) -> None:
        """Nobody needs these bytes any more."""
        self._dirty.pop(segment, None)

    def forget(self) -> None:
        """The stream is deleted."""
        self._dirty.clear()
        self._is_folder_dirty = False

    async def wait(self, sequence: int, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Return once an fsync covers the message.

        Raises Refused: UNKNOWN_FAILURE when the disk failed, SERVER_TIMEOUT when it takes too long.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + patience_seconds
        sequence = min(sequence, self._written_end - 1)
        while self._durable_end <= sequence:
            if self._running is None:
                self._begin(loop)
                continue
            await asyncio.wait({self._running}, timeout=deadline - loop.time())
            if self._durable_end <= sequence and loop.time() >= deadline:
                raise Refused(
                    Status.SERVER_TIMEOUT,
                    f"message {sequence} is written, but after {patience_seconds:g} s the disk still does not "
                    "say that it is safe: look for what keeps the disk busy, or append again",
                )
        if self._failed_from <= sequence < self.failed_end:
            raise Refused(
                Status.UNKNOWN_FAILURE,
                f"message {sequence} could not be made safe on the disk: look at the disk's health and the "
                "server's log, then append again",
            )

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        end = self._written_end
        try:
            descriptors = self._descriptors()
        except OSError as error:
            self._end(_Synced(end, error))
            return
        running = loop.create_future()
        self._running = running

        def done(error: OSError | None) -> None:
            synced = _Synced(end, error)
            self._end(synced)
            running.set_result(synced)

        self._syncer.sync(descriptors, loop, done)

    def _end(self, synced: _Synced) -> None:
        self._running = None
        if synced.error is not None:
            if self.failed_end <= self._failed_from:
                self._failed_from = self._durable_end
            self.failed_end = synced.end
            self._folder.report(f"the disk did not take messages before {synced.end}: {synced.error}")
        self._durable_end = synced.end

    def _descriptors(self) -> list[int]:
        """Of all that is to be synced, for the thread to close; from here on that counts as clean."""
        descriptors: list[int] = []
        try:
            for segment in self._dirty:
                descriptor = segment.medium.duplicate()
                if descriptor is not None:
                    descriptors.append(descriptor)
            if self._is_folder_dirty:
                descriptors.append(self._folder.open())
        except OSError:
            for descriptor in descriptors:
                self._folder.close(descriptor)
            raise
        finally:
            self._dirty.clear()
            self._is_folder_dirty = False
        return descriptors
