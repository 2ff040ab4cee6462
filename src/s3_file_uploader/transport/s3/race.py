"""Several addresses of one name, tried so that none that is slow or dead holds up one that answers.

The first has a head start; then the next is tried beside it, and at once where one fails. The first to be
connected wins, and the others are let go of. It knows neither TLS nor proxies.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.transport.s3.reactor import WRITE, NoProgress
from s3_file_uploader.transport.s3.tls import said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from s3_file_uploader.transport.s3.connection import Deadlines
    from s3_file_uploader.transport.s3.reactor import Channel, Reactor, Task
    from s3_file_uploader.transport.s3.resolver import Address

__all__ = ["NoneAnswered", "Opened", "Race"]


class Opened(NamedTuple):
    """A connected socket and its place in the reactor."""

    socket: socket.socket
    channel: Channel


class NoneAnswered(Exception):
    """No address could be connected to; says what the last one's trouble was."""


class Race:
    """Connects to addresses in turn, the next beside one that is slow; the first to answer wins."""

    def __init__(self, reactor: Reactor, deadlines: Deadlines) -> None:
        self._reactor = reactor
        self._deadlines = deadlines
        self._running: dict[Address, Task] = {}
        self._ended: deque[tuple[Address, Opened | None, BaseException | None]] = deque()
        self._stirred = reactor.signal()
        self._is_over = False

    async def run(self, addresses: Sequence[Address]) -> tuple[Address, Opened]:
        trouble = ""
        if len(addresses) == 1:
            try:
                return addresses[0], await self._reach(addresses[0])
            except (OSError, NoProgress) as error:
                raise NoneAnswered(f"{addresses[0].sockaddr[0]}: {said(error)}") from None
        waiting = deque(addresses)
        try:
            while waiting or self._running or self._ended:
                if waiting and not self._ended:
                    self._start(waiting.popleft())
                if not await self._has_news(self._deadlines.head_start if waiting else None):
                    continue
                address, opened, failure = self._ended.popleft()
                if opened is not None:
                    return address, opened
                if failure is not None:
                    if not isinstance(failure, OSError | NoProgress):
                        raise failure
                    trouble = f"{address.sockaddr[0]}: {said(failure)}"
        finally:
            self._end()
        raise NoneAnswered(trouble)

    def _start(self, address: Address) -> None:
        def ended(opened: Opened | None, error: BaseException | None) -> None:
            self._running.pop(address, None)
            if self._is_over:
                self._drop(opened)
                return
            self._ended.append((address, opened, error))
            self._stirred.set()

        self._running[address] = self._reactor.spawn(self._reach(address), ended)

    async def _has_news(self, seconds: float | None) -> bool:
        if not self._ended:
            self._stirred = self._reactor.signal()
            try:
                await self._stirred.wait(seconds)
            except NoProgress:
                return False
        return True

    def _end(self) -> None:
        self._is_over = True
        for task in self._running.values():
            self._reactor.cancel(task, NoneAnswered("another was faster"))
        for _, opened, _ in self._ended:
            self._drop(opened)

    def _drop(self, opened: Opened | None) -> None:
        if opened is not None:
            self._reactor.release(opened.channel)
            opened.socket.close()

    async def _reach(self, address: Address) -> Opened:
        opened = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        channel = None
        try:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Finds out about a far side that vanished while a request waits for its answer.
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with contextlib.suppress(BlockingIOError):
                opened.connect(address.sockaddr)
            channel = self._reactor.open(opened.fileno())
            await self._reactor.wait(channel, WRITE, self._deadlines.connect)
            failure = opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if failure:
                raise OSError(failure, os.strerror(failure))  # noqa: TRY301  (one way out)
        except BaseException:
            if channel is not None:
                self._reactor.release(channel)
            opened.close()
            raise
        return Opened(opened, channel)
