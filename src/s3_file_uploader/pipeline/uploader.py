"""The running uploader: wires source → ledger → transport → disposal, starts it, and stops it cleanly.

The loops: each rule's `Watching` looks at the disk; `_settle` decides when files may go; the `Feed`
carries them; `Disposing` removes them. They share the ledger and nothing else, and sleep until
something happens: with S3 unreachable, or nothing to do, the process is idle.
"""

from __future__ import annotations

import asyncio
import os
import random as randomness
import socket
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from s3_file_uploader.errors import Interrupted
from s3_file_uploader.ledger import Ledger, Queue
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.changing import GRACE_SECONDS, Changing
from s3_file_uploader.pipeline.clock import Clock
from s3_file_uploader.pipeline.context import Context
from s3_file_uploader.pipeline.deciding import Deciding
from s3_file_uploader.pipeline.disposal import Disposal
from s3_file_uploader.pipeline.disposing import Disposing
from s3_file_uploader.pipeline.draining import Draining
from s3_file_uploader.pipeline.feed import Feed, InFlight
from s3_file_uploader.pipeline.leftovers import Aborted, Leftovers, Wanted
from s3_file_uploader.pipeline.outcome import summarise
from s3_file_uploader.pipeline.progress import Progress, Summary
from s3_file_uploader.pipeline.recovery import Recovery
from s3_file_uploader.pipeline.rules import Roster
from s3_file_uploader.pipeline.sending import Sending
from s3_file_uploader.pipeline.settling import Settling
from s3_file_uploader.pipeline.threads import LedgerThread
from s3_file_uploader.pipeline.upkeep import Upkeep
from s3_file_uploader.source.edge import Edge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from s3_file_uploader.config import Difference, Rule, Settings
    from s3_file_uploader.errors import DeliveryError
    from s3_file_uploader.transport.contract import Transport

__all__ = ["Uploader"]

T = TypeVar("T")
_CLOSE_SECONDS = (
    1.5  # for each step of the end: a hung disk, or a full one below the ledger, holds up no exit
)


class Uploader:
    """One configuration at work. `until_done`: a drain; `include_active`: the newest files go too."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        *,
        transports: Callable[[Rule], Transport],
        until_done: bool = False,
        include_active: bool = False,
        edge: Edge | None = None,
        clock: Clock | None = None,
        random: Callable[[], float] = randomness.random,
        environment: Mapping[str, str] | None = None,
        adjust: Callable[[Settings], None] = lambda _settings: None,
        write_down: Callable[[Ledger, Settings], None] = lambda _ledger, _settings: None,
    ) -> None:
        """`adjust` takes Concurrency and MaxBandwidth of another configuration over to the transports.

        `write_down` is called in the transaction with which a configuration comes into force.
        """
        self._settings = settings
        self._ledger = ledger
        self._open_transport = transports
        self._until_done = until_done
        self._include_active = include_active
        self._edge = edge or Edge()
        self._clock = clock or Clock()
        self._random = random
        self._environment = os.environ if environment is None else environment
        self._adjust = adjust
        self._write_down = write_down
        self._stop = asyncio.Event()
        self._context: Context | None = None
        self._feed: Feed | None = None
        self._changing: Changing | None = None
        self._is_eased = False
        self._changes: set[asyncio.Task[Difference]] = set()
        self._abort: Callable[[Wanted], Awaitable[list[Aborted]]] | None = None
        self._denied: list[int] = []  # ids of files that were denied, when a drain ended
        self.progress = Progress()

    def stop(self) -> None:
        """Stop taking work, let what can finish soon finish, save, and end `run`. From the loop's thread."""
        self._stop.set()

    async def run(self) -> Summary:
        """Until stopped, or for a drain until everything that can go has gone."""
        self._clock.begin(self._ledger.running_clock_start())
        writer = LedgerThread(self._ledger)
        context = Context(self._ledger, writer, self._edge, self._clock, Roster(), self.progress)
        self._context, context.is_eased = context, self._is_eased
        disposal = Disposal(self._ledger, context.rules, self._edge, self._clock, self._random)
        disposing = Disposing(context, disposal)
        settling = Settling(self._ledger, context.rules, self._clock, include_active=self._include_active)
        feed = self._feed = Feed(context, self._sending(context, settling), disposing)
        leftovers = self._leftovers(context)
        self._abort = partial(leftovers.abort, stop=feed.stop)
        recovery = Recovery(self._ledger, writer, self._edge, disposal, self._clock)
        changing = Changing(
            context,
            feed,
            disposing,
            recovery,
            open_transport=self._open_transport,
            adjust=self._adjust,
            random=self._random,
            write_down=self._write_down,
        )
        self._changing = changing  # another configuration may come while this one is coming into force
        unreachable = None
        try:
            if await self._start(changing):
                loops = [
                    feed.run(),
                    feed.collect(),
                    Deciding(context, settling, disposing).run(),
                    Upkeep(context, disposing, recovery, feed).run(),
                    leftovers.run(),
                ]
                unreachable = await self._until_end(context, feed, disposing, leftovers, loops)
        finally:
            await self._close(context, feed, changing)
        return await self._summary(context, unreachable)

    async def _start(self, changing: Changing) -> bool:
        """Whether the configuration came into force before a stop; a full disk below the ledger holds up none."""
        starting = asyncio.ensure_future(changing.to(self._settings))
        stopping = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([starting, stopping], return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                return False
            starting.result()
            return True
        finally:
            starting.cancel()
            stopping.cancel()

    def _sending(self, context: Context, settling: Settling) -> Sending:
        return Sending(
            self._ledger,
            context.rules,
            settling,
            self._clock,
            random=self._random,
            environment=self._environment,
            hostname=socket.gethostname(),
        )

    def _leftovers(self, context: Context) -> Leftovers:
        return Leftovers(
            self._ledger,
            context.writer.awaited,
            clock=self._clock,
            random=self._random,
            open_transport=self._open_transport,
            open_to=context.rules.transport_to,
            carries=lambda file: any(gate.carries(file) for gate in context.rules.gates),
        )

    async def _until_end(
        self,
        context: Context,
        feed: Feed,
        disposing: Disposing,
        leftovers: Leftovers,
        loops: Iterable[Coroutine[Any, Any, None]],
    ) -> DeliveryError | None:
        tasks = [asyncio.ensure_future(loop) for loop in loops]
        stopping = asyncio.ensure_future(self._stop.wait())
        draining = Draining(context, feed, disposing, leftovers)
        watching_done = asyncio.ensure_future(draining.done()) if self._until_done else None
        endings: list[asyncio.Future[Any]] = [
            task for task in (stopping, watching_done, context.broken) if task is not None
        ]
        try:
            await asyncio.wait([*tasks, *endings], return_when=asyncio.FIRST_COMPLETED)
            for task in [*tasks, context.broken]:
                if task.done():
                    task.result()
            if watching_done is not None and watching_done.done():
                self._denied = draining.denied
                return watching_done.result()
            log.info("stopping")
            context.is_stopping = True
            self._give_up_changes()
            await self._finish_what_can(feed, disposing)
            return None
        finally:
            for task in [*tasks, *endings]:
                task.cancel()
            await asyncio.gather(*tasks, *endings, return_exceptions=True)

    async def _finish_what_can(self, feed: Feed, disposing: Disposing) -> None:
        deadline = self._clock.monotonic() + GRACE_SECONDS
        while (feed.in_flight or disposing.waiting) and self._clock.monotonic() < deadline:  # noqa: ASYNC110  # two sources, once
            await asyncio.sleep(0.02)

    def _give_up_changes(self) -> None:
        """The next start sees to it."""
        for change in self._changes:
            change.cancel()

    async def _close(self, context: Context, feed: Feed, changing: Changing) -> None:
        context.is_stopping = True
        self._give_up_changes()
        context.writer.hurry()
        feed.cancel_all()
        await _within_reason(asyncio.gather(*(transport.close() for transport in changing.transports)))
        for watching in context.rules.watchings():
            watching.close()
        await asyncio.sleep(0)
        await _within_reason(feed.collect_now())
        await context.settle_background(_CLOSE_SECONDS)

    async def _summary(self, context: Context, unreachable: DeliveryError | None) -> Summary:
        writer, progress = context.writer, self.progress
        summary = await _within_reason(
            writer.awaited(summarise, self._ledger, progress, unreachable, self._denied)
        )
        if summary is None:
            summary = Summary(progress.files_done, progress.bytes_done, progress.files_removed)
        else:
            await _within_reason(writer.awaited(self._ledger.remember_clock, self._clock.now()))
        writer.stop(_CLOSE_SECONDS / 2)
        log.info(
            "stopped", delivered=summary.delivered, bytes=summary.delivered_bytes, removed=summary.removed
        )
        return summary

    # Commands from outside, on the loop.

    async def retry(self, paths: Iterable[bytes] | None) -> int:
        """Release parked files and hasten retries: those named, or with None all; returns how many."""
        context = self._context
        if context is None:
            return 0
        count = await context.writer.awaited(release, self._ledger, paths, self._clock.now())
        for gate in context.rules.gates:
            gate.probe_at = 0.0
        context.work.set()
        context.due_changed.set()
        if count:
            log.info("released", files=count)
        return count

    async def abort_uploads(self, wanted: Wanted) -> list[Aborted]:
        """Abort uploads that a person names; a file whose upload was under way is sent anew."""
        return [] if self._abort is None else await self._abort(wanted)

    def rescan(self) -> None:
        """Look at everything now."""
        if self._context is not None:
            for rule in self._context.rules:
                if rule.watching is not None:
                    rule.watching.rescan()

    async def reconfigure(self, settings: Settings) -> Difference:
        """Take another configuration over, with the same Name and StateDirectory; returns what is different.

        Rules that are equal in both are not disturbed. It ends once the others are at work, after some
        seconds at most where nothing but a full disk below the ledger is in the way. Raises
        ConfigurationError, with nothing changed, where it cannot be, and Interrupted where we are stopping.
        """
        context, changing = self._context, self._changing
        if context is None or changing is None or context.is_stopping:
            raise Interrupted("it does not run, or not any more")
        change = asyncio.ensure_future(changing.to(settings))
        self._changes.add(change)
        change.add_done_callback(self._changes.discard)
        await asyncio.wait(
            [change]
        )  # whoever waits for it may give up: half a change is worse than a whole one
        if change.cancelled():
            raise Interrupted("the next start takes the configuration over: this run is stopping")
        return change.result()

    # For an update of the device, which is about to stop us.

    def ease(self) -> None:
        """Begin nothing more: no delivery, and of a large file no other part. What is under way lands."""
        self._set_eased(True)

    def go_on(self) -> None:
        """It did not come to that: take up work again."""
        self._set_eased(False)

    def _set_eased(self, is_eased: bool) -> None:
        if is_eased and not self._is_eased:
            log.info("eased", files=self.in_flight.files)
        self._is_eased = is_eased
        if self._context is not None:
            self._context.is_eased = is_eased
            self._context.work.set()

    @property
    def in_flight(self) -> InFlight:
        """How many deliveries are under way. While it is eased those that send become none, soon."""
        if self._feed is None:
            return InFlight(0, 0)
        return self._feed.in_flight_now


async def _within_reason(ending: Awaitable[T]) -> T | None:
    """A step of the end; None where it fails or takes too long: what counts is in the ledger already."""
    step = asyncio.ensure_future(ending)
    await asyncio.wait([step], timeout=_CLOSE_SECONDS)
    if not step.done():
        step.cancel()
        return None
    return None if step.cancelled() or step.exception() is not None else step.result()


def release(ledger: Ledger, paths: Iterable[bytes] | None, now: float) -> int:
    """Parked files settle again and retries happen now: those of the paths, or with None all."""
    wanted = None if paths is None else set(paths)
    queue = Queue(ledger)

    def is_wanted(entry: object) -> bool:
        return wanted is None or getattr(entry, "path", b"") in wanted

    return queue.release_parked(is_wanted, now) + queue.hasten_retries(is_wanted, now)
