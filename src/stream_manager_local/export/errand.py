"""One task, from its message to how it ended.

A file that changes while it is uploaded is sent anew from its start, a few times, and is a Failure
then: to wait until it rests could be for ever, and would hold up the stream.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stream_manager_local.export.engine import Lasting, Passing, Spoiled
from stream_manager_local.export.patience import is_worth_telling
from stream_manager_local.export.placeholders import resolved
from stream_manager_local.export.statuses import Ending, begins_with_status
from stream_manager_local.export.task import BadTask, check_key_size, paths_of, task_of
from stream_manager_local.export.unfinished import Place, Upload
from stream_manager_local.protocol.codes import Persistence, TaskStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stream_manager_local.export.engine import Shipment
    from stream_manager_local.export.task import Task
    from stream_manager_local.export.worker import Worker
    from stream_manager_local.store.segment import Message

__all__ = ["Errand", "wire_in"]

_SERVER_ERROR = "an error in this server, told in its log"

_log = logging.getLogger(__name__)


class Errand:
    """`run` it once. `cancel` may be called at any time, and does nothing once it is over."""

    def __init__(self, message: Message, worker: Worker) -> None:
        self._message = message
        self._worker = worker
        self._context = worker.context
        self._place = Place(worker.name, worker.export.identifier, message.sequence_number)
        self._wire: Mapping[str, object] = {}
        self._task: asyncio.Task[Ending] | None = None
        self._cancel_reason = ""
        self._has_begun = False

    def cancel(self, reason: str) -> None:
        """Let it end as Canceled, if it has not ended yet."""
        if self._task is not None:
            self._cancel_reason = reason
            self._task.cancel()

    async def run(self) -> Ending:
        """How it ended. If whoever waits is cancelled, it stops without an end, to be done again."""
        task = self._task = asyncio.get_running_loop().create_task(self._run())
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait({task})
            raise
        finally:
            self._task = None
        if task.cancelled():  # before it took its first step
            return Ending(TaskStatus.CANCELED, self._cancel_reason, wire_in(self._message.payload))
        if (error := task.exception()) is not None:
            _log.error("%s: %s", self._worker.called, _SERVER_ERROR, exc_info=error)
            return Ending(TaskStatus.FAILURE, _SERVER_ERROR, self._wire)
        return task.result()

    async def pretend(self) -> Ending:
        """As `run`, without a look at the disk or the network."""
        try:
            task = self._read()
        except BadTask as problem:
            return Ending(TaskStatus.FAILURE, str(problem), problem.wire)
        if self._context.faults.fails_task():
            return self._failed_on_purpose()
        if self._context.settings.in_progress == "always":
            await self.began(is_multipart=False)
        return Ending(TaskStatus.SUCCESS, "not uploaded: this server answers without uploading", task.wire)

    # -- what the shipment tells

    async def began(self, *, is_multipart: bool) -> None:
        """InProgress, once for each task, if this one is to say so."""
        if self._has_begun:
            return
        self._has_begun = True
        if begins_with_status(self._context.settings.in_progress, is_multipart=is_multipart):
            await self._worker.tell(
                self._message, Ending(TaskStatus.IN_PROGRESS, "the upload began", self._wire)
            )

    async def saved(self, checkpoint: dict[str, Any] | None) -> None:
        """Remember a multipart upload for the next life of the server."""
        upload = None if checkpoint is None else Upload(self._wire, checkpoint)
        await self._context.unfinished.note(self._place, upload)

    # -- the upload

    async def _run(self) -> Ending:
        context = self._context
        try:
            task = self._read()
            paths = paths_of(task.input_url, context.settings.decode_urls)
            key = resolved(task.key, context.wall())
            check_key_size(key)
        except ValueError as problem:
            wire = problem.wire if isinstance(problem, BadTask) else None
            return Ending(TaskStatus.FAILURE, str(problem), wire or self._wire)
        if context.faults.fails_task():
            return self._failed_on_purpose()
        begun = await self._begun_before()
        shipment = context.engine.shipment(
            paths,
            task.bucket,
            key if begun is None else begun["key"],
            task.metadata,
            multipart_threshold=self._worker.export.multipart_threshold,
            log=self,
            checkpoint=begun,
        )
        ending = await self._ending_of(shipment)
        warning = await shipment.take_back(context.patience.take_back)
        await self.saved(None)
        return replace(ending, warning=warning)

    async def _begun_before(self) -> dict[str, Any] | None:
        """Where an earlier life left off with this task, and not with another one of its number."""
        upload = self._context.unfinished.at(self._place)
        if upload is None:
            return None
        if upload.task == self._wire:
            return upload.checkpoint
        if problem := await self._context.engine.abandon(upload.checkpoint, self._context.patience.take_back):
            _log.warning("%s: %s", self._worker.called, problem)
        await self.saved(None)
        return None

    async def _ending_of(self, shipment: Shipment) -> Ending:
        try:
            await self._carry(shipment)
        except (Lasting, Spoiled) as trouble:
            return Ending(TaskStatus.FAILURE, str(trouble), self._wire)
        except asyncio.CancelledError:
            if self._cancel_reason:
                return Ending(TaskStatus.CANCELED, self._cancel_reason, self._wire)
            if self._worker.stream.definition.persistence is Persistence.MEMORY:  # nobody will go on with it
                await shipment.take_back(self._context.patience.take_back)
                await self.saved(None)
            raise
        finally:
            self._task = None  # from here on there is nothing to cancel
        return Ending(TaskStatus.SUCCESS, f"uploaded {shipment.size} bytes to {shipment.target}", self._wire)

    async def _carry(self, shipment: Shipment) -> None:
        """Try until it is there; raises what makes it pointless to go on."""
        patience, failures, spoiled = self._context.patience, 0, 0
        while True:
            await self._worker.enabled()
            try:
                async with self._context.pool.slot(self._worker.export.priority):
                    await shipment.carry()
            except Spoiled as error:
                spoiled += 1
                if spoiled >= patience.most_spoiled:
                    raise
                trouble: Passing | Spoiled = error
            except Passing as error:
                trouble = error
            else:
                return
            failures += 1
            seconds = patience.retry_seconds(failures, self._context.random)
            seconds = max(seconds, min(trouble.retry_after_seconds, patience.longest_retry))
            self._worker.note_trouble(str(trouble))
            if is_worth_telling(failures):
                _log.warning("%s: tried again in %.0f s: %s", self._worker.called, seconds, trouble)
            await asyncio.sleep(seconds)

    def _read(self) -> Task:
        task = task_of(self._message.payload)
        self._wire = task.wire
        return task

    def _failed_on_purpose(self) -> Ending:
        return Ending(TaskStatus.FAILURE, "failed on purpose (--fault fail-task)", self._wire)


def wire_in(payload: bytes) -> Mapping[str, object]:
    """As much of a task as a status can repeat."""
    try:
        return task_of(payload).wire
    except BadTask as problem:
        return problem.wire
