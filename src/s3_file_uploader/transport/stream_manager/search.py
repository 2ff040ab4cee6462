"""Looking for a task in the tail of a stream: what a crash, or a lost answer, left between append and note.

Bounded: a task that lies further back than anybody would look is appended again, which costs an upload
and no more.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s3_file_uploader.transport.stream_manager.tasks import task_of
from s3_file_uploader.transport.stream_manager.values import Refusal

if TYPE_CHECKING:
    from s3_file_uploader.transport.stream_manager.link import Link
    from s3_file_uploader.transport.stream_manager.outlets import Outlet
    from s3_file_uploader.transport.stream_manager.tasks import Task

__all__ = ["Search"]

_MOST_AT_ONCE = 1000
_MOST_SEARCHED = 200_000


class Search:
    """Of one stream: what was read is remembered until `forget`, since many ask in turn."""

    def __init__(self, link: Link, outlet: Outlet) -> None:
        self._link = link
        self._outlet = outlet
        self._one_at_a_time = asyncio.Lock()
        self.forget()

    def forget(self) -> None:
        self._stream = self._outlet.name
        self._numbers: dict[Task, int] = {}
        self._first, self._next = 0, 0  # what was read: from `first` on, up to before `next`

    async def newest(self, task: Task, after: int) -> int | None:
        """The number of the newest such task after that one; None where there is none."""
        async with self._one_at_a_time:
            if self._stream != self._outlet.name:
                self.forget()
            first = max(after + 1, self._outlet.oldest, self._outlet.newest + 1 - _MOST_SEARCHED)
            end = self._outlet.newest + 1
            if end - self._first > 2 * _MOST_SEARCHED:  # a lane that is never idle never forgets
                self.forget()
            if self._first == self._next:
                self._first = self._next = first
            if first < self._first:
                await self._read(first, self._first)
                self._first = first
            if self._next < end:
                await self._read(self._next, end)
                self._next = end
        found = self._numbers.get(task)
        return found if found is not None and found > after else None

    async def _read(self, start: int, end: int) -> None:
        while start < end:
            try:
                messages = await self._link.read(self._stream, start, min(_MOST_AT_ONCE, end - start))
            except Refusal:  # damaged there: what is in it cannot be found again
                return
            if not messages or messages[-1].sequence < start:
                return
            if messages[0].sequence > start:  # what came before is not kept any more
                self._outlet.oldest = max(self._outlet.oldest, messages[0].sequence)
            for message in messages:
                task = task_of(message.payload)
                if task is not None:
                    self._numbers[task] = max(message.sequence, self._numbers.get(task, -1))
            start = messages[-1].sequence + 1
