"""`run` as a component of AWS IoT Greengrass: settings come over the nucleus's IPC, the log goes to standard output.

How it ends tells the nucleus what to do: 0 after SIGTERM, in time; USAGE for a configuration that can
never work, so that the deployment shows BROKEN with the reason in the log; RESTART where a new start
helps. A folder, a bucket or a network that is missing ends nothing.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader import __version__
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.uploading import Stop, upload
from s3_file_uploader.errors import (
    ConfigurationError,
    LedgerBusy,
    LedgerUnavailable,
    NucleusError,
    UploaderError,
)
from s3_file_uploader.observe.log import configure, log

if TYPE_CHECKING:
    from s3_file_uploader.config import Settings
    from s3_file_uploader.greengrass.component import Inbox
    from s3_file_uploader.greengrass.ipc import Nucleus

__all__ = ["run_component"]

_STOP_SECONDS = 9.0  # a nucleus kills what has not stopped; nothing is lost then, but a stop is cleaner


def run_component(out: TextIO) -> int:
    """Until the nucleus stops us, or a new start helps; the exit code."""
    _log_at("INFO", "text", out)
    try:
        _require_sdk()
        return _run(out)
    except ConfigurationError as error:
        log.error("configuration_refused", reason=error, advice=error.advice)
        return ExitCode.USAGE
    except (
        NucleusError,
        LedgerBusy,
        LedgerUnavailable,
    ) as error:  # among them: our predecessor is not gone yet
        log.error("restarting", reason=error, advice=error.advice)
        return ExitCode.RESTART
    except UploaderError as error:  # the ledger cannot be used
        log.error("failed", error=error)
        return ExitCode.USAGE


def _run(out: TextIO) -> int:
    from s3_file_uploader.greengrass.component import Component, Inbox  # noqa: PLC0415  # AWS's SDK: only here

    inbox = Inbox()
    with Stop(within_seconds=_STOP_SECONDS).listening() as stop:
        begun = _begun(inbox, stop)
        if begun is None:  # stopped before it began
            return ExitCode.DONE
        nucleus, settings = begun
        _log_at(settings.log_level, settings.log_format, out)
        component = Component(
            nucleus,
            inbox,
            settings,
            os.environ,
            lambda changed: _log_at(changed.log_level, changed.log_format, out),
        )
        upload(settings, stop, until_done=False, companion=component.accompany)
        return ExitCode.RESTART if component.restart_reason and not stop.signal_number else ExitCode.DONE


def _log_at(level: str, form: str, out: TextIO) -> None:
    """The nucleus puts a time before each line of a component's standard output."""
    configure(level, form, out, is_timed=False)


def _require_sdk() -> None:
    from importlib.util import find_spec  # noqa: PLC0415  # only under a nucleus

    if find_spec("awsiot") is None:
        raise ConfigurationError(
            "a Greengrass component needs AWS's package awsiotsdk, which is not installed",
            advice="pip install 's3-file-uploader[greengrass]'; the component's own artifact brings it.",
        )


def _begun(inbox: Inbox, stop: Stop) -> tuple[Nucleus, Settings] | None:
    """Connected, and the first configuration; None where we are stopped meanwhile."""
    from s3_file_uploader.greengrass.component import begin  # noqa: PLC0415  # as above

    async def until_stopped() -> tuple[Nucleus, Settings] | None:
        loop = asyncio.get_running_loop()
        beginning = loop.create_task(begin(inbox, os.environ))
        stop.tell(lambda: loop.call_soon_threadsafe(beginning.cancel))
        await asyncio.wait([beginning])
        stop.tell(lambda: None)  # the next loop is not there yet: it asks for itself
        return None if beginning.cancelled() else beginning.result()

    log.info("starting", version=__version__)
    return asyncio.run(until_stopped())
