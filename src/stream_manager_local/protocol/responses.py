"""Answers as frames. Their keys stand in the order of AWS's SDK, so that the bytes are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_manager_local.protocol.cbor import INTEGER, TEXT, dumps, head
from stream_manager_local.protocol.codes import Operation, Status
from stream_manager_local.protocol.frames import CONNECT_VERSION, encode_frame

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "PREFACE",
    "RESPONSES",
    "appended",
    "connected",
    "messages_read",
    "refused",
    "succeeded",
    "unknown_operation",
]

PREFACE = bytes([CONNECT_VERSION])

# The operation that answers each operation.
RESPONSES: Mapping[int, Operation] = {
    Operation.CONNECT: Operation.CONNECT_RESPONSE,
    Operation.CREATE_MESSAGE_STREAM: Operation.CREATE_MESSAGE_STREAM_RESPONSE,
    Operation.DELETE_MESSAGE_STREAM: Operation.DELETE_MESSAGE_STREAM_RESPONSE,
    Operation.APPEND_MESSAGE: Operation.APPEND_MESSAGE_RESPONSE,
    Operation.READ_MESSAGES: Operation.READ_MESSAGES_RESPONSE,
    Operation.LIST_STREAMS: Operation.LIST_STREAMS_RESPONSE,
    Operation.DESCRIBE_MESSAGE_STREAM: Operation.DESCRIBE_MESSAGE_STREAM_RESPONSE,
    Operation.UPDATE_MESSAGE_STREAM: Operation.UPDATE_MESSAGE_STREAM_RESPONSE,
}


def succeeded(operation: int, request_id: str, body: Mapping[str, object] | None = None) -> bytes:
    """The answer to `operation`, with what belongs to it besides the status."""
    return _frame(
        RESPONSES[operation], {"requestId": request_id, "status": int(Status.SUCCESS), **(body or {})}
    )


def refused(operation: int, request_id: str, status: int, text: str) -> bytes:
    """The answer to `operation` when it was not done; `text` is for the person who reads it."""
    return _frame(
        RESPONSES[operation], {"requestId": request_id, "status": int(status), "errorMessage": text}
    )


def unknown_operation(request_id: str, operation: int) -> bytes:
    """The answer to an operation that nobody knows; the connection goes on."""
    text = f"operation {operation} is not known to this server"
    values = {"requestId": request_id, "status": int(Status.UNKNOWN_OPERATION), "errorMessage": text}
    return _frame(Operation.UNKNOWN_OPERATION_ERROR, values)


def connected(
    request_id: str, version: str, supported: Sequence[str], server_version: str, client_identifier: str
) -> bytes:
    """The end of a handshake that succeeded."""
    return succeeded(
        Operation.CONNECT,
        request_id,
        {
            "protocolVersion": version,
            "supportedProtocolVersions": list(supported),
            "serverVersion": server_version,
            "clientIdentifier": client_identifier,
        },
    )


_BEFORE_ID = b"\xa3" + dumps("requestId")
_BEFORE_NUMBER = dumps("status") + dumps(0) + dumps("sequenceNumber")


def appended(request_id: str, sequence_number: int) -> bytes:
    """The answer to an append, put together by hand: the encoder takes five times as long."""
    text = request_id.encode()
    parts = (_BEFORE_ID, head(TEXT, len(text)), text, _BEFORE_NUMBER, head(INTEGER, sequence_number))
    return encode_frame(Operation.APPEND_MESSAGE_RESPONSE, b"".join(parts))


def messages_read(request_id: str, stream_name: str, messages: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The answer to a read; each message is (sequence number, ingest time in ms, payload)."""
    values = {
        "requestId": request_id,
        "messages": [
            {"streamName": stream_name, "sequenceNumber": number, "ingestTime": millis, "payload": payload}
            for number, millis, payload in messages
        ],
        "status": int(Status.SUCCESS),
    }
    return _frame(Operation.READ_MESSAGES_RESPONSE, values)


def _frame(operation: int, values: Mapping[str, object]) -> bytes:
    return encode_frame(operation, dumps(values))
