"""The crew: work done elsewhere ends in the engine, and never goes on with what was taken away from it."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import Interrupted
from s3_file_uploader.transport.s3.crew import Crew, new_buffer
from s3_file_uploader.transport.s3.reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

LONG_SECONDS = 20.0


def _told(number: int, _buffer: memoryview) -> int:
    return number


class Stage:
    def __init__(self, members: int) -> None:
        self.reactor = Reactor(lambda thing: thing())
        self.crew = Crew(self.reactor, "test-crew", members)
        self.ended: list[tuple[Any, BaseException | None]] = []

    def start(self, running: Coroutine[Any, Any, Any]) -> Any:
        return self.reactor.spawn(running, lambda value, error: self.ended.append((value, error)))

    def until_ended(self, count: int = 1) -> list[tuple[Any, BaseException | None]]:
        self.reactor.run(lambda: len(self.ended) >= count)
        return self.ended


@pytest.fixture(params=[0, 1, 3])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    made = Stage(request.param)
    yield made
    made.crew.close()
    made.reactor.close()


@pytest.fixture
def one_member() -> Iterator[Stage]:
    made = Stage(1)
    yield made
    made.crew.close()
    made.reactor.close()


def test_what_the_work_returns_and_raises_comes_back(stage: Stage) -> None:
    def fail(_buffer: memoryview) -> None:
        raise ValueError("no")

    stage.start(stage.crew.do(len))
    [(size, _)] = stage.until_ended()
    assert size == len(new_buffer())
    stage.start(stage.crew.do(fail))
    error = stage.until_ended(2)[1][1]
    assert isinstance(error, ValueError)


def test_a_hundred_works_at_once_all_end(stage: Stage) -> None:
    for number in range(100):
        stage.start(stage.crew.do(partial(_told, number)))
    assert sorted(value for value, _ in stage.until_ended(100)) == list(range(100))
    assert not stage.crew.is_busy


def test_no_two_members_share_a_buffer() -> None:
    stage, both = Stage(2), threading.Barrier(2, timeout=LONG_SECONDS)

    def work(buffer: memoryview) -> bytes:
        mine = str(both.wait()).encode()
        buffer[:1] = mine
        both.wait()
        return mine + bytes(buffer[:1])

    for _ in range(2):
        stage.start(stage.crew.do(work))
    assert sorted(value for value, _ in stage.until_ended(2)) == [b"00", b"11"]
    stage.crew.close()
    stage.reactor.close()


def test_who_is_stopped_goes_on_only_once_the_work_has_let_go(one_member: Stage) -> None:
    begun, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

    def work(_buffer: memoryview) -> None:
        begun.set()
        assert may_end.wait(LONG_SECONDS)
        has_ended.set()

    seen: list[bool] = []

    async def owner() -> None:
        try:
            await one_member.crew.do(work)
        finally:
            seen.append(has_ended.is_set())

    task = one_member.start(owner())
    one_member.reactor.turn()
    assert begun.wait(LONG_SECONDS)
    one_member.reactor.cancel(task, Interrupted("stopped"))
    one_member.reactor.turn()
    assert not one_member.ended, "its file would be closed under the work"
    may_end.set()
    [(_, error)] = one_member.until_ended()
    assert isinstance(error, Interrupted)
    assert seen == [True]


def test_work_whose_owner_was_stopped_before_it_began_is_not_done(one_member: Stage) -> None:
    may_end, done = threading.Event(), []
    one_member.start(one_member.crew.do(lambda _buffer: may_end.wait(LONG_SECONDS)))
    second = one_member.start(one_member.crew.do(lambda _buffer: done.append(1)))
    one_member.reactor.turn()
    one_member.reactor.cancel(second, Interrupted("stopped"))
    one_member.reactor.turn()
    may_end.set()
    one_member.until_ended(2)
    assert not done
