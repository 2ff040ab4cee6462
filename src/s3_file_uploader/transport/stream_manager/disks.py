"""Threads that look at files: one for each file system, so that a disk that hangs holds up its own only."""

from __future__ import annotations

import asyncio
import queue
import threading
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from s3_file_uploader.turns import TURNS

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Disks"]

T = TypeVar("T")
_MOST_THREADS = 8  # file systems beyond that share
_MOST_AT_ONCE = 64


class _Job(NamedTuple):
    work: Callable[[], Any]
    outcome: asyncio.Future[Any]


class Disks:
    """Threads start with their first job. Used from one event loop."""

    def __init__(self) -> None:
        self._queues: dict[int, queue.SimpleQueue[_Job | None]] = {}

    def do(self, device: int, work: Callable[[], T]) -> asyncio.Future[T]:
        """Do it in the device's thread; jobs of a device are done in order."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()
        self._queue(device, loop).put(_Job(work, outcome))
        return outcome

    def _queue(self, device: int, loop: asyncio.AbstractEventLoop) -> queue.SimpleQueue[_Job | None]:
        jobs = self._queues.get(device)
        if jobs is None and len(self._queues) >= _MOST_THREADS:
            return self._queues[sorted(self._queues)[device % len(self._queues)]]
        if jobs is None:
            jobs = self._queues[device] = queue.SimpleQueue()
            threading.Thread(
                target=_serve, args=(jobs, loop), name=f"stream-manager-disk-{len(self._queues)}", daemon=True
            ).start()
        return jobs

    def close(self) -> None:
        """The threads end once they have done what they were given; nobody waits for a disk that hangs."""
        for jobs in self._queues.values():
            jobs.put(None)
        self._queues.clear()


def _serve(jobs: queue.SimpleQueue[_Job | None], loop: asyncio.AbstractEventLoop) -> None:
    while True:
        batch = [jobs.get()]
        while batch[-1] is not None and len(batch) < _MOST_AT_ONCE and not jobs.empty():
            batch.append(jobs.get())
        # Their work is a dozen system calls each: in turns with the other threads that have many.
        given = [job for job in batch if job is not None]
        done = [(job.outcome, *_result(job.work)) for job in TURNS.over(given)]
        if loop.is_closed():
            return
        try:
            loop.call_soon_threadsafe(_tell, done)
        except RuntimeError:  # closed in this moment
            return
        if batch[-1] is None:
            return


def _result(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except BaseException as error:  # noqa: BLE001  # whoever waits for it gets its error
        return None, error


def _tell(done: list[tuple[asyncio.Future[Any], Any, BaseException | None]]) -> None:
    for outcome, result, error in done:
        if outcome.done():
            continue
        if error is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(error)
