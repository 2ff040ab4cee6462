"""One thread that carries the files of one file system, and the way between it and asyncio.

A hung disk stops its own engine and no other, and not the exit. Slots grow only while the engine
would otherwise sleep with work waiting: a near store is kept busy by few connections, a far one gets
up to the cap. Whatever crosses between the threads crosses in batches: one wake-up of the event loop
resolves all deliveries that ended meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import DeliveryError, Interrupted, Refused
from s3_file_uploader.transport.s3.checkpoint import PUT_LIMIT_BYTES
from s3_file_uploader.transport.s3.crew import Crew
from s3_file_uploader.transport.s3.multipart import Multipart
from s3_file_uploader.transport.s3.pace import Pace
from s3_file_uploader.transport.s3.reactor import Reactor
from s3_file_uploader.transport.s3.slots import Slots
from s3_file_uploader.transport.s3.upload import put_whole
from s3_file_uploader.turns import TURNS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from s3_file_uploader.model import Checkpoint, Receipt
    from s3_file_uploader.transport.contract import Delivery
    from s3_file_uploader.transport.s3.attributes import Attributes
    from s3_file_uploader.transport.s3.connection import Pool
    from s3_file_uploader.transport.s3.reactor import Signal, Task
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["Engine", "Route", "stop"]

CLOSE_SECONDS = 5.0
GATHER_SECONDS = 0.005

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """What leads from an engine's reactor to the bucket."""

    store: Store
    pool: Pool


if TYPE_CHECKING:
    _ReceiptFuture = asyncio.Future[Receipt]
else:
    _ReceiptFuture = asyncio.Future


class _Outcome(_ReceiptFuture):
    """What `deliver` returns: cancelling it asks the engine to stop that delivery."""

    __slots__ = ("engine", "job")

    engine: Engine
    job: (
        _Job | None
    )  # until it is settled: the two lead to each other, and thousands would wait for the collector

    def cancel(self, msg: Any | None = None) -> bool:
        was_pending = super().cancel(msg)
        if was_pending:
            stop(self)
        return was_pending


def stop(outcome: asyncio.Future[Receipt]) -> None:
    """End a delivery with Interrupted once nothing of it runs any more; to cancel it does not wait for that."""
    if isinstance(outcome, _Outcome) and outcome.job is not None:
        outcome.engine.stop(outcome.job)


class _Job:
    """A delivery in the engine."""

    __slots__ = ("attributes", "delivery", "is_large", "is_stopped", "outcome", "task")

    def __init__(self, delivery: Delivery, attributes: Attributes, outcome: _Outcome) -> None:
        self.delivery = delivery
        self.attributes = attributes
        self.outcome = outcome
        self.is_large = delivery.source.fingerprint.size > _put_limit_bytes(attributes)
        self.is_stopped = False
        self.task: Task | None = None


class Engine:
    """`deliver` and `close` belong to the event loop's thread, everything else to the engine's own."""

    def __init__(
        self,
        name: str,
        loop: asyncio.AbstractEventLoop,
        route: Callable[[Reactor, Crew], Route],
        *,
        concurrency: int,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._loop = loop
        self._reactor = Reactor(self._receive, self._rest, monotonic=monotonic)
        self._crew = Crew(self._reactor, name)
        self._route = route(self._reactor, self._crew)
        self._slots: Slots[_Job] = Slots(concurrency)
        self._pace = Pace(time.process_time)
        self._was_carrying = False
        self._is_closing = False
        self._ended: deque[tuple[_Outcome, Receipt | None, DeliveryError | None]] = deque()
        self._is_told = False
        self._unresolved: set[_Outcome] = set()
        self._errands: set[asyncio.Future[None]] = set()
        self._saves: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    # -- in the event loop's thread

    def deliver(self, delivery: Delivery, attributes: Attributes) -> asyncio.Future[Receipt]:
        outcome = _Outcome(loop=self._loop)
        job = _Job(delivery, attributes, outcome)
        outcome.engine, outcome.job = self, job
        self._unresolved.add(outcome)
        self._reactor.post(job)
        return outcome

    def stop(self, job: _Job) -> None:
        """End one delivery with Interrupted, where it stands."""
        self._reactor.post(lambda: self._stop(job))

    def resize(self, concurrency: int) -> None:
        """So many deliveries at once from now on; what is under way goes on."""
        self._reactor.post(lambda: self._slots.resize(concurrency))

    async def close(self) -> None:
        """End what runs with Interrupted; a thread that hangs in the disk is left behind."""
        self._reactor.post(self._begin_close)
        until = self._loop.time() + CLOSE_SECONDS
        # Looked at rather than told: a thread that hangs tells nothing, and a told loop may be gone.
        while self._thread.is_alive() and self._loop.time() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        self._resolve()
        for outcome in list(self._unresolved):
            self._settle(outcome, None, Interrupted("the disk did not answer before we had to stop"))
        for errand in list(self._errands):
            self._conclude(errand, Interrupted("shutting down"))

    def send(self, errand: Callable[[Store], Coroutine[Any, Any, None]]) -> asyncio.Future[None]:
        """Something to be asked of the store that is no delivery, and has no file."""
        concluded: asyncio.Future[None] = self._loop.create_future()
        self._errands.add(concluded)
        self._reactor.post(lambda: self._set_out(errand, concluded))
        return concluded

    def _conclude(self, errand: asyncio.Future[None], error: BaseException | None) -> None:
        self._errands.discard(errand)
        if errand.done():
            return
        if error is None:
            errand.set_result(None)
        else:
            errand.set_exception(error if isinstance(error, DeliveryError) else _bug(error))

    def _gather(self) -> None:
        """The first delivery ended: more are about to. To change threads for each costs more than to send it."""
        self._loop.call_later(GATHER_SECONDS, self._resolve)

    def _resolve(self) -> None:
        self._is_told = False
        ended = self._ended
        while ended:
            self._settle(*ended.popleft())

    def _settle(self, outcome: _Outcome, receipt: Receipt | None, error: DeliveryError | None) -> None:
        self._unresolved.discard(outcome)
        outcome.job = None
        if outcome.done():
            return
        if error is not None:
            outcome.set_exception(error)
        elif receipt is not None:
            outcome.set_result(receipt)

    def _start_writing(self, write: Callable[[], Awaitable[None]], written: Signal) -> None:
        async def run() -> None:
            failure: BaseException | None = None
            try:
                await write()
            # Whatever the ledger fails with must reach the delivery that waits for it in another thread.
            except BaseException as error:  # noqa: BLE001
                failure = error
            self._reactor.post(lambda: written.set(failure))

        task = self._loop.create_task(run())
        self._saves.add(task)
        task.add_done_callback(self._saves.discard)

    # -- in the engine's thread

    def _run(self) -> None:
        try:
            self._reactor.run(lambda: self._is_closing and not self._reactor.tasks)
        finally:
            self._route.pool.close()
            self._crew.close()
            self._rest()
            TURNS.give()

    def _receive(self, thing: Any) -> None:
        if type(thing) is not _Job:
            thing()
        elif self._is_closing:
            self._end(thing, None, Interrupted("shutting down"))
        else:
            self._slots.join(thing, is_large=thing.is_large)

    def _rest(self) -> None:
        """At the end of every turn: let the next ones start, and tell the loop who has ended."""
        slots = self._slots
        if slots.is_awaited:
            slept_seconds = 0.0 if self._was_carrying else self._reactor.slept_seconds
            if self._pace.wants_more(self._reactor.now, slept_seconds):
                slots.grow()
            while (job := slots.next()) is not None:
                self._start(job)
        else:
            self._pace.rest()
        self._was_carrying = self._crew.is_busy  # while we sleep next: that is not waiting for answers
        if self._ended and not self._is_told:
            self._is_told = True
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._gather)

    def _start(self, job: _Job) -> None:
        if job.is_stopped:
            self._finish(job, None, Interrupted("stopped before it began"))
            return
        if job.is_large and job.delivery.is_eased():
            self._finish(job, None, Interrupted("not begun; what was saved is kept"))
            return
        job.task = self._reactor.spawn(
            self._carry(job.delivery, job.attributes),
            lambda receipt, error: self._finish(job, receipt, error),
        )

    def _finish(self, job: _Job, receipt: Receipt | None, error: BaseException | None) -> None:
        self._slots.give_back(is_large=job.is_large)
        self._end(job, receipt, error)

    def _end(self, job: _Job, receipt: Receipt | None, error: BaseException | None) -> None:
        job.task = None
        if error is not None and not isinstance(error, DeliveryError):
            error = _bug(error)
        self._ended.append((job.outcome, receipt, error))

    def _stop(self, job: _Job) -> None:
        job.is_stopped = True
        if job.task is not None:
            self._reactor.cancel(job.task, Interrupted("stopped; what was saved is kept"))

    def _begin_close(self) -> None:
        self._is_closing = True
        for job in self._slots.drain():
            self._end(job, None, Interrupted("shutting down"))
        for task in list(self._reactor.tasks):
            self._reactor.cancel(task, Interrupted("shutting down; what was saved is kept"))

    async def _carry(self, delivery: Delivery, attributes: Attributes) -> Receipt:
        file = delivery.source.open()
        try:
            put = partial(
                put_whole,
                delivery,
                file,
                store=self._route.store,
                attributes=attributes,
                crew=self._crew,
            )
            goes_whole = file.size <= _put_limit_bytes(attributes)
            if goes_whole and delivery.checkpoint is None:
                return await put()
            upload = Multipart(
                delivery,
                file,
                store=self._route.store,
                attributes=attributes,
                reactor=self._reactor,
                crew=self._crew,
                slots=self._slots,
                keeper=self,
            )
            if not goes_whole:
                return await upload.run()
            await upload.forget()
            return await put()
        finally:
            file.close()

    async def save(self, delivery: Delivery, checkpoint: Checkpoint | None) -> None:
        """Have the pipeline save a checkpoint, over there on its loop, and wait until it is durable."""
        await self._write(lambda: delivery.save(checkpoint))

    async def give_up(self, delivery: Delivery, reason: str) -> None:
        """Have the pipeline see to what was saved last, which could not be taken back."""
        await self._write(lambda: delivery.give_up(reason))

    async def _write(self, write: Callable[[], Awaitable[None]]) -> None:
        written = self._reactor.signal()
        try:
            self._loop.call_soon_threadsafe(self._start_writing, write, written)
        except RuntimeError:
            raise Interrupted("the program is ending") from None
        failure = await written.wait()
        if failure is not None:
            raise Interrupted(f"the checkpoint could not be saved: {failure}") from failure

    def _set_out(
        self, errand: Callable[[Store], Coroutine[Any, Any, None]], concluded: asyncio.Future[None]
    ) -> None:
        def end(_: Any, error: BaseException | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(self._conclude, concluded, error)

        if self._is_closing:
            end(None, Interrupted("shutting down"))
        else:
            self._reactor.spawn(errand(self._route.store), end)


def _put_limit_bytes(attributes: Attributes) -> int:
    return PUT_LIMIT_BYTES if attributes.partition is None else attributes.partition.put_limit_bytes


def _bug(error: BaseException) -> DeliveryError:
    """Something we did not foresee: loud in the log, and the file is parked rather than tried for ever."""
    _log.error("a delivery died of an error in this program", exc_info=error)
    refused = Refused(
        f"an error in this program: {type(error).__name__}: {error}",
        advice="Please report it with the log's traceback; `s3-file-uploader retry FILE` tries again.",
    )
    refused.__cause__ = error
    return refused
