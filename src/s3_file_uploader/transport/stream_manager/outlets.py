"""The streams of one rule: found, made where they are not there, brought up to date; never deleted at start.

There is nothing to remember about them. Whoever lists the streams finds the rule's by their names, and
a stream that is made has a name that never was (`streams.py`), so a Stream Manager that was wiped shows
as one without our streams. A part of the rule has one stream at a time: another takes its place only
once that one has nothing left to do or has been deleted, which ends its tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from s3_file_uploader.errors import Misconfigured, Unreachable
from s3_file_uploader.transport.stream_manager.streams import StreamName, part_of, rule_digest
from s3_file_uploader.transport.stream_manager.values import NoStream, Refusal, StreamPlan, StreamState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from s3_file_uploader.transport.stream_manager.link import Link

__all__ = ["Outlet", "Outlets", "Shape"]

_log = logging.getLogger(__name__)
_SEGMENT_BYTES = 1 << 20  # space comes back a segment at a time
_SEGMENTS_AT_LEAST = 8
_SMALLEST_BYTES = 1024  # of a segment and of a stream: Stream Manager's limit
_STATUS_BYTES = 32 << 20  # some 60 000 statuses; of those that were overwritten unread the watchdog knows
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Shape:
    """What the settings say of a rule's streams. `max_size` is of each, in bytes."""

    parts: int = 4
    max_size: int = 256 << 20
    flush_on_write: bool = True

    def plan(self, name: str, status_stream: str) -> StreamPlan:
        segment = max(_SMALLEST_BYTES, min(_SEGMENT_BYTES, self.max_size // _SEGMENTS_AT_LEAST))
        return StreamPlan(
            name, self.max_size, segment, self.flush_on_write, overwrites=False, status_stream=status_stream
        )


@dataclass(slots=True, eq=False)
class Outlet:
    """The stream that takes the tasks of a part of the files. `newest` is the last number we know of."""

    part: int
    name: str
    newest: int
    oldest: int = 0


class Outlets:
    """`on_lost(stream, newest)` hears that a stream has nothing after `newest` any more, though it had."""

    def __init__(
        self,
        link: Link,
        owner: str,
        rule: str,
        bucket: str,
        shape: Shape,
        *,
        on_lost: Callable[[str, int], None],
        nonce: Callable[[], str] = lambda: secrets.token_hex(4),
    ) -> None:
        self._link = link
        self._owner = owner
        self._rule = rule
        self._bucket = bucket
        self._digest = rule_digest(rule, bucket)
        self._shape = shape
        self._on_lost = on_lost
        self._nonce = nonce
        self._epoch = 0
        self._changes = asyncio.Lock()
        self._outlets: list[Outlet] = []
        self.status_stream = ""
        self.status_newest = -1  # of the status stream, when it was last looked at
        self.looks = 0  # how often that was

    def of(self, path: bytes) -> Outlet:
        return self._outlets[part_of(path, len(self._outlets))]

    def named(self, stream: str) -> Outlet | None:
        return next((outlet for outlet in self._outlets if outlet.name == stream), None)

    def forget(self) -> None:
        """Something is not as it was: look before the next use."""
        self._epoch = 0

    async def ready(self) -> None:
        """Once for each line: all streams are there and as the settings want them."""
        if self._epoch and self._epoch == self._link.epoch:
            return
        async with self._changes:
            if self._epoch and self._epoch == self._link.epoch:
                return
            for _ in range(_TRIES):
                try:
                    self._epoch = await self._look()
                except NoStream:  # somebody removed one meanwhile
                    continue
                except Refusal as error:
                    raise Misconfigured(
                        f"Stream Manager refuses our streams: {error}",
                        advice="Look at StreamMaxSize, and at Stream Manager's log and disk.",
                    ) from error
                return
            raise Unreachable("the streams vanish as fast as they are made", advice="Who removes them?")

    async def _look(self) -> int:
        names = [StreamName.parse(name) for name in await self._link.names()]
        epoch = self._link.epoch
        ours = [one for one in names if one and (one.owner, one.digest) == (self._owner, self._digest)]
        await self._find_status_stream([str(one) for one in ours if one.is_status])
        described = await self._describe([one for one in ours if not one.is_status])
        parts = await self._count_parts(described)
        before = {outlet.name: outlet.newest for outlet in self._outlets}
        self._outlets = [await self._settle(part, parts, described) for part in range(parts)]
        after = {outlet.name: outlet.newest for outlet in self._outlets}
        for name, newest in before.items():
            if after.get(name, -1) < newest:
                _log.info("Stream Manager has lost what was in the stream %s: it is handed over again", name)
                self._on_lost(name, after.get(name, -1))
        return epoch

    async def _describe(self, names: Iterable[StreamName]) -> dict[StreamName, StreamState]:
        listed = sorted(names, key=str)
        states = await asyncio.gather(*(self._link.describe(str(name)) for name in listed))
        return dict(zip(listed, states, strict=True))

    async def _find_status_stream(self, found: list[str]) -> None:
        segment = _SEGMENT_BYTES
        name = min(found, default="") or str(self._new_name())
        plan = StreamPlan(name, _STATUS_BYTES, segment, flush_on_write=False, overwrites=True)
        if not found:
            await self._link.create(plan)
        self.status_stream = name
        self.status_newest = (await self._link.describe(name)).newest
        self.looks += 1

    async def _count_parts(self, described: dict[StreamName, StreamState]) -> int:
        """As the settings say, once streams of another count have nothing left to do: a file keeps its stream."""
        wanted, busy = self._shape.parts, 0
        for name, state in list(described.items()):
            if name.parts == wanted:
                continue
            if state.is_drained:
                await self._link.delete(str(name))
                del described[name]
            else:
                busy = name.parts or 0
        if busy:
            _log.info("%d streams and not %d this time: what they hold is not done yet", busy, wanted)
        return busy or wanted

    async def _settle(self, part: int, parts: int, described: dict[StreamName, StreamState]) -> Outlet:
        here = [
            (name, state) for name, state in described.items() if (name.part, name.parts) == (part, parts)
        ]
        if not here:
            return await self._make(part, parts)
        here.sort(key=lambda one: one[1].is_drained)  # of several, which a crash may leave, the busy one
        name, state = here[0]
        for other, its_state in here[1:]:
            if its_state.is_drained:
                await self._link.delete(str(other))
        plan = self._shape.plan(str(name), self.status_stream)
        if state.plan != plan:
            await self._update(plan)
        return Outlet(part, str(name), state.newest, state.oldest)

    async def _update(self, plan: StreamPlan) -> None:
        try:
            await self._link.update(plan)
        except Refusal as error:  # more lies in it than the new size, for example: the stream serves as it is
            _log.warning("Stream Manager keeps the stream %s as it was: %s", plan.name, error)
            if plan.status_stream:
                await self._update_statuses_only(plan)

    async def _update_statuses_only(self, plan: StreamPlan) -> None:
        """Without statuses nothing would ever end: at least those must come where we read them."""
        state = await self._link.describe(plan.name)
        if state.plan.status_stream != plan.status_stream:
            await self._link.update(replace(state.plan, status_stream=plan.status_stream))

    async def _make(self, part: int, parts: int) -> Outlet:
        name = str(self._new_name(part, parts))
        await self._link.create(self._shape.plan(name, self.status_stream))
        return Outlet(part, name, -1)

    def _new_name(self, part: int | None = None, parts: int | None = None) -> StreamName:
        return StreamName.of(self._owner, self._rule, self._bucket, self._nonce(), part=part, parts=parts)

    async def renew(self, outlet: Outlet) -> None:
        """Delete a stream that is full of what is done, and make another in its place."""
        async with self._changes:
            if self.named(outlet.name) is not outlet:
                return
            old = outlet.name
            with contextlib.suppress(NoStream):
                await self._link.delete(old)
            new = await self._make(outlet.part, len(self._outlets))
            outlet.name, outlet.newest, outlet.oldest = new.name, new.newest, new.oldest
            self._on_lost(old, -1)
