"""How far a stream goes, asked now: what is appended later is after it, whoever appends it.

What was learnt when the line was made does not do. A request of a connection that is dead may still lie
unread in Stream Manager's socket, that of a process before this one too, and be carried out at any
time after; our own answers tell nothing of it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3_file_uploader.transport.stream_manager.link import Link

__all__ = ["Tails"]


class Tails:
    """Of the streams of one link. Those who ask while an answer is under way share the next one."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._under_way: dict[str, asyncio.Task[int]] = {}
        self._next: dict[str, asyncio.Task[int]] = {}

    async def newest(self, stream: str) -> int:
        """The newest number in it, as it is at some time after the call. NoStream, Refusal, a DeliveryError."""
        asked = self._next.get(stream)
        if asked is None:
            before = self._under_way.get(stream)
            asked = asyncio.get_running_loop().create_task(self._ask(stream, before))
            asked.add_done_callback(lambda done: done.cancelled() or done.exception())
            self._next[stream] = asked
        return await asyncio.shield(asked)  # who is stopped meanwhile must not stop the others

    async def _ask(self, stream: str, before: asyncio.Task[int] | None) -> int:
        if before is not None:
            await asyncio.wait([before])
        else:
            await asyncio.sleep(0)  # whoever else asks in this moment joins in
        asked = self._under_way[stream] = self._next.pop(stream)
        try:
            return (await self._link.describe(stream)).newest
        finally:
            if self._under_way.get(stream) is asked:
                del self._under_way[stream]
