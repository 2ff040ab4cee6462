"""The component beside its running uploader: listens to the nucleus, and ends when only a new start helps.

What the nucleus offers is tried once; what it does not have is noticed, said, and done without.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import NucleusError, NucleusLost, NucleusRefuses, NucleusSilent
from s3_file_uploader.greengrass.configuration import settings_of
from s3_file_uploader.greengrass.deferral import Deferral
from s3_file_uploader.greengrass.events import (
    ConfigurationChanged,
    Event,
    Lost,
    StreamEnded,
    UpdateAnnounced,
    UpdateDone,
    ValidationAsked,
)
from s3_file_uploader.greengrass.following import Following, RestartNeeded
from s3_file_uploader.greengrass.ipc import Nucleus
from s3_file_uploader.greengrass.reporting import Reporting
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.threads import Worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

    from s3_file_uploader.config import Settings
    from s3_file_uploader.pipeline.uploader import Uploader

__all__ = ["Component", "Inbox", "begin"]

_CONNECT_TRIES = 5
_FIRST_PAUSE_SECONDS = 1.0
_RENEW_SECONDS = 1.0
_END_SECONDS = 2.0
_CONFIGURATION_STREAM = "SubscribeToConfigurationUpdate"


class Inbox:
    """Events of the nucleus on their way from the SDK's thread to the event loop."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._wake: Callable[[], object] | None = None

    def tell(self, event: Event) -> None:
        """From any thread."""
        self._events.append(event)
        if self._wake is not None:
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._wake()

    async def each(self, handle: Callable[[Event], None]) -> None:
        """Until cancelled: what has come, and what comes. `handle` may raise, which ends it."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(arrived.set)
        while True:
            while self._events:
                handle(self._events.popleft())
            await arrived.wait()
            arrived.clear()


async def begin(inbox: Inbox, environment: Mapping[str, str]) -> tuple[Nucleus, Settings]:
    """Connect, and read the configuration. ConfigurationError where it can never work; NucleusError."""
    nucleus = await _connected(inbox)
    try:
        # Before it is read: a change that comes in between is told and not missed.
        await nucleus.follow_configuration()
        return nucleus, settings_of(await nucleus.configuration(), environment)
    except BaseException:
        await nucleus.close()
        raise


async def _connected(inbox: Inbox) -> Nucleus:
    """At boot the nucleus starts us beside many others: it may be slow to answer."""
    thread = Worker("nucleus")
    for attempt in range(_CONNECT_TRIES):
        try:
            return await thread.call(Nucleus.connect, inbox.tell)
        except (NucleusLost, NucleusSilent) as error:
            if attempt == _CONNECT_TRIES - 1:
                raise
            log.warning("nucleus_silent", reason=error, attempt=attempt + 1)
        await asyncio.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
    raise AssertionError("unreachable")


class Component:
    """`changed` is called with settings that have come into force."""

    def __init__(
        self,
        nucleus: Nucleus,
        inbox: Inbox,
        settings: Settings,
        environment: Mapping[str, str],
        changed: Callable[[Settings], None],
    ) -> None:
        self._nucleus = nucleus
        self._inbox = inbox
        self._first = settings
        self._environment = environment
        self._changed = changed
        self._background: set[asyncio.Task[None]] = set()
        self.restart_reason = ""  # why the nucleus is to start us again; "" while it need not

    async def accompany(self, uploader: Uploader, folder: str) -> None:
        """Until cancelled, or until only a new start helps: then the uploader is stopped. `folder` is the ledger's."""
        self._uploader = uploader
        self._following = Following(self._nucleus, self._first, self._environment, self._take_over)
        self._deferral = Deferral(
            self._nucleus, uploader, lambda: self._following.settings.update_deferral_seconds
        )
        reporting = Reporting(
            self._nucleus,
            folder,
            uploader.progress,
            self._environment,
            lambda: (self._following.settings, self._following.problem),
        )
        self._broken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            await self._until_broken(
                [self._inbox.each(self._handle), self._following.run(), reporting.run(), self._offer()]
            )
        except (NucleusError, RestartNeeded) as reason:
            self.restart_reason = str(reason)
        except Exception as error:  # noqa: BLE001  # a bug beside the work: everything is saved, and a new start helps
            log.error("failed", error=f"{type(error).__name__}: {error}")
            self.restart_reason = "an error in this program"
        finally:
            await self._nucleus.close()
        log.error(
            "restarting", reason=self.restart_reason, advice="Nothing to do: the nucleus starts it again."
        )
        uploader.stop()

    async def _until_broken(self, loops: list[Coroutine[Any, Any, None]]) -> None:
        """Until one of them fails; what ends well is done."""
        tasks = {asyncio.ensure_future(loop) for loop in loops}
        waited_for: set[asyncio.Future[None]] = {*tasks, self._broken}
        try:
            while waited_for:
                done, waited_for = await asyncio.wait(waited_for, return_when=asyncio.FIRST_COMPLETED)
                for ended in done:
                    ended.result()
        finally:
            left = [*tasks, *self._background, self._broken]
            for task in left:
                task.cancel()
            await asyncio.wait([asyncio.gather(*left, return_exceptions=True)], timeout=_END_SECONDS)

    # What the nucleus tells.

    def _handle(self, event: Event) -> None:
        if isinstance(event, ConfigurationChanged):
            self._following.touch()
        elif isinstance(event, ValidationAsked):
            self._beside(self._following.validate(event))
        elif isinstance(event, UpdateAnnounced):
            self._beside(self._deferral.announced(event.deployment))
        elif isinstance(event, UpdateDone):
            self._deferral.done(event.deployment)
        elif isinstance(event, StreamEnded):
            self._beside(self._renew(event))
        elif isinstance(event, Lost):
            raise NucleusLost(f"the connection to the nucleus is gone: {event.reason}")

    def _beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._note_end)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._broken.done():
            self._broken.set_exception(error)

    async def _take_over(self, settings: Settings) -> None:
        await self._uploader.reconfigure(settings)
        self._changed(settings)

    async def _renew(self, event: StreamEnded) -> None:
        """A nucleus whose IPC began anew ends streams and knows our token no more: asking again tells."""
        await asyncio.sleep(_RENEW_SECONDS)
        if event.operation != _CONFIGURATION_STREAM:
            await self._try(self._offers()[event.operation], event.operation)
            return
        try:
            await self._nucleus.follow_configuration()
        except (NucleusRefuses, NucleusSilent) as error:
            raise NucleusLost(f"the nucleus tells us no changes any more: {error}") from error
        self._following.touch()

    # What we tell the nucleus.

    def _offers(self) -> dict[str, Callable[[], Awaitable[None]]]:
        return {
            "SubscribeToValidateConfigurationUpdates": self._nucleus.offer_validation,
            "SubscribeToComponentUpdates": self._nucleus.follow_updates,
            "UpdateState": self._nucleus.report_running,
        }

    async def _offer(self) -> None:
        for name, offer in self._offers().items():
            await self._try(offer, name)

    async def _try(self, offer: Callable[[], Awaitable[None]], name: str) -> None:
        try:
            await offer()
        except (NucleusRefuses, NucleusSilent) as error:
            log.info("nucleus_lacks", operation=name, reason=str(error))
