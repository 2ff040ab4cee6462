"""From one configuration to another while everything runs; to start is to come from none.

The new transports are opened first: where one cannot be, nothing has changed. Then all rules that leave,
because they are gone or other than before, are brought to rest; then one transaction leads the ledger's
rows to the rules that come; then those begin. A rule that stays as it is notices nothing, and nobody
waits for a disk that hangs: what hangs keeps its old rule, and finds itself outlived.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import Settings, difference, files_in_flight
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.ledger import Endings, Queue, Sightings
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.gate import Gate
from s3_file_uploader.pipeline.rules import ActiveRule, destination_of, pauses_with
from s3_file_uploader.pipeline.watching import Watching

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s3_file_uploader.config import Difference, Rule
    from s3_file_uploader.ledger import Intent, Ledger
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.disposing import Disposing
    from s3_file_uploader.pipeline.feed import Feed
    from s3_file_uploader.pipeline.recovery import Recovery
    from s3_file_uploader.transport.contract import Transport

__all__ = ["GRACE_SECONDS", "Changing"]

GRACE_SECONDS = 5.0  # for what can still finish
_REST_SECONDS = 2.0  # after that: for what was cancelled to be written down
_CLOSE_SECONDS = 2.0
_LOOK_SECONDS = 0.02
_ENOUGH_CLAIMED = 256
# What waits in Stream Manager holds no descriptor here. A large file holds up those behind it in its stream,
# and those of no other stream as long as there are enough of them.
_MOST_HANDED_OVER = 1024


@dataclass(frozen=True, slots=True)
class _Plan:
    settings: Settings
    staying: list[ActiveRule]
    leaving: list[ActiveRule]
    coming: list[ActiveRule]


class Changing:
    """Runs on the event loop.

    `adjust` is told of each configuration whose transports could be opened; `write_down` is called in
    the transaction with which it comes into force.
    """

    def __init__(
        self,
        context: Context,
        feed: Feed,
        disposing: Disposing,
        recovery: Recovery,
        *,
        open_transport: Callable[[Rule], Transport],
        adjust: Callable[[Settings], None],
        random: Callable[[], float],
        write_down: Callable[[Ledger, Settings], None],
    ) -> None:
        self._context = context
        self._feed = feed
        self._disposing = disposing
        self._recovery = recovery
        self._open_transport = open_transport
        self._adjust = adjust
        self._random = random
        self._write_down = write_down
        self._settings: Settings | None = None
        self._one_at_a_time = asyncio.Lock()
        self.transports: list[Transport] = []  # all that are open

    async def to(self, settings: Settings) -> Difference:
        """Raises ConfigurationError, with nothing changed, where it cannot be."""
        async with self._one_at_a_time:
            before = self._settings or Settings(settings.name, settings.state_directory, ())
            _check_place(before, settings)
            found = difference(before, settings)
            if self._settings is not None and not found:
                return found
            plan = await self._plan(settings)
            if self._settings is None:
                log.info("started", rule=", ".join(rule.name for rule in settings.rules))
            await self._carry_out(plan)
            if self._settings is not None:
                log.info(
                    "reconfigured",
                    added=", ".join(found.added) or None,
                    removed=", ".join(found.removed) or None,
                    changed=found.changes_in_words() or None,
                )
            self._settings = settings
            return found

    async def _carry_out(self, plan: _Plan) -> None:
        try:
            await self._bring_to_rest(plan.leaving)
            await self._close_unused(plan)
            await self._enter(plan)
        except Exception as error:
            # Rules are at rest and nothing would wake them: the run ends, and whoever runs us starts anew.
            if not self._context.is_stopping and not self._context.broken.done():
                self._context.broken.set_exception(error)
            raise

    # -- opening

    async def _plan(self, settings: Settings) -> _Plan:
        wanted = {rule.name: rule for rule in settings.rules}
        staying = [rule for rule in self._context.rules if wanted.get(rule.name) == rule.setting]
        leaving = [rule for rule in self._context.rules if rule not in staying]
        names = {rule.name for rule in staying}
        settings_of_coming = [rule for rule in settings.rules if rule.name not in names]
        transports = await self._open(settings_of_coming)
        gates = {pauses_with(rule.setting): rule.gate for rule in self._context.rules}
        coming = [
            ActiveRule(
                rule,
                destination_of(rule, settings.rules),
                gates.setdefault(pauses_with(rule), self._new_gate(rule, settings)),
                transport,
            )
            for rule, transport in zip(settings_of_coming, transports, strict=True)
        ]
        return _Plan(settings, staying, leaving, coming)

    async def _open(self, rules: Iterable[Rule]) -> list[Transport]:
        opened: list[Transport] = []
        try:
            for rule in rules:
                opened.append(self._open_transport(rule))  # noqa: PERF401  # what was opened before an error is closed
        except BaseException:
            await self._close(one for one in opened if not _is_among(one, self.transports))
            raise
        for transport in opened:
            if not _is_among(transport, self.transports):
                self.transports.append(transport)
        return opened

    def _new_gate(self, rule: Rule, settings: Settings) -> Gate:
        return Gate(
            rule.retry_backoff_seconds,
            rule.retry_backoff_max_seconds,
            self._random,
            _most_in_flight(rule, settings),
        )

    # -- leaving

    async def _bring_to_rest(self, leaving: Sequence[ActiveRule]) -> None:
        """Nothing new is begun; what is under way may finish for a while, and is then stopped with its checkpoint."""
        for rule in leaving:
            rule.is_leaving = True
            if rule.watching is not None:
                rule.watching.leave()
        await self._rest(leaving, GRACE_SECONDS)
        for rule in leaving:
            self._feed.cancel(rule)
        await self._rest(leaving, _REST_SECONDS)

    async def _rest(self, leaving: Sequence[ActiveRule], most_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + most_seconds
        while any(map(self._is_busy, leaving)) and loop.time() < until:  # noqa: ASYNC110  # two sources, now and then
            await asyncio.sleep(_LOOK_SECONDS)

    def _is_busy(self, rule: ActiveRule) -> bool:
        return self._feed.has(rule) or bool(rule.tray.count)

    async def _close_unused(self, plan: _Plan) -> None:
        used = [rule.transport for rule in (*plan.staying, *plan.coming)]
        unused = [one for one in self.transports if not _is_among(one, used)]
        self.transports = [one for one in self.transports if _is_among(one, used)]
        await self._close(unused)

    async def _close(self, transports: Iterable[Transport]) -> None:
        """One whose thread hangs in the disk takes longer: nobody waits for it."""
        closing = [self._context.for_long(one.close()) for one in transports]
        if closing:
            await asyncio.wait(closing, timeout=_CLOSE_SECONDS)

    # -- coming

    async def _enter(self, plan: _Plan) -> None:
        context, is_start = self._context, self._settings is None
        in_force = (*plan.staying, *plan.coming)
        names = {rule.gate: destination_of(rule.setting, plan.settings.rules) for rule in in_force}
        renamed = {rule.destination: names[rule.gate] for rule in context.rules if rule.gate in names}
        held = self._disposing.busy | self._feed.held()
        await context.writer.awaited(self._rearrange, plan, renamed, held, is_start)
        self._adjust(plan.settings)
        self._rename(plan, renamed)
        self._resize(plan)
        context.rules.replace(sorted(in_force, key=_place_in(plan.settings)))
        for rule in plan.leaving:
            rule.looking.retire()
            rule.disposing.retire()
        for rule in plan.coming:
            self._begin(rule, is_start=is_start)
        await self._disposing.take_up()
        context.work.set()
        context.due_changed.set()

    def _rearrange(self, plan: _Plan, renamed: dict[str, str], held: set[int], is_start: bool) -> None:
        """In the ledger's thread, in one transaction; again from the beginning if that is rolled back."""
        ledger, now = self._context.ledger, self._context.clock.now()
        sightings, queue = Sightings(ledger), Queue(ledger)
        if is_start:
            queue.interrupt_all()
        for name in ledger.register_rules([rule.name for rule in plan.settings.rules]):
            sightings.drop_rule(name, but_not=held)
        for rule in plan.coming:
            rule.id = ledger.rule_ids[rule.name]
            rule.started_at = now
            sightings.reselect(rule.id, rule.selected_by, rule.takes)
            sightings.release_rule(rule.id, now)
        Endings(ledger).keep_pauses(renamed)
        self._write_down(ledger, plan.settings)
        progress = self._context.progress
        files, size = queue.backlog()
        progress.files_found, progress.bytes_found = progress.files_done + files, progress.bytes_done + size

    def _rename(self, plan: _Plan, renamed: dict[str, str]) -> None:
        """What is told of the rules and destinations that are left."""
        for rule in plan.staying:
            rule.destination = renamed[rule.destination]
        progress = self._context.progress
        progress.paused = {renamed[name]: why for name, why in progress.paused.items() if name in renamed}
        for rule in plan.leaving:
            progress.looked_at.discard(rule.name)
            progress.troubles.pop(rule.name, None)
            progress.unmatched.discard(rule.setting.path_name)

    def _resize(self, plan: _Plan) -> None:
        for rule in (*plan.staying, *plan.coming):
            rule.gate.first_seconds = rule.setting.retry_backoff_seconds
            rule.gate.longest_seconds = rule.setting.retry_backoff_max_seconds
            rule.gate.resize(_most_in_flight(rule.setting, plan.settings))

    def _begin(self, rule: ActiveRule, *, is_start: bool) -> None:
        others = {one.name for one in self._context.rules if one is not rule}
        sees_to_others = is_start and rule is next(iter(self._context.rules))

        def is_ours(intent: Intent) -> bool:
            """The first rule at start also sees to what rules left that are gone from the configuration."""
            if intent.file in self._disposing.busy:
                return False
            return intent.rule == rule.name or (sees_to_others and intent.rule not in others)

        self._context.background(self._recover(rule, is_ours))
        rule.watching = Watching(self._context, rule, self._recovery)
        rule.watching.begin()

    async def _recover(self, rule: ActiveRule, is_ours: Callable[[Any], bool]) -> None:
        """Put right what a dead process left of a rule; a hung disk of one rule holds up no other."""
        for disposed in await rule.disposing.call(self._recovery.conclude_intents, is_ours):
            if disposed.left_hidden is not None:
                self._disposing.left_hidden.add(disposed.left_hidden)
            log.info(
                "recovered", path=disposed.entry.path, state=disposed.state.value, reason=disposed.reason
            )
        self._disposing.tell_put_aside()
        self._context.due_changed.set()


def _check_place(before: Settings, after: Settings) -> None:
    for key, was, now in (
        ("Name", before.name, after.name),
        ("StateDirectory", before.state_directory, after.state_directory),
    ):
        if was != now:
            raise ConfigurationError(
                f"{key} is {was} and cannot become {now} while it runs: the ledger lies there",
                advice="Restart it with the other configuration.",
            )


def _is_among(transport: Transport, transports: Iterable[Transport]) -> bool:
    return any(one is transport for one in transports)


def _place_in(settings: Settings) -> Callable[[ActiveRule], int]:
    places = {rule.name: place for place, rule in enumerate(settings.rules)}
    return lambda rule: places[rule.name]


def _most_in_flight(rule: Rule, settings: Settings) -> int:
    """More than can be sent at once: the next are opened while the ledger still writes down the last."""
    if rule.transport == "stream-manager" and not settings.concurrency:
        return _MOST_HANDED_OVER
    sent = settings.concurrency or files_in_flight()
    return max(2 * sent, min(8 * sent, _ENOUGH_CLAIMED))
