"""`s3-file-uploader run`: the daemon. It logs to standard error and ends when it is told to.

Started by a Greengrass nucleus and without arguments it is the component: `component_run`.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, load_settings
from s3_file_uploader.config import flags_given
from s3_file_uploader.observe.log import configure

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """DONE after SIGTERM, INTERRUPTED after SIGINT."""
    if _is_component(arguments):
        from s3_file_uploader.cli.component_run import run_component  # noqa: PLC0415  # only under a nucleus

        return run_component(out)
    del out  # all it says is in its log
    settings = load_settings(arguments).settings
    from s3_file_uploader.cli.uploading import Stop, upload  # noqa: PLC0415  # not for `run --help`

    configure(settings.log_level, settings.log_format)
    with Stop().listening() as stop:
        upload(settings, stop, until_done=False)
        return ExitCode.INTERRUPTED if stop.signal_number == signal.SIGINT else ExitCode.DONE


_OF_THE_NUCLEUS = ("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT", "SVCUID")


def _is_component(arguments: argparse.Namespace) -> bool:
    """Whether a Greengrass nucleus has started us, and nobody says on the command line what is to be done."""
    says_what = arguments.source or arguments.destination or arguments.config or flags_given(arguments)
    return not says_what and all(os.environ.get(name) for name in _OF_THE_NUCLEUS)
