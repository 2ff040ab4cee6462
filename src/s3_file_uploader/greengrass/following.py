"""Follows the component's configuration: a change is read once it is quiet, checked, and taken over live.

The nucleus tells of each leaf by itself, spread over milliseconds and without its value; a deployment may
change many. So nothing is read before nothing more has come for a while, and then everything. What is
wrong with a new configuration is said, and the old one stays in force.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import ConfigurationError, Interrupted, NucleusRefuses, NucleusSilent
from s3_file_uploader.greengrass.configuration import settings_of
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.context import wait_for

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from s3_file_uploader.config import Settings
    from s3_file_uploader.greengrass.events import ValidationAsked
    from s3_file_uploader.greengrass.ipc import Nucleus

__all__ = ["Following", "RestartNeeded"]

_QUIET_SECONDS = 1.0
_LONGEST_SECONDS = 15.0  # a producer of endless changes is read in between
_RETRY_SECONDS = 5.0
_LONGEST_REPORT = 2000  # characters: a message of the IPC is small
_REREAD_SECONDS = 600.0  # without being told: nucleus lite says nothing of a key that was removed


class RestartNeeded(Exception):
    """What changed cannot change while we run: the nucleus is to start us again."""


class Following:
    """`take_over` puts settings in force; ConfigurationError where it cannot, and then nothing has changed."""

    def __init__(
        self,
        nucleus: Nucleus,
        settings: Settings,
        environment: Mapping[str, str],
        take_over: Callable[[Settings], Awaitable[None]],
        *,
        reread_seconds: float = _REREAD_SECONDS,
        quiet_seconds: float = _QUIET_SECONDS,
        longest_seconds: float = _LONGEST_SECONDS,
    ) -> None:
        self._nucleus = nucleus
        self.settings = settings
        self._environment = environment
        self._take_over = take_over
        self._reread_seconds = reread_seconds
        self._quiet_seconds = quiet_seconds
        self._longest_seconds = longest_seconds
        self._changed = asyncio.Event()
        self._is_unread = False
        self.problem = ""  # why the configuration that the nucleus has now is not the one in force

    def touch(self) -> None:
        """Something has changed. On the event loop."""
        self._changed.set()

    async def run(self) -> None:
        """Until cancelled, or RestartNeeded."""
        while True:
            await wait_for(self._changed, self._reread_seconds)
            await self._until_quiet()
            try:
                await self._consider(await self._nucleus.configuration())
                self._is_unread = False
                continue
            except (NucleusSilent, NucleusRefuses) as error:
                if not self._is_unread:  # once, however long it lasts
                    log.warning("configuration_unread", error=error)
                self._is_unread = True
            except Interrupted:
                pass  # the uploader has not begun yet, or is about to end
            self._changed.set()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _until_quiet(self) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._longest_seconds
        while True:
            self._changed.clear()
            asked_at = loop.time()
            await wait_for(self._changed, self._quiet_seconds)
            if loop.time() - asked_at >= self._quiet_seconds or loop.time() >= until:
                self._changed.clear()
                return

    async def _consider(self, configuration: Mapping[str, Any]) -> None:
        try:
            settings = settings_of(configuration, self._environment)
            if settings != self.settings:
                _check_place(self.settings, settings)
                await self._take_over(settings)
                self.settings = settings
        except ConfigurationError as error:
            if self.problem != str(error):
                log.error("configuration_refused", reason=error, advice=error.advice)
            self.problem = str(error)
        else:
            self.problem = ""

    async def validate(self, asked: ValidationAsked) -> None:
        """Tell a deployment whether its configuration could be taken."""
        problem = ""
        try:
            settings_of(asked.configuration, self._environment)
        except ConfigurationError as error:
            problem = f"{error} Try: {error.advice}"
            log.error("configuration_refused", reason=error, advice=error.advice, deployment=asked.deployment)
        try:
            await self._nucleus.report_validity(asked.deployment, problem[:_LONGEST_REPORT])
        except (NucleusSilent, NucleusRefuses) as error:
            log.warning("nucleus_lacks", reason=str(error))  # it waited for us no longer, say


def _check_place(old: Settings, new: Settings) -> None:
    """The ledger is open: another one needs another process."""
    if (old.name, old.state_directory) != (new.name, new.state_directory):
        raise RestartNeeded("Name or StateDirectory has changed: the ledger is another one")
