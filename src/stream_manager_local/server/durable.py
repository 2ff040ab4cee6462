"""Appends that are answered once the disk has them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Operation, Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.protocol.responses import appended, refused

if TYPE_CHECKING:
    from stream_manager_local.server.polls import Client
    from stream_manager_local.store import Stream

__all__ = ["DurableAppend"]


class DurableAppend:
    """One append that is stored already, and whose answer waits for an fsync."""

    __slots__ = ("_client", "_task")

    def __init__(self, stream: Stream, sequence: int, request_id: str, client: Client) -> None:
        self._client = client
        self._task = asyncio.get_running_loop().create_task(self._wait(stream, sequence, request_id))
        client.expect(self)

    async def _wait(self, stream: Stream, sequence: int, request_id: str) -> None:
        try:
            await stream.durable(sequence)
            frame = appended(request_id, sequence)
        except Refused as error:
            frame = refused(Operation.APPEND_MESSAGE, request_id, error.status, error.text)
        except OSError as error:
            frame = refused(
                Operation.APPEND_MESSAGE,
                request_id,
                Status.UNKNOWN_FAILURE,
                f"the disk says {error.strerror}",
            )
        self._client.settle(self)
        self._client.send(frame)

    def cancel(self) -> None:
        self._task.cancel()

    def resume(self) -> None:
        """The answer is small: it never waited for the client."""

    def finish(self) -> None:
        """The disk answers by itself."""
