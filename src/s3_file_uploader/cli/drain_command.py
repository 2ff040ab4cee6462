"""`s3-file-uploader drain`: everything that is ready goes, then the summary and an exit code."""

from __future__ import annotations

import signal
import sys
import time
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, load_settings
from s3_file_uploader.cli.presentation import duration, files, rate, shared_reason, size
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.model import printable
from s3_file_uploader.observe.log import configure

if TYPE_CHECKING:
    import argparse

    from s3_file_uploader.config import Loaded
    from s3_file_uploader.pipeline.progress import Summary

__all__ = ["add_arguments", "exit_code_of", "run", "summary_lines"]

_MOST_NAMED = 5  # files named for each reason
_MOST_REASONS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_place_arguments(parser)
    parser.add_argument(
        "--include-active", action="store_true", help="the newest file of each folder goes too"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="only say what would go, to which key, and what stays"
    )
    parser.add_argument("--json", action="store_true", help="with --dry-run: one JSON object a line")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    if arguments.json and not arguments.dry_run:
        raise ConfigurationError(
            "--json goes with --dry-run",
            advice="`drain --dry-run --json`; after a drain, `list --json` and `status --json` tell all.",
        )
    loaded = load_settings(arguments)
    if arguments.dry_run:
        from s3_file_uploader.cli import dry_run  # noqa: PLC0415  # only then

        return dry_run.run(
            loaded.settings,
            out,
            include_active=arguments.include_active,
            as_json=arguments.json,
            now_ns=time.time_ns(),
        )
    return _drain(loaded, out, include_active=arguments.include_active)


def _drain(loaded: Loaded, out: TextIO, *, include_active: bool) -> int:
    from s3_file_uploader.cli.progress import Bar, BarredStream, Lines  # noqa: PLC0415  # not for `drain --help`
    from s3_file_uploader.cli.uploading import Stop, upload  # noqa: PLC0415  # as above

    settings, errors = loaded.settings, sys.stderr
    # The bar and the summary tell what goes well; unless asked for more, the log tells the rest.
    level = settings.log_level if loaded.origins.get(("", "LogLevel")) != "default" else "WARNING"
    with Stop().listening() as stop:
        if errors.isatty():
            bar = Bar(errors, is_stopping=lambda: bool(stop.signal_number))
            configure(level, settings.log_format, BarredStream(bar, errors))  # type: ignore[arg-type]  # a text stream in all but its type
            watcher = bar.watch
        else:
            configure(level, settings.log_format)
            watcher = Lines(errors, time.monotonic).watch
        started = time.monotonic()
        summary = upload(
            settings,
            stop,
            until_done=True,
            include_active=include_active,
            companion=lambda uploader, _folder: watcher(uploader.progress),
        )
        out.writelines(f"{line}\n" for line in summary_lines(summary, time.monotonic() - started))
        return exit_code_of(summary, stop.signal_number)


def exit_code_of(summary: Summary, signal_number: int) -> int:
    if signal_number:
        return ExitCode.INTERRUPTED if signal_number == signal.SIGINT else ExitCode.DONE
    if summary.unreachable is not None:
        return ExitCode.DESTINATION
    if summary.failed or summary.parked or summary.unremoved or summary.troubles:
        return ExitCode.SOME_FAILED
    return ExitCode.DONE


def summary_lines(summary: Summary, seconds: float) -> list[str]:
    """What went, what stays and why."""
    speed = f", {rate(summary.delivered_bytes, seconds)}" if summary.delivered_bytes else ""
    amount = f"{files(summary.delivered)} delivered, {size(summary.delivered_bytes)}"
    lines = [f"{amount} in {duration(seconds)}{speed}; {summary.removed} removed"]
    lines += [f"no file matches {pattern}" for pattern in summary.unmatched]
    lines += _grouped("held", summary.held)
    lines += _grouped("failed, to be tried again", summary.failed)
    if summary.failed:
        lines.append("Try: mend the reason; the next `drain` tries at once, and `run` by itself")
    lines += _grouped("parked", summary.parked)
    if summary.parked:
        lines.append("Try: mend the reason, then `s3-file-uploader retry FILE`")
    lines += _grouped("delivered and not removed", summary.unremoved)
    if summary.unremoved:
        lines.append(
            "Try: `s3-file-uploader check` says which right is missing; they are never sent again meanwhile"
        )
    lines += [
        f"not looked at: {printable(path)}: {reason}" for path, reason in summary.troubles[:_MOST_NAMED]
    ]
    if summary.troubles:
        lines.append(
            "Try: look at the path and the permissions; `s3-file-uploader check` says which right is missing"
        )
    others = summary.waiting - len(summary.failed)
    if others > 0 and summary.unreachable is None:
        lines.append(
            f"{files(others)} waiting: the next `drain` or `run` sends {'it' if others == 1 else 'them'}"
        )
    if summary.unreachable is not None:
        lines.append(f"{files(summary.waiting)} waiting; gave up: {summary.unreachable}")
        lines.append(f"Try: {summary.unreachable.advice}")
    return lines


def _grouped(what: str, listed: list[tuple[bytes, str]]) -> list[str]:
    """One line for each of the first few reasons, with the first few names."""
    by_reason: dict[str, list[bytes]] = {}
    for path, reason in listed:
        by_reason.setdefault(shared_reason(reason, path), []).append(path)
    lines = []
    for reason, named in list(by_reason.items())[:_MOST_REASONS]:
        lines.append(f"{files(len(named))} {what}: {printable(reason.encode('utf-8', 'surrogateescape'))}")
        lines += [f"  {printable(path)}" for path in named[:_MOST_NAMED]]
        if len(named) > _MOST_NAMED:
            lines.append(f"  … and {len(named) - _MOST_NAMED} more")
    unnamed = sum(map(len, list(by_reason.values())[_MOST_REASONS:]))
    if unnamed:
        lines.append(f"{files(unnamed)} more {what}, for other reasons: `s3-file-uploader list` names each")
    return lines
