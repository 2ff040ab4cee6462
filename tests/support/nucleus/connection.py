"""One connection of a component: the RPC protocol, without any knowledge of the operations.

All of it runs in the nucleus's own thread, called by the event loop; nothing here waits. While the nucleus
is stalled, what arrives is kept unread and what would be said is kept unsaid.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Protocol

from support.nucleus.frames import DamagedFrame, Frame, Header, Unframing, encode

if TYPE_CHECKING:
    from support.nucleus.kinds import Kind
    from support.nucleus.record import Record

__all__ = ["Connection", "Refused", "Server", "Stream"]

(
    APPLICATION_MESSAGE,
    APPLICATION_ERROR,
    PING,
    PING_RESPONSE,
    CONNECT,
    CONNECT_ACK,
    PROTOCOL_ERROR,
) = range(7)
ACCEPTED, TERMINATE = 1, 2
NAMESPACE = "aws.greengrass#"
_PARTING_SECONDS = 1.0


class Refused(Exception):
    """The answer to a request is an error: its name in AWS's model, and its text."""

    def __init__(self, error: str, text: str) -> None:
        super().__init__(text)
        self.error = error


class Server(Protocol):
    """What a connection asks of the nucleus it belongs to."""

    kind: Kind
    record: Record
    is_stalled: bool

    def joined(self, connection: Connection) -> None: ...
    def left(self, connection: Connection) -> None: ...
    def component_of(self, token: str) -> str | None: ...
    def arrived(self, component: str, operation: str, body: dict[str, Any]) -> None: ...
    def asked(self, stream: Stream, size_bytes: int) -> None: ...


class Stream:
    """One request, and the events that follow it if it was a subscription."""

    def __init__(self, connection: Connection, number: int, operation: str) -> None:
        self.connection = connection
        self.number = number
        self.operation = operation
        self.component = connection.component or ""
        self.body: dict[str, Any] = {}
        self.is_subscribed = False  # events may be sent: it has been answered

    def send(self, model: str, body: dict[str, Any], *, is_last: bool = False) -> None:
        self._send(APPLICATION_MESSAGE, model, body, is_last=is_last)

    def refuse(self, refused: Refused) -> None:
        body = {"_message": str(refused), "_errorCode": refused.error}
        if self.connection.kind.does_name_message:
            body["message"] = str(refused)
        self._send(APPLICATION_ERROR, refused.error, body, is_last=True)

    def end(self) -> None:
        """Only the stream: its connection stays."""
        self.connection.forget(self)
        self.connection.send(APPLICATION_MESSAGE, flags=TERMINATE, stream=self.number)

    def _send(self, message_type: int, model: str, body: dict[str, Any], *, is_last: bool) -> None:
        if is_last:
            self.connection.forget(self)
        self.connection.send(
            message_type,
            flags=TERMINATE if is_last else 0,
            stream=self.number,
            headers={
                ":content-type": Header.string("application/json"),
                "service-model-type": Header.string(NAMESPACE + model),
            },
            payload=json.dumps(body, separators=(",", ":")).encode(),
        )


class Connection(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self.kind = server.kind
        self.component: str | None = None  # until it has shown a token that is known
        self.streams: dict[int, Stream] = {}
        does_end = self.kind.does_oversized_end_connection
        self._unframing = Unframing(self.kind.most_message_bytes if does_end else None)
        self._unread: list[tuple[Frame, int]] = []
        self._unsaid: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._parting: asyncio.TimerHandle | None = None

    # -- called by the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.joined(self)

    def data_received(self, data: bytes) -> None:
        try:
            frames = self._unframing.feed(data)
        except DamagedFrame as damage:
            self._fail(str(damage))
            return
        for frame in frames:
            self._note(frame)
            self._unread.append((frame, len(encode(frame)) - 12))
        self.go_on()

    def connection_lost(self, exc: Exception | None) -> None:
        self.streams.clear()
        self._unread.clear()
        self._transport = None
        if self._parting is not None:
            self._parting.cancel()
        self._server.left(self)

    # -- called by the nucleus

    def go_on(self) -> None:
        """Say what was kept and read what was kept, unless the nucleus is stalled."""
        while not self._server.is_stalled and self._transport is not None and self._unsaid:
            self._transport.write(self._unsaid.pop(0))
        while not self._server.is_stalled and self._transport is not None and self._unread:
            frame, size_bytes = self._unread.pop(0)
            self._read(frame, size_bytes)

    def close(self) -> None:
        """What has been said still goes out."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def forget(self, stream: Stream) -> None:
        stream.is_subscribed = False
        self.streams.pop(stream.number, None)

    def send(
        self,
        message_type: int,
        *,
        flags: int = 0,
        stream: int = 0,
        headers: dict[str, Header] | None = None,
        payload: bytes = b"",
    ) -> None:
        own = {
            ":message-type": Header.int32(message_type),
            ":message-flags": Header.int32(flags),
            ":stream-id": Header.int32(stream),
        }
        self._unsaid.append(encode(Frame({**own, **(headers or {})}, payload)))
        if not self._server.is_stalled and self._transport is not None:
            for said in self._unsaid:
                self._transport.write(said)
            self._unsaid.clear()

    # -- the protocol

    def _note(self, frame: Frame) -> None:
        """A request is on record when it arrives, though a stalled nucleus does not read it."""
        operation = frame.text("operation")
        if operation is not None and self.component is not None:
            self._server.arrived(self.component, operation.removeprefix(NAMESPACE), _object(frame.payload))

    def _read(self, frame: Frame, size_bytes: int) -> None:
        message_type, number = frame.number(":message-type"), frame.number(":stream-id")
        if message_type is None or number is None or frame.number(":message-flags") is None:
            self._fail("a header of the protocol is missing or no int32")
        elif self.component is None:
            self._connect(frame)
        elif message_type == PING and number == 0 and self.kind.does_answer_ping:
            self.send(PING_RESPONSE, payload=frame.payload)
        elif message_type == PING_RESPONSE and number == 0:
            pass
        elif message_type != APPLICATION_MESSAGE or number == 0:
            self._fail(f"message type {message_type} on stream {number}")
        else:
            self._converse(frame, number, size_bytes)

    def _connect(self, frame: Frame) -> None:
        if frame.number(":message-type") != CONNECT or frame.text(":version") != "0.1.0":
            self._fail("the first message is no connect of version 0.1.0")
            return
        token = str(_object(frame.payload).get("authToken", ""))
        self.component = self._server.component_of(token)
        if self.component is not None:
            self.send(CONNECT_ACK, flags=ACCEPTED)
            return
        if not self.kind.does_say_no:
            self.close()
            return
        # AWS's client then closes; were it done here at once, it would often not see why.
        self.send(CONNECT_ACK)
        self._parting = asyncio.get_running_loop().call_later(_PARTING_SECONDS, self.close)

    def _converse(self, frame: Frame, number: int, size_bytes: int) -> None:
        if (frame.number(":message-flags") or 0) & TERMINATE:
            self.streams.pop(number, None)
            self._server.record.changed()
            return
        operation = frame.text("operation")
        if operation is None:
            self._fail("a stream begins without an operation")
            return
        stream = Stream(self, number, operation.removeprefix(NAMESPACE))
        stream.body = _object(frame.payload)
        self.streams[number] = stream
        self._server.asked(stream, size_bytes)

    def _fail(self, text: str) -> None:
        """The classic nucleus says what it did not like; lite only goes."""
        self._unread.clear()
        if self.kind.does_say_no:
            self.send(PROTOCOL_ERROR, payload=json.dumps({"message": text}).encode())
        self.close()


def _object(payload: bytes) -> dict[str, Any]:
    try:
        found = json.loads(payload or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
