"""Feeding the transports: claims what is ready, hands it over, and sorts out how it ended.

One loop fills the gates' room with claims, oldest first and rule by rule in turn, so that a big or a
failing file holds up nobody. Deliveries that ended are dealt with in batches, since each batch costs
a commit: receipts go on to the disposal, failures back into the ledger.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.errors import AccessDenied, DeliveryError, FileChanged, Interrupted, TransferFault
from s3_file_uploader.ledger import Endings, Entry, Sightings, Uploads
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import Checkpoint, Receipt
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.backoff import is_worth_telling
from s3_file_uploader.pipeline.disposal import Taken
from s3_file_uploader.pipeline.gate import DENIED_ALONE, Verdict
from s3_file_uploader.pipeline.pausing import Pauses
from s3_file_uploader.pipeline.saving import Saving
from s3_file_uploader.pipeline.sending import Claim, Ended, Sending
from s3_file_uploader.source.claim import ClaimedSource, Folders
from s3_file_uploader.transport.contract import Delivery

if TYPE_CHECKING:
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.disposing import Disposing
    from s3_file_uploader.pipeline.gate import Gate
    from s3_file_uploader.pipeline.rules import ActiveRule

__all__ = ["Feed", "InFlight"]

_SMALLEST_CLAIM = 64  # while others are in flight: a claim costs a transaction
_MOST_UNDISPOSED = 2048  # receipts whose files are still to be removed, before claiming waits for the disk


class InFlight(NamedTuple):
    """Deliveries under way: `files` all of them, `sending` those that a stop would cut off now."""

    files: int
    sending: int


class Feed:
    """Carries ready files to their transports. Runs on the event loop."""

    def __init__(
        self,
        context: Context,
        sending: Sending,
        disposing: Disposing,
    ) -> None:
        self._context = context
        self._sending = sending
        self._disposing = disposing
        self._pauses = Pauses(context)
        self.folders = Folders(context.edge)
        self._endings = Endings(context.ledger, context.clock.wall)
        self._sightings = Sightings(context.ledger, context.clock.wall)
        self._uploads = Uploads(context.ledger, context.clock.wall)
        self._saving = Saving(context.writer, self._uploads)
        self._running: dict[tuple[tuple[str, str], str], asyncio.Future[Receipt]] = {}  # by store and key
        self._ended: list[tuple[Claim, Receipt | BaseException]] = []
        self._has_ended = asyncio.Event()
        self._turn = 0

    @property
    def in_flight(self) -> int:
        return len(self._running) + len(self._ended)

    @property
    def in_flight_now(self) -> InFlight:
        """In Stream Manager a delivery goes on without us, and is found again: nothing of it is sent twice."""
        waiting = sum(
            len(rule.deliveries) for rule in self._context.rules if rule.setting.transport == "stream-manager"
        )
        return InFlight(len(self._running), len(self._running) - waiting)

    def has(self, rule: ActiveRule) -> bool:
        """Whether a delivery of the rule is under way, or has just ended."""
        return bool(rule.deliveries) or any(claim.rule is rule for claim, _ in self._ended)

    def held(self) -> set[int]:
        """The rows that are in the hands of deliveries, or were a moment ago."""
        running = {number for rule in self._context.rules for number in rule.deliveries.values()}
        return running | {claim.entry.id for claim, _ in self._ended}

    async def run(self) -> None:
        """Until cancelled: claim and hand over."""
        context = self._context
        while True:
            context.work.clear()
            if context.is_stopping or context.is_eased or not await self._fill():
                await context.wait_for_work(self._next_probe_at())

    async def _fill(self) -> int:
        """Claim into the room there is; returns how many deliveries began."""
        began = 0
        rules = list(self._context.rules)
        self._turn += 1
        for offset in range(len(rules)):
            rule = rules[(self._turn + offset) % len(rules)]
            if rule.is_leaving:
                continue
            if rule.tray.count > _MOST_UNDISPOSED:
                continue  # its disk, and no other's, is slow to let files go
            room = self._room(rule.gate)
            if room:
                began += await self._claim(rule, room)
        return began

    def _room(self, gate: Gate) -> int:
        room = gate.admits(self._context.clock.now())
        is_worth_it = room >= min(_SMALLEST_CLAIM, gate.limit // 2) or not gate.in_flight
        return room if is_worth_it else 0

    async def _claim(self, rule: ActiveRule, room: int) -> int:
        but_not = rule.gate.unwanted
        claims = await self._context.writer.awaited(partial(self._sending.claim, rule, room, but_not=but_not))
        if not claims and but_not:  # nobody else can tell: these, when their time has come
            claims = await self._context.writer.awaited(partial(self._sending.claim, rule, room))
        given_back: list[Ended] = []
        for claim in claims:
            if not self._context.may_begin(rule):
                given_back.append(Ended(rule, claim.entry, Verdict.RETURN, Interrupted("not begun")))
            # Of two deliveries to one key at once, the one with the older content might come in last:
            # a file that was replaced waits until what was being sent of it has ended.
            elif (rule.store, claim.key) in self._running:
                error = FileChanged("still being sent as it was")
                given_back.append(Ended(rule, claim.entry, Verdict.RESETTLE, error))
            else:
                self._begin(claim)
        if given_back:
            await self._context.writer.awaited(self._sending.judge, given_back)
            self._context.due_changed.set()
        return len(claims)

    def _begin(self, claim: Claim) -> None:
        rule, entry, setting = claim.rule, claim.entry, claim.rule.setting
        rule.gate.begin(entry.id, self._context.clock.now())
        source = ClaimedSource(
            self._context.edge,
            entry.folder,
            rule.base,
            entry.name,
            entry.fingerprint,
            setting.follow_symlinks,
            claim.needs_proof,
            self.folders,
        )
        delivery = Delivery(
            entry.id,
            source,
            setting.bucket_name,
            claim.key,
            partial(self._save, claim),
            claim.checkpoint,
            self._context.progress.sent,
            partial(self._give_up, entry),
            lambda: not self._context.may_begin(rule),
        )
        future = asyncio.ensure_future(rule.transport.deliver(delivery))
        rule.deliveries[future] = entry.id
        self._running[rule.store, claim.key] = future
        self._context.progress.in_flight = len(self._running)
        future.add_done_callback(partial(self._note_end, claim))
        if log.is_detailed:
            log.debug("sending", rule=rule.name, path=entry.path, key=claim.key, size=entry.fingerprint.size)

    async def _save(self, claim: Claim, checkpoint: Checkpoint | None) -> None:
        await self._saving.save((claim.entry, checkpoint, claim.rule.place))

    async def _give_up(self, entry: Entry, reason: str) -> None:
        await self._context.writer.awaited(self._uploads.give_up, [entry.id], reason, durable=True)

    def _note_end(self, claim: Claim, future: asyncio.Future[Receipt]) -> None:
        del self._running[claim.rule.store, claim.key]
        del claim.rule.deliveries[future]
        self._context.progress.in_flight = len(self._running)
        if future.cancelled():
            self._ended.append((claim, Interrupted("the delivery was stopped")))
        else:
            self._ended.append((claim, future.exception() or future.result()))
        self._has_ended.set()

    async def collect(self) -> None:
        """Until cancelled: deal with what ended."""
        while True:
            await self._has_ended.wait()
            await self.collect_now()

    async def collect_now(self) -> None:
        """Deal with all that has ended so far."""
        self._has_ended.clear()
        ended, self._ended = self._ended, []
        proven: list[Taken] = []
        failed: list[Ended] = []
        for claim, result in ended:
            if isinstance(result, Receipt):
                self._succeed(claim)
                proven.append(Taken(claim.rule, claim.entry, result))
            else:
                failed.append(self._fail(claim, result))
        self._context.work.set()
        self._disposing.take(proven)
        if failed:
            await self._write_failures(failed)

    def _succeed(self, claim: Claim) -> None:
        rule, gate = claim.rule, claim.rule.gate
        was_paused = gate.is_paused
        guilty = gate.succeed(claim.entry.id, self._context.clock.now())
        if was_paused and not gate.is_paused:
            self._pauses.over(rule)
        if guilty:
            self._context.background(self._convict(guilty))

    async def _convict(self, numbers: list[int]) -> None:
        parked = await self._context.writer.awaited(self._convict_now, numbers)
        for entry in parked:
            self._context.progress.parked += 1
            log.error(
                "parked",
                rule=self._context.name_of(entry),
                path=entry.path,
                reason=entry.reason,
                advice=AccessDenied.advice,
            )

    def _convict_now(self, numbers: list[int]) -> list[Entry]:
        entries = [
            entry._replace(reason=f"{DENIED_ALONE}: {entry.reason}")
            for entry in self._sightings.entries(numbers)
            if entry.state is State.READY
        ]
        for entry in entries:
            self._endings.park([entry], entry.reason)
        return entries

    def _fail(self, claim: Claim, error: BaseException) -> Ended:
        rule, entry, gate = claim.rule, claim.entry, claim.rule.gate
        if not isinstance(error, DeliveryError):
            # A bug in a transport must not stop the daemon nor lose the file.
            log.error("failed", path=entry.path, error=f"{type(error).__name__}: {error}")
            error = TransferFault(f"unexpected {type(error).__name__}: {error}")
        was_paused, limit = gate.is_paused, gate.limit
        verdict = gate.fail(entry.id, error, self._context.clock.now())
        if gate.limit < limit:
            log.info("slowed", rule=rule.name, bucket=rule.setting.bucket_name, files=gate.limit)
        if gate.is_paused:
            self._pauses.note(rule, was_paused=was_paused)
        return Ended(rule, entry, verdict, error, gate.probe_at if gate.is_paused else 0.0)

    async def _write_failures(self, failed: list[Ended]) -> None:
        for one in await self._context.writer.awaited(self._sending.judge, failed):
            self._tell_failure(one)
        self._context.work.set()
        self._context.due_changed.set()

    def _tell_failure(self, one: Ended) -> None:
        rule = one.rule
        if one.verdict in (Verdict.RESETTLE, Verdict.GONE):
            self._context.look_again(one.entry)
        elif one.state is State.PARKED:
            self._context.progress.parked += 1
            log.error(
                "parked", rule=rule.name, path=one.entry.path, reason=str(one.error), advice=one.error.advice
            )
        elif one.new_key is not None:
            log.info("renamed", rule=rule.name, path=one.entry.path, key=one.new_key, reason=str(one.error))
        elif one.verdict in (Verdict.RETRY, Verdict.SUSPECT) and one.retry_at is not None:
            self._context.progress.failures += 1
            # While the destination is paused the pause has been told, and this file was its probe.
            is_told = rule.gate.is_paused
            attempt = one.entry.attempts + 1
            tell = log.warning if not is_told and is_worth_telling(attempt) else log.debug
            tell(
                "retry",
                rule=rule.name,
                path=one.entry.path,
                error=str(one.error),
                attempt=attempt,
                wait_seconds=round(one.retry_at - self._context.clock.now(), 1),
            )

    def _next_probe_at(self) -> float | None:
        """The next time that a pause allows a probe. One that is overdue waits for a file, not for a time."""
        now = self._context.clock.now()
        times = [gate.next_probe_at() for gate in self._context.rules.gates]
        return min((at for at in times if at is not None and at > now), default=None)

    async def stop(self, store: tuple[str, str], key: str) -> None:
        """End a delivery, if it is under way; its file is ready again soon."""
        if (future := self._running.get((store, key))) is not None:
            future.cancel()
            await asyncio.wait([future])

    def cancel_all(self) -> None:
        """Ask every running delivery to stop and keep its checkpoint."""
        for future in list(self._running.values()):
            future.cancel()

    def cancel(self, rule: ActiveRule) -> None:
        """The same for those of one rule."""
        for future in list(rule.deliveries):
            future.cancel()
