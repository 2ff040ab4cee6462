"""The port, and all connections that came in by it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
from typing import TYPE_CHECKING

from stream_manager_local.server.connection import Connection

if TYPE_CHECKING:
    from stream_manager_local.server.dialogue import House

__all__ = ["Listener", "is_loopback"]

_LOG = logging.getLogger(__name__)

_BACKLOG = 1024
_STOP_SECONDS = 5.0


class Listener:
    """`most_payload_bytes` bounds what one frame may hold; what is larger is passed over."""

    def __init__(
        self, house: House, *, most_payload_bytes: int, most_connections: int, handshake_seconds: float
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.house = house
        self.most_payload_bytes = most_payload_bytes
        self.handshake_seconds = handshake_seconds
        self._most_connections = most_connections
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._is_empty = asyncio.Event()
        self._is_empty.set()

    def __len__(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which is a free one where `port` is 0. Raises OSError."""
        self._server = await self.loop.create_server(
            lambda: Connection(self), host, port, backlog=_BACKLOG, reuse_address=True
        )
        found = self._server.sockets[0].getsockname()[1]
        assert isinstance(found, int)
        return found

    async def stop(self) -> None:
        """Take no new clients, answer those that wait, send all of them FIN; at most 5 seconds."""
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.say_goodbye()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._is_empty.wait(), _STOP_SECONDS)
        for connection in list(self._connections):
            connection.abort()

    def enter(self, connection: Connection) -> bool:
        """Whether there is room for it."""
        self._connections.add(connection)
        self._is_empty.clear()
        return len(self._connections) <= self._most_connections

    def exit(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._is_empty.set()


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to it. A name other than localhost counts as not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
