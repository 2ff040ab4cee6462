"""A deployment that is about to stop us waits a bounded while for what a stop would waste.

While it waits nothing new begins: large uploads come to the end of the parts that are under way and keep
their checkpoint, small ones finish. Where the nucleus announces nothing, a stop costs what is under way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import NucleusRefuses, NucleusSilent
from s3_file_uploader.observe.log import log

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.greengrass.ipc import Nucleus
    from s3_file_uploader.pipeline.feed import InFlight

__all__ = ["Deferral"]

_RECHECK_SECONDS = 5.0
_FORGOTTEN_SECONDS = 120.0  # a deployment of which nothing more is heard


class _Uploader(Protocol):
    @property
    def in_flight(self) -> InFlight: ...

    def ease(self) -> None: ...

    def go_on(self) -> None: ...


class Deferral:
    """`longest_seconds` tells how long a deployment may be held up, as the settings are now."""

    def __init__(self, nucleus: Nucleus, uploader: _Uploader, longest_seconds: Callable[[], float]) -> None:
        self._nucleus = nucleus
        self._uploader = uploader
        self._longest_seconds = longest_seconds
        self._since: dict[str, float] = {}  # deployment → when it was first announced
        self._going_on: asyncio.TimerHandle | None = None

    async def announced(self, deployment: str) -> None:
        """Decide how long it waits before it asks again."""
        loop = asyncio.get_running_loop()
        is_first = deployment not in self._since
        since = self._since.setdefault(deployment, loop.time())
        left = since + self._longest_seconds() - loop.time()
        self._uploader.ease()
        self._go_on_later(_FORGOTTEN_SECONDS)
        files = self._uploader.in_flight.sending
        wait = min(_RECHECK_SECONDS, left) if files and left > 0 else 0.0
        if wait and is_first:
            log.info("update_deferred", files=files, deployment=deployment)
        elif files and not wait:
            log.warning("update_allowed", files=files, deployment=deployment)
        try:
            await self._nucleus.defer_update(
                deployment, wait, f"{files} files are on their way" if wait else "ready"
            )
        except (NucleusRefuses, NucleusSilent) as error:
            log.warning("nucleus_lacks", reason=str(error))

    def done(self, deployment: str) -> None:
        """It is over, and did not stop us."""
        self._since.pop(deployment, None)
        if not self._since:
            self._go_on()

    def _go_on_later(self, seconds: float) -> None:
        if self._going_on is not None:
            self._going_on.cancel()
        self._going_on = asyncio.get_running_loop().call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        self._since.clear()
        if self._going_on is not None:
            self._going_on.cancel()
            self._going_on = None
        self._uploader.go_on()
