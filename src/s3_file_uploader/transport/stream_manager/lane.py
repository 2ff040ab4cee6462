"""One rule's way to S3 through Stream Manager: implements the contract of a transport.

A delivery is a task in one of the rule's streams, and the status that comes of it:

    look at the file · save where the task will be · append it · wait for its status · look again

A delivery that was begun before is looked for first: in the tail of its stream, then among the
statuses. Success is proof of this content only if the file was the delivered one before the task was
appended and still is it now: its ctime shows every change between, and Stream Manager read it between.

So where the stream ends is asked after the look, for each delivery, and only what comes after that end
is believed. There may be older tasks of the same file, which look the same: one that a dead connection
left in Stream Manager's socket may come into the stream hours later. If it comes before the end is
asked, nobody looks at it; if it comes after, Stream Manager reads what the file was at our look, and
its Success is as good as that of our own.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from s3_file_uploader.errors import (
    DeliveryError,
    FileChanged,
    FileUnreadable,
    FileVanished,
    Interrupted,
    Refused,
    TransferFault,
    Unproven,
)
from s3_file_uploader.model import Receipt
from s3_file_uploader.transport.outcome import settle
from s3_file_uploader.transport.stream_manager.aliases import is_safe
from s3_file_uploader.transport.stream_manager.appending import Appender
from s3_file_uploader.transport.stream_manager.checkpoint import Saved
from s3_file_uploader.transport.stream_manager.outlets import Outlets, Shape
from s3_file_uploader.transport.stream_manager.search import Search
from s3_file_uploader.transport.stream_manager.statuses import Lost, Moved, Statuses, Waiter
from s3_file_uploader.transport.stream_manager.tails import Tails
from s3_file_uploader.transport.stream_manager.tasks import Status, Task, fault_of
from s3_file_uploader.transport.stream_manager.values import NoStream, Refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.contract import Delivery, OpenFile
    from s3_file_uploader.transport.stream_manager.aliases import Aliases
    from s3_file_uploader.transport.stream_manager.disks import Disks
    from s3_file_uploader.transport.stream_manager.heads import Heads
    from s3_file_uploader.transport.stream_manager.link import Link
    from s3_file_uploader.transport.stream_manager.outlets import Outlet

__all__ = ["Lane"]

_MOST_HANDED_OVER = 5  # times in one delivery; a task that is lost again and again is no accident


class _Outgoing(NamedTuple):
    delivery: Delivery
    task: Task
    payload: bytes


class Lane:
    """Used from one event loop. `payload_of` makes the message of a task."""

    def __init__(
        self,
        link: Link,
        disks: Disks,
        aliases: Aliases,
        *,
        owner: str,
        rule: str,
        bucket: str,
        shape: Shape,
        metadata: Mapping[str, str],
        payload_of: Callable[[str, str, str, Mapping[str, str]], bytes],
        mtime_text: Callable[[int], str] | None = None,
        heads: Heads | None = None,
        close: Callable[[], Awaitable[None]] | None = None,
        status_timeout_seconds: float = 30.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`close` lets go of what the lane shares with others; `heads` asks the store itself;
        `mtime_text` writes a file's mtime, in nanoseconds, into its object's metadata.
        """
        self._link = link
        self._disks = disks
        self._aliases = aliases
        self._metadata = metadata
        self._payload_of = payload_of
        self._mtime_text = mtime_text
        self._heads = heads
        self._close_shared = close
        self._outlets = Outlets(link, owner, rule, bucket, shape, on_lost=self._lose)
        self._statuses = Statuses(
            link, self._outlets, timeout_seconds=status_timeout_seconds, monotonic=monotonic
        )
        self._tails = Tails(link)
        self._appenders: dict[Outlet, Appender] = {}
        self._searches: dict[Outlet, Search] = {}
        self._running: dict[asyncio.Future[Receipt], asyncio.Task[Receipt]] = {}
        self._is_closed = False

    # -- the contract

    def deliver(self, delivery: Delivery) -> asyncio.Future[Receipt]:
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Receipt] = loop.create_future()
        if self._is_closed:
            outcome.set_exception(Interrupted("shutting down"))
            return outcome
        task = self._running[outcome] = loop.create_task(self._carry(delivery))
        task.add_done_callback(lambda task: self._end(outcome, task))
        outcome.add_done_callback(lambda _: task.cancel())
        return outcome

    async def abandon(self, checkpoint: Checkpoint) -> None:
        """Nothing is to be taken back: a task that nobody waits for does no harm, and leaves nothing behind.

        It uploads what its file is by then, before any newer task of that file, or fails.
        """

    async def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        running = dict(self._running)
        for outcome in running:
            if not outcome.done():
                outcome.set_exception(Interrupted("shutting down; what was handed over is found again"))
        if running:
            await asyncio.wait(running.values())
        await asyncio.gather(self._statuses.close(), *(one.close() for one in self._appenders.values()))
        if self._close_shared is not None:
            await self._close_shared()

    def _end(self, outcome: asyncio.Future[Receipt], task: asyncio.Task[Receipt]) -> None:
        del self._running[outcome]
        if not self._running:
            for search in self._searches.values():
                search.forget()
        settle(outcome, task)

    # -- one delivery

    async def _carry(self, delivery: Delivery) -> Receipt:
        try:
            outgoing = await self._prepare(delivery)
            waiter, status = await self._status(outgoing)
            return await self._conclude(outgoing, waiter, status)
        except DeliveryError:
            raise
        except OSError as error:
            raise FileUnreadable(f"the file cannot be read: {error.strerror}") from error
        except Exception as error:  # whatever the source or the ledger fails with: the file is parked with it
            raise Refused(f"an error in this program: {type(error).__name__}: {error}") from error

    async def _prepare(self, delivery: Delivery) -> _Outgoing:
        """The file as it is to go; FileChanged and its like before anything leaves."""

        def look() -> str:
            _look(delivery)
            return self._aliases.url_for(delivery.source.path)

        url: str = await self._at_disk(delivery, look)
        task = Task(url, delivery.bucket, delivery.key)
        metadata = self._metadata
        if self._mtime_text is not None:
            metadata = {**metadata, "mtime": self._mtime_text(delivery.source.fingerprint.mtime_ns)}
        return _Outgoing(delivery, task, self._payload_of(*task, metadata))

    async def _status(self, outgoing: _Outgoing) -> tuple[Waiter, Status]:
        """The terminal status of the delivery's task, which is found or appended."""
        delivery = outgoing.delivery
        saved = Saved.of(delivery.checkpoint, outgoing.task, delivery.source.fingerprint)
        is_saved = saved is not None
        lost = 0
        while lost < _MOST_HANDED_OVER:
            await self._outlets.ready()
            try:
                waiter = await self._resumed(outgoing, saved) if saved is not None else None
            except NoStream:  # it went while it was searched
                self._outlets.forget()
                lost += 1
                continue
            try:
                if waiter is None:
                    if is_saved:
                        await self._save(delivery, None)
                    waiter, is_saved = await self._appended(outgoing), True
                return waiter, await waiter.outcome
            except Moved:  # others were done meanwhile, or the stream would not have been given up
                saved = None
            except Lost:
                saved = None
                lost += 1
            finally:
                if waiter is not None:
                    self._statuses.forget(waiter)
        raise TransferFault("Stream Manager lost it again and again, and never said what came of it")

    async def _appended(self, outgoing: _Outgoing) -> Waiter:
        delivery, task = outgoing.delivery, outgoing.task
        stream = self._outlets.of(delivery.source.path).name
        after = await self._end_of(stream)
        await self._outlets.ready()  # the line may be another one than at the last look
        outlet = self._outlets.named(stream)
        if outlet is None:
            raise Lost(stream)
        saved = Saved(stream, after, *self._statuses.place, task, tuple(delivery.source.fingerprint))
        await self._save(delivery, saved.to_checkpoint())
        waiter = self._wait_for(saved, delivery)
        try:
            waiter.assign(await self._appender(outlet).append(saved.stream, outgoing.payload))
        except BaseException:
            self._statuses.forget(waiter)
            raise
        return waiter

    async def _end_of(self, stream: str) -> int:
        """The number after which a task comes that is appended from now on."""
        try:
            return await self._tails.newest(stream)
        except NoStream as error:
            self._outlets.forget()
            raise Lost(stream) from error
        except Refusal as error:
            raise TransferFault(f"Stream Manager does not tell of its stream: {error}") from error

    async def _resumed(self, outgoing: _Outgoing, saved: Saved) -> Waiter | None:
        """Who waits for what an earlier try appended; None where it is neither in its stream nor over."""
        outlet = self._outlets.named(saved.stream)
        waiter = self._wait_for(saved, outgoing.delivery)
        try:
            self._statuses.go_back(saved.status_stream, saved.status_from)
            if outlet is not None:
                number = await self._search(outlet).newest(saved.task, saved.after)
                if number is not None:
                    waiter.assign(number)
                    return waiter
                if outlet.oldest <= saved.after + 1:  # all that came after is still there: it never arrived
                    self._statuses.forget(waiter)
                    return None
            await self._statuses.end()
            status = waiter.newest_early()
            if status is not None:
                waiter.assign(status.sequence)
                return waiter
            if waiter.outcome.done():
                return waiter  # with what made waiting fail
        except BaseException:
            self._statuses.forget(waiter)
            raise
        self._statuses.forget(waiter)
        return None

    def _wait_for(self, saved: Saved, delivery: Delivery) -> Waiter:
        return self._statuses.wait_for(saved, delivery.source.fingerprint.size)

    async def _conclude(self, outgoing: _Outgoing, waiter: Waiter, status: Status) -> Receipt:
        delivery = outgoing.delivery
        if not status.is_success:
            await self._save(delivery, None)
            await self._release(delivery)
            raise fault_of(status)

        size = delivery.source.fingerprint.size
        delivery.progress(size)
        try:
            compare = None if self._heads is None else await self._heads.comparison(delivery.key)
            proof: str = await self._at_disk(delivery, lambda: _look(delivery, compare))
        except (FileChanged, FileVanished, Unproven):
            await self._save(delivery, None)
            raise
        finally:
            await self._release(delivery)
        task = f"stream-manager:{waiter.stream}/{status.sequence}"
        return Receipt(delivery.bucket, delivery.key, size, proof or task)

    async def _release(self, delivery: Delivery) -> None:
        path = delivery.source.path
        if not is_safe(path):
            await self._at_disk(delivery, lambda: self._aliases.release(path))

    # -- what it stands on

    async def _save(self, delivery: Delivery, checkpoint: Checkpoint | None) -> None:
        try:
            await delivery.save(checkpoint)
        except Exception as error:
            raise Interrupted(f"the ledger did not take a checkpoint: {error}") from error

    async def _at_disk(self, delivery: Delivery, work: Callable[[], Any]) -> Any:
        return await self._disks.do(delivery.source.fingerprint.device, work)

    def _appender(self, outlet: Outlet) -> Appender:
        if outlet not in self._appenders:
            self._appenders = {one: it for one, it in self._appenders.items() if it.is_busy}
            self._appenders[outlet] = Appender(self._link, self._outlets, outlet, self._statuses.has)
        return self._appenders[outlet]

    def _search(self, outlet: Outlet) -> Search:
        if outlet not in self._searches:
            known = self._outlets
            self._searches = {one: it for one, it in self._searches.items() if known.named(one.name) is one}
            self._searches[outlet] = Search(self._link, outlet)
        return self._searches[outlet]

    def _lose(self, stream: str, newest: int) -> None:
        self._statuses.lose(stream, newest)


def _look(delivery: Delivery, compare: Callable[[OpenFile], str] | None = None) -> str:
    """Open the file as the ledger has it, look at it once more, and let go of it.

    `compare` holds it against what the store says of its object, and returns the checksum that both have.
    """
    opened = delivery.source.open()
    try:
        proof = "" if compare is None else compare(opened)
        opened.check_unchanged()
    finally:
        opened.close()
    return proof
