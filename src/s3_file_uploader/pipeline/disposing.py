"""Carries delivered files through their disposal: the four steps of `Disposal`, each in its thread.

Batches form by themselves: whatever was delivered while a batch is under way makes the next one, so
the slower the disk's fsync, the more files share it. A few batches are under way at once.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Entry, Queue
from s3_file_uploader.lifecycle import State
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.backoff import is_worth_telling
from s3_file_uploader.pipeline.disposal import Disposal, Disposed, Taken

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from s3_file_uploader.model import Receipt
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.rules import ActiveRule
    from s3_file_uploader.pipeline.threads import Worker

__all__ = ["Disposing"]

_MOST_AT_ONCE = 2  # batches under way: one may wait for the ledger's fsync while the other unlinks
_LARGEST_BATCH = 256
_WORTHWHILE_BATCH = 64  # a batch costs two transactions, one of them with an fsync
_GATHER_SECONDS = 0.03
_GONE = frozenset({State.REMOVED, State.RETAINED})


class Disposing:
    """Runs on the event loop; `workers` has a disposing thread for each rule."""

    def __init__(
        self,
        context: Context,
        disposal: Disposal,
        workers: Mapping[int, Worker],
        look_again: Callable[[ActiveRule, bytes, bytes], None],
    ) -> None:
        self._context = context
        self._disposal = disposal
        self._workers = workers
        self._look_again = look_again
        self._waiting: dict[int, list[Taken]] = {}
        self._counts = {rule.id: 0 for rule in context.rules}
        self._under_way = {rule.id: 0 for rule in context.rules}
        self._gathering: set[int] = set()  # rules whose next batch is about to start
        self._busy: set[int] = set()  # rows in the hands of a batch
        self.left_hidden: set[int] = set()  # intents of files that could not get their name back

    @property
    def waiting(self) -> int:
        """Files delivered, or being disposed of."""
        return sum(self._counts.values())

    def waiting_of(self, rule: ActiveRule) -> int:
        return self._counts[rule.id]

    async def take(self, proven: Sequence[tuple[Entry, Receipt]]) -> None:
        """Files whose receipts just came."""
        self._add([Taken(entry, receipt) for entry, receipt in proven])

    async def take_up(self, limit: int = 1000) -> int:
        """Files that were delivered before, in an earlier run or with a removal that failed; returns how many."""
        # Rule by rule: those of a hung disk must not stand in front of all others.
        rules = [rule for rule, count in self._counts.items() if count < limit]
        entries = await self._context.writer.awaited(self._delivered, rules, limit)
        fresh = [entry for entry in entries if entry.id not in self._busy]
        self._add([Taken(entry) for entry in fresh])
        return len(fresh)

    def _delivered(self, rules: Sequence[int], limit: int) -> list[Entry]:
        queue = Queue(self._context.ledger)
        return [entry for rule in rules for entry in queue.delivered(rule, limit)]

    def _add(self, taken: Sequence[Taken]) -> None:
        for one in taken:
            self._waiting.setdefault(one.entry.rule, []).append(one)
            self._busy.add(one.entry.id)
            self._counts[one.entry.rule] += 1
        for rule in list(self._waiting):
            self._start_soon(rule)

    def _start_soon(self, rule: int) -> None:
        """At once where it is worth it or nobody else comes, else after a moment in which others may come."""
        waiting = len(self._waiting.get(rule, ()))
        if waiting >= _WORTHWHILE_BATCH or self._context.is_stopping:
            self._start(rule)
        elif waiting and rule not in self._gathering:
            self._gathering.add(rule)
            asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._start_gathered, rule)

    def _start_gathered(self, rule: int) -> None:
        self._gathering.discard(rule)
        self._start(rule)

    def _start(self, rule: int) -> None:
        while self._under_way[rule] < _MOST_AT_ONCE and self._waiting.get(rule):
            queue = self._waiting[rule]
            batch, self._waiting[rule] = queue[:_LARGEST_BATCH], queue[_LARGEST_BATCH:]
            self._under_way[rule] += 1
            self._context.background(self._dispose(rule, batch))

    async def _dispose(self, rule: int, batch: list[Taken]) -> None:
        are_gone = False
        try:
            are_gone = await self._steps(rule, batch)
        finally:
            self._under_way[rule] -= 1
            self._counts[rule] -= len(batch)
            self._busy.difference_update(one.entry.id for one in batch)
            self._start_soon(rule)
            self._context.work.set()
            if not are_gone:
                self._context.due_changed.set()

    async def _steps(self, rule: int, batch: list[Taken]) -> bool:
        """Whether all that was committed has left for good, so that nobody waits for anything."""
        worker, writer = self._workers[rule], self._context.writer
        prepared = await worker.call(self._disposal.prepare, batch)
        committed: list[Taken] = []
        try:
            committed = await writer.awaited(self._disposal.commit, prepared, durable=True)
        finally:
            # What dropped out, or could not be committed, is let go of: its lease may hold up a writer.
            intended = {id(one.prepared) for one in committed}
            dropped = [
                one for one in prepared if one.prepared is not None and id(one.prepared) not in intended
            ]
            if dropped:
                worker.submit(self._abandon, dropped)
        for one in committed:
            if one.receipt is not None:
                self._tell_delivery(one)
        finished = await worker.call(self._disposal.finish, committed)
        ended = await writer.awaited(self._disposal.record, finished)
        for disposed in ended:
            if disposed.left_hidden is not None:
                self.left_hidden.add(disposed.left_hidden)
            self.tell(disposed)
        self.tell_put_aside()
        return len(ended) == len(batch) and all(disposed.state in _GONE for disposed in ended)

    @staticmethod
    def _abandon(dropped: Sequence[Taken]) -> None:
        for one in dropped:
            if one.prepared is not None:
                one.prepared.close()

    def _tell_delivery(self, one: Taken) -> None:
        progress, entry, receipt = self._context.progress, one.entry, one.receipt
        progress.files_done += 1
        progress.bytes_done += entry.fingerprint.size
        if receipt is not None:
            log.info(
                "delivered",
                rule=self._context.rule(entry).name,
                path=entry.path,
                key=receipt.key,
                size=receipt.size,
                checksum=receipt.checksum,
            )

    def tell_put_aside(self) -> None:
        """Older content that got a name of its own is to be looked at under it."""
        for rule, folder, name in self._disposal.take_put_aside():
            path = os.path.join(folder, name)
            log.warning("recovered", rule=rule.name, path=path, reason="a newer file has its name")
            self._look_again(rule, folder, name)

    def tell(self, disposed: Disposed) -> None:
        """One line, and what follows from it."""
        entry = disposed.entry
        rule = self._context.rule(entry)
        if disposed.look_again:
            self._look_again(rule, entry.folder, entry.name)
        if disposed.state is State.REMOVED:
            self._context.progress.files_removed += 1
            if log.is_detailed:
                log.debug("removed", rule=rule.name, path=entry.path)
        elif disposed.state is State.RETAINED:
            log.debug("retained", rule=rule.name, path=entry.path, reason=disposed.reason)
        elif disposed.is_busy:
            log.debug("held", rule=rule.name, path=entry.path, reason=disposed.reason)
        elif disposed.state is State.DELIVERED and not disposed.look_again:
            tell = log.error if is_worth_telling(entry.attempts + 1) else log.debug
            tell(
                "removal_failed",
                rule=rule.name,
                path=entry.path,
                reason=disposed.reason,
                advice=disposed.advice,
            )
