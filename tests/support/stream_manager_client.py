"""A client of Stream Manager that says exactly what it is told to: for what AWS's SDK cannot say."""

from __future__ import annotations

import itertools
import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cbor2

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Answer", "PlainClient", "frame", "request"]

_SECONDS = 30.0


def frame(operation: int, payload: bytes) -> bytes:
    return struct.pack(">ib", len(payload) + 1, operation) + payload


def request(operation: int, **values: Any) -> bytes:
    return frame(operation, cbor2.dumps({"requestId": "1", **values}))


@dataclass(frozen=True, slots=True)
class Answer:
    operation: int
    values: dict[str, Any]

    @property
    def status(self) -> int:
        return int(self.values["status"])

    @property
    def text(self) -> str:
        return str(self.values.get("errorMessage", ""))


class PlainClient:
    """One connection. `connect=False` leaves the handshake to the test."""

    def __init__(self, port: int, *, connect: bool = True, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(_SECONDS)
        self.socket.connect(("127.0.0.1", port))
        self._rest = bytearray()
        self._ids = itertools.count(1)
        self.greeting = self.greet() if connect else None

    def __enter__(self) -> PlainClient:  # noqa: PYI034  # Self needs Python 3.11
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def greet(self, **values: Any) -> Answer:
        said = {"protocolVersion": "1.1.0", "otherSupportedProtocolVersions": ["1.0.0"], **values}
        self.write(b"\x01" + request(1, **{key: each for key, each in said.items() if each is not None}))
        assert self.read(1) == b"\x01"
        return self.receive()

    def write(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send(self, operation: int, **values: Any) -> str:
        """Returns the request's id."""
        request_id = f"r{next(self._ids)}"
        self.write(request(operation, **{"requestId": request_id, **values}))
        return request_id

    def ask(self, operation: int, **values: Any) -> Answer:
        """The answer to this request, when nothing else is under way."""
        request_id = self.send(operation, **values)
        answer = self.receive()
        assert answer.values["requestId"] == values.get("requestId", request_id)
        return answer

    def receive(self) -> Answer:
        length, operation = struct.unpack(">ib", self.read(5))
        return Answer(operation, cbor2.loads(self.read(length - 1)))

    def read(self, count: int) -> bytes:
        while len(self._rest) < count:
            data = self.socket.recv(1 << 18)
            if not data:
                raise EOFError(f"the server hung up, {len(self._rest)} of {count} bytes were there")
            self._rest += data
        found = bytes(self._rest[:count])
        del self._rest[:count]
        return found

    def is_hung_up_on(self) -> bool:
        """Whether the server ends the connection with FIN, having said nothing more; an RST raises."""
        return not self._rest and self.socket.recv(1) == b""

    # ---- what many tests say ---------------------------------------------------------------------

    def create(self, name: str, **definition: Any) -> None:
        values = {"name": name, "strategyOnFull": 0, "persistence": 1, **definition}
        answer = self.ask(2, definition=values)
        assert answer.status == 0, answer.text

    def append(self, name: str, payload: bytes = b"x") -> int:
        answer = self.ask(4, name=name, payload=payload)
        assert answer.status == 0, answer.text
        return int(answer.values["sequenceNumber"])
