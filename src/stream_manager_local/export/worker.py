"""One export of one stream: its tasks one after the other, in the order in which they were appended.

The order at the end of a task is what makes it at least once: the object is proved, the status is
appended, then the cursor goes on. A process that dies in between does the task again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_manager_local.export.errand import Errand, wire_in
from stream_manager_local.export.statuses import Ending
from stream_manager_local.protocol.codes import TaskStatus
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from stream_manager_local.export.engine import Engine
    from stream_manager_local.export.patience import Patience
    from stream_manager_local.export.pool import Pool
    from stream_manager_local.export.telling import Teller
    from stream_manager_local.export.unfinished import Unfinished
    from stream_manager_local.faults import Faults
    from stream_manager_local.protocol.definition import S3Export
    from stream_manager_local.settings import Settings
    from stream_manager_local.store.events import Evicted
    from stream_manager_local.store.segment import Message
    from stream_manager_local.store.stream import Stream

__all__ = ["MOST_CANCELED_BYTES", "Context", "Worker"]

MOST_CANCELED_BYTES = 4 << 20  # of tasks that are gone at once; what is beyond gets no status
_READ_MESSAGES, _READ_BYTES = 64, 64 << 10
_BREATH_TASKS = 16  # that need no network, before others get a turn
_TOO_LATE = "the task left its stream before it was uploaded: it was too old, or the stream was full"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What all workers share. `wall` is in seconds since the epoch, `random` in [0, 1)."""

    settings: Settings
    engine: Engine
    unfinished: Unfinished
    pool: Pool
    teller: Teller
    faults: Faults
    patience: Patience
    wall: Callable[[], float]
    random: Callable[[], float]


class Worker:
    """`run` until `retire`. What tells it of its stream may be called in the middle of an append."""

    def __init__(self, stream: Stream, export: S3Export, context: Context) -> None:
        self.stream = stream
        self.export = export
        self.context = context
        self.name = stream.definition.name
        self._next = stream.cursor(export.identifier)
        self._ahead: deque[Message] = deque()  # read, and not begun
        self._gone: deque[tuple[Message, str]] = deque()  # never begun, and to be canceled for that reason
        self._gone_bytes = 0
        self._current: int | None = None
        self._errand: Errand | None = None
        self._is_retired = False
        self._woken = asyncio.Event()
        self._without_a_breath = 0

    @property
    def called(self) -> str:
        """In the log."""
        return f"export {self.export.identifier!r} of stream {self.name!r}"

    # -- what happens to the stream

    def wake(self) -> None:
        """There is something to look at."""
        self._woken.set()

    def redefine(self, export: S3Export) -> None:
        """Another definition of the same export; the upload that is under way goes on."""
        self.export = export
        self._woken.set()

    def evicted(self, event: Evicted) -> None:
        """Tasks left the stream; those that were not finished are canceled."""
        if self._errand is not None and self._current is not None and self._current <= event.last:
            self._errand.cancel(_TOO_LATE)
        start = self._start
        if event.last >= start:
            self._lose((each for each in event.messages() if each.sequence_number >= start), _TOO_LATE)
            self._ahead = deque(each for each in self._ahead if each.sequence_number > event.last)
            self._next = event.last + 1
            self._woken.set()

    def retire(self, reason: str) -> None:
        """The stream or this export of it is going: whatever is not finished is canceled, then `run` ends."""
        self._is_retired = True
        self._ahead.clear()
        if self._errand is not None:
            self._errand.cancel(reason)
        self._lose(self._unread(), reason)
        self._woken.set()

    @property
    def _start(self) -> int:
        """The first task that has not been begun."""
        return self._next if self._current is None else max(self._next, self._current + 1)

    def _unread(self) -> Iterable[Message]:
        position = self._start
        while position <= self.stream.newest:
            try:
                page = self.stream.read(position, _READ_MESSAGES, most_bytes=_READ_BYTES)
            except Refused:  # damaged: what is behind it gets no status either
                return
            if not page:
                return
            yield from page
            position = page[-1].sequence_number + 1

    def _lose(self, messages: Iterable[Message], reason: str) -> None:
        for message in messages:
            if self._gone_bytes + len(message.payload) > MOST_CANCELED_BYTES:
                _log.warning(
                    "%s: too many tasks are canceled at once; those from %d on get no status",
                    self.called,
                    message.sequence_number,
                )
                return
            self._gone_bytes += len(message.payload)
            self._gone.append((message, reason))

    # -- what an errand needs

    async def enabled(self) -> None:
        """Once the export is not paused."""
        while self.export.disabled:
            await self._woken.wait()
            self._woken.clear()

    async def tell(self, message: Message, ending: Ending) -> None:
        """Append a status, if somebody wants to hear of it."""
        await self.context.teller.tell(
            ending, self.export, stream_name=self.name, sequence_number=message.sequence_number
        )

    def note_trouble(self, text: str) -> None:
        """What keeps the export from going on, for whoever describes the stream."""
        self.stream.note_export_error(self.export.identifier, text)

    # -- the run

    async def run(self) -> None:
        while True:
            if self._gone:
                await self._cancel_one(*self._gone.popleft())
            elif self._is_retired:
                return
            elif (message := await self._following()) is not None:
                await self._carry_out(message)
            else:
                await self._woken.wait()
            self._woken.clear()

    async def _cancel_one(self, message: Message, reason: str) -> None:
        self._gone_bytes -= len(message.payload)
        await self.tell(message, Ending(TaskStatus.CANCELED, reason, wire_in(message.payload)))
        await self._breathe()

    async def _following(self) -> Message | None:
        """The next task, if there is one and the export is not paused."""
        if self.export.disabled:
            return None
        if not self._ahead:
            try:
                self._ahead.extend(self.stream.read(self._next, _READ_MESSAGES, most_bytes=_READ_BYTES))
            except Refused as refusal:
                await self._step_over(refusal.text)
        return self._ahead.popleft() if self._ahead else None

    async def _step_over(self, problem: str) -> None:
        """Some tasks are damaged: go on behind them, once that is possible."""
        before = self._next
        try:
            self._next = max(before, self.stream.next_readable(before))
        except OSError as error:
            problem = str(error)
        if self._next > before:
            _log.error("%s: tasks cannot be read and are left out: %s", self.called, problem)
            self._advance(exported_bytes=0)
        else:
            self.note_trouble(problem)
            await asyncio.sleep(self.context.patience.first_retry)
        self._woken.set()

    async def _carry_out(self, message: Message) -> None:
        self._current = message.sequence_number
        errand = self._errand = Errand(message, self)
        try:
            is_pretended = self.context.settings.success_without_upload
            ending = await (errand.pretend() if is_pretended else errand.run())
            await self._conclude(message, ending)
        finally:
            self._current = self._errand = None
        await self._breathe()

    async def _conclude(self, message: Message, ending: Ending) -> None:
        if ending.warning:
            self._log_ending(message, TaskStatus.WARNING, ending.warning)
            await self.tell(message, Ending(TaskStatus.WARNING, ending.warning, ending.wire))
        if ending.status is not TaskStatus.SUCCESS:
            self._log_ending(message, ending.status, ending.message)
        await self.tell(message, ending)
        self._next = max(self._next, message.sequence_number + 1)
        self._advance(exported_bytes=len(message.payload))

    def _log_ending(self, message: Message, status: TaskStatus, text: str) -> None:
        _log.warning("%s: task %d: %s: %s", self.called, message.sequence_number, status.name, text)

    def _advance(self, *, exported_bytes: int) -> None:
        """Unless the export was removed, or belongs to a worker that came after this one."""
        if not self._is_retired:
            self.stream.advance(
                self.export.identifier, self._next, exported_bytes=exported_bytes, at=self.context.wall()
            )

    async def _breathe(self) -> None:
        self._without_a_breath += 1
        if self._without_a_breath >= _BREATH_TASKS:
            self._without_a_breath = 0
            await asyncio.sleep(0)
