"""`s3-file-uploader retry`: another try, now, for parked and failing files.

The running daemon does it. Where none runs, the ledger is taken for that moment, and what is written
there is done by the next start.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader import control
from s3_file_uploader.cli.places import add_place_arguments, find_place, open_reader
from s3_file_uploader.cli.presentation import files, write_json
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from s3_file_uploader.cli.places import Place
    from s3_file_uploader.ledger import Entry
    from s3_file_uploader.ledger.reader import Reader

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", metavar="FILE", nargs="*", help="which files")
    parser.add_argument("--all", action="store_true", help="all parked and failing files")
    add_place_arguments(parser, positional=False)
    parser.add_argument("--json", action="store_true", help="as JSON, a stable contract")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """SOME_FAILED where a named file is not known at all."""
    if bool(arguments.files) == arguments.all:
        raise ConfigurationError("say which files, or --all", advice="`s3-file-uploader list --state parked`")
    reader, place = open_reader(find_place(arguments))
    paths = [os.path.abspath(os.fsencode(name)) for name in arguments.files]
    unknown, idle = paths, []
    if reader is not None:
        with reader:
            unknown, idle = _unknown(reader, paths), list(_with_nothing_to_retry(reader, paths))
    count, by_daemon = _retry(place, None if arguments.all else paths) if reader is not None else (0, False)
    if arguments.json:
        write_json(
            {
                "format": 1,
                "released": count,
                "unknown": [printable(path) for path in unknown],
                "daemon": by_daemon,
            },
            out,
        )
    else:
        when = "now" if by_daemon else "when `run` or `drain` starts the next time"
        out.write(f"{files(count)} to be tried again {when}\n")
        out.writelines(f"not known: {printable(path)}\n" for path in unknown)
        out.writelines(
            f"{entry.state.value}, neither parked nor failing: {printable(entry.path)}"
            " (`explain` says what it waits for)\n"
            for entry in idle
        )
    return 1 if unknown else 0


def _unknown(reader: Reader, paths: list[bytes]) -> list[bytes]:
    return [path for path in paths if not reader.find(path)]


def _with_nothing_to_retry(reader: Reader, paths: list[bytes]) -> Iterator[Entry]:
    for entry in (entry for path in paths for entry in reader.find(path)):
        is_failing = entry.attempts > 0 and entry.state in (State.READY, State.DELIVERED)
        if entry.state is not State.PARKED and not is_failing:
            yield entry


def _retry(place: Place, paths: list[bytes] | None) -> tuple[int, bool]:
    arguments = {"paths": None if paths is None else control.encode_paths(paths)}
    answer = control.ask(place.folder, "retry", arguments, timeout_seconds=60.0)
    if answer is not None:
        return int(answer["files"]), True
    return _write_down(place, paths), False


def _write_down(place: Place, paths: list[bytes] | None) -> int:
    from s3_file_uploader.ledger import Ledger, Queue  # noqa: PLC0415  # only where no daemon does it

    state_directory, name = os.path.split(place.folder)
    ledger = Ledger.open(state_directory, name)
    try:
        chosen = _chosen(paths)
        with ledger.transaction(durable=True):
            queue, now = Queue(ledger), ledger.running_clock_start()
            return queue.release_parked(chosen, now) + queue.hasten_retries(chosen, now)
    finally:
        ledger.close()


def _chosen(paths: list[bytes] | None) -> Callable[[Entry], bool]:
    if paths is None:
        return lambda _entry: True
    wanted = frozenset(paths)
    return lambda entry: entry.path in wanted
