"""Turns: of the threads that have much to compute, one at a time does, for a few milliseconds.

The interpreter runs one thread at a time anyway, but hands over at every system call: of threads that
make a dozen of them for each file, all would wait for all others each time, and the hand-over costs
more than the call. With turns nobody else wants the interpreter meanwhile, and calls return at once.

Turns are a courtesy and never a lock: they protect nothing. Whoever has waited for PATIENCE_SECONDS
goes ahead, since the other one is asleep in the kernel then, for example on a disk that hangs.
"""

from __future__ import annotations

import selectors
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

__all__ = ["PATIENCE_SECONDS", "TURNS", "TURN_SECONDS", "TurnTakingSelector", "Turns"]

TURN_SECONDS = 0.004
PATIENCE_SECONDS = 0.012


class Turns:
    """Each thread calls `take`, `give` and `breathe` for itself. To take one's own turn again is no harm."""

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> None:
        self._monotonic = monotonic
        self._patience_seconds = patience_seconds
        self._lock = threading.Lock()
        self._holder = 0  # the thread whose turn it is; 0: nobody's
        self._since = 0.0
        self._waiting: deque[tuple[int, threading.Lock]] = deque()

    def take(self) -> None:
        """Wait for one's turn, though not for long."""
        me = threading.get_ident()
        with self._lock:
            if self._holder in (0, me):
                self._begin(me)
                return
            called = threading.Lock()
            called.acquire()
            self._waiting.append((me, called))
        while not called.acquire(timeout=self._patience_seconds):
            with self._lock:
                if self._waiting and self._waiting[0][0] == me:
                    self._waiting.popleft()
                    self._begin(me)
                    return

    def give(self) -> None:
        """Let the next one go on: before anything that may sleep, and at the end."""
        with self._lock:
            if self._holder != threading.get_ident():
                return  # somebody else did not wait any longer
            if self._waiting:
                thread, called = self._waiting.popleft()
                self._begin(thread)
                called.release()
            else:
                self._holder = 0

    def breathe(self) -> None:
        """Between two pieces of work: let others go on if they wait and one has had one's turn."""
        if self._waiting and self._monotonic() - self._since >= TURN_SECONDS:
            self.give()
            self.take()

    def over(self, things: Iterable[T]) -> Iterator[T]:
        """The same things, each handed out in one's turn."""
        self.take()
        try:
            for thing in things:
                self.breathe()
                yield thing
        finally:
            self.give()

    def _begin(self, thread: int) -> None:
        self._holder = thread
        self._since = self._monotonic()


TURNS = Turns()  # one for the process, as there is one interpreter


class TurnTakingSelector(selectors.DefaultSelector):
    """For an event loop that takes turns: it deals with events in its turn, and waits for them out of it."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            TURNS.breathe()
            return super().select(timeout)
        TURNS.give()
        try:
            return super().select(timeout)
        finally:
            TURNS.take()
