"""Turns between threads: one at a time, in order, and nobody waits long for one that is asleep."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.turns import PATIENCE_SECONDS, TURN_SECONDS, Turns, TurnTakingSelector

if TYPE_CHECKING:
    from collections.abc import Callable


def beside(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def until_waiting(turns: Turns, count: int) -> None:
    done = threading.Event()
    while len(turns._waiting) < count:
        done.wait(0.001)


def test_whoever_waits_goes_on_when_the_turn_is_given() -> None:
    turns, order = Turns(patience_seconds=60.0), []
    turns.take()

    def other() -> None:
        turns.take()
        order.append("other")
        turns.give()

    thread = beside(other)
    until_waiting(turns, 1)
    order.append("first")
    turns.give()
    thread.join()
    assert order == ["first", "other"]


def test_nobody_waits_for_ever_for_a_thread_that_is_asleep_with_its_turn() -> None:
    turns, awake = Turns(), threading.Event()

    def sleeper() -> None:
        turns.take()
        awake.wait()
        turns.give()  # somebody else's by now: of no effect

    thread = beside(sleeper)
    while not turns._holder:
        awake.wait(0.001)
    turns.take()
    assert turns._holder == threading.get_ident()
    awake.set()
    thread.join()
    assert turns._holder == threading.get_ident()


def test_a_sleeper_with_a_turn_holds_up_several_who_wait_one_after_the_other() -> None:
    turns, awake, through = Turns(), threading.Event(), []

    def sleeper() -> None:
        turns.take()
        awake.wait()

    def worker() -> None:
        turns.take()
        through.append(threading.get_ident())
        turns.give()

    asleep = beside(sleeper)
    while not turns._holder:
        awake.wait(0.001)
    workers = [beside(worker) for _ in range(5)]
    for one in workers:
        one.join()
    awake.set()
    asleep.join()
    assert sorted(through) == sorted(one.ident for one in workers if one.ident is not None)


def test_breathing_gives_way_only_after_a_turn_and_only_to_those_who_wait() -> None:
    now = [0.0]
    turns = Turns(lambda: now[0], patience_seconds=60.0)
    turns.take()
    now[0] = TURN_SECONDS * 2
    turns.breathe()
    assert turns._holder == threading.get_ident()  # nobody waits

    order: list[str] = []
    turns.give()
    turns.take()

    def other() -> None:
        turns.take()
        order.append("other")
        turns.give()

    thread = beside(other)
    until_waiting(turns, 1)
    turns.breathe()
    order.append("too early")
    now[0] += TURN_SECONDS
    turns.breathe()
    order.append("after the other")
    thread.join()
    assert order == ["too early", "other", "after the other"]


def test_things_are_handed_out_in_turn_and_the_turn_is_given_back_also_after_an_error() -> None:
    turns = Turns()
    assert list(turns.over([1, 2, 3])) == [1, 2, 3]
    assert turns._holder == 0
    with pytest.raises(ZeroDivisionError):
        [1 / thing for thing in turns.over([1, 0])]
    assert turns._holder == 0


def test_turns_of_many_threads_never_overlap_while_nobody_sleeps() -> None:
    turns, inside, most = Turns(patience_seconds=60.0), [0], [0]

    def worker() -> None:
        for _ in turns.over(range(200)):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            sum(range(200))
            inside[0] -= 1

    threads = [beside(worker) for _ in range(4)]
    for thread in threads:
        thread.join()
    assert most == [1]
    assert turns._holder == 0


def test_an_event_loop_waits_for_events_out_of_its_turn() -> None:
    from s3_file_uploader.turns import TURNS

    selector = TurnTakingSelector()
    try:
        TURNS.take()
        seen: list[bool] = []

        def other() -> None:
            TURNS.take()
            seen.append(True)
            TURNS.give()

        thread = beside(other)
        until_waiting(TURNS, 1)
        assert selector.select(PATIENCE_SECONDS) == []
        thread.join()
        assert seen == [True]
        assert TURNS._holder == threading.get_ident()
    finally:
        TURNS.give()
        selector.close()
