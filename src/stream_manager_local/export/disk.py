"""Looking at files in threads of its own, so that a disk that hangs holds up its own task and no other.

Never the event loop's default executor, which is joined at exit: these threads are daemonic.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    T = TypeVar("T")

__all__ = ["Disk"]


class Disk:
    """At most `most_threads`; each starts when all others are busy and there is more to do."""

    def __init__(self, most_threads: int) -> None:
        self._most = most_threads
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0  # jobs that were handed over and have not come back; the loop's thread counts

    async def call(self, job: Callable[..., T], *arguments: Any) -> T:
        """What `job(*arguments)` returns or raises, from a thread."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            result, failure = None, None
            # Whatever it raises belongs to the one who asked.
            try:
                result = job(*arguments)
            except BaseException as error:  # noqa: BLE001
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                loop.call_soon_threadsafe(self._conclude, outcome, result, failure)

        self._busy += 1
        if self._busy > self._threads and self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._work, name="export-disk", daemon=True).start()
        self._jobs.put(run)
        return await outcome

    def close(self) -> None:
        """Let idle threads end."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _conclude(self, outcome: asyncio.Future[Any], result: Any, failure: BaseException | None) -> None:
        self._busy -= 1
        if outcome.done():
            return
        if failure is None:
            outcome.set_result(result)
        else:
            outcome.set_exception(failure)
