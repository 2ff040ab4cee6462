"""Waiting for statuses: who waits for which, and the one reader that brings them.

Nothing of it outlives the process. Each delivery's checkpoint says from where on its status may be
found, and a delivery that is taken up again takes the reader back there; so no position is kept that
could be ahead of what the ledger knows, and no status has to be kept for somebody who asks later. To
read a few thousand statuses again takes no time, and a status that nobody waits for is passed over.

A status that was there before its task was appended is of another task: a stream that lost its end, in
a power cut or with a restored backup, gives the same numbers again, and the status of the task that had
one before may have survived. So nobody is told of what lies before the place in his checkpoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.errors import DeliveryError, TransferFault, Unreachable
from s3_file_uploader.transport.stream_manager.link import again
from s3_file_uploader.transport.stream_manager.tasks import Status, Task, status_of
from s3_file_uploader.transport.stream_manager.values import NoStream, Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.transport.stream_manager.checkpoint import Saved
    from s3_file_uploader.transport.stream_manager.link import Link
    from s3_file_uploader.transport.stream_manager.outlets import Outlets
    from s3_file_uploader.transport.stream_manager.values import Message

__all__ = ["Lost", "Moved", "Statuses", "Waiter"]

_log = logging.getLogger(__name__)
_MOST_AT_ONCE = 1000
_FEW = 100
_GATHER_SECONDS = 0.02  # after a read that brought few: reading them one by one would cost a core
_MOST_EARLY = 64
_SLOWEST_BYTES_PER_SECOND = 32 * 1024  # an upload may take as long as at this pace before it is called stuck


class Lost(Exception):
    """The task, or its status, is not there any more: it must be appended again."""


class Moved(Lost):
    """The task never was appended: its stream gave its place to another while the task waited for room."""


@dataclass(slots=True, eq=False)
class Waiter:
    """`sequence` is None until the task's number is known; statuses that come before are kept in `early`.

    `status_from` is the first place in the status stream that can tell of the task.
    """

    stream: str
    task: Task
    after: int
    status_from: int
    size: int
    since: float
    outcome: asyncio.Future[Status]
    sequence: int | None = None
    early: list[Status] = field(default_factory=list)
    passed_at: int = 0  # the reader's ends when the export was first seen to have gone past the task
    passed_since: float = 0.0

    def assign(self, sequence: int) -> None:
        self.sequence = sequence
        for status in self.early:
            self.take(status)
        self.early.clear()

    def take(self, status: Status) -> None:
        """A terminal status of our stream and URL."""
        if status.task != self.task or status.sequence <= self.after or self.outcome.done():
            return
        if self.sequence is None:
            if len(self.early) < _MOST_EARLY:
                self.early.append(status)
        elif status.sequence == self.sequence:
            self.outcome.set_result(status)

    def newest_early(self) -> Status | None:
        return max(self.early, key=lambda status: status.sequence, default=None)

    def fail(self, error: Exception) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error)
            self.outcome.exception()  # nobody need have asked


class Statuses:
    """Reads while somebody waits, and not otherwise. Runs on the event loop."""

    def __init__(
        self,
        link: Link,
        outlets: Outlets,
        *,
        timeout_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_seconds`: how long a status may be missing once the export has gone past its task."""
        self._link = link
        self._outlets = outlets
        self._timeout_seconds = timeout_seconds
        self._monotonic = monotonic
        self._waiting: dict[tuple[str, str], Waiter] = {}
        self._stream = ""
        self._position = 0
        self._known = 0  # what comes from here on was not there when it was last looked
        self._looks = 0  # of the outlets, as far as this has followed them
        self._ends = 0  # how often everything there was had been read
        self._end_reached = asyncio.Event()
        self._ending = 0  # how many wait for that
        self._interrupted: asyncio.Future[None] | None = None  # of the read that waits for more
        self._reading: asyncio.Task[None] | None = None
        self._news_at = 0.0
        self._checked_at = 0.0
        self._exported: dict[str, int] = {}

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def place(self) -> tuple[str, int]:
        """Where the status of a task that is appended from now on can be found, at the earliest."""
        self._follow_stream()
        return self._stream, self._known

    def has(self, stream: str) -> bool:
        """Whether somebody waits for a task that is in this stream."""
        return any(waiter.sequence is not None for waiter in self._of(stream))

    def wait_for(self, saved: Saved, size: int) -> Waiter:
        self._follow_stream()
        now = self._monotonic()
        if not self._waiting:
            self._news_at = self._checked_at = now
        # Of a status stream that lost its end, what it has not got yet may count.
        first = min(saved.status_from, self._known) if saved.status_stream == self._stream else 0
        outcome: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        waiter = Waiter(saved.stream, saved.task, saved.after, first, size, now, outcome)
        self._waiting[saved.stream, saved.task.url] = waiter
        if self._reading is None:
            self._reading = asyncio.get_running_loop().create_task(self._read_on())
        return waiter

    def forget(self, waiter: Waiter) -> None:
        if self._waiting.get((waiter.stream, waiter.task.url)) is waiter:
            del self._waiting[waiter.stream, waiter.task.url]

    def lose(self, stream: str, newest: int) -> None:
        """What came after `newest` is not in the stream any more."""
        for waiter in self._of(stream):
            if waiter.sequence is not None and waiter.sequence > newest:
                waiter.fail(Lost(stream))

    def go_back(self, stream: str, position: int) -> None:
        """Read again from there; from the beginning where it was another stream."""
        self._follow_stream()
        before = self._position
        self._position = max(0, min(before, position if stream == self._stream else 0))
        self._end_reached.clear()
        if self._position < before:
            self._interrupt()

    async def end(self) -> None:
        """Until all that is there now has been read, or waiting failed. No read waits for more meanwhile."""
        self._ending += 1
        try:
            self._interrupt()
            for _ in range(2):  # the read that is under way may have been answered before
                self._end_reached.clear()
                await self._end_reached.wait()
        finally:
            self._ending -= 1

    def _interrupt(self) -> None:
        """Have the read that waits for more wait no longer: somebody wants what is there already."""
        if self._interrupted is not None and not self._interrupted.done():
            self._interrupted.set_result(None)

    def fail_all(self, error: DeliveryError) -> None:
        for waiter in list(self._waiting.values()):
            waiter.fail(again(error))
        self._end_reached.set()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)

    # -- the reader

    async def _read_on(self) -> None:
        try:
            while self._waiting:
                await self._bear()
        except Exception as error:  # noqa: BLE001  # a bug: whoever waits must hear of it
            _log.exception("reading statuses failed")
            self.fail_all(TransferFault(f"an error in this program: {type(error).__name__}: {error}"))
        finally:
            self._reading = None
            self._exported.clear()

    async def _bear(self) -> None:
        """Take one step; bear a line that is gone for a while, and no longer."""
        began = self._monotonic()
        while self._waiting:
            try:
                await self._step()
            except (NoStream, Refusal):
                self._outlets.forget()
                await asyncio.sleep(self._link.deadlines.pause)
            except DeliveryError as error:
                if self._monotonic() - began >= self._link.deadlines.patience or not error.retryable:
                    self.fail_all(error)
                    await asyncio.sleep(self._link.deadlines.pause)
                    return
                await asyncio.sleep(self._link.deadlines.pause)
            else:
                return

    async def _step(self) -> None:
        await self._outlets.ready()
        self._follow_stream()
        stream, position = self._stream, self._position
        messages = await self._read(stream, position)
        if messages is None:
            return
        if (stream, position) == (self._stream, self._position):  # nobody went back meanwhile
            self._take(messages)
            if len(messages) < _MOST_AT_ONCE:
                self._ends += 1
                self._end_reached.set()
        await self._check()
        if len(messages) < _FEW:
            await asyncio.sleep(_GATHER_SECONDS)

    async def _read(self, stream: str, position: int) -> list[Message] | None:
        """What is there, or comes in a while where nobody waits for the end; None: interrupted."""
        if self._ending:
            return await self._link.read(stream, position, _MOST_AT_ONCE)
        interrupted = self._interrupted = asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(
            self._link.read(stream, position, _MOST_AT_ONCE, self._link.deadlines.wait)
        )
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait([reading, interrupted], return_when=asyncio.FIRST_COMPLETED)
            return await reading if reading.done() else None
        finally:
            self._interrupted = None
            reading.cancel()

    def _follow_stream(self) -> None:
        """The status stream as it was found last: it may be another one, or have lost its end."""
        if self._looks == self._outlets.looks:
            return
        self._looks = self._outlets.looks
        self._known = self._outlets.status_newest + 1
        first = self._known
        if self._stream != self._outlets.status_stream:
            is_first = not self._stream
            self._stream = self._outlets.status_stream
            self._position = self._known if is_first else 0
            first = 0
        self._position = min(self._position, self._known)
        for waiter in self._waiting.values():
            waiter.status_from = min(waiter.status_from, first)

    def _take(self, messages: list[Message]) -> None:
        for message in messages:
            self._position = max(self._position, message.sequence + 1)
            self._known = max(self._known, self._position)
            status = status_of(message)
            if status is None:
                continue
            waiter = self._waiting.get((status.stream, status.task.url))
            if waiter is not None and message.sequence >= waiter.status_from:
                self._news_at = self._monotonic()
                if status.is_terminal:
                    waiter.take(status)
                elif status.message:
                    _log.debug("%s: %s", status.task.url, status.message)

    # -- the watchdog

    async def _check(self) -> None:
        """Is a status lost, or has nothing happened for long? Asked now and then."""
        now = self._monotonic()
        if now - self._checked_at < self._link.deadlines.check:
            return
        self._checked_at = now
        for stream in {waiter.stream for waiter in self._waiting.values() if waiter.sequence is not None}:
            with contextlib.suppress(Refusal):
                await self._check_stream(stream)
        self._check_stall()

    async def _check_stream(self, stream: str) -> None:
        try:
            exported = (await self._link.describe(stream)).exported
        except NoStream:
            self._outlets.forget()
            self.lose(stream, -1)
            return
        if exported is None:
            return
        now = self._monotonic()
        if exported > self._exported.get(stream, -1):
            self._exported[stream] = exported
            self._news_at = now
        for waiter in self._of(stream):
            if waiter.sequence is None or waiter.sequence > exported:
                continue
            if not waiter.passed_since:
                waiter.passed_since, waiter.passed_at = now, self._ends
            elif now - waiter.passed_since >= self._timeout_seconds and self._ends > waiter.passed_at:
                _log.info("no status came for %s: it is handed over again", waiter.task.key)
                waiter.fail(Lost(stream))

    def _check_stall(self) -> None:
        largest = max((waiter.size for waiter in self._waiting.values()), default=0)
        most = self._link.deadlines.stall + largest / _SLOWEST_BYTES_PER_SECOND
        if self._waiting and self._monotonic() - self._news_at > most:
            self.fail_all(
                Unreachable(
                    f"Stream Manager has finished no upload for {round(most)} s",
                    advice="It may not reach S3, or lack credentials: look at its log"
                    " (aws.greengrass.StreamManager.log). What it has is not handed over again.",
                )
            )

    def _of(self, stream: str) -> list[Waiter]:
        return [waiter for waiter in self._waiting.values() if waiter.stream == stream]
