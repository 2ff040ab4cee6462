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

from s3_file_uploader.config import files_in_flight, place_of
from s3_file_uploader.ledger import Endings, Intent, Ledger, Queue, Sightings
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.clock import Clock
from s3_file_uploader.pipeline.context import Context
from s3_file_uploader.pipeline.deciding import Deciding
from s3_file_uploader.pipeline.disposal import Disposal
from s3_file_uploader.pipeline.disposing import Disposing
from s3_file_uploader.pipeline.feed import Feed
from s3_file_uploader.pipeline.gate import Gate
from s3_file_uploader.pipeline.leftovers import Aborted, Leftovers, Wanted
from s3_file_uploader.pipeline.outcome import is_done, summarise
from s3_file_uploader.pipeline.progress import Progress, Summary
from s3_file_uploader.pipeline.recovery import Recovery
from s3_file_uploader.pipeline.rules import ActiveRule, active_rules
from s3_file_uploader.pipeline.sending import Sending
from s3_file_uploader.pipeline.settling import Settling
from s3_file_uploader.pipeline.threads import LedgerThread, Worker
from s3_file_uploader.pipeline.upkeep import Upkeep
from s3_file_uploader.pipeline.watching import Watching
from s3_file_uploader.source.edge import Edge

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.errors import DeliveryError
    from s3_file_uploader.transport.contract import Transport

__all__ = ["Uploader"]

T = TypeVar("T")
_ENOUGH_CLAIMED = 256
# What waits in Stream Manager holds no descriptor here. A large file holds up those behind it in its stream,
# and those of no other stream as long as there are enough of them.
_MOST_HANDED_OVER = 1024
_GRACE_SECONDS = 5.0  # for what can still finish after a stop
_CLOSE_SECONDS = (
    1.5  # for each step of the end: a hung disk, or a full one below the ledger, holds up no exit
)
_GIVE_UP_SECONDS = 30.0  # a drain whose destination answers nothing for so long ends


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
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._open_transport = transports
        self._until_done = until_done
        self._include_active = include_active
        self._edge = edge or Edge()
        self._clock = clock or Clock()
        self._random = random
        self._environment = os.environ if environment is None else environment
        self._stop = asyncio.Event()
        self._context: Context | None = None
        self._watchings: list[Watching] = []
        self._abort: Callable[[Wanted], Awaitable[list[Aborted]]] | None = None
        self._denied: list[int] = []  # ids of files that were denied, when a drain ended
        self.progress = Progress()

    def stop(self) -> None:
        """Stop taking work, let what can finish soon finish, save, and end `run`. From the loop's thread."""
        self._stop.set()

    async def run(self) -> Summary:
        """Until stopped, or for a drain until everything that can go has gone."""
        context = self._context = self._prepare()
        transports = {
            rule.destination: self._open_transport(rule.setting)
            for rule in {rule.destination: rule for rule in context.rules}.values()
        }
        looking = {rule.id: Worker(f"look-{rule.name}") for rule in context.rules}
        disposing_threads = {rule.id: Worker(f"dispose-{rule.name}") for rule in context.rules}
        disposal = Disposal(self._ledger, context.rules, self._edge, self._clock, self._random)
        disposing = Disposing(context, disposal, disposing_threads, self._look_again)
        settling = Settling(self._ledger, context.rules, self._clock, include_active=self._include_active)
        sending = Sending(
            self._ledger,
            context.rules,
            settling,
            self._clock,
            random=self._random,
            environment=self._environment,
            hostname=socket.gethostname(),
        )
        feed = Feed(context, sending, disposing, transports, self._look_again)
        leftovers = Leftovers(
            self._ledger,
            context.writer.awaited,
            clock=self._clock,
            random=self._random,
            open_transport=self._open_transport,
            transports={place_of(rule.setting): transports[rule.destination] for rule in context.rules},
            carries=lambda file: any(gate.carries(file) for gate in context.gates.values()),
        )
        self._abort = partial(leftovers.abort, stop=feed.stop)
        recovery = Recovery(self._ledger, context.writer, self._edge, disposal, self._clock)
        self._watchings = [Watching(context, rule, looking[rule.id], recovery) for rule in context.rules]
        log.info("started", files=None, rule=", ".join(rule.name for rule in context.rules))
        try:
            await context.writer.awaited(Queue(self._ledger).interrupt_all)
            for rule in context.rules:
                context.background(self._recover(context, recovery, disposing, disposing_threads, rule))
            await disposing.take_up()
            loops = [watching.run() for watching in self._watchings]
            loops += [
                feed.run(),
                feed.collect(),
                Deciding(context, settling, disposing, looking).run(),
                Upkeep(context, disposing, recovery, feed).run(),
                leftovers.run(),
            ]
            unreachable = await self._until_end(context, feed, disposing, leftovers, loops)
        finally:
            await self._close(context, feed, transports)
        return await self._summary(context, unreachable)

    def _prepare(self) -> Context:
        ledger, settings = self._ledger, self._settings
        self._clock.begin(ledger.running_clock_start())
        with ledger.transaction():
            sightings = Sightings(ledger)
            for name in ledger.register_rules([rule.name for rule in settings.rules]):
                sightings.drop_rule(name)
            Endings(ledger).forget_pauses()
            rules = active_rules(settings, ledger.rule_ids)
            for rule in rules:
                sightings.reselect(rule.id, rule.selected_by, rule.takes)
            for number in ledger.rule_ids.values():
                sightings.release_rule(number, self._clock.now())
            self.progress.files_found, self.progress.bytes_found = Queue(ledger).backlog()
        gates = {
            rule.destination: Gate(
                rule.setting.retry_backoff_seconds,
                rule.setting.retry_backoff_max_seconds,
                self._random,
                self._most_in_flight(rule),
            )
            for rule in rules
        }
        return Context(
            settings, ledger, LedgerThread(ledger), self._edge, self._clock, rules, gates, self.progress
        )

    def _most_in_flight(self, rule: ActiveRule) -> int:
        """More than can be sent at once: the next are opened while the ledger still writes down the last."""
        if rule.setting.transport == "stream-manager" and not self._settings.concurrency:
            return _MOST_HANDED_OVER
        sent = self._settings.concurrency or files_in_flight()
        return max(2 * sent, min(8 * sent, _ENOUGH_CLAIMED))

    def _look_again(self, rule: ActiveRule, folder: bytes, name: bytes) -> None:
        next(one for one in self._watchings if one.rule is rule).look_at(folder, name)

    async def _recover(
        self,
        context: Context,
        recovery: Recovery,
        disposing: Disposing,
        threads: Mapping[int, Worker],
        rule: ActiveRule,
    ) -> None:
        """Put right what a dead process left of a rule; a hung disk of one rule holds up no other.

        The first rule also sees to what rules left that are gone from the configuration.
        """
        others = {one.name for one in context.rules if one is not rule}
        is_first = rule is context.rules[0]

        def is_ours(intent: Intent) -> bool:
            return intent.rule == rule.name or (is_first and intent.rule not in others)

        for disposed in await threads[rule.id].call(recovery.conclude_intents, is_ours):
            if disposed.left_hidden is not None:
                disposing.left_hidden.add(disposed.left_hidden)
            log.info(
                "recovered", path=disposed.entry.path, state=disposed.state.value, reason=disposed.reason
            )
        disposing.tell_put_aside()
        context.due_changed.set()

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
        watching_done = (
            asyncio.ensure_future(self._done(context, feed, disposing, leftovers))
            if self._until_done
            else None
        )
        endings: list[asyncio.Future[Any]] = [
            task for task in (stopping, watching_done, context.broken) if task is not None
        ]
        try:
            await asyncio.wait([*tasks, *endings], return_when=asyncio.FIRST_COMPLETED)
            for task in [*tasks, context.broken]:
                if task.done():
                    task.result()
            if watching_done is not None and watching_done.done():
                return watching_done.result()
            log.info("stopping")
            context.is_stopping = True
            await self._finish_what_can(feed, disposing)
            return None
        finally:
            for task in [*tasks, *endings]:
                task.cancel()
            await asyncio.gather(*tasks, *endings, return_exceptions=True)

    async def _finish_what_can(self, feed: Feed, disposing: Disposing) -> None:
        deadline = self._clock.monotonic() + _GRACE_SECONDS
        while (feed.in_flight or disposing.waiting) and self._clock.monotonic() < deadline:  # noqa: ASYNC110  # two sources, once
            await asyncio.sleep(0.02)

    async def _done(
        self, context: Context, feed: Feed, disposing: Disposing, leftovers: Leftovers
    ) -> DeliveryError | None:
        """For a drain: returns once nothing more can go, with the error of a destination that is given up."""
        while True:  # asked ten times a second, and only in a drain: many things may end it
            await asyncio.sleep(0.1)
            if (error := self._given_up(context)) is not None:
                return error
            if (
                len(self.progress.looked_at) < len(context.rules)
                or feed.in_flight
                or disposing.waiting
                or context.has_background
                or any(watching.has_pending for watching in self._watchings)
            ):
                continue
            doubtful = [gate for gate in context.gates.values() if gate.is_of_one]
            but_for = [file for gate in doubtful for file in gate.suspects]
            if await context.writer.awaited(is_done, self._ledger, self._clock, but_for):
                await leftovers.round()
                self._denied = but_for
                return next((gate.error for gate in doubtful if gate.last_success_at is None), None)

    def _given_up(self, context: Context) -> DeliveryError | None:
        """Why a destination is not waited for; one that denied a single file may take the others."""
        for gate in context.gates.values():
            if gate.is_paused and gate.error is not None and not gate.is_of_one:
                waited = self._clock.now() - gate.since
                if not gate.error.retryable or waited > _GIVE_UP_SECONDS:
                    return gate.error
        return None

    async def _close(self, context: Context, feed: Feed, transports: Mapping[str, Transport]) -> None:
        context.is_stopping = True
        context.writer.hurry()
        feed.cancel_all()
        await _within_reason(asyncio.gather(*(transport.close() for transport in transports.values())))
        for watching in self._watchings:
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
        for gate in context.gates.values():
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
        for watching in self._watchings:
            watching.rescan()


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
