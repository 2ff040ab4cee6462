"""When the fleet is told, and where: on a local topic, and by choice through AWS IoT Core.

Every TelemetryInterval, and at once when trouble begins or ends, but never in a stream. What is told
comes from the ledger, read in a thread of its own, and never takes more than a small share of a core. A
topic that refuses is said once; nothing of the work depends on it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from s3_file_uploader import __version__
from s3_file_uploader.errors import LedgerError, NucleusRefuses, NucleusSilent
from s3_file_uploader.greengrass.telemetry import IOT_CORE_BYTES, LOCAL_BYTES, encoded, fitting, message
from s3_file_uploader.ledger.reader import Reader
from s3_file_uploader.observe.log import log
from s3_file_uploader.observe.snapshot import Snapshot, take
from s3_file_uploader.observe.troubles import Troubles
from s3_file_uploader.pipeline.context import wait_for
from s3_file_uploader.pipeline.threads import Worker
from s3_file_uploader.placeholders import resolved

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from s3_file_uploader.config import Settings
    from s3_file_uploader.greengrass.ipc import Nucleus
    from s3_file_uploader.pipeline.progress import Progress

__all__ = ["Reporting"]

_SHORTEST_SECONDS = 5.0  # between two messages, whatever happens
_FIRST_SECONDS = 1.0  # until the rules are at work and there is something to tell
_GATHER_SECONDS = 0.5  # one fault often tells itself in several lines
_SHARE = 50.0  # a look at the ledger that took a second of CPU is not repeated within fifty


class Reporting:
    """`told` gives the settings in force, and why a newer configuration is not."""

    def __init__(
        self,
        nucleus: Nucleus,
        folder: str,
        progress: Progress,
        environment: Mapping[str, str],
        told: Callable[[], tuple[Settings, str]],
        *,
        shortest_seconds: float = _SHORTEST_SECONDS,
    ) -> None:
        self._nucleus = nucleus
        self._folder = folder
        self._progress = progress
        self._environment = environment
        self._told = told
        self._shortest_seconds = shortest_seconds
        self._worker = Worker("telemetry")
        self._wake = asyncio.Event()
        self._failing: dict[str, str] = {}  # topic → why nothing can be published there
        self._began = time.monotonic()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        troubles = Troubles(lambda: loop.call_soon_threadsafe(self._wake.set))
        troubles.begin()
        try:
            await asyncio.sleep(_FIRST_SECONDS)
            while True:
                rest_seconds = max(self._shortest_seconds, await self._tell(troubles))
                await asyncio.sleep(rest_seconds)
                interval_seconds = self._told()[0].telemetry_interval_seconds
                await wait_for(self._wake, max(0.0, interval_seconds - rest_seconds - _GATHER_SECONDS))
                await asyncio.sleep(_GATHER_SECONDS)
                self._wake.clear()
        finally:
            troubles.end()

    async def _tell(self, troubles: Troubles) -> float:
        """Publish once; returns for how many seconds to rest from it."""
        settings, problem = self._told()
        if settings.local_telemetry_topic is None and settings.telemetry_topic is None:
            return 0.0
        try:
            snapshot, cpu_seconds = await self._worker.call(_look, self._folder)
        except LedgerError as error:  # the pipeline says what is wrong with it
            log.debug("telemetry_failed", error=error)
            return 0.0
        whole = self._message(snapshot, troubles, problem)
        if (topic := self._topic(settings.local_telemetry_topic)) is not None:
            fits = fitting(whole, LOCAL_BYTES)
            await self._publish(topic, partial(self._nucleus.publish_locally, topic, fits))
        if (topic := self._topic(settings.telemetry_topic)) is not None:
            payload = encoded(fitting(whole, IOT_CORE_BYTES))
            await self._publish(topic, partial(self._nucleus.publish_to_iot_core, topic, payload))
        return _SHARE * cpu_seconds

    def _message(self, snapshot: Snapshot, troubles: Troubles, problem: str) -> dict[str, Any]:
        return message(
            snapshot,
            now=time.time(),
            thing=self._environment.get("AWS_IOT_THING_NAME", ""),
            program=__version__,
            up_seconds=time.monotonic() - self._began,
            in_flight=self._progress.in_flight,
            troubles=sum(map(len, self._progress.troubles.values())),
            trouble=troubles.last,
            configuration_problem=problem,
        )

    def _topic(self, said: str | None) -> str | None:
        return None if said is None else resolved(said, 0, self._environment, socket.gethostname())

    async def _publish(self, topic: str, publish: Callable[[], Any]) -> None:
        try:
            await publish()
        except (NucleusRefuses, NucleusSilent) as error:
            reason = str(error)
            if self._failing.get(topic) != reason:
                log.warning("telemetry_failed", topic=topic, reason=reason, advice=_advice(error))
            self._failing[topic] = reason
        else:
            if self._failing.pop(topic, None) is not None:
                log.info("telemetry_back", topic=topic)


def _advice(error: NucleusRefuses | NucleusSilent) -> str:
    if isinstance(error, NucleusRefuses) and "Unauthorized" in error.code:
        return "Allow this topic under accessControl in the component's configuration."
    return "Nothing to do: it is tried again; files are uploaded meanwhile."


def _look(folder: str) -> tuple[Snapshot, float]:
    """What the ledger says now, and the CPU seconds that the look took."""
    began = time.thread_time()
    reader = Reader.open(folder)
    try:
        return take(folder, reader), time.thread_time() - began
    finally:
        if reader is not None:
            reader.close()
