"""What the loops of a running uploader share: rules, gates, the ledger's thread, and what wakes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger import Endings, Entry, Ledger
from s3_file_uploader.pipeline.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence

    from s3_file_uploader.config import Settings
    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.gate import Gate
    from s3_file_uploader.pipeline.rules import ActiveRule
    from s3_file_uploader.pipeline.threads import LedgerThread
    from s3_file_uploader.source.edge import Edge

__all__ = ["Context"]


@dataclass(slots=True)
class Context:
    """One per running uploader; used on its event loop."""

    settings: Settings
    ledger: Ledger
    writer: LedgerThread
    edge: Edge
    clock: Clock
    rules: Sequence[ActiveRule]
    gates: Mapping[str, Gate]
    progress: Progress = field(default_factory=Progress)
    work: asyncio.Event = field(default_factory=asyncio.Event)  # the feed has something to do
    due_changed: asyncio.Event = field(
        default_factory=asyncio.Event
    )  # some file waits for another time than before
    is_stopping: bool = False
    broken: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _by_id: dict[int, ActiveRule] = field(default_factory=dict)
    _background: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._by_id = {rule.id: rule for rule in self.rules}

    def rule(self, entry: Entry) -> ActiveRule:
        return self._by_id[entry.rule]

    async def wait_for_work(self, until: float | None) -> None:
        """Until something calls, or until a time on the running clock."""
        await wait_for(self.work, None if until is None else max(0.0, until - self.clock.now()))

    def background(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run it beside the loops; `settle_background` waits for it. Its error ends the run."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._note_end)

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

    def note_pause(self, destination: str, reason: str | None) -> None:
        """Tell status, through the ledger, that a destination is paused, or that it is not any more."""
        if reason is None:
            self.progress.paused.pop(destination, None)
        elif self.progress.paused.get(destination) == reason:
            return
        else:
            self.progress.paused[destination] = reason
        self.background(self._note_pause(destination, reason))

    async def _note_pause(self, destination: str, reason: str | None) -> None:
        await self.writer.awaited(Endings(self.ledger, self.clock.wall).note_pause, destination, reason)


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
