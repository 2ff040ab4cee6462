"""What wants doing now and then: the archive's limits, hidden files, the ledger's free space."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from s3_file_uploader.errors import LedgerUnavailable
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.threads import Worker
from s3_file_uploader.source import archive

if TYPE_CHECKING:
    from s3_file_uploader.config import Rule
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.disposing import Disposing
    from s3_file_uploader.pipeline.feed import Feed
    from s3_file_uploader.pipeline.recovery import Recovery

__all__ = ["Upkeep"]

_ROUND_SECONDS = 60.0
_ROUNDS_PER_TIDY = 10


class Upkeep:
    """Runs on the event loop; what blocks, in a thread of its own."""

    def __init__(self, context: Context, disposing: Disposing, recovery: Recovery, feed: Feed) -> None:
        self._context = context
        self._disposing = disposing
        self._recovery = recovery
        self._feed = feed
        self._worker = Worker("upkeep")

    async def run(self) -> None:
        """Until cancelled."""
        rounds = 0
        while True:
            await asyncio.sleep(_ROUND_SECONDS)
            rounds += 1
            for rule in [rule.setting for rule in self._context.rules]:
                if rule.after_upload == "archive" and _is_bounded(rule):
                    await self._worker.call(self._enforce, rule)
            if self._feed.in_flight == 0:
                await self._worker.call(self._feed.folders.expire)
            if rounds % _ROUNDS_PER_TIDY == 0:
                await self._tidy()

    def _enforce(self, rule: Rule) -> None:
        """Keep an archive within its limits."""
        directory = rule.archive_directory.encode("utf-8", "surrogateescape")
        try:
            trimmed = archive.enforce(
                self._context.edge,
                directory,
                rule.archive_max_bytes,
                rule.archive_max_age_seconds,
                self._context.clock.wall(),
            )
        except OSError as error:
            log.warning("failed", rule=rule.name, path=directory, error=f"the archive: {error.strerror}")
            return
        if trimmed.files:
            log.info("trimmed", rule=rule.name, path=directory, files=trimmed.files, bytes=trimmed.size_bytes)

    async def _tidy(self) -> None:
        if wanted := self._disposing.left_hidden | self._recovery.unfinished:
            self._disposing.left_hidden = set()
            for disposed in await self._worker.call(
                self._recovery.conclude_intents, lambda intent: intent.id in wanted
            ):
                if disposed.left_hidden is not None:
                    self._disposing.left_hidden.add(disposed.left_hidden)
                self._disposing.tell(disposed)
            self._disposing.tell_put_aside()
        if self._feed.in_flight == 0:
            # Where the disk below the ledger is full there is nothing to be tidied, and no reason to end.
            with contextlib.suppress(LedgerUnavailable):
                await self._context.writer.call_outside(self._context.ledger.tidy)


def _is_bounded(rule: Rule) -> bool:
    return rule.archive_max_bytes is not None or rule.archive_max_age_seconds is not None
