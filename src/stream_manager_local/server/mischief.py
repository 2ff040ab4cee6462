"""Does what `--fault` asks for: stands between a request and its answer."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_manager_local.faults import Deed, Faults, Misdeed
from stream_manager_local.protocol.codes import Operation

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Mapping

    from stream_manager_local.server.polls import Client, Pending

__all__ = ["OPERATION_NAMES", "Ends", "Mischief"]

_LOG = logging.getLogger(__name__)

OPERATION_NAMES: Mapping[int, str] = {
    Operation.CONNECT: "connect",
    Operation.CREATE_MESSAGE_STREAM: "create",
    Operation.DELETE_MESSAGE_STREAM: "delete",
    Operation.APPEND_MESSAGE: "append",
    Operation.READ_MESSAGES: "read",
    Operation.LIST_STREAMS: "list",
    Operation.DESCRIBE_MESSAGE_STREAM: "describe",
    Operation.UPDATE_MESSAGE_STREAM: "update",
}


@dataclass(frozen=True, slots=True)
class Ends:
    """How this process ends at once, without any farewell."""

    crash: Callable[[], None]
    restart: Callable[[], None]


class Mischief:
    """What is done wrong, for the connections to ask."""

    def __init__(self, faults: Faults, ends: Ends, loop: asyncio.AbstractEventLoop) -> None:
        self._faults = faults
        self._ends = ends
        self._loop = loop
        self._watched = {number for number, name in OPERATION_NAMES.items() if faults.watches(name)}

    def of(self, operation: int) -> Misdeed | None:
        """What happens to this request; asked once for each."""
        if operation not in self._watched:
            return None
        name = OPERATION_NAMES[operation]
        misdeed = self._faults.at_request(name)
        if misdeed is not None:
            _LOG.warning("fault: %s at %s", misdeed.deed.value, name)
        return misdeed

    def client_for(self, misdeed: Misdeed, client: Client) -> Client:
        """Who gets the answer instead: the client, late, or nobody."""
        if misdeed.deed is Deed.DELAY:
            return _Late(client, misdeed.seconds, self._loop)
        return _Nobody(client)

    def after(self, misdeed: Misdeed) -> None:
        """The request is done, and not answered: end the process if that is what happens now."""
        if misdeed.deed is Deed.CRASH:
            self._ends.crash()
        elif misdeed.deed is Deed.RESTART:
            self._ends.restart()


class _Nobody:
    """Takes answers and throws them away."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def is_choked(self) -> bool:
        return False

    def send(self, frame: bytes) -> None:
        pass

    def expect(self, pending: Pending) -> None:
        self._client.expect(pending)

    def settle(self, pending: Pending) -> None:
        self._client.settle(pending)


class _Late(_Nobody):
    """Passes them on, later."""

    def __init__(self, client: Client, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(client)
        self._seconds = seconds
        self._loop = loop

    def send(self, frame: bytes) -> None:
        self._loop.call_later(self._seconds, self._client.send, frame)
