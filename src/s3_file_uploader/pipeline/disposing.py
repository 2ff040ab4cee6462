"""Carries delivered files through their disposal: the four steps of `Disposal`, each in its thread.

Batches form by themselves: whatever was delivered while a batch is under way makes the next one, so
the slower the disk's fsync, the more files share it. A few batches are under way at once.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Queue
from s3_file_uploader.lifecycle import State
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.backoff import is_worth_telling
from s3_file_uploader.pipeline.disposal import Disposal, Disposed, Taken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.rules import ActiveRule

__all__ = ["Disposing"]

_MOST_AT_ONCE = 2  # batches under way: one may wait for the ledger's fsync while the other unlinks
_LARGEST_BATCH = 256
_WORTHWHILE_BATCH = 64  # a batch costs two transactions, one of them with an fsync
_GATHER_SECONDS = 0.03
_GONE = frozenset({State.REMOVED, State.RETAINED})


class Disposing:
    """Runs on the event loop, and in the disposing thread of each rule."""

    def __init__(self, context: Context, disposal: Disposal) -> None:
        self._context = context
        self._disposal = disposal
        self.busy: set[int] = set()  # rows in the hands of a batch
        self.left_hidden: set[int] = set()  # intents of files that could not get their name back

    @property
    def waiting(self) -> int:
        """Files delivered, or being disposed of, of the rules in force."""
        return sum(rule.tray.count for rule in self._context.rules)

    def take(self, proven: Sequence[Taken]) -> None:
        """Files whose receipts just came."""
        self._add(proven)

    async def take_up(self, limit: int = 1000) -> int:
        """Files that were delivered before, in an earlier run or with a removal that failed; returns how many."""
        # Rule by rule: those of a hung disk must not stand in front of all others.
        rules = [rule for rule in self._context.rules if rule.tray.count < limit]
        found = await self._context.writer.awaited(self._delivered, rules, limit)
        # Those of a rule that is leaving are for the one that bears its name next.
        fresh = [one for one in found if one.entry.id not in self.busy and not one.rule.is_leaving]
        self._add(fresh)
        return len(fresh)

    def _delivered(self, rules: Sequence[ActiveRule], limit: int) -> list[Taken]:
        queue = Queue(self._context.ledger)
        return [Taken(rule, entry) for rule in rules for entry in queue.delivered(rule.id, limit)]

    def _add(self, taken: Sequence[Taken]) -> None:
        for one in taken:
            one.rule.tray.waiting.append(one)
            one.rule.tray.count += 1
            self.busy.add(one.entry.id)
        for rule in {one.rule: None for one in taken}:
            self._start_soon(rule)

    def _start_soon(self, rule: ActiveRule) -> None:
        """At once where it is worth it or nobody else comes, else after a moment in which others may come."""
        tray = rule.tray
        if len(tray.waiting) >= _WORTHWHILE_BATCH or self._context.is_stopping:
            self._start(rule)
        elif tray.waiting and not tray.is_gathering:
            tray.is_gathering = True
            asyncio.get_running_loop().call_later(_GATHER_SECONDS, self._start_gathered, rule)

    def _start_gathered(self, rule: ActiveRule) -> None:
        rule.tray.is_gathering = False
        self._start(rule)

    def _start(self, rule: ActiveRule) -> None:
        tray = rule.tray
        while tray.under_way < _MOST_AT_ONCE and tray.waiting:
            batch, tray.waiting = tray.waiting[:_LARGEST_BATCH], tray.waiting[_LARGEST_BATCH:]
            tray.under_way += 1
            self._context.background(self._dispose(rule, batch))

    async def _dispose(self, rule: ActiveRule, batch: list[Taken]) -> None:
        are_gone = False
        try:
            are_gone = await self._steps(rule, batch)
        finally:
            rule.tray.under_way -= 1
            rule.tray.count -= len(batch)
            self.busy.difference_update(one.entry.id for one in batch)
            self._start_soon(rule)
            self._context.work.set()
            if not are_gone:
                self._context.due_changed.set()

    async def _steps(self, rule: ActiveRule, batch: list[Taken]) -> bool:
        """Whether all that was committed has left for good, so that nobody waits for anything."""
        worker, writer = rule.disposing, self._context.writer
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
                rule=one.rule.name,
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
            if rule.watching is not None:
                rule.watching.look_at(folder, name)

    def tell(self, disposed: Disposed) -> None:
        """One line, and what follows from it."""
        entry = disposed.entry
        rule = self._context.name_of(entry)
        if disposed.look_again:
            self._context.look_again(entry)
        if disposed.state is State.REMOVED:
            self._context.progress.files_removed += 1
            if log.is_detailed:
                log.debug("removed", rule=rule, path=entry.path)
        elif disposed.state is State.RETAINED:
            log.debug("retained", rule=rule, path=entry.path, reason=disposed.reason)
        elif disposed.is_busy:
            log.debug("held", rule=rule, path=entry.path, reason=disposed.reason)
        elif disposed.state is State.DELIVERED and not disposed.look_again:
            tell = log.error if is_worth_telling(entry.attempts + 1) else log.debug
            tell(
                "removal_failed",
                rule=rule,
                path=entry.path,
                reason=disposed.reason,
                advice=disposed.advice,
            )
