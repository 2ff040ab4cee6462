"""A few threads that do what takes long with bytes: read, checksum, encrypt, send.

The interpreter is let go for nearly all of that, so on a machine of several cores they work at the
same time, and the engine's thread is free for everything else. It decides, they carry: a piece of work
is about a MiB, ends without waiting for the far side, and touches only what was given to it. They take
no turns, as they hardly compute.
"""

from __future__ import annotations

import mmap
import os
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.transport.s3.reactor import Reactor

__all__ = ["BUFFER_BYTES", "MEMBERS", "WORK_BYTES", "Crew", "new_buffer"]

BUFFER_BYTES = 256 * 1024
WORK_BYTES = 1024 * 1024  # of one piece of work
_MOST_MEMBERS = 2

_Result = TypeVar("_Result")


def _members() -> int:
    """On a single core there is nothing to be had from more threads."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_MEMBERS, cores) if cores > 1 else 0


MEMBERS = _members()


def new_buffer() -> memoryview:
    """BUFFER_BYTES for what is read.

    They begin with a page, since the kernel copies a file to an address that is no multiple of 32 at a
    quarter of its speed (measured on an AMD EPYC); a bytearray begins anywhere.
    """
    return memoryview(mmap.mmap(-1, BUFFER_BYTES, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class _Job:
    __slots__ = ("error", "is_void", "result", "work")

    def __init__(self, work: Callable[[memoryview], Any]) -> None:
        self.work = work
        self.is_void = False  # nobody wants it any more
        self.result: Any = None
        self.error: BaseException | None = None

    def run(self, buffer: memoryview) -> None:
        if self.is_void:
            return
        try:
            self.result = self.work(buffer)
        except BaseException as error:  # noqa: BLE001  # its giver's to hear of; the thread goes on for the others
            self.error = error


class Crew:
    """The threads of one engine, started when they are needed. With no members the engine does it all itself."""

    def __init__(self, reactor: Reactor, name: str = "s3-crew", members: int = MEMBERS) -> None:
        self._reactor = reactor
        self._name = name
        self._members = members
        self._started = 0
        self._busy = 0
        self._jobs: SimpleQueue[tuple[_Job, Callable[[], None]] | None] = SimpleQueue()
        self._buffer = new_buffer()

    @property
    def is_busy(self) -> bool:
        return self._busy > 0

    async def do(self, work: Callable[[memoryview], _Result]) -> _Result:
        """What `work` returns or raises; it gets a buffer, which is its own until it ends.

        Whoever is cancelled meanwhile goes on only once `work` has let go of what it was given.
        """
        if not self._members:
            result = work(self._buffer)
            await self._reactor.pause()
            return result
        job = _Job(work)
        done = self._reactor.signal()
        self._busy += 1
        if self._busy > self._started < self._members:
            self._started += 1
            threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True).start()
        self._jobs.put((job, done.set))
        stopped: BaseException | None = None
        while not done.is_set:
            try:
                await done.wait()
            except BaseException as error:  # noqa: BLE001  # raised again below
                job.is_void = True
                stopped = error
        self._busy -= 1
        if stopped is not None:
            raise stopped
        if job.error is not None:
            raise job.error
        return job.result  # type: ignore[no-any-return]  # what `work` returned

    def close(self) -> None:
        """Let the threads end; one that hangs in the disk is left behind."""
        for _ in range(self._started):
            self._jobs.put(None)

    def _work(self) -> None:
        buffer = new_buffer()
        while (given := self._jobs.get()) is not None:
            job, tell = given
            job.run(buffer)
            self._reactor.post(tell)
