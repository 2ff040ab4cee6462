"""Connections to one endpoint: opened only when needed, kept, used again, watched while idle.

A connection moves bytes without blocking and knows nothing of HTTP. The pool never opens one while
an idle one can be had, hands out the one used last (the others grow old and are closed), and drops
an idle one as soon as the far side closes it.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.errors import Unreachable
from s3_file_uploader.transport.s3.reactor import READ, WRITE, NoProgress
from s3_file_uploader.transport.s3.tls import said, tls_fault

if TYPE_CHECKING:
    from s3_file_uploader.transport.s3.endpoint import Endpoint
    from s3_file_uploader.transport.s3.reactor import Channel, Reactor, Signal
    from s3_file_uploader.transport.s3.resolver import Address, Resolver

__all__ = ["Connection", "ConnectionLost", "Deadlines", "Pool", "unresolved"]

RECEIVE_BYTES = 64 * 1024
IDLE_SECONDS = 60.0
JANITOR_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long nothing may happen, in seconds, before a wait is given up. All are about progress."""

    resolve: float = 10.0
    connect: float = 10.0
    tls: float = 10.0
    progress: float = 60.0
    # S3 may take minutes to put many parts together, and sends white space meanwhile; others do not.
    complete: float = 300.0
    # How long to wait for `100 Continue` before sending the body all the same.
    proceed: float = 1.0
    credentials: float = 15.0


class ConnectionLost(Exception):
    """The connection broke or was closed."""


class Connection:
    """One open connection. `is_reused` is true from its second request on."""

    __slots__ = ("_socket", "channel", "idle_since", "is_reused", "is_tls")

    def __init__(self, open_socket: socket.socket, channel: Channel) -> None:
        self._socket = open_socket
        self.channel = channel
        self.is_tls = isinstance(open_socket, ssl.SSLSocket)
        self.is_reused = False
        self.idle_since = 0.0

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
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._resolver = resolver
        self._context = context
        self._deadlines = deadlines
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._good: Address | None = None
        self._session: ssl.SSLSession | None = None
        self._has_janitor = False

    async def take(self, *, must_be_new: bool = False) -> Connection:
        """An idle connection, or a new one; Unreachable or Misconfigured if there is none to be had."""
        if self._idle and not must_be_new:
            connection = self._idle.pop()
            connection.channel.on_stir = None
            connection.is_reused = True
            return connection
        return await self._connect()

    def give(self, connection: Connection) -> None:
        """Back from a request whose answer was read to its end."""
        if not connection.is_reused and connection.is_tls:
            self._session = connection.tls_session
        connection.idle_since = self._reactor.now
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

    async def _connect(self) -> Connection:
        """Address after address until one answers; the one that did is the first to be tried next time."""
        trouble = ""
        for address in await self._addresses():
            try:
                connected = await self._dial(address)
            except (OSError, NoProgress) as error:
                trouble = f"{address.sockaddr[0]}: {said(error)}"
                if address == self._good:
                    self._good = None
                continue
            self._good = address
            return connected
        raise Unreachable(f"cannot connect to {self._endpoint.describe()}: {trouble}")

    async def _addresses(self) -> tuple[Address, ...]:
        host, port = self._endpoint.address
        addresses = self._resolver.lookup(host, port)
        if not addresses:
            addresses = await self._resolve(host, port)
        good = self._good
        if good is None or good not in addresses:
            return addresses
        return (good, *(one for one in addresses if one != good))

    async def _resolve(self, host: str, port: int) -> tuple[Address, ...]:
        answered: Signal = self._reactor.signal()
        self._resolver.ask(host, port, lambda *answer: self._reactor.post(lambda: answered.set(answer)))
        try:
            addresses, trouble = await answered.wait(self._deadlines.resolve)
        except NoProgress:
            addresses, trouble = (), f"no answer within {self._deadlines.resolve:g} s"
        if not addresses:
            raise unresolved(host, trouble)
        return tuple(addresses)

    async def _dial(self, address: Address) -> Connection:
        opened: socket.socket = socket.socket(address.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
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
            if self._context is not None:
                # Same descriptor, so the channel stays.
                opened = self._wrap(opened)
                await self._shake_hands(opened, channel)
        except BaseException:
            if channel is not None:
                self._reactor.release(channel)
            opened.close()
            raise
        connection = Connection(opened, channel)
        self._open.add(connection)
        return connection

    def _wrap(self, opened: socket.socket) -> ssl.SSLSocket:
        assert self._context is not None
        return self._context.wrap_socket(
            opened,
            do_handshake_on_connect=False,
            server_hostname=self._endpoint.host,
            session=self._session,
        )

    async def _shake_hands(self, opened: socket.socket, channel: Channel) -> None:
        assert isinstance(opened, ssl.SSLSocket)
        while True:
            try:
                opened.do_handshake()
            except ssl.SSLWantReadError:
                await self._reactor.wait(channel, READ, self._deadlines.tls)
            except ssl.SSLWantWriteError:
                await self._reactor.wait(channel, WRITE, self._deadlines.tls)
            except ssl.SSLError as error:
                self._session = None
                raise tls_fault(error, self._endpoint.describe()) from None
            else:
                return


def unresolved(host: str, trouble: str) -> Unreachable:
    return Unreachable(
        f"the name {host} cannot be resolved: {trouble}",
        advice="Look at the network, at DNS, and at the spelling of EndpointUrl and Region.",
    )
