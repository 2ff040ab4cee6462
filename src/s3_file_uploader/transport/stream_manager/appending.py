"""Appending tasks to one stream: in order, many at once, and patiently where the stream is full.

A full stream is no failure of anybody: what waits to be appended waits here, and is tried again after a
pause. Where the stream holds nothing but what is done and Stream Manager does not give that space back
by itself, another stream takes its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.errors import Refused
from s3_file_uploader.transport.stream_manager.statuses import Lost, Moved
from s3_file_uploader.transport.stream_manager.values import NoStream

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.transport.stream_manager.link import Link
    from s3_file_uploader.transport.stream_manager.outlets import Outlet, Outlets
    from s3_file_uploader.transport.stream_manager.values import StreamState

__all__ = ["Appender"]

_log = logging.getLogger(__name__)
_MOST_AT_ONCE = 64
_FIRST_PAUSE_SECONDS = 0.25
_MOST_ODD = 3
_LONGEST_PAUSE_SECONDS = 15.0


class _Item(NamedTuple):
    stream: str
    payload: bytes
    outcome: asyncio.Future[int]


class Appender:
    """Of one outlet. Runs on the event loop, while there is something to append."""

    def __init__(
        self, link: Link, outlets: Outlets, outlet: Outlet, is_waited_for: Callable[[str], bool]
    ) -> None:
        """`is_waited_for(stream)`: whether somebody waits for the status of a task in it."""
        self._link = link
        self._outlets = outlets
        self._outlet = outlet
        self._is_waited_for = is_waited_for
        self._queue: deque[_Item] = deque()
        self._running: asyncio.Task[None] | None = None
        self._pause_seconds = 0.0
        self._odd = 0  # refusals in a row by a stream that is not full: it may have been, a moment before

    @property
    def is_busy(self) -> bool:
        return self._running is not None

    def append(self, stream: str, payload: bytes) -> asyncio.Future[int]:
        """Ends with the sequence number; Moved where it is another stream by now; Lost; a DeliveryError."""
        outcome: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._queue.append(_Item(stream, payload, outcome))
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return outcome

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        try:
            await asyncio.sleep(0)  # whoever else appends in this moment joins in
            while batch := self._take():
                try:
                    await self._append(batch)
                except NoStream:  # it went in this moment
                    self._outlets.forget()
                    for item in batch:
                        _fail(item, Lost(item.stream))
                except Exception as error:  # noqa: BLE001  # each of them hears of it
                    for item in batch:
                        _fail(item, error)
        finally:
            self._running = None

    def _take(self) -> list[_Item]:
        batch: list[_Item] = []
        while self._queue and len(batch) < _MOST_AT_ONCE:
            item = self._queue.popleft()
            if item.stream != self._outlet.name:
                _fail(item, Moved(item.stream))
            elif not item.outcome.done():
                batch.append(item)
        return batch

    async def _append(self, batch: list[_Item]) -> None:
        answers = await self._link.append(self._outlet.name, [item.payload for item in batch])
        refused: list[_Item] = []
        for item, answer in zip(batch, answers, strict=True):
            if isinstance(answer, int):
                self._outlet.newest = max(self._outlet.newest, answer)
                if not item.outcome.done():
                    item.outcome.set_result(answer)
            elif isinstance(answer, NoStream):
                self._outlets.forget()
                _fail(item, Lost(item.stream))
            else:
                refused.append(item)
                reason = answer
        if not refused:
            self._odd = 0
            self._note_space()
            return
        if len(refused) < len(batch):  # it had some room: patience grows only while it has none
            self._pause_seconds = min(self._pause_seconds, _FIRST_PAUSE_SECONDS / 2)
        await self._make_room(refused, reason)

    async def _make_room(self, refused: list[_Item], reason: Exception) -> None:
        """Full: they wait at the head of the queue. Not full: Stream Manager has another reason to say no."""
        state = await self._link.describe(self._outlet.name)
        if _is_full(state, max(len(item.payload) for item in refused)):
            self._odd = 0
        else:
            self._odd += 1
            if self._odd >= _MOST_ODD:
                for item in refused:
                    _fail(item, Refused(f"Stream Manager did not take the task: {reason}", code="Append"))
                self._odd = 0
                return
        self._queue.extendleft(reversed(refused))
        if state.is_drained and not self._is_waited_for(self._outlet.name):
            _log.info("the stream %s is full of what is done: another takes its place", self._outlet.name)
            await self._outlets.renew(self._outlet)
            return
        if not self._pause_seconds and not self._odd:
            _log.info("the stream %s is full: files wait until it has room", self._outlet.name)
        self._pause_seconds = min(max(_FIRST_PAUSE_SECONDS, 2 * self._pause_seconds), _LONGEST_PAUSE_SECONDS)
        await asyncio.sleep(self._pause_seconds)

    def _note_space(self) -> None:
        if self._pause_seconds:
            _log.info("the stream %s has room again", self._outlet.name)
            self._pause_seconds = 0.0


def _is_full(state: StreamState, payload_bytes: int) -> bool:
    """By what is told of it: nobody says which answer a full stream gives. Space comes by whole segments."""
    used = state.total_bytes + payload_bytes + state.plan.segment_size
    return bool(state.total_bytes) and used * 2 >= state.plan.max_size


def _fail(item: _Item, error: Exception) -> None:
    if not item.outcome.done():
        item.outcome.set_exception(error)
        item.outcome.exception()  # nobody need have asked
