"""Status messages on their way into status streams, which may be full, or not there at all.

A task never fails because nobody can be told of it: a full stream is waited for, not for ever, and after
that once for each status until it takes something again.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from stream_manager_local.export.statuses import is_told, status_payload
from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.export.patience import Patience
    from stream_manager_local.export.statuses import Ending
    from stream_manager_local.faults import Faults
    from stream_manager_local.protocol.definition import S3Export
    from stream_manager_local.store.store import Store

__all__ = ["Teller"]

_MOST_SILENT = 10_000

_log = logging.getLogger(__name__)


class Teller:
    """One for all exports. `wall` is in seconds since the epoch."""

    def __init__(
        self, store: Store, faults: Faults, *, patience: Patience, wall: Callable[[], float]
    ) -> None:
        self._store = store
        self._faults = faults
        self._patience = patience
        self._wall = wall
        self._silent: set[str] = set()  # status streams that took nothing the last time

    async def tell(self, ending: Ending, export: S3Export, *, stream_name: str, sequence_number: int) -> None:
        """Append the status to the export's status stream, if it has one and wants to hear of it."""
        config = export.status
        if config is None or config.stream_name is None or not is_told(ending.status, config):
            return
        payload = status_payload(
            ending.status,
            ending.message,
            task=ending.wire,
            export_identifier=export.identifier,
            stream_name=stream_name,
            sequence_number=sequence_number,
            epoch_millis=int(self._wall() * 1000),
        )
        for _ in range(self._faults.copies_of_status()):
            await self._append(config.stream_name, payload)

    async def _append(self, name: str, payload: bytes) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + (0.0 if name in self._silent else self._patience.status)
        while True:
            try:
                stream = self._store.get(name)
                sequence = stream.append(payload)
                break
            except Refused as refusal:
                problem = refusal.text
                if refusal.status is Status.REQUEST_PAYLOAD_TOO_LARGE:  # this one, and not the stream
                    _log.warning("a status is lost: stream %r does not take it: %s", name, problem)
                    return
                is_lasting = refusal.status is Status.RESOURCE_NOT_FOUND
            if is_lasting or loop.time() >= until:
                self._give_up(name, problem)
                return
            await asyncio.sleep(self._patience.status_retry)
        self._silent.discard(name)
        try:
            await stream.durable(sequence)
        except Refused as refusal:
            _log.warning("a status in stream %r may not survive a power cut: %s", name, refusal.text)

    def _give_up(self, name: str, problem: str) -> None:
        if name not in self._silent:
            _log.warning(
                "statuses of uploads are lost: stream %r does not take them: %s. Uploads go on; create the "
                "stream, or make room in it",
                name,
                problem,
            )
        if len(self._silent) >= _MOST_SILENT:
            self._silent.clear()  # names are clients' to choose, without an end
        self._silent.add(name)
