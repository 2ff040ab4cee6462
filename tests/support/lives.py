"""Lives of the real uploader that end by SIGKILL at a chosen step: what all programs of this kind share.

Each life is a fork of a fresh interpreter without threads, and costs no start.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import s3_file_uploader
from s3_file_uploader.ledger import Ledger
from s3_file_uploader.source.lease import ignore_lease_signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["QUICK", "SteppingLedger", "Steps", "live", "play", "play_in_lanes"]

_MOST_SECONDS = 30

# Of a rule: nothing waits longer than it must.
QUICK: dict[str, Any] = {
    "interval_seconds": 0.1,
    "settle_seconds": 0.0,
    "settle_unverified_seconds": 0.02,
    "retry_backoff_seconds": 0.01,
    "retry_backoff_max_seconds": 0.02,
}


class Steps:
    """Counts steps over all threads; the process dies right before the one numbered `deadly`."""

    def __init__(self, deadly: int | None) -> None:
        self._deadly = deadly
        self._lock = threading.Lock()
        self.count = 0

    def step(self) -> None:
        with self._lock:
            self.count += 1
            if self.count == self._deadly:
                os.kill(os.getpid(), signal.SIGKILL)


class SteppingLedger(Ledger):
    """Before each transaction, right before its commit, and after it there is a step."""

    steps: Steps

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        self.steps.step()
        with super().transaction(durable=durable):
            yield
            self.steps.step()
        self.steps.step()


def live(life: Callable[[], object]) -> bool:
    """One life in a process of its own; whether it survived. AssertionError where it ended in another way."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _live_and_exit(life, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as told:
        words = told.read().decode()
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, (status, words)
        return False
    assert os.WEXITSTATUS(status) == 0, words
    return True


def _live_and_exit(life: Callable[[], object], writing: int) -> None:
    try:
        signal.alarm(_MOST_SECONDS)  # its default action ends us, and the test tells
        ignore_lease_signal()
        life()
        told, code = b"", 0
    except BaseException:  # the parent tells it
        told, code = traceback.format_exc().encode(), 1
    os.write(writing, told)
    os._exit(code)


def play(story: Callable[[int, random.Random, dict[str, Any]], bool], first: int, stride: int) -> None:
    """Play the stories first, first + stride, … until two in a row did not come to their step; a JSON line for each.

    `story` is told the step at which to die, what to choose by (the same in every run) and what to add to
    its line; it returns whether that step was reached, and raises AssertionError for what is wrong.
    """
    logging.disable(logging.CRITICAL)
    step, missed = first, 0
    while missed < 2:  # how many steps a life has depends a little on how its threads take turns
        told: dict[str, Any] = {}
        try:
            told["reached"] = story(step, random.Random(step), told)
        except AssertionError as error:
            told["wrong"] = str(error)
        print(json.dumps(told), flush=True)
        if "wrong" in told:
            sys.exit(1)
        missed = 0 if told["reached"] else missed + 1
        step += stride


def play_in_lanes(
    program: str,
    arguments: Sequence[str],
    *,
    lanes: int,
    stride: int,
    first: int = 1,
    environment: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Run a program that plays stories in so many processes at once; what it told of each story.

    The program is told the arguments, then the number of its first step and how far it is to the next.
    """
    paths = [Path(s3_file_uploader.__file__).parents[1], Path(__file__).parents[1]]
    variables = {**os.environ, **(environment or {}), "PYTHONPATH": os.pathsep.join(map(str, paths))}
    playing = [
        subprocess.Popen(
            [sys.executable, program, *arguments, str(first + lane * stride), str(lanes * stride)],
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
        )
        for lane in range(lanes)
    ]
    told = [json.loads(line) for one in playing for line in one.communicate()[0].splitlines()]
    assert [one for one in told if "wrong" in one] == []
    assert [one.returncode for one in playing] == [0] * lanes
    return told
