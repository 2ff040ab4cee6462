"""The loop that decides: whenever some file's time has come, whether it may go.

It also takes up removals that are to be tried again, since they wait for a time in the same way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Queue
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.context import wait_for
from s3_file_uploader.pipeline.settling import NOT_LOOKED_AT_YET, look_at_markers

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3_file_uploader.ledger import Entry, Settled, Waiting
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.disposing import Disposing
    from s3_file_uploader.pipeline.rules import ActiveRule
    from s3_file_uploader.pipeline.settling import Settling
    from s3_file_uploader.source.readiness import Marker

__all__ = ["Deciding"]


_MARKERS_SECONDS = 2.0  # a disk that says nothing about done markers for so long is not waited for


class Deciding:
    """Runs on the event loop; done markers are looked at in the looking thread of their rule."""

    def __init__(self, context: Context, settling: Settling, disposing: Disposing) -> None:
        self._context = context
        self._settling = settling
        self._disposing = disposing
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
        for rule, entries in self._settling.needs_markers(waiting).items():
            markers.update(await self._markers(rule, entries))
        self._tell_held(await self._context.writer.awaited(self._settling.decide, waiting, markers))

    async def _markers(self, rule: ActiveRule, entries: list[Entry]) -> dict[int, Marker]:
        """Nothing where the rule's disk hangs: other rules' files do not wait for it."""
        if rule.markers is not None and not rule.markers.done():
            return {}
        rule.markers = looked = rule.looking.call(look_at_markers, self._context.edge, rule, entries)
        await asyncio.wait([looked], timeout=_MARKERS_SECONDS)
        return looked.result() if looked.done() else {}

    def _tell_held(self, decisions: Iterable[Settled]) -> None:
        """The first time that a rule holds files back, and why: whoever runs it on one file must be told."""
        held: dict[tuple[str, str], int] = {}
        for decision in decisions:
            if not decision.is_ready and decision.due_at is None and decision.reason != NOT_LOOKED_AT_YET:
                place = (self._context.name_of(decision.entry), decision.reason)
                held[place] = held.get(place, 0) + 1
        for place, files in held.items():
            tell = log.debug if place in self._told_held else log.info
            self._told_held.add(place)
            tell("held", rule=place[0], files=files, reason=place[1])
