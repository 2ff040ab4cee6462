"""The reactor: waits end when they should, nothing spins, and one task's death is its own."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.transport.s3.reactor import READ, WRITE, NoProgress, Reactor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator


@contextmanager
def reactor_of(receive: Callable[[Any], None] = lambda thing: thing()) -> Iterator[Reactor]:
    reactor = Reactor(receive)
    try:
        yield reactor
    finally:
        reactor.close()


def run(reactor: Reactor, *running: Coroutine[Any, Any, Any]) -> list[Any]:
    """Their values, or what they died of."""
    ends: dict[int, Any] = {}
    for number, one in enumerate(running):
        reactor.spawn(one, lambda value, error, number=number: ends.update({number: error or value}))  # type: ignore[misc]  # mypy cannot see through the default
    reactor.run(lambda: len(ends) == len(running))
    return [ends[number] for number in range(len(running))]


def test_a_task_waits_until_its_descriptor_is_readable() -> None:
    here, there = socket.socketpair()
    with reactor_of() as reactor, here, there:

        async def read() -> bytes:
            channel = reactor.open(here.fileno())
            await reactor.wait(channel, READ, 10)
            reactor.release(channel)
            return here.recv(10)

        async def write() -> None:
            await reactor.pause()
            there.send(b"hello")

        assert run(reactor, read(), write()) == [b"hello", None]


def test_a_wait_without_progress_ends() -> None:
    here, there = socket.socketpair()
    with reactor_of() as reactor, here, there:

        async def read() -> None:
            await reactor.wait(reactor.open(here.fileno()), READ, 0.01)

        assert isinstance(run(reactor, read())[0], NoProgress)


def test_a_far_side_that_hangs_up_wakes_whoever_waits_to_write() -> None:
    here, there = socket.socketpair()
    here.setblocking(False)
    with reactor_of() as reactor, here:

        async def write() -> int:
            channel = reactor.open(here.fileno())
            while True:
                try:
                    here.send(b"x" * 65536)
                except BlockingIOError:
                    break
            there.close()
            mask = await reactor.wait(channel, WRITE, 10)
            reactor.release(channel)
            return mask

        assert run(reactor, write())[0]


def test_an_event_that_nobody_waits_for_does_not_spin() -> None:
    here, there = socket.socketpair()
    with reactor_of() as reactor, here, there:
        turns = 0

        async def idle() -> None:
            nonlocal turns
            channel = reactor.open(here.fileno())
            there.send(b"first")
            await reactor.wait(channel, READ, 10)  # and it is not read
            here.setblocking(False)
            there.close()
            before = count[0]
            await reactor.sleep(0.1)
            turns = count[0] - before
            await reactor.wait(channel, READ, 10)  # still there to be waited for
            reactor.release(channel)

        count = [0]
        done: list[int] = []
        reactor.spawn(idle(), lambda value, error: done.append(1))
        while not done:
            count[0] += 1
            reactor.turn()
        assert turns < 10


def test_a_stirring_idle_descriptor_is_told_to_its_owner() -> None:
    here, there = socket.socketpair()
    with reactor_of() as reactor, here:
        channel = reactor.open(here.fileno())
        stirred: list[int] = []

        def told() -> None:
            stirred.append(1)
            reactor.release(channel)

        async def use() -> None:
            await reactor.wait(channel, WRITE, 10)
            channel.on_stir = told
            there.close()
            while not stirred:
                await reactor.sleep(0.001)

        run(reactor, use())
        assert stirred == [1]


def test_things_posted_from_another_thread_arrive_in_order_and_wake_it() -> None:
    received: list[Any] = []
    with reactor_of(received.append) as reactor:

        def post() -> None:
            for number in range(1000):
                reactor.post(number)
                if number % 100 == 0:
                    time.sleep(0.001)

        thread = threading.Thread(target=post)
        thread.start()
        reactor.run(lambda: len(received) == 1000)
        thread.join()
        assert received == list(range(1000))


def test_asleep_it_uses_no_cpu() -> None:
    with reactor_of() as reactor:

        async def sleep() -> None:
            await reactor.sleep(0.3)

        before = time.thread_time()
        run(reactor, sleep())
        assert time.thread_time() - before < 0.02


def test_sleepers_wake_in_the_order_of_their_times() -> None:
    order: list[float] = []
    with reactor_of() as reactor:

        async def sleep(seconds: float) -> None:
            await reactor.sleep(seconds)
            order.append(seconds)

        run(reactor, sleep(0.03), sleep(0.01), sleep(0.02))
    assert order == [0.01, 0.02, 0.03]


def test_a_signal_wakes_all_and_stays_set() -> None:
    with reactor_of() as reactor:
        signal = reactor.signal()

        async def wait() -> Any:
            return await signal.wait(10)

        async def fire() -> None:
            signal.set("value")
            signal.set("too late")

        assert run(reactor, wait(), wait(), fire(), wait()) == ["value", "value", None, "value"]


def test_a_signal_that_does_not_come_in_time_is_no_progress() -> None:
    with reactor_of() as reactor:

        async def wait() -> None:
            await reactor.signal().wait(0.01)

        assert isinstance(run(reactor, wait())[0], NoProgress)


class Stop(Exception):
    pass


@pytest.mark.parametrize("how", ["sleep", "wait", "signal", "pause"])
def test_a_task_can_be_cancelled_wherever_it_waits_and_is_woken_no_more(how: str) -> None:
    here, there = socket.socketpair()
    with reactor_of() as reactor, here, there:
        signal = reactor.signal()
        channel = reactor.open(here.fileno())
        caught: list[str] = []

        async def victim() -> str:
            try:
                if how == "sleep":
                    await reactor.sleep(0.01)
                elif how == "wait":
                    await reactor.wait(channel, READ, 10)
                elif how == "signal":
                    await signal.wait()
                else:
                    await reactor.pause()
            except Stop:
                caught.append(how)
            await reactor.sleep(0.03)  # what would have woken it must not cut this short
            return "cleaned up"

        task = reactor.spawn(victim(), lambda value, error: ended.append(value))
        ended: list[Any] = []

        async def cancel() -> None:
            reactor.cancel(task, Stop())
            signal.set()
            there.send(b"x")

        reactor.spawn(cancel())
        reactor.run(lambda: bool(ended))
        assert caught == [how]
        assert ended == ["cleaned up"]
        reactor.cancel(task, Stop())  # of a task that has ended: nothing


def test_what_a_task_dies_of_is_given_to_its_owner_and_harms_nobody() -> None:
    with reactor_of() as reactor:

        async def die() -> None:
            raise KeyError("x")

        async def live() -> str:
            await reactor.sleep(0.01)
            return "well"

        dead, alive = run(reactor, die(), live())
        assert isinstance(dead, KeyError)
        assert alive == "well"
        assert not reactor.tasks


def test_a_busy_task_lets_others_have_their_turn() -> None:
    steps: list[str] = []
    with reactor_of() as reactor:

        async def work(name: str) -> None:
            for _ in range(3):
                steps.append(name)
                await reactor.pause()

        run(reactor, work("a"), work("b"))
    assert steps == ["a", "b"] * 3


def test_closing_gives_back_its_descriptors() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with reactor_of():
        pass
    assert len(os.listdir("/proc/self/fd")) == before
