"""One export of one stream: its tasks one after the other, in the order in which they were appended.

The order at the end of a task is what makes it at least once: the object is proved, the status is
appended, then the cursor goes on. A process that dies in between does the task again.

A file that changes while it is uploaded is sent anew from its start, a few times, and is a Failure
then: to wait until it rests could be for ever, and would hold up the stream.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from stream_manager_local.export.engine import Lasting, Passing, Spoiled
from stream_manager_local.export.patience import is_worth_telling
from stream_manager_local.export.placeholders import resolved
from stream_manager_local.export.statuses import Ending, begins_with_status
from stream_manager_local.export.task import BadTask, check_key_size, paths_of, task_of
from stream_manager_local.protocol.codes import TaskStatus
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from stream_manager_local.export.engine import Engine, Shipment
    from stream_manager_local.export.patience import Patience
    from stream_manager_local.export.pool import Pool
    from stream_manager_local.export.task import Task
    from stream_manager_local.export.telling import Teller
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
_SERVER_ERROR = "an error in this server, told in its log"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Context:
    """What all workers share. `wall` is in seconds since the epoch, `random` in [0, 1)."""

    settings: Settings
    engine: Engine
    pool: Pool
    teller: Teller
    faults: Faults
    patience: Patience
    wall: Callable[[], float]
    random: Callable[[], float]


class Worker:
    """`run` until `retire`. The other methods are called on the same loop, also in the middle of an append."""

    def __init__(self, stream: Stream, export: S3Export, context: Context) -> None:
        self.stream = stream
        self.export = export
        self._context = context
        self._name = stream.definition.name
        self._next = stream.cursor(export.identifier)
        self._ahead: deque[Message] = deque()  # read, and not begun
        self._gone: deque[tuple[Message, str]] = deque()  # never begun, and to be canceled for that reason
        self._gone_bytes = 0
        self._current: int | None = None
        self._job: asyncio.Task[Ending] | None = None
        self._cancel_reason = ""
        self._is_retired = False
        self._woken = asyncio.Event()
        self._without_a_breath = 0

    # -- what happens to the stream

    def wake(self) -> None:
        """There is something to look at: a task, or another definition."""
        self._woken.set()

    def redefine(self, export: S3Export) -> None:
        """Another definition of the same export; the upload that is under way goes on."""
        self.export = export
        self._woken.set()

    def evicted(self, event: Evicted) -> None:
        """Tasks left the stream; those that were not finished are canceled."""
        if event.last < self._next and (self._current is None or event.last < self._current):
            return
        reason = "the task left its stream before it was uploaded: it was too old, or the stream was full"
        self._cancel_job(event.last, reason)
        start = self._start
        if event.last >= start:
            self._lose((each for each in event.messages() if each.sequence_number >= start), reason)
        self._ahead = deque(each for each in self._ahead if each.sequence_number > event.last)
        self._next = max(self._next, event.last + 1)
        self._woken.set()

    def retire(self, reason: str) -> None:
        """The stream or this export of it is going: whatever is not finished is canceled, then `run` ends."""
        self._is_retired = True
        self._ahead.clear()
        self._cancel_job(self.stream.newest, reason)
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
            self._gone_bytes += len(message.payload)
            if self._gone_bytes > MOST_CANCELED_BYTES:
                _log.warning(
                    "%s: too many tasks are canceled at once; those from %d on get no status",
                    self._called,
                    message.sequence_number,
                )
                return
            self._gone.append((message, reason))

    def _cancel_job(self, last: int, reason: str) -> None:
        if self._job is not None and self._current is not None and self._current <= last:
            self._cancel_reason = reason
            self._job.cancel()

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
        await self._tell(message, Ending(TaskStatus.CANCELED, reason, _wire_in(message.payload)))
        await self._breathe()

    async def _following(self) -> Message | None:
        """The next task, if there is one and the export is not paused."""
        if self.export.disabled:
            return None
        if not self._ahead:
            try:
                self._ahead.extend(self.stream.read(self._next, _READ_MESSAGES, most_bytes=_READ_BYTES))
            except Refused as refusal:
                await self._step_over(refusal)
        return self._ahead.popleft() if self._ahead else None

    async def _step_over(self, refusal: Refused) -> None:
        """Some tasks are damaged: go on behind them, once that is possible."""
        before = self._next
        try:
            self._next = max(self._next, self.stream.next_readable(self._next))
        except OSError as error:
            refusal.text = str(error)
        if self._next > before:
            _log.error("%s: tasks cannot be read and are left out: %s", self._called, refusal.text)
            self._advance(self._next, exported_bytes=0)
        else:
            self.stream.note_export_error(self.export.identifier, refusal.text)
            await asyncio.sleep(self._context.patience.first_retry)
        self._woken.set()

    async def _carry_out(self, message: Message) -> None:
        self._current = message.sequence_number
        try:
            ending = await self._ending_of(message)
            if ending.warning:
                warning = Ending(TaskStatus.WARNING, ending.warning, ending.wire)
                _log.warning("%s: task %d: %s", self._called, message.sequence_number, ending.warning)
                await self._tell(message, warning)
            if ending.status is not TaskStatus.SUCCESS:
                _log.warning(
                    "%s: task %d: %s: %s",
                    self._called,
                    message.sequence_number,
                    ending.status.name,
                    ending.message,
                )
            await self._tell(message, ending)
            self._next = max(self._next, message.sequence_number + 1)
            if not self._is_retired:
                self._advance(self._next, exported_bytes=len(message.payload))
        finally:
            self._current = None
        await self._breathe()

    async def _ending_of(self, message: Message) -> Ending:
        if self._context.settings.success_without_upload:
            return await self._pretend(message)
        self._cancel_reason = ""
        job = self._job = asyncio.get_running_loop().create_task(self._upload(message))
        try:
            await asyncio.wait({job})
        except asyncio.CancelledError:
            job.cancel()
            await asyncio.wait({job})
            raise
        finally:
            self._job = None
        if job.cancelled():  # before it took its first step
            return Ending(TaskStatus.CANCELED, self._cancel_reason, _wire_in(message.payload))
        if (error := job.exception()) is not None:
            _log.error("%s: %s", self._called, _SERVER_ERROR, exc_info=error)
            return Ending(TaskStatus.FAILURE, _SERVER_ERROR, _wire_in(message.payload))
        return job.result()

    async def _pretend(self, message: Message) -> Ending:
        try:
            task = task_of(message.payload)
        except BadTask as problem:
            return Ending(TaskStatus.FAILURE, str(problem), problem.wire)
        if self._context.faults.fails_task():
            return _failed_on_purpose(task)
        if self._context.settings.in_progress == "always":
            await self._tell_beginning(message, task)
        return Ending(TaskStatus.SUCCESS, "not uploaded: this server answers without uploading", task.wire)

    # -- one upload

    async def _upload(self, message: Message) -> Ending:
        context = self._context
        wire: Mapping[str, object] = {}
        try:
            task = task_of(message.payload)
            wire = task.wire
            paths = paths_of(task.input_url, context.settings.decode_urls)
            key = resolved(task.key, context.wall())
            check_key_size(key)
        except ValueError as problem:
            return Ending(
                TaskStatus.FAILURE,
                str(problem),
                problem.wire or wire if isinstance(problem, BadTask) else wire,
            )
        if context.faults.fails_task():
            return _failed_on_purpose(task)

        has_begun = False

        async def began(is_multipart: bool) -> None:
            nonlocal has_begun
            if not has_begun and begins_with_status(context.settings.in_progress, is_multipart=is_multipart):
                await self._tell_beginning(message, task)
            has_begun = True

        shipment = context.engine.shipment(
            paths,
            task.bucket,
            key,
            task.metadata,
            multipart_threshold=self.export.multipart_threshold,
            began=began,
        )
        try:
            await self._carry(shipment)
            ending = Ending(
                TaskStatus.SUCCESS, f"uploaded {shipment.size} bytes to s3://{task.bucket}/{key}", wire
            )
        except (Lasting, Spoiled) as trouble:
            ending = Ending(TaskStatus.FAILURE, str(trouble), wire)
        except asyncio.CancelledError:
            if not self._cancel_reason:  # the server stops: the task is done again
                await shipment.take_back(context.patience.take_back)
                raise
            ending = Ending(TaskStatus.CANCELED, self._cancel_reason, wire)
        finally:
            self._job = None  # from here on there is nothing to cancel
        return replace(ending, warning=await shipment.take_back(context.patience.take_back))

    async def _carry(self, shipment: Shipment) -> None:
        """Try until it is there; raises what makes it pointless to go on."""
        context, failures, spoiled = self._context, 0, 0
        while True:
            while self.export.disabled:
                await self._woken.wait()
                self._woken.clear()
            try:
                async with context.pool.slot(self.export.priority):
                    await shipment.carry()
            except Spoiled as error:
                spoiled += 1
                if spoiled >= context.patience.most_spoiled:
                    raise
                trouble: Passing | Spoiled = error
            except Passing as error:
                trouble = error
            else:
                return
            failures += 1
            seconds = context.patience.retry_seconds(failures, context.random)
            seconds = max(seconds, min(trouble.retry_after_seconds, context.patience.longest_retry))
            self.stream.note_export_error(self.export.identifier, str(trouble))
            if is_worth_telling(failures):
                _log.warning("%s: tried again in %.0f s: %s", self._called, seconds, trouble)
            await asyncio.sleep(seconds)

    # -- small things

    async def _tell_beginning(self, message: Message, task: Task) -> None:
        await self._tell(message, Ending(TaskStatus.IN_PROGRESS, "the upload began", task.wire))

    async def _tell(self, message: Message, ending: Ending) -> None:
        await self._context.teller.tell(
            ending, self.export, stream_name=self._name, sequence_number=message.sequence_number
        )

    def _advance(self, next_sequence: int, *, exported_bytes: int) -> None:
        self.stream.advance(
            self.export.identifier, next_sequence, exported_bytes=exported_bytes, at=self._context.wall()
        )

    async def _breathe(self) -> None:
        self._without_a_breath += 1
        if self._without_a_breath >= _BREATH_TASKS:
            self._without_a_breath = 0
            await asyncio.sleep(0)

    @property
    def _called(self) -> str:
        return f"export {self.export.identifier!r} of stream {self._name!r}"


def _wire_in(payload: bytes) -> Mapping[str, object]:
    """As much of a task as a status can repeat."""
    try:
        return task_of(payload).wire
    except BadTask as problem:
        return problem.wire


def _failed_on_purpose(task: Task) -> Ending:
    return Ending(TaskStatus.FAILURE, "failed on purpose (--fault fail-task)", task.wire)
