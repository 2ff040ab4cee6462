"""Answers on their way out.

Each write holds whole frames, and begins only when the kernel has taken all earlier ones: AWS's Python
SDK takes what a first `read` gives it for a whole header, and a split one leaves it dead. Small frames
leave together, a large one alone.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

__all__ = ["FULL_BYTES", "Outbox"]

FULL_BYTES = 1 << 20
_BATCH_BYTES = 8 << 10


class Outbox:
    """`transport` must call `block` and `unblock` as its buffer fills and empties, at one byte."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._frames: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._is_blocked = False

    @property
    def is_full(self) -> bool:
        """The client does not take what it got."""
        waiting = self._waiting_bytes
        if self._is_blocked:
            waiting += self._transport.get_write_buffer_size()
        return waiting > FULL_BYTES

    @property
    def is_empty(self) -> bool:
        """The kernel has everything."""
        return not self._frames and not self._is_blocked

    def put(self, frame: bytes) -> None:
        self._frames.append(frame)
        self._waiting_bytes += len(frame)

    def block(self) -> None:
        self._is_blocked = True

    def unblock(self) -> None:
        self._is_blocked = False

    def flush(self) -> None:
        """Write what can be written now."""
        while self._frames and not self._is_blocked:
            self._transport.write(self._batch())

    def clear(self) -> None:
        self._frames.clear()
        self._waiting_bytes = 0

    def _batch(self) -> bytes:
        frames = self._frames
        first = frames.popleft()
        size = len(first)
        if not frames or size + len(frames[0]) > _BATCH_BYTES:
            self._waiting_bytes -= size
            return first
        batch = [first]
        while frames and size + len(frames[0]) <= _BATCH_BYTES:
            size += len(frames[0])
            batch.append(frames.popleft())
        self._waiting_bytes -= size
        return b"".join(batch)
