"""The parts of one large file on their way: a few at a time, each on a connection of its own.

A part that broke on the way is sent again by itself and the others go on. Each break halves how many
go at once: over a line that drops every so often, four parts side by side might all stay unfinished
where one gets through. Only when several breaks in a row left nothing finished is it the delivery that
failed. A store that cannot be reached takes no new parts, but those on their way may still arrive; the same
where somebody is about to stop us (`is_eased`).

What a part is and how it is sent is the business of `carry`.
"""

from __future__ import annotations

import random as randomness
from collections import deque
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import Concern, DeliveryError, Interrupted, TransferFault
from s3_file_uploader.transport.s3.faults import UploadGone

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from s3_file_uploader.transport.s3.reactor import Reactor, Signal, Task

__all__ = ["MOST_STREAMS", "Lender", "Streams"]

MOST_STREAMS = 4  # parts of one file in flight
MOST_BREAKS = 4  # in a row, with no part finished between them; the next one ends the delivery
# The same by time: each silence of a store takes a whole deadline before it counts as a break.
LONGEST_BROKEN_SECONDS = 90.0
FIRST_PAUSE_SECONDS = 0.25  # after a break; doubles with each further one
PARTS_PER_STREAM = 4  # finished since the last break, for one stream more


class Lender(Protocol):
    """Who has connections to spare."""

    @property
    def is_awaited(self) -> bool: ...

    def borrow(self) -> bool: ...

    def give_back(self, *, is_large: bool) -> None: ...


class Streams:
    """Carries the parts 1 to `part_count`. `carry` is told the number, and whether the part broke before."""

    def __init__(
        self,
        part_count: int,
        carry: Callable[[int, bool], Awaitable[None]],
        *,
        reactor: Reactor,
        slots: Lender,
        random: Callable[[], float] = randomness.random,
        is_eased: Callable[[], bool] = lambda: False,
    ) -> None:
        self._part_count = part_count
        self._carry = carry
        self._reactor = reactor
        self._slots = slots
        self._random = random
        self._is_eased = is_eased
        self._next_number = 1
        self._broken: deque[int] = deque()  # to be sent again
        self._has_broken: set[int] = set()
        self._extras: set[Task] = set()
        self._extra_ended: Signal | None = None
        self._failure: BaseException | None = None
        self._limit = MOST_STREAMS
        self._breaks = 0
        self._broke_at = float("-inf")
        self._first_broke_at = 0.0  # of the breaks in a row
        self._finished = 0  # since the last break

    async def run(self) -> None:
        """Until the store has all parts: one stream of our own, and more on borrowed connections."""
        parent = self._reactor.current()
        try:
            while True:
                while (number := self._take()) is not None:
                    self._borrow(parent)
                    await self._send(number)
                if not self._extras:
                    break
                await self._until_an_extra_ends()
        except BaseException as error:  # noqa: BLE001  # raised again, once nobody reads the file any more
            await self._end(error)
        if self._failure is not None:
            raise self._failure

    def _take(self) -> int | None:
        if self._failure is not None:
            return None
        if not self._broken and self._next_number > self._part_count:
            return None
        if self._is_eased():
            self._failure = Interrupted("no other part is begun; what was saved is kept")
            return None
        if self._broken:
            return self._broken.popleft()
        self._next_number += 1
        return self._next_number - 1

    def _borrow(self, parent: Task) -> None:
        left = self._part_count - self._next_number + 1 + len(self._broken)
        while len(self._extras) < min(self._limit - 1, left) and self._slots.borrow():
            extra = self._reactor.spawn(self._stream(), lambda _, error: self._ended(parent, error))
            self._extras.add(extra)

    async def _stream(self) -> None:
        """Parts on a borrowed connection, until somebody else waits for it or fewer go at once."""
        while not self._slots.is_awaited and len(self._extras) < self._limit:
            number = self._take()
            if number is None:
                return
            await self._send(number)

    async def _send(self, number: int) -> None:
        began = self._reactor.now
        try:
            await self._carry(number, number in self._has_broken)
        except TransferFault as error:
            if isinstance(error, UploadGone) or not self._may_go_on(began):
                raise
            self._has_broken.add(number)
            self._broken.append(number)
            await self._reactor.sleep(self._pause_seconds())
        else:
            self._note_finished()

    def _may_go_on(self, began: float) -> bool:
        """Takes note of a break; what was on its way when another part broke is the same break."""
        if self._failure is not None:
            return False
        if began >= self._broke_at:
            self._broke_at = self._reactor.now
            if not self._breaks:
                self._first_broke_at = self._broke_at
            self._breaks += 1
            self._finished = 0
            self._limit = max(1, self._limit // 2)
        is_long = self._broke_at - self._first_broke_at >= LONGEST_BROKEN_SECONDS
        return self._breaks <= MOST_BREAKS and not is_long

    def _pause_seconds(self) -> float:
        ceiling = FIRST_PAUSE_SECONDS * 2.0 ** max(0, self._breaks - 1)
        return ceiling * (0.5 + self._random() / 2)

    def _note_finished(self) -> None:
        self._breaks = 0
        self._finished += 1
        if self._limit < MOST_STREAMS and self._finished >= PARTS_PER_STREAM:
            self._finished = 0
            self._limit += 1

    # -- the end

    def _ended(self, parent: Task, error: BaseException | None) -> None:
        self._slots.give_back(is_large=True)
        self._extras = {task for task in self._extras if not task.is_done}
        if error is not None:
            self._note_failure(parent, error)
        if self._extra_ended is not None:
            self._extra_ended.set()

    def _note_failure(self, parent: Task, error: BaseException) -> None:
        """The first counts, unless a worse one comes: that ends the others at once."""
        if _lets_finish(error):
            self._failure = self._failure or error
        elif self._failure is None or _lets_finish(self._failure):
            self._failure = error
            self._reactor.cancel(parent, error)

    async def _until_an_extra_ends(self) -> None:
        self._extra_ended = self._reactor.signal()
        await self._extra_ended.wait()

    async def _end(self, error: BaseException) -> None:
        """Raise it when no stream runs any more: the file is closed next."""
        if self._failure is None or not _lets_finish(error):
            self._failure = error
        self._stop_extras(error)
        while self._extras:
            try:
                await self._until_an_extra_ends()
            except BaseException as later:  # noqa: BLE001  # stopped, or worse, while the others were to finish
                error = self._failure = later
                self._stop_extras(error)
        raise error

    def _stop_extras(self, error: BaseException) -> None:
        if not _lets_finish(error):
            for task in list(self._extras):
                self._reactor.cancel(task, Interrupted("another part failed"))


def _lets_finish(error: BaseException) -> bool:
    """Whether the parts on their way may still arrive: a line that broke or a store that has enough for now."""
    if not isinstance(error, DeliveryError) or isinstance(error, UploadGone):
        return False
    return error.concern is Concern.DESTINATION or isinstance(error, TransferFault)
