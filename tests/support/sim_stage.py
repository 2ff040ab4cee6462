"""A stage on which the real pipeline plays with nobody else's help: no clock, no threads, no waiting.

The event loop and the threads are taken over: whoever has something to do is an actor, and each
actor takes its next step only when the test says so, in the order that the test chooses. Time
stands still until the test moves it. What runs in between is the pipeline itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
import select
from collections import deque
from typing import TYPE_CHECKING, Any

from s3_file_uploader.pipeline.threads import LedgerThread, Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

__all__ = ["Stage", "StepLoop", "stage_threads"]


class StepLoop(asyncio.AbstractEventLoop):
    """An event loop that runs one callback at a time, when told to. `time` is the test's clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count()
        self._readers: dict[int, tuple[Callable[..., object], tuple[Any, ...]]] = {}
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_dead = False
        self.errors: list[str] = []

    # What the pipeline asks of a loop.

    def time(self) -> float:
        return self._clock()

    def get_debug(self) -> bool:
        return False

    def is_closed(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon(  # type: ignore[override]  # the typeshed knows a TypeVarTuple here
        self, callback: Callable[..., object], *arguments: Any, context: Any = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, arguments, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon  # type: ignore[assignment]  # as above

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Callable[..., object], *arguments: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self.time() + delay, callback, *arguments, context=context)

    def call_at(  # type: ignore[override]  # as above
        self, when: float, callback: Callable[..., object], *arguments: Any, context: Any = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, arguments, self, context)
        heapq.heappush(self._timers, (when, next(self._numbers), handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None: ...

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **named: Any) -> Any:
        if self._is_dead:
            coro.close()
            future = self.create_future()
            future.cancel()
            return future
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=named.get("name"))
        self._tasks = [one for one in self._tasks if not one.done()]
        self._tasks.append(task)
        return task

    def add_reader(  # type: ignore[override]  # as above
        self, fd: Any, callback: Callable[..., object], *arguments: Any
    ) -> None:
        self._readers[fd] = callback, arguments

    def remove_reader(self, fd: Any) -> bool:
        return self._readers.pop(fd, None) is not None

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    # What the stage does with it.

    def has_work(self) -> bool:
        self._gather()
        return bool(self._ready)

    def next_timer(self) -> float | None:
        while self._timers and self._timers[0][2].cancelled():
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _gather(self) -> None:
        now = self._clock()
        while (due := self.next_timer()) is not None and due <= now:
            self._ready.append(heapq.heappop(self._timers)[2])
        if self._ready or not self._readers:
            return
        poll = select.poll()
        for descriptor in self._readers:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _event in poll.poll(0):
            callback, arguments = self._readers[descriptor]
            self.call_soon(callback, *arguments)

    def step(self) -> None:
        self._gather()
        if not self._ready:
            return
        handle = self._ready.popleft()
        if not handle.cancelled():
            with self.running():
                handle._run()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        asyncio._set_running_loop(self)
        try:
            yield
        finally:
            asyncio._set_running_loop(None)

    def kill(self) -> None:
        """The process is dead: nothing of it may run again, and nothing of it may be waited for."""
        self._is_dead = True
        with self.running():
            for task in self._tasks:
                _close(task)
        self._tasks.clear()
        self._ready.clear()
        self._timers.clear()
        self._readers.clear()


def _close(task: asyncio.Task[Any]) -> None:
    # Where a `finally` waits for something, closing has to be repeated; what it raises dies with it.
    task._log_destroy_pending = False  # type: ignore[attr-defined]  # asyncio's own, for tasks left on purpose
    coroutine: Any = task.get_coro()
    for _ in range(20):
        try:
            coroutine.close()
        except RuntimeError:
            continue
        except BaseException:
            return
        return


class Stage:
    """The loop, the threads that have jobs, and what else takes part: `others` are (can it?, one step)."""

    def __init__(self, loop: StepLoop) -> None:
        self.loop = loop
        self.others: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        self._workers: dict[Worker, None] = {}
        self._depth = 0

    def take(self, worker: Worker) -> None:
        """A job was given to a thread; one that the caller waits for right here is done right here."""
        self._workers[worker] = None
        if self._depth and isinstance(worker, LedgerThread):
            while worker._jobs:
                worker._serve(worker._take())

    def actors(self) -> list[Callable[[], None]]:
        """One step each for whoever can take one now."""
        found: list[Callable[[], None]] = [self.loop.step] if self.loop.has_work() else []
        found += [_step_of(self, worker) for worker in self._workers if worker._jobs]
        found += [step for can, step in self.others if can()]
        return found

    def serve(self, worker: Worker) -> None:
        self._depth += 1
        try:
            worker._serve(worker._take())
        finally:
            self._depth -= 1


def _step_of(stage: Stage, worker: Worker) -> Callable[[], None]:
    return lambda: stage.serve(worker)


_stages: list[Stage] = []  # the one that threads are taken over by


@contextlib.contextmanager
def stage_threads() -> Iterator[Callable[[Stage | None], None]]:
    """While this lasts no thread of the pipeline starts: its jobs go to the stage that was named last."""
    original = Worker._put

    def name(stage: Stage | None) -> None:
        _stages[:] = [stage] if stage else []

    def put(self: Worker, future: Future[Any], job: Callable[[], Any]) -> None:
        if self._stopping:
            raise RuntimeError(f"thread {self.name} has stopped")
        self._jobs.append((future, job))
        for stage in _stages:
            stage.take(self)

    Worker._put = put  # type: ignore[method-assign]  # there is no other way to have no threads
    try:
        yield name
    finally:
        Worker._put = original  # type: ignore[method-assign]  # as above
        _stages.clear()
