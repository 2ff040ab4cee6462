"""What the loops of a running uploader share: rules, gates, the ledger's thread, and what wakes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.pipeline.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from s3_file_uploader.ledger import Entry, Ledger
    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.rules import ActiveRule, Roster
    from s3_file_uploader.pipeline.threads import LedgerThread
    from s3_file_uploader.source.edge import Edge

__all__ = ["Context"]


@dataclass(slots=True)
class Context:
    """One per running uploader; used on its event loop."""

    ledger: Ledger
    writer: LedgerThread
    edge: Edge
    clock: Clock
    rules: Roster
    progress: Progress = field(default_factory=Progress)
    work: asyncio.Event = field(default_factory=asyncio.Event)  # the feed has something to do
    due_changed: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # some file waits for another time than before
    is_stopping: bool = False
    is_eased: bool = False  # nothing is begun: something is about to stop us
    broken: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _background: set[asyncio.Task[Any]] = field(default_factory=set)

    def may_begin(self, rule: ActiveRule) -> bool:
        """Whether a delivery of the rule, or another part of one, may begin."""
        return not (self.is_stopping or self.is_eased or rule.is_leaving)

    def name_of(self, entry: Entry) -> str:
        """Of the rule that the row belongs to, for people; "" where it is not in force any more."""
        rule = self.rules.get(entry.rule)
        return "" if rule is None else rule.name

    def look_again(self, entry: Entry) -> None:
        """Look at a file's path soon, if it still is some rule's."""
        rule = self.rules.get(entry.rule)
        if rule is not None and rule.watching is not None and rule.takes(entry.folder, entry.name):
            rule.watching.look_at(entry.folder, entry.name)

    async def wait_for_work(self, until: float | None) -> None:
        """Until something calls, or until a time on the running clock."""
        await wait_for(self.work, None if until is None else max(0.0, until - self.clock.now()))

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it beside the loops; `settle_background` waits for it. Its error ends the run."""
        self._background.add(self.for_long(work))

    def for_long(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """The same for what ends only when it is cancelled: nobody waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._note_end)
        return task

    def _note_end(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self.broken.done():
            self.broken.set_exception(error)

    @property
    def has_background(self) -> bool:
        return bool(self._background)

    async def settle_background(self, timeout_seconds: float) -> None:
        """Wait for what runs beside the loops; a hung disk must not hold the end for longer."""
        deadline = self.clock.monotonic() + timeout_seconds
        while self._background and (left := deadline - self.clock.monotonic()) > 0:
            await asyncio.wait(self._background, timeout=left)


async def wait_for(event: asyncio.Event, timeout_seconds: float | None) -> None:
    """Until the event is set, or the time is over: then it is set as well.

    Not asyncio.wait_for, which before Python 3.12 could swallow a cancellation that came together
    with the event, and so outlive it.
    """
    if timeout_seconds is None:
        await event.wait()
        return
    timer = asyncio.get_running_loop().call_later(timeout_seconds, event.set)
    try:
        await event.wait()
    finally:
        timer.cancel()
