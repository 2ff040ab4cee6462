"""One thread's scheduler: runs hundreds of coroutines on one epoll, and sleeps when none can go on.

It exists because the engine needs three things asyncio does not give together: deadlines on progress
that cost nothing per wait, hand-over between threads in batches, and a turn of a few microseconds.
It refuses to know what runs on it: no HTTP, no files, no deliveries. It never spins: without
anything ready, due or posted it is asleep in the kernel, however many coroutines wait.

Only `post` may be called from other threads.
"""

from __future__ import annotations

import heapq
import os
import select
import time
from collections import deque
from types import coroutine
from typing import TYPE_CHECKING, Any

from s3_file_uploader.turns import TURNS

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Generator

__all__ = ["READ", "WRITE", "Channel", "NoProgress", "Reactor", "Signal", "Task"]

READ = select.EPOLLIN
WRITE = select.EPOLLOUT
_BROKEN = select.EPOLLERR | select.EPOLLHUP

# Deadlines are seconds long, so looking at them this often is as good as exact, and nearly free.
SWEEP_SECONDS = 0.5


class NoProgress(Exception):
    """A wait went past its deadline."""


@coroutine
def _suspend() -> Generator[None, Any, Any]:
    """Give the thread back to the reactor; what wakes the task is sent in."""
    return (yield)


class Task:
    """A running coroutine. `wakes` counts its resumptions: a wake-up meant for an earlier wait is void."""

    __slots__ = ("channel", "coroutine", "is_done", "on_end", "wakes")

    def __init__(
        self,
        running: Coroutine[Any, Any, Any],
        on_end: Callable[[Any, BaseException | None], None],
    ) -> None:
        self.coroutine = running
        self.on_end = on_end
        self.wakes = 0
        self.channel: Channel | None = None
        self.is_done = False


class Channel:
    """One file descriptor in the epoll: who waits on it, for what, until when.

    `on_stir` is called when the descriptor becomes readable or breaks while nobody waits on it.
    """

    __slots__ = ("deadline", "fd", "interest", "on_stir", "task", "wanted")

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.interest = 0  # what the kernel has been told
        self.wanted = 0
        self.deadline = 0.0
        self.task: Task | None = None
        self.on_stir: Callable[[], None] | None = None


class Signal:
    """Something that happens once; tasks wait for it. Set it from the reactor's own thread."""

    __slots__ = ("_reactor", "_waiting", "is_set", "value")

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._waiting: list[tuple[Task, int]] = []
        self.is_set = False
        self.value: Any = None

    def set(self, value: Any = None) -> None:
        if self.is_set:
            return
        self.is_set, self.value = True, value
        for task, wakes in self._waiting:
            self._reactor.wake(task, wakes)
        self._waiting.clear()

    async def wait(self, seconds: float | None = None) -> Any:
        """The value given to `set`; NoProgress after `seconds`."""
        if not self.is_set:
            task = self._reactor.current()
            self._waiting.append((task, task.wakes))
            if seconds is not None:
                self._reactor.wake_later(task, seconds)
            await _suspend()
            if not self.is_set:
                raise NoProgress
        return self.value


class Reactor:
    """`receive` is given each posted thing; `rest` runs at the end of each turn."""

    def __init__(
        self,
        receive: Callable[[Any], None],
        rest: Callable[[], None] = lambda: None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._rest = rest
        self._monotonic = monotonic
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._bell, READ)
        self._posted: deque[Any] = deque()
        self._asleep = False
        self._ready: deque[tuple[Task, int, BaseException | None]] = deque()
        self._timers: list[tuple[float, int, Task, int]] = []
        self._timer_count = 0
        self._channels: dict[int, Channel] = {}
        self._next_sweep = 0.0
        self._running: Task | None = None
        self.tasks: set[Task] = set()
        self.now = monotonic()
        self.slept_seconds = 0.0  # in the last look at the kernel

    # -- from any thread

    def post(self, thing: Any) -> None:
        """Hand `thing` to `receive`, in the reactor's thread, in the order of posting."""
        self._posted.append(thing)
        if self._asleep:
            self._asleep = False
            os.eventfd_write(self._bell, 1)

    # -- the turn

    def run(self, is_over: Callable[[], bool]) -> None:
        """Run until `is_over()`; looked at once per turn."""
        while not is_over():
            self.turn()

    def turn(self) -> None:
        """Ask the kernel, sleeping if nothing is left to do; then what was posted, is ready and is due."""
        self._look(0.0 if self._ready else self._idle_seconds())
        posted = self._posted
        while posted:
            self._receive(posted.popleft())
        ready = self._ready
        for _ in range(len(ready)):
            task, wakes, error = ready.popleft()
            if task.wakes == wakes and not task.is_done:
                self._step(task, None, error)
                TURNS.breathe()
        if self._timers:
            self._fire_timers()
        if self._next_sweep and self.now >= self._next_sweep:
            self._sweep()
        self._rest()

    def _look(self, timeout: float | None) -> None:
        if timeout != 0:
            self._asleep = True
            if self._posted:  # posted before it could see that we sleep
                timeout = 0
        if timeout == 0:
            TURNS.breathe()
            events = self._epoll.poll(0)
            self.slept_seconds = 0.0
        else:
            TURNS.give()
            before = self._monotonic()
            events = self._epoll.poll(timeout)
            self.slept_seconds = self._monotonic() - before
            TURNS.take()
        self._asleep = False
        self.now = self._monotonic()
        channels = self._channels
        for fd, mask in events:
            channel = channels.get(fd)
            if channel is None:
                if fd == self._bell:
                    os.eventfd_read(fd)
                continue
            task = channel.task
            if task is not None and mask & (channel.wanted | _BROKEN):
                channel.task = None
                task.channel = None
                self._step(task, mask, None)
                TURNS.breathe()
            else:
                self._stir(channel, mask)

    def _idle_seconds(self) -> float | None:
        """How long to sleep: until the next timer or sweep, or for ever."""
        until = self._next_sweep
        if self._timers and (not until or self._timers[0][0] < until):
            until = self._timers[0][0]
        return max(0.0, until - self._monotonic()) if until else None

    def _step(self, task: Task, value: Any, error: BaseException | None) -> None:
        task.wakes += 1
        self._running = task
        try:
            if error is None:
                task.coroutine.send(value)
            else:
                task.coroutine.throw(error)
        except StopIteration as stop:
            self._end(task, stop.value, None)
        # Whatever a task dies of belongs to its owner; the thread must go on for all the others.
        except BaseException as failure:  # noqa: BLE001
            self._end(task, None, failure)

    def _end(self, task: Task, value: Any, error: BaseException | None) -> None:
        task.is_done = True
        self.tasks.discard(task)
        task.on_end(value, error)

    def _stir(self, channel: Channel, mask: int) -> None:
        """Nobody waits for this event: tell the owner, or stop hearing of it, so that it cannot spin."""
        if mask & (READ | _BROKEN):
            if channel.on_stir is not None:
                channel.on_stir()
            else:
                self._set_interest(channel, 0)
        else:
            self._set_interest(channel, READ)

    def _fire_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self.now:
            _, _, task, wakes = heapq.heappop(self._timers)
            if task.wakes == wakes and not task.is_done:
                self._step(task, None, None)

    def _sweep(self) -> None:
        now = self.now
        late = [
            channel
            for channel in self._channels.values()
            if channel.task is not None and channel.deadline <= now
        ]
        for channel in late:
            task = channel.task
            if task is not None:
                self._detach(task)
                self._step(task, None, NoProgress())
        waiting = any(channel.task is not None for channel in self._channels.values())
        self._next_sweep = now + SWEEP_SECONDS if waiting else 0.0

    # -- for tasks and their owners, in the reactor's thread

    def spawn(
        self,
        running: Coroutine[Any, Any, Any],
        on_end: Callable[[Any, BaseException | None], None] = lambda *_: None,
    ) -> Task:
        """Start a task in this turn or the next; `on_end` gets its value or what it died of."""
        task = Task(running, on_end)
        self.tasks.add(task)
        self._ready.append((task, 0, None))
        return task

    def cancel(self, task: Task, error: BaseException) -> None:
        """Raise `error` inside a task, where it waits."""
        if task.is_done:
            return
        self._detach(task)
        task.wakes += 1
        self._ready.append((task, task.wakes, error))

    def wake(self, task: Task, wakes: int) -> None:
        if task.wakes == wakes and not task.is_done:
            self._ready.append((task, wakes, None))

    def wake_later(self, task: Task, seconds: float) -> None:
        self._timer_count += 1
        entry = (self._monotonic() + seconds, self._timer_count, task, task.wakes)
        heapq.heappush(self._timers, entry)

    def current(self) -> Task:
        assert self._running is not None
        return self._running

    def signal(self) -> Signal:
        return Signal(self)

    async def wait(self, channel: Channel, wanted: int, seconds: float) -> int:
        """Until the descriptor is readable or writable, as `wanted`; NoProgress after about `seconds`.

        The mask that comes back may say READ when only WRITE was wanted and the descriptor broke.
        """
        task = self._running
        assert task is not None
        assert channel.task is None, "two tasks wait on one descriptor"
        if wanted & ~channel.interest:
            self._set_interest(channel, wanted | READ)
        channel.task = task
        task.channel = channel
        channel.wanted = wanted
        channel.deadline = self.now + seconds
        if not self._next_sweep:
            self._next_sweep = self.now + SWEEP_SECONDS
        mask: int = await _suspend()
        return mask

    async def sleep(self, seconds: float) -> None:
        task = self.current()
        self.wake_later(task, seconds)
        await _suspend()

    async def pause(self) -> None:
        """Let every other ready task, and the kernel, have their turn."""
        task = self.current()
        # `wakes` grows when a task is resumed, so the count that is valid now is valid then.
        self._ready.append((task, task.wakes, None))
        await _suspend()

    def open(self, fd: int) -> Channel:
        channel = Channel(fd)
        self._channels[fd] = channel
        return channel

    def release(self, channel: Channel) -> None:
        """Forget a descriptor, before it is closed."""
        self._set_interest(channel, 0)
        del self._channels[channel.fd]

    def close(self) -> None:
        self._epoll.close()
        os.close(self._bell)

    def _detach(self, task: Task) -> None:
        if task.channel is not None:
            task.channel.task = None
            task.channel = None

    def _set_interest(self, channel: Channel, interest: int) -> None:
        """Unregistered when 0: a broken descriptor is reported even to those who ask for nothing."""
        if interest == channel.interest:
            return
        if not channel.interest:
            self._epoll.register(channel.fd, interest)
        elif interest:
            self._epoll.modify(channel.fd, interest)
        else:
            self._epoll.unregister(channel.fd)
        channel.interest = interest
