"""From what was typed to an exit code. Expected errors, interruption and bugs are three different ends."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from s3_file_uploader import __version__
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.parser import PROGRAM, parse
from s3_file_uploader.errors import DeliveryError, UploaderError

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. `argv` is without the program's name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    _open_what_is_closed()
    _make_output_safe()
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except UploaderError as error:
        _say(str(error), error.advice or f"`{PROGRAM} --help`")
        return ExitCode.DESTINATION if isinstance(error, DeliveryError) else ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _forget_output()  # whoever read it (`head`) has seen enough
        return ExitCode.DONE
    except Exception as error:  # noqa: BLE001  # a bug: the person gets a report to paste, not only a traceback
        if isinstance(error, OSError) and error.errno in _FULL:
            _forget_output()
            where = f"{error.filename} cannot" if error.filename else "the output cannot"
            _say(f"{where} be written: {error.strerror}", "Make room on that disk, then the same again.")
            return ExitCode.USAGE
        _report_bug(arguments)
        return ExitCode.BUG
    return code


def _run(arguments: Sequence[str]) -> int:
    command, parsed = parse(arguments)
    if command is None:
        return ExitCode.USAGE
    return int(command.module().run(parsed, sys.stdout))


def _open_what_is_closed() -> None:
    """Some supervisors start programs without standard streams.

    The next file to be opened would get such a number, and a stray message would be written into it.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
    # Python has None for a stream that was closed when it began.
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for the life of the process
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115  # for the life of the process


def _forget_output() -> None:
    """What is still buffered has nowhere to go, and must not fail once more on the way out."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _make_output_safe() -> None:
    """Any name of any file can be printed, whatever the terminal's encoding."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def _say(message: str, advice: str) -> None:
    sys.stderr.write(f"{PROGRAM}: {message}\nTry: {advice}\n")


def _report_bug(arguments: Sequence[str]) -> None:
    import platform  # noqa: PLC0415  # only for the report
    import traceback  # noqa: PLC0415  # as above

    from s3_file_uploader.observe.log import without_secrets  # noqa: PLC0415  # as above

    report = (
        f"{PROGRAM}: a bug, and no fault of yours. No file was lost: what is not proven stays on the disk.\n"
        f"  {PROGRAM} {__version__}, Python {platform.python_version()}, {platform.platform()}\n"
        f"  command: {arguments[0] if arguments else ''}\n"
        f"{traceback.format_exc()}"
        "Try: the same again; and send us this report.\n"
    )
    sys.stderr.write(without_secrets(report))
