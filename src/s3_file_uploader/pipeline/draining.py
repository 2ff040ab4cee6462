"""When a drain is done: nothing more can go without a person or a change, or its destination is given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s3_file_uploader.pipeline.outcome import is_done

if TYPE_CHECKING:
    from s3_file_uploader.errors import DeliveryError
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.disposing import Disposing
    from s3_file_uploader.pipeline.feed import Feed
    from s3_file_uploader.pipeline.leftovers import Leftovers

__all__ = ["Draining"]

_GIVE_UP_SECONDS = 30.0  # a drain whose destination answers nothing for so long ends


class Draining:
    """Runs on the event loop. `denied` are ids of files that were, once it is done."""

    def __init__(self, context: Context, feed: Feed, disposing: Disposing, leftovers: Leftovers) -> None:
        self._context = context
        self._feed = feed
        self._disposing = disposing
        self._leftovers = leftovers
        self.denied: list[int] = []

    async def done(self) -> DeliveryError | None:
        """Returns once nothing more can go, with the error of a destination that is given up."""
        context = self._context
        while True:  # asked ten times a second, and only in a drain: many things may end it
            await asyncio.sleep(0.1)
            if (error := self._given_up()) is not None:
                return error
            if self._is_busy():
                continue
            doubtful = [gate for gate in context.rules.gates if gate.is_of_one]
            but_for = [file for gate in doubtful for file in gate.suspects]
            if await context.writer.awaited(is_done, context.ledger, context.clock, but_for):
                await self._leftovers.round()
                self.denied = but_for
                return next((gate.error for gate in doubtful if gate.last_success_at is None), None)

    def _is_busy(self) -> bool:
        context = self._context
        return bool(
            len(context.progress.looked_at) < len(context.rules)
            or self._feed.in_flight
            or self._disposing.waiting
            or context.has_background
            or any(watching.has_pending for watching in context.rules.watchings())
        )

    def _given_up(self) -> DeliveryError | None:
        """Why a destination is not waited for; one that denied a single file may take the others."""
        for gate in self._context.rules.gates:
            if gate.is_paused and gate.error is not None and not gate.is_of_one:
                waited = self._context.clock.now() - gate.since
                if not gate.error.retryable or waited > _GIVE_UP_SECONDS:
                    return gate.error
        return None
