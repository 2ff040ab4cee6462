"""The command `stream-manager-local`."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, NoReturn

from stream_manager_local import faults
from stream_manager_local.settings import OPTIONS, Settings, SettingsError, default_root, settings_from

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["PROGRAM", "main", "parser"]

PROGRAM = "stream-manager-local"

_DONE, _USAGE, _INTERRUPTED = 0, 2, 130
_LEVELS = {
    "TRACE": 5,
    "DEBUG": logging.DEBUG,
    "INFO": logging.INFO,
    "WARN": logging.WARNING,
    "ERROR": logging.ERROR,
}

_DESCRIPTION = """\
An open Stream Manager for your machine: what AWS IoT Greengrass offers its components on 127.0.0.1:8088,
to develop and test against. AWS's clients talk to it unchanged; S3 tasks are uploaded for real."""

_EPILOG = f"""\
Faults, for tests of clients:
{chr(10).join(line for line in (faults.__doc__ or "").splitlines()[2:] if not line.startswith("No I/O"))}
Exit codes: 0 stopped by SIGTERM, 130 by SIGINT or a second signal, 2 a setting, the port or the store
cannot be used."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Start the server and serve until told to stop; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        settings = settings_from(_flags(given), os.environ)
        _check_faults(settings.faults)
        return _run(settings, given)
    except SettingsError as error:
        return _fail(str(error), error.advice or f"`{PROGRAM} --help` lists all settings.")
    except KeyboardInterrupt:
        return _INTERRUPTED


class _ShowVersion(argparse.Action):
    """Looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        sys.stdout.write(f"{PROGRAM} {_version()}\n")
        parser.exit(_DONE)


def parser() -> argparse.ArgumentParser:
    """With a flag for each setting."""
    built = argparse.ArgumentParser(
        PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    built.add_argument("--version", action=_ShowVersion, nargs=0, help="say the version and exit")
    for option in OPTIONS:
        text = option.help
        if option.variables:
            text += f" [{', '.join(option.variables)}]"
        text = text.replace("%", "%%")
        if option.is_switch:
            built.add_argument(option.flag, dest=option.field, action="store_const", const="true", help=text)
        else:
            built.add_argument(
                option.flag,
                dest=option.field,
                metavar=option.metavar,
                help=text,
                action="append" if option.is_repeatable else "store",
            )
    return built


def _flags(given: Sequence[str]) -> Mapping[str, object]:
    return vars(parser().parse_args(given))


def _check_faults(texts: Sequence[str]) -> None:
    from random import Random  # noqa: PLC0415  # with the faults

    for text in texts:
        try:
            faults.Faults([text], chance=Random())  # noqa: S311  # only to see whether it can be read
        except ValueError as error:
            raise SettingsError(f"--fault is {text!r}: {error}") from None


def _run(settings: Settings, given: list[str]) -> int:
    # Late, because `--help` should not wait for them.
    try:
        from stream_manager_local.server.process import RESTARTED_ON, Restart, serve  # noqa: PLC0415  # see above
        from stream_manager_local.store import StoreUnusable  # noqa: PLC0415  # see above
    except ModuleNotFoundError as error:
        return _fail(
            f"the Python package {error.name} is missing",
            "`pip install 's3-file-uploader[stream-manager-local]'`.",
        )

    _log_to_stderr(settings.log_level)
    if port := os.environ.pop(RESTARTED_ON, ""):
        settings = replace(settings, port=int(port))
    _make_root(settings.root)
    try:
        ended_by = asyncio.run(serve(settings, server_version=_version(), restart=Restart(given)))
    except StoreUnusable as error:
        return _fail(f"the store cannot be used: {error}", "")
    return _INTERRUPTED if ended_by == signal.SIGINT else _DONE


def _make_root(root: Path) -> None:
    """Of a path that somebody typed only the last part: a mistake should not become a tree of folders."""
    try:
        root.mkdir(mode=0o700, exist_ok=True, parents=root == default_root(os.environ))
    except OSError as error:
        raise SettingsError(
            f"the store's folder {root} cannot be made: {error.strerror}",
            "make it, or name another with --store-root-dir.",
        ) from None


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415  # once, at the start

    try:
        return version("s3-file-uploader")
    except PackageNotFoundError:  # run from a folder that nobody installed
        return "0"


def _log_to_stderr(level: str) -> None:
    logging.addLevelName(_LEVELS["TRACE"], "TRACE")
    logging.basicConfig(
        level=_LEVELS[level],
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _fail(message: str, advice: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {message}\n" + (f"Try: {advice}\n" if advice else ""))
    return _USAGE
