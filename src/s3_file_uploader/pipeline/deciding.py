"""The loop that decides: whenever some file's time has come, whether it may go.

It also takes up removals that are to be tried again, since they wait for a time in the same way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Queue
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.context import wait_for
from s3_file_uploader.pipeline.settling import NOT_LOOKED_AT_YET, look_at_markers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s3_file_uploader.ledger import Settled, Waiting
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.disposing import Disposing
    from s3_file_uploader.pipeline.settling import Settling
    from s3_file_uploader.pipeline.threads import Worker
    from s3_file_uploader.source.readiness import Marker

__all__ = ["Deciding"]


class Deciding:
    """Runs on the event loop; `looking` has the looking thread of each rule, for done markers."""

    def __init__(
        self, context: Context, settling: Settling, disposing: Disposing, looking: Mapping[int, Worker]
    ) -> None:
        self._context = context
        self._settling = settling
        self._disposing = disposing
        self._looking = looking
        self._rules = {rule.id: rule for rule in context.rules}
        self._told_held: set[tuple[str, str]] = set()

    async def run(self) -> None:
        """Until cancelled."""
        context, queue = self._context, Queue(self._context.ledger)
        while True:
            context.due_changed.clear()
            waiting = await context.writer.awaited(self._settling.waiting)
            if waiting:
                await self._decide(waiting)
            context.work.set()
            await self._disposing.take_up()
            if waiting:
                continue  # there may be more
            due_at = await context.writer.awaited(queue.next_due)
            await wait_for(
                context.due_changed, None if due_at is None else max(0.0, due_at - context.clock.now())
            )

    async def _decide(self, waiting: list[Waiting]) -> None:
        markers: dict[int, Marker] = {}
        for number, entries in self._settling.needs_markers(waiting).items():
            rule = self._rules[number]
            looked = self._looking[number].call(look_at_markers, self._context.edge, rule, entries)
            markers.update(await looked)
        self._tell_held(await self._context.writer.awaited(self._settling.decide, waiting, markers))

    def _tell_held(self, decisions: Iterable[Settled]) -> None:
        """The first time that a rule holds files back, and why: whoever runs it on one file must be told."""
        held: dict[tuple[str, str], int] = {}
        for decision in decisions:
            if not decision.is_ready and decision.due_at is None and decision.reason != NOT_LOOKED_AT_YET:
                place = (self._context.rule(decision.entry).name, decision.reason)
                held[place] = held.get(place, 0) + 1
        for place, files in held.items():
            tell = log.debug if place in self._told_held else log.info
            self._told_held.add(place)
            tell("held", rule=place[0], files=files, reason=place[1])
