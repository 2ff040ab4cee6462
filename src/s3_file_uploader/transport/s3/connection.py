"""Connections to one endpoint: opened only when needed, kept, used again, watched while idle.

A connection moves bytes without blocking and knows nothing of HTTP. The pool never opens one while
an idle one can be had, hands out the one used last (the others grow old and are closed), and drops
an idle one as soon as the far side closes it. None lives longer than five minutes, so that a store
whose name leads elsewhere by then is followed. How one is opened is the business of `dialling`.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.transport.s3.dialling import Dialler
from s3_file_uploader.transport.s3.tls import said

if TYPE_CHECKING:
    from s3_file_uploader.transport.s3.endpoint import Endpoint
    from s3_file_uploader.transport.s3.proxy import Proxies
    from s3_file_uploader.transport.s3.race import Opened
    from s3_file_uploader.transport.s3.reactor import Reactor
    from s3_file_uploader.transport.s3.resolver import Resolver

__all__ = ["Connection", "ConnectionLost", "Deadlines", "Pool"]

RECEIVE_BYTES = 64 * 1024
IDLE_SECONDS = 60.0
LONGEST_LIFE_SECONDS = 300.0
JANITOR_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long nothing may happen, in seconds, before a wait is given up. All are about progress."""

    resolve: float = 10.0
    connect: float = 10.0
    head_start: float = 0.5  # of one address, before the next is tried beside it
    tunnel: float = 45.0  # a proxy tries to connect by itself before it says no
    tls: float = 10.0
    progress: float = 60.0
    # S3 may take minutes to put many parts together, and sends white space meanwhile; others do not.
    complete: float = 300.0
    # The longest that an answer may take from its request to its end, however steadily it drips.
    answer: float = 900.0
    # How long to wait for `100 Continue` before sending the body all the same.
    proceed: float = 1.0
    credentials: float = 15.0


class ConnectionLost(Exception):
    """The connection broke or was closed."""


class Connection:
    """One open connection. `is_reused` is true from its second request on."""

    __slots__ = ("_socket", "channel", "idle_since", "is_reused", "is_tls", "retires_at", "way")

    def __init__(self, opened: Opened, way: Dialler, now: float) -> None:
        self._socket = opened.socket
        self.channel = opened.channel
        self.way = way  # what opened it
        self.is_tls = isinstance(opened.socket, ssl.SSLSocket)
        self.is_reused = False
        self.idle_since = 0.0
        self.retires_at = now + LONGEST_LIFE_SECONDS

    def send(self, data: bytes | memoryview) -> int:
        """How many bytes were taken; 0 means: wait until writable, then offer the same bytes again.

        Over TLS it is all or nothing, and what was refused must be offered again at the same length:
        a part of it may already be encrypted and on its way.
        """
        try:
            return self._socket.send(data)
        except (BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            return 0
        except OSError as error:
            raise ConnectionLost(said(error)) from None

    def send_file(self, fd: int, offset: int, size: int) -> int | None:
        """Plain connections only: send from a file, without copying through this process.

        None means: wait until writable; 0 means that the file ends there. OSError may be of the
        connection or of the file.
        """
        try:
            return os.sendfile(self._socket.fileno(), fd, offset, size)
        except BlockingIOError:
            return None

    def receive(self) -> bytes | None:
        """What arrived; None if nothing did yet, b"" if nothing ever will."""
        try:
            return self._socket.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            raise ConnectionLost(said(error)) from None

    @property
    def tls_session(self) -> ssl.SSLSession | None:
        return self._socket.session if isinstance(self._socket, ssl.SSLSocket) else None

    def close(self) -> None:
        self._socket.close()


class Pool:
    """The connections of one engine to one endpoint. How many are open is bounded by who asks."""

    def __init__(
        self,
        reactor: Reactor,
        endpoint: Endpoint,
        *,
        resolver: Resolver,
        context: ssl.SSLContext | None,
        deadlines: Deadlines,
        proxies: Proxies,
    ) -> None:
        self._reactor = reactor
        self._resolver = resolver
        self._context = context
        self._deadlines = deadlines
        self._proxies = proxies
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._has_janitor = False
        self.lead_to(endpoint)

    def lead_to(self, endpoint: Endpoint) -> None:
        """New connections go to this endpoint; those that lead elsewhere are not used again."""
        proxy = self._proxies.to(endpoint)
        self._way = Dialler(
            self._reactor,
            endpoint,
            resolver=self._resolver,
            context=self._context,
            deadlines=self._deadlines,
            proxy=proxy,
        )
        # Over TLS the proxy opens a tunnel and sees no request; without, it is given each of them.
        self._forwarder = None if endpoint.tls else proxy
        self._origin = f"{endpoint.scheme}://{endpoint.host_header}"
        for connection in list(self._idle):
            self._idle.remove(connection)
            self.discard(connection)

    def addressed(self, head: bytes) -> bytes:
        """The head of a request as whoever is at the other end of a connection wants it."""
        return head if self._forwarder is None else self._forwarder.forwarded(head, self._origin)

    async def take(self, *, must_be_new: bool = False) -> Connection:
        """An idle connection, or a new one; Unreachable or Misconfigured if there is none to be had."""
        if self._idle and not must_be_new:
            connection = self._idle.pop()
            connection.channel.on_stir = None
            connection.is_reused = True
            return connection
        way = self._way
        connection = Connection(await way.open(), way, self._reactor.now)
        self._open.add(connection)
        return connection

    def give(self, connection: Connection) -> None:
        """Back from a request whose answer was read to its end."""
        now = self._reactor.now
        if now >= connection.retires_at or connection.way is not self._way:
            self.discard(connection)
            return
        if not connection.is_reused and connection.is_tls:
            connection.way.session = connection.tls_session
        connection.idle_since = now
        connection.channel.on_stir = lambda: self._stirred(connection)
        self._idle.append(connection)
        if not self._has_janitor:
            self._has_janitor = True
            self._reactor.spawn(self._clean())

    def discard(self, connection: Connection) -> None:
        if connection in self._open:
            self._open.discard(connection)
            connection.channel.on_stir = None
            self._reactor.release(connection.channel)
            connection.close()

    def close(self) -> None:
        for connection in list(self._open):
            self.discard(connection)
        self._idle.clear()

    def _stirred(self, connection: Connection) -> None:
        """An idle connection became readable: closed by the far side, or a TLS ticket came late."""
        with contextlib.suppress(ConnectionLost):
            if connection.receive() is None:
                return
        self._idle.remove(connection)
        self.discard(connection)

    async def _clean(self) -> None:
        while self._idle:
            await self._reactor.sleep(JANITOR_SECONDS)
            oldest = self._reactor.now - IDLE_SECONDS
            old = [connection for connection in self._idle if connection.idle_since < oldest]
            self._idle = [connection for connection in self._idle if connection.idle_since >= oldest]
            for connection in old:
                self.discard(connection)
        self._has_janitor = False
