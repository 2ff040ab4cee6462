"""Waiting for the disk: fsync in threads, and one fsync for all who wait."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence

    from stream_manager_local.store.edge import Edge

__all__ = ["Syncer"]

_THREADS = 4  # streams that wait for the disk at once; a file system joins what they ask for
_LEAVE_SECONDS = 5.0


class Syncer:
    """Calls fsync in a few threads of its own, daemons that are started when first needed."""

    def __init__(self, edge: Edge, threads: int = _THREADS) -> None:
        self._edge = edge
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._most = threads
        self._threads: list[threading.Thread] = []

    def sync(
        self,
        descriptors: Sequence[int],
        loop: asyncio.AbstractEventLoop,
        done: Callable[[OSError | None], None],
    ) -> None:
        """Sync all of them, close them, then call `done` on the loop with the first error or None."""
        if len(self._threads) < self._most:
            thread = threading.Thread(target=self._work, name=f"sync-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put(_Job(descriptors, loop, done))

    def close(self) -> None:
        """End the threads once they have done what was asked for; a disk that hangs is left behind."""
        for _ in self._threads:
            self._jobs.put(None)
        until = time.monotonic() + _LEAVE_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            error = self._sync(job.descriptors)
            # The loop may have ended meanwhile; then nobody waits any more.
            with contextlib.suppress(RuntimeError):
                job.loop.call_soon_threadsafe(job.done, error)

    def _sync(self, descriptors: Sequence[int]) -> OSError | None:
        first: OSError | None = None
        for descriptor in descriptors:
            try:
                self._edge.fsync(descriptor)
            except OSError as error:
                first = first or error
            finally:
                self._edge.close(descriptor)
        return first


class _Job:
    def __init__(
        self,
        descriptors: Sequence[int],
        loop: asyncio.AbstractEventLoop,
        done: Callable[[OSError | None], None],
    ) -> None:
        self.descriptors = descriptors
        self.loop = loop
        self.done = done
