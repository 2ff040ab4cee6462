"""Who may upload now: a bounded number of slots, handed out by priority and then by arrival.

A lower number goes first; no number at all goes last. Used from one event loop.
"""

from __future__ import annotations

import asyncio
import heapq
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["Pool"]

_LAST_PRIORITY = 1 << 31


class Pool:
    """`async with pool.slot(priority):`; at most `size` at a time are inside."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._arrivals = 0
        self._waiting: list[tuple[int, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def slot(self, priority: int | None) -> AsyncIterator[None]:
        await self._take(_LAST_PRIORITY if priority is None else priority)
        try:
            yield
        finally:
            self._give()

    async def _take(self, priority: int) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._arrivals += 1
        heapq.heappush(self._waiting, (priority, self._arrivals, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give()  # it was called in the very moment in which it left
            raise

    def _give(self) -> None:
        while self._waiting:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
