"""The way to Stream Manager: one line at a time, made anew when it has ended, shared by all rules.

One thread makes a line, and no other does meanwhile; after a failure nobody tries again for a moment.
Everything here is called on one event loop; nothing here blocks it. What goes wrong with the line is
`Unreachable` or `Misconfigured`; what Stream Manager says of a single request is `NoStream` or `Refusal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from typing import TYPE_CHECKING, TypeVar

from s3_file_uploader.errors import DeliveryError, Interrupted, Misconfigured, Unreachable
from s3_file_uploader.transport.stream_manager.values import LineEnded, Unauthorised

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from concurrent.futures import Future

    from s3_file_uploader.transport.stream_manager.sdk import Line
    from s3_file_uploader.transport.stream_manager.values import Message, StreamPlan, StreamState

__all__ = ["HOST", "Deadlines", "Link", "again", "in_thread"]

T = TypeVar("T")
HOST = "127.0.0.1"


class Deadlines:
    """In seconds. `wait` is how long one request for statuses stays with the server when none are there."""

    def __init__(
        self,
        *,
        connect: float = 3.0,
        request: float = 20.0,
        wait: float = 2.0,
        pause: float = 1.0,
        patience: float = 10.0,
        check: float = 15.0,
        stall: float = 300.0,
    ) -> None:
        """`pause` lies between two tries to connect. What waits for statuses bears a line that is gone for
        `patience`. `check` lies between two questions whether a status may be lost. After `stall` without
        any news the destination is taken for unreachable.
        """
        self.connect = connect
        self.request = request
        self.wait = wait
        self.pause = pause
        self.patience = patience
        self.check = check
        self.stall = stall


class Link:
    """`epoch` grows with each new line, and with its end: what was learnt before may not be so any more."""

    def __init__(
        self,
        port: int,
        *,
        host: str = HOST,
        deadlines: Deadlines | None = None,
        dial: Callable[..., Line] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.deadlines = deadlines or Deadlines()
        self._address = (host, port)
        self._dial = dial
        self._monotonic = monotonic
        self._line: Line | None = None
        self._making: asyncio.Task[Line] | None = None
        self._failure: DeliveryError | None = None
        self._failed_at = 0.0
        self._is_closed = False
        self.epoch = 0
        self.users = 0

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    # -- requests

    async def append(self, stream: str, payloads: Sequence[bytes]) -> list[int | Exception]:
        """In this order; for each its sequence number, or why not."""
        return await self._ask(lambda line: line.append(stream, payloads))

    async def read(self, stream: str, start: int, most: int, wait_seconds: float = 0.0) -> list[Message]:
        return await self._ask(lambda line: line.read(stream, start, most, wait_seconds))

    async def describe(self, stream: str) -> StreamState:
        return await self._ask(lambda line: line.describe(stream))

    async def names(self) -> list[str]:
        return await self._ask(lambda line: line.names())

    async def create(self, plan: StreamPlan) -> None:
        await self._ask(lambda line: line.create(plan))

    async def update(self, plan: StreamPlan) -> None:
        await self._ask(lambda line: line.update(plan))

    async def delete(self, stream: str) -> None:
        await self._ask(lambda line: line.delete(stream))

    async def _ask(self, request: Callable[[Line], Future[T]]) -> T:
        line = await self._ready()
        answer = asyncio.wrap_future(request(line))
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody may ask any more
        try:
            # The client has a deadline for each request. This one is for a client that hangs itself.
            return await asyncio.wait_for(asyncio.shield(answer), self.deadlines.request + 5.0)
        except (LineEnded, asyncio.TimeoutError, TimeoutError) as error:
            self._drop(line)
            raise self._unreachable(str(error) or "its client hangs") from error
        except Unauthorised as error:
            self._drop(line)
            raise _unauthorised(error) from error

    # -- the line

    async def _ready(self) -> Line:
        if self._is_closed:
            raise Interrupted("shutting down")
        if self._line is not None:
            return self._line
        if self._making is None:
            if self._failure is not None and self._monotonic() - self._failed_at < self.deadlines.pause:
                raise again(self._failure)
            self._making = asyncio.get_running_loop().create_task(self._make())
            self._making.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._making)

    async def _make(self) -> Line:
        loop = asyncio.get_running_loop()
        try:
            line = await in_thread("stream-manager-connect", lambda: self._connect(loop), unwanted=_hang_up)
        except (LineEnded, Unauthorised) as error:
            is_refused = isinstance(error, Unauthorised)
            self._failure = _unauthorised(error) if is_refused else self._unreachable(str(error))
            self._failed_at = self._monotonic()
            raise self._failure from error
        finally:
            self._making = None
        if self._is_closed:
            _hang_up(line)
            raise Interrupted("shutting down")
        self._failure = None
        self._line = line
        self.epoch += 1
        return line

    def _connect(self, loop: asyncio.AbstractEventLoop) -> Line:
        """In a thread of its own."""
        dial = self._dial
        if dial is None:
            from s3_file_uploader.transport.stream_manager.sdk import (  # noqa: PLC0415  # only where it is used
                Line,
            )

            dial = Line
        host, port = self._address
        ended: list[Line] = []

        def on_end() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._drop_all, ended)

        line = dial(
            host,
            port,
            connect_seconds=self.deadlines.connect,
            request_seconds=self.deadlines.request,
            on_end=on_end,
        )
        ended.append(line)
        return line

    def _drop_all(self, lines: list[Line]) -> None:
        for line in lines:
            self._drop(line)

    def _drop(self, line: Line) -> None:
        if self._line is line:
            self._line = None
            self.epoch += 1
            _hang_up(line)

    def _unreachable(self, reason: str) -> Unreachable:
        host, port = self._address
        return Unreachable(
            f"no Stream Manager at {host}:{port}: {reason}",
            advice="Is Stream Manager running, and is StreamManagerPort its port? Uploads go on by"
            " themselves once it answers.",
        )

    async def close(self) -> None:
        self._is_closed = True
        line, self._line = self._line, None
        if self._making is not None:
            self._making.cancel()
        if line is not None:
            await in_thread("stream-manager-close", line.hang_up)


def again(error: DeliveryError) -> DeliveryError:
    """Another one of the same: an exception that many raise would keep the frames of all of them."""
    return type(error)(str(error), advice=error.advice, code=error.code)


def _unauthorised(error: Exception) -> Misconfigured:
    return Misconfigured(
        f"Stream Manager does not let us in: {error}",
        advice="Run as a Greengrass component, which has a token for it, or set"
        " STREAM_MANAGER_AUTHENTICATE_CLIENT to false in Stream Manager's configuration.",
    )


def _hang_up(line: Line) -> None:
    threading.Thread(target=line.hang_up, name="stream-manager-close", daemon=True).start()


def in_thread(
    name: str, work: Callable[[], T], *, unwanted: Callable[[T], None] = lambda _result: None
) -> Awaitable[T]:
    """Run it once in a daemon thread of its own; for what happens seldom.

    `unwanted` is given a result that nobody waits for any more.
    """
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def fail(error: BaseException) -> None:
        if not outcome.done():
            outcome.set_exception(error)

    def succeed(result: T) -> None:
        if outcome.done():
            unwanted(result)
        else:
            outcome.set_result(result)

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001  # whoever waits for it gets its error
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(fail, error)
            return
        try:
            loop.call_soon_threadsafe(succeed, result)
        except RuntimeError:  # the loop is closed
            unwanted(result)

    threading.Thread(target=run, name=name, daemon=True).start()
    return outcome
