"""Which exports there are, and a worker for each that goes to S3: follows what happens to the store.

A worker is an asyncio task, so hundreds of streams cost no thread each. Exports to other services
are kept and described by the server; here they get one warning each, that nothing is sent.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from typing import TYPE_CHECKING

from stream_manager_local.export.engine import Engine
from stream_manager_local.export.patience import Patience
from stream_manager_local.export.pool import Pool
from stream_manager_local.export.telling import Teller
from stream_manager_local.export.unfinished import Unfinished
from stream_manager_local.export.worker import Context, Worker
from stream_manager_local.protocol.definition import OtherExport, S3Export
from stream_manager_local.store.events import Appended, Created, Deleted, Evicted, Updated

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from stream_manager_local.export.unfinished import Place
    from stream_manager_local.faults import Faults
    from stream_manager_local.settings import Settings
    from stream_manager_local.store.events import Event
    from stream_manager_local.store.store import Store
    from stream_manager_local.store.stream import Stream

__all__ = ["Exporter"]

_AFTER_ERROR_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Exporter:
    """`start` on the loop of the server, `close` before the store is closed.

    `wall` is in seconds since the epoch; `chance` gives numbers in [0, 1).
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        faults: Faults,
        *,
        engine: Engine | None = None,
        patience: Patience | None = None,
        wall: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        patience = patience or Patience()
        engine = engine or Engine(settings)
        self._context = Context(
            settings=settings,
            engine=engine,
            unfinished=Unfinished(settings.root, engine.disk),
            pool=Pool(settings.export_threads),
            teller=Teller(store, faults, patience=patience, wall=wall),
            faults=faults,
            patience=patience,
            wall=wall,
            random=chance,
        )
        self._workers: dict[str, dict[str, Worker]] = {}  # by stream, by export; a retired one is not here
        self._tasks: set[asyncio.Task[None]] = set()
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Take up the exports of all streams where they are."""
        if self._context.settings.success_without_upload:
            _log.warning(
                "nothing is uploaded: every task is answered with Success (--success-without-upload)"
            )
        self._unwatch = self._store.watch(self._on)
        for name in self._store.names():
            self._adopt(self._store.get(name))
        stale = [place for place in self._context.unfinished.places if not self._is_wanted(place)]
        if stale:
            self._keep(self._abandon(stale))

    async def close(self) -> None:
        """Stop all uploads; what is not finished is done again after the next start."""
        self._unwatch()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        await self._context.engine.close()

    def _on(self, event: Event) -> None:
        try:
            self._react(event)
        # It may be amid somebody's append, which has nothing to do with our troubles.
        except Exception:  # noqa: BLE001
            _log.exception("an error in this server: an export may not go on before the next start")

    def _react(self, event: Event) -> None:
        workers = self._workers.get(event.stream.definition.name, {})
        if isinstance(event, Appended):
            for worker in workers.values():
                worker.wake()
        elif isinstance(event, Evicted):
            for worker in workers.values():
                worker.evicted(event)
        elif isinstance(event, Created):
            self._adopt(event.stream)
        elif isinstance(event, Deleted):
            for worker in self._workers.pop(event.stream.definition.name, {}).values():
                worker.retire("the stream was deleted before the task was uploaded")
        elif isinstance(event, Updated):
            self._warn(event.stream, event.before.exports)
            self._follow(event.stream)

    def _adopt(self, stream: Stream) -> None:
        self._warn(stream)
        self._follow(stream)

    def _follow(self, stream: Stream) -> None:
        """Have a worker for each export of the stream as it is defined now, and for no other."""
        wanted = {each.identifier: each for each in stream.definition.exports if isinstance(each, S3Export)}
        workers = self._workers.setdefault(stream.definition.name, {})
        for identifier in workers.keys() - wanted.keys():
            workers.pop(identifier).retire("the export was removed before the task was uploaded")
        for identifier, export in wanted.items():
            if identifier in workers:
                workers[identifier].redefine(export)
            else:
                workers[identifier] = self._begin(stream, export)
        if not workers:
            del self._workers[stream.definition.name]

    def _begin(self, stream: Stream, export: S3Export) -> Worker:
        worker = Worker(stream, export, self._context)
        self._keep(self._keep_running(worker))
        return worker

    def _keep(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _keep_running(self, worker: Worker) -> None:
        while True:
            try:
                await worker.run()
            # Without its worker a stream would stand still until the next start, and nobody would know.
            except Exception:  # noqa: BLE001
                _log.exception("an error in this server: an export is taken up again")
                await asyncio.sleep(_AFTER_ERROR_SECONDS)
            else:
                return

    def _is_wanted(self, place: Place) -> bool:
        """Whether somebody will go on with the upload that an earlier life began there."""
        worker = self._workers.get(place.stream, {}).get(place.export)
        return worker is not None and worker.stream.cursor(place.export) <= place.sequence_number

    async def _abandon(self, places: list[Place]) -> None:
        """Abort uploads whose tasks are gone. What cannot be aborted is remembered for the next start."""
        unfinished, seconds = self._context.unfinished, self._context.patience.take_back
        for place in places:
            upload = unfinished.at(place)
            if upload is None:
                continue
            if problem := await self._context.engine.abandon(upload.checkpoint, seconds):
                _log.warning("%s; it is tried again after the next start", problem)
            else:
                await unfinished.note(place, None)

    def _warn(self, stream: Stream, known: tuple[S3Export | OtherExport, ...] = ()) -> None:
        told = {(each.identifier, each.kind) for each in known if isinstance(each, OtherExport)}
        for each in stream.definition.exports:
            if isinstance(each, OtherExport) and (each.identifier, each.kind) not in told:
                _log.warning(
                    "export %r of stream %r goes to %s: it is kept and described, and NOTHING IS SENT there",
                    each.identifier,
                    stream.definition.name,
                    each.kind,
                )
