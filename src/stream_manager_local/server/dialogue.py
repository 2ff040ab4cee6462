"""What is said on one connection: first the handshake, then requests. Knows no bytes and no sockets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stream_manager_local.faults import Deed
from stream_manager_local.protocol.codes import Operation, Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.protocol.requests import ConnectRequest, decode, request_id_of
from stream_manager_local.protocol.responses import PREFACE, connected, refused
from stream_manager_local.server.handshake import SUPPORTED_VERSIONS, agreed_version, check_token

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stream_manager_local.faults import Misdeed
    from stream_manager_local.protocol.frames import Frame
    from stream_manager_local.server.mischief import Mischief
    from stream_manager_local.server.polls import Client
    from stream_manager_local.server.service import Service

__all__ = ["Dialogue", "Farewell", "House"]

_LOG = logging.getLogger(__name__)


class Farewell(Exception):
    """The connection ends now: with this answer, if any; `is_reset` ends it with RST."""

    def __init__(self, why: str, answer: bytes | None = None, *, is_reset: bool = False) -> None:
        super().__init__(why)
        self.answer = answer
        self.is_reset = is_reset


class House:
    """What all connections share. `auth_token` None lets everybody in."""

    def __init__(
        self,
        service: Service,
        mischief: Mischief,
        *,
        server_version: str,
        auth_token: str | None,
        new_identifier: Callable[[], str],
    ) -> None:
        self.service = service
        self.mischief = mischief
        self.server_version = server_version
        self.auth_token = auth_token
        self.new_identifier = new_identifier


class Dialogue:
    """One client's."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._service = house.service
        self._mischief = house.mischief
        self.is_connected = False

    def answer(self, frame: Frame, client: Client) -> bytes | None:
        """The answer; None when the client gets it later, or never.

        Raises Undecodable, and Farewell when the connection ends.
        """
        misdeed = self._mischief.of(frame.operation)
        if misdeed is not None:
            return self._answer_badly(frame, client, misdeed)
        if self.is_connected:
            return self._service.answer(frame, client)
        return self._connect(frame)

    def _connect(self, frame: Frame) -> bytes:
        values = decode(frame.payload)
        request_id = request_id_of(values)
        try:
            version = self._let_in(frame.operation, values)
        except Refused as error:
            raise self._turned_away(request_id, error.status, error.text) from None
        self.is_connected = True
        identifier = self._house.new_identifier()
        _LOG.debug("a client is connected: version=%s identifier=%s", version, identifier)
        return PREFACE + connected(
            request_id, version, SUPPORTED_VERSIONS, self._house.server_version, identifier
        )

    def _let_in(self, operation: int, values: Mapping[str, Any]) -> str:
        """The version to speak. Raises Refused."""
        if operation != Operation.CONNECT:
            raise Refused(
                Status.UNEXPECTED_OPERATION,
                f"the first operation is {operation} and must be {int(Operation.CONNECT)}, connect",
            )
        request = ConnectRequest.of(values)
        version = agreed_version(request.versions)
        if self._house.auth_token is not None:
            check_token(request, self._house.auth_token)
        return version

    def _turned_away(self, request_id: str, status: int, text: str) -> Farewell:
        answer = refused(Operation.CONNECT, request_id, status, text)
        return Farewell(f"not let in: {text}", PREFACE + answer)

    def _answer_badly(self, frame: Frame, client: Client, misdeed: Misdeed) -> bytes | None:
        if misdeed.deed is Deed.FAIL:
            return self._fail(frame, misdeed.status)
        stand_in = self._mischief.client_for(misdeed, client)
        answer = self._service.answer(frame, stand_in) if self.is_connected else self._connect(frame)
        self._mischief.after(misdeed)
        if misdeed.deed in {Deed.CLOSE, Deed.RESET}:
            raise Farewell("a fault", is_reset=misdeed.deed is Deed.RESET)
        if answer is not None:
            stand_in.send(answer)
        return None

    def _fail(self, frame: Frame, status: int) -> bytes:
        text = "refused on purpose (--fault)"
        if not self.is_connected:
            raise self._turned_away(request_id_of(decode(frame.payload)), status, text)
        return self._service.refuse(frame, status, text)
