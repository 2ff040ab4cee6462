"""Does what requests ask for, and answers them. Knows streams and clients, and no sockets."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Operation, Status
from stream_manager_local.protocol.errors import Refused, Undecodable
from stream_manager_local.protocol.requests import (
    ReadRequest,
    append_of,
    decode,
    definition_of,
    name_of,
    request_id_in_head,
    request_id_of,
    too_large,
)
from stream_manager_local.protocol.responses import (
    RESPONSES,
    appended,
    messages_read,
    refused,
    succeeded,
    unknown_operation,
)
from stream_manager_local.server.description import describe
from stream_manager_local.server.durable import DurableAppend
from stream_manager_local.server.reading import last_needed, read_now

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stream_manager_local.protocol.frames import Frame
    from stream_manager_local.server.polls import Client, Polls
    from stream_manager_local.store import Store

__all__ = ["Service"]

_LOG = logging.getLogger(__name__)


class Service:
    """`most_message_bytes` is the largest payload that an append may have."""

    def __init__(self, store: Store, polls: Polls, most_message_bytes: int) -> None:
        self._store = store
        self._polls = polls
        self._most_message_bytes = most_message_bytes
        self._quick: Mapping[int, Callable[[Mapping[str, Any]], dict[str, object] | None]] = {
            Operation.CONNECT: _connect_again,
            Operation.CREATE_MESSAGE_STREAM: self._create,
            Operation.DELETE_MESSAGE_STREAM: self._delete,
            Operation.LIST_STREAMS: lambda _: {"streams": store.names()},
            Operation.DESCRIBE_MESSAGE_STREAM: self._describe,
            Operation.UPDATE_MESSAGE_STREAM: self._update,
        }

    def answer(self, frame: Frame, client: Client) -> bytes | None:
        """The answer to a request; None when the client is sent it later.

        Raises Undecodable when there is nothing that could be answered.
        """
        operation = frame.operation
        if frame.is_cut:
            return self._too_large(frame)
        values = decode(frame.payload)
        request_id = request_id_of(values)
        try:
            return self._do(operation, values, request_id, client)
        except Refused as error:
            _LOG.debug("refused: operation=%d status=%d %s", operation, error.status, error.text)
            return refused(operation, request_id, error.status, error.text)
        except Undecodable:
            raise
        except Exception as error:  # noqa: BLE001  # a bug, or a disk's surprise: this request fails, the others go on
            _LOG.exception("failed: operation=%d", operation)
            return refused(
                operation, request_id, Status.UNKNOWN_FAILURE, f"{type(error).__name__}: {error}"[:1000]
            )

    def refuse(self, frame: Frame, status: int, text: str) -> bytes:
        """The answer to a request that is not even tried. Raises Undecodable."""
        request_id = (
            request_id_in_head(frame.payload) if frame.is_cut else request_id_of(decode(frame.payload))
        )
        return refused(frame.operation, request_id, status, text)

    def _too_large(self, frame: Frame) -> bytes:
        request_id = request_id_in_head(frame.payload)
        if frame.operation not in RESPONSES:
            return unknown_operation(request_id, frame.operation)
        error = too_large(None, self._most_message_bytes)
        return refused(frame.operation, request_id, error.status, error.text)

    def _do(self, operation: int, values: Mapping[str, Any], request_id: str, client: Client) -> bytes | None:
        if operation == Operation.APPEND_MESSAGE:
            return self._append(values, request_id, client)
        if operation == Operation.READ_MESSAGES:
            return self._read(values, request_id, client)
        quick = self._quick.get(operation)
        if quick is None:
            _LOG.info("answered an unknown operation: operation=%d", operation)
            return unknown_operation(request_id, operation)
        return succeeded(operation, request_id, quick(values))

    def _append(self, values: Mapping[str, Any], request_id: str, client: Client) -> bytes | None:
        name, payload = append_of(values, self._most_message_bytes)
        stream = self._store.get(name)
        sequence = stream.append(payload)
        if stream.definition.flush_on_write:
            DurableAppend(stream, sequence, request_id, client)
            return None
        return appended(request_id, sequence)

    def _read(self, values: Mapping[str, Any], request_id: str, client: Client) -> bytes | None:
        request = ReadRequest.of(values)
        stream = self._store.get(request.stream_name)
        messages = read_now(stream, request)
        if messages is not None:
            return messages_read(request_id, request.stream_name, messages)
        if request.wait_seconds > 0:
            self._polls.wait(stream, request, request_id, client)
            return None
        raise Refused(
            Status.NOT_ENOUGH_MESSAGES,
            f"stream {request.stream_name!r} has messages up to {stream.newest}: "
            f"the answer would need {last_needed(stream, request)}",
        )

    def _create(self, values: Mapping[str, Any]) -> None:
        self._store.create(definition_of(values))

    def _update(self, values: Mapping[str, Any]) -> None:
        self._store.update(definition_of(values))

    def _delete(self, values: Mapping[str, Any]) -> None:
        self._store.delete(name_of(values))

    def _describe(self, values: Mapping[str, Any]) -> dict[str, object]:
        return {"messageStreamInfo": describe(self._store.get(name_of(values)))}


def _connect_again(_: Mapping[str, Any]) -> None:
    raise Refused(Status.UNEXPECTED_OPERATION, "this connection is connected already")
