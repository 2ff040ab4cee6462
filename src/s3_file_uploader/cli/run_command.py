"""`s3-file-uploader run`: the daemon. It logs to standard error and ends when it is told to."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, load_settings
from s3_file_uploader.observe.log import configure

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """DONE after SIGTERM, INTERRUPTED after SIGINT."""
    del out  # all it says is in its log
    settings = load_settings(arguments).settings
    from s3_file_uploader.cli.uploading import Stop, upload  # noqa: PLC0415  # not for `run --help`

    configure(settings.log_level, settings.log_format)
    with Stop().listening() as stop:
        upload(settings, stop, until_done=False)
        return ExitCode.INTERRUPTED if stop.signal_number == signal.SIGINT else ExitCode.DONE
