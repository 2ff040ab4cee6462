"""Reads that wait for messages.

A stream's appends wake those who wait for it. They are answered at the end of the loop's turn, so that
what one client appends in one go reaches a reader in one answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from stream_manager_local.protocol.codes import Operation, Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.protocol.responses import messages_read, refused
from stream_manager_local.server.reading import last_needed, read_now
from stream_manager_local.store import Deleted, Evicted

if TYPE_CHECKING:
    import asyncio

    from stream_manager_local.protocol.requests import ReadRequest
    from stream_manager_local.store import Event, Stream

__all__ = ["LONGEST_WAIT_SECONDS", "Client", "Pending", "Polls"]

# AWS's Python SDK gives up after 60 s, and a late answer kills it for good.
LONGEST_WAIT_SECONDS = 55.0


class Pending(Protocol):
    """An answer that is still to come."""

    def cancel(self) -> None:
        """The client is gone: forget it."""

    def resume(self) -> None:
        """The client takes answers again."""

    def finish(self) -> None:
        """The server stops: answer now if it waits for others only; else the answer is on its way."""


class Client(Protocol):
    """Who waits for answers that come later."""

    def send(self, frame: bytes) -> None: ...

    def expect(self, pending: Pending) -> None:
        """An answer is still to come; the client ends it should it go away."""

    def settle(self, pending: Pending) -> None:
        """It has been given."""

    def is_choked(self) -> bool:
        """Whether it does not take what it already got: nothing large now, `resume` comes later."""


class Polls:
    """All reads that wait, by stream."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[Stream, _Queue] = {}

    def __len__(self) -> int:
        return sum(len(queue.polls) for queue in self._waiting.values())

    def wait(self, stream: Stream, request: ReadRequest, request_id: str, client: Client) -> None:
        """Answer the client once there are enough messages, or when its time is up."""
        queue = self._waiting.get(stream)
        if queue is None:
            queue = self._waiting[stream] = _Queue(self, stream, self._loop)
        poll = _Poll(queue, request, request_id, client)
        seconds = min(request.wait_seconds, LONGEST_WAIT_SECONDS)
        poll.timer = self._loop.call_later(seconds, poll.give_up)
        queue.add(poll)
        client.expect(poll)

    def forget(self, stream: Stream) -> None:
        """Nobody waits for it any more."""
        self._waiting.pop(stream, None)


class _Queue:
    """Those who wait for one stream."""

    def __init__(self, owner: Polls, stream: Stream, loop: asyncio.AbstractEventLoop) -> None:
        self.polls: dict[_Poll, None] = {}  # in the order in which they came
        self.stream = stream
        self._owner = owner
        self._loop = loop
        self._is_scheduled = False
        # Not more than what the first of them needs; one who has left may have needed less.
        self._least_needed = 0
        self._unwatch = stream.watch(self._on_event)

    def add(self, poll: _Poll) -> None:
        needed = last_needed(self.stream, poll.request)
        self._least_needed = min(self._least_needed, needed) if self.polls else needed
        self.polls[poll] = None

    def remove(self, poll: _Poll) -> None:
        self.polls.pop(poll, None)
        if not self.polls:
            self._unwatch()
            self._owner.forget(self.stream)

    def schedule(self) -> None:
        """Look through them at the end of this turn."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._answer)

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Deleted):
            for poll in list(self.polls):
                poll.refuse(Status.RESOURCE_NOT_FOUND, f"stream {self.stream.definition.name!r} was deleted")
        elif not isinstance(event, Evicted) and self.stream.newest >= self._least_needed:
            self.schedule()

    def _answer(self) -> None:
        self._is_scheduled = False
        if self.stream.is_deleted:
            return
        for poll in list(self.polls):
            if not poll.client.is_choked():
                poll.try_answer()
        if self.polls:
            self._least_needed = min(last_needed(self.stream, poll.request) for poll in self.polls)


class _Poll:
    """One read that waits."""

    __slots__ = ("_queue", "client", "request", "request_id", "timer")

    def __init__(self, queue: _Queue, request: ReadRequest, request_id: str, client: Client) -> None:
        self._queue = queue
        self.request = request
        self.request_id = request_id
        self.client = client
        self.timer: asyncio.TimerHandle | None = None

    def try_answer(self) -> None:
        stream = self._queue.stream
        try:
            messages = read_now(stream, self.request)
        except Refused as error:
            self.refuse(error.status, error.text)
            return
        if messages is not None:
            self._end(messages_read(self.request_id, stream.definition.name, messages))

    def give_up(self) -> None:
        """Its time is up."""
        stream = self._queue.stream
        needed = last_needed(stream, self.request)
        self.refuse(
            Status.NOT_ENOUGH_MESSAGES,
            f"stream {stream.definition.name!r} has messages up to {stream.newest}: "
            f"the answer would have needed {needed}",
        )

    def refuse(self, status: Status, text: str) -> None:
        self._end(refused(Operation.READ_MESSAGES, self.request_id, status, text))

    def cancel(self) -> None:
        self._leave()

    def resume(self) -> None:
        self._queue.schedule()

    def finish(self) -> None:
        self.refuse(Status.NOT_ENOUGH_MESSAGES, "the server stops")

    def _end(self, frame: bytes) -> None:
        self._leave()
        self.client.settle(self)
        self.client.send(frame)

    def _leave(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        self._queue.remove(self)
