"""`s3-file-uploader demo`: the whole story on one machine, watched live, and proved at the end.

What runs and how it ends is in the `demo` package; this file is the conversation with a person: it
shows a moment each second, hears Ctrl-C, and turns the comparison into a summary and an exit code.
"""

from __future__ import annotations

import shlex
import signal
import threading
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader.demo.local_stream_manager import require_packages
from s3_file_uploader.demo.stage import BUCKET, PREFIX, Stage
from s3_file_uploader.demo.view import Screen

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from s3_file_uploader.demo.view import Moment

__all__ = ["add_arguments", "run"]

_LOOK_SECONDS = 1.0
_RATE_LOOKS = 5
_LAST_FILES_SECONDS = 30.0

_ALL_DELIVERED = 0
_SOMETHING_WRONG = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds", type=float, metavar="N", help="end by itself after N seconds (default: at Ctrl-C)"
    )
    parser.add_argument(
        "--transport",
        choices=("s3", "stream-manager"),
        default="s3",
        help="straight to S3 (s3), or through a local Stream Manager (default: s3)",
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder with files, log and ledger")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """Exit code 0 only if nothing was lost, altered or left behind."""
    if arguments.transport == "stream-manager":
        require_packages()
    with (
        _stop_on_signals() as (stop, hurry),
        Stage(keep=arguments.keep, transport=arguments.transport) as stage,
    ):
        show = _Show(stage, Screen(out))
        show.say(_welcome(stage))
        show.until(stop, arguments.seconds)
        stop.set()  # from here on, Ctrl-C means hurry
        show.say("\nEnding: the producer stops, `run` finishes what is left.")
        stage.end_producer()
        show.wait_for_last_files(hurry)
        return show.end()


class _Show:
    """What the person sees, and the order in which things end."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._started = time.monotonic()
        self._recent: deque[Moment] = deque(maxlen=_RATE_LOOKS)

    def say(self, text: str) -> None:
        self._screen.say(text)

    def until(self, stop: threading.Event, seconds: float | None) -> None:
        end = float("inf") if seconds is None else self._started + seconds
        while time.monotonic() < end and not self._stage.run_has_ended():
            self._look("")
            if stop.wait(max(0.0, min(_LOOK_SECONDS, end - time.monotonic()))):
                return

    def wait_for_last_files(self, hurry: threading.Event) -> None:
        """The newest file is held until it has been quiet for a while; nobody has to wait for it."""
        end = time.monotonic() + _LAST_FILES_SECONDS
        while self._stage.waiting() and time.monotonic() < end and not self._stage.run_has_ended():
            self._look("waiting for the last files (Ctrl-C: no waiting)")
            if hurry.wait(_LOOK_SECONDS):
                return

    def end(self) -> int:
        exit_code = self._stage.end_run()
        outcome = self._stage.compare()
        self._look_back()
        self.say("\n".join(["", *outcome.lines()]))
        if exit_code != 0:
            log = "\n".join(self._stage.log_tail())
            self.say(f"`run` ended with exit code {exit_code}, not 0. Its last lines:\n{log}")
        if self._stage.is_kept:
            self.say(f"Kept: {self._stage.home}")
        return _ALL_DELIVERED if outcome.is_consistent and exit_code == 0 else _SOMETHING_WRONG

    def _look(self, doing: str) -> None:
        moment = self._stage.moment(time.monotonic() - self._started, doing)
        self._recent.append(moment)
        self._screen.show(_with_rates(moment, self._recent[0]))

    def _look_back(self) -> None:
        """The last moment again, now that nothing moves."""
        self._look("done")


def _with_rates(moment: Moment, earlier: Moment) -> Moment:
    seconds = moment.seconds - earlier.seconds
    if seconds <= 0:
        return moment
    return replace(
        moment,
        objects_per_second=(moment.delivered_objects - earlier.delivered_objects) / seconds,
        bytes_per_second=(moment.delivered_bytes - earlier.delivered_bytes) / seconds,
    )


def _welcome(stage: Stage) -> str:
    carrier = stage.stream_manager
    between = (
        [f"by way of a Stream Manager of its own:       127.0.0.1:{carrier.port} (stream-manager-local)"]
        if carrier
        else []
    )
    return "\n".join(
        [
            f"A real S3 server (SeaweedFS) with a bucket:  s3://{BUCKET} at {stage.server.endpoint_url}",
            f"A producer writes CSV files into:            {stage.folder}",
            f"and this empties that folder into:           s3://{BUCKET}/{PREFIX}",
            *between,
            "",
            "  " + shlex.join(["s3-file-uploader", *stage.run_command]).replace(" --", " \\\n      --"),
            "",
            f"Drop files of your own there too:  cp FILE {stage.folder}",
            "",
        ]
    )


@contextmanager
def _stop_on_signals() -> Iterator[tuple[threading.Event, threading.Event]]:
    """Events for the first and the second SIGINT, SIGTERM or SIGHUP."""
    stop, hurry = threading.Event(), threading.Event()

    def heard(number: int, frame: object) -> None:
        del number, frame
        (hurry if stop.is_set() else stop).set()

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, heard) for number in numbers]
    try:
        yield stop, hurry
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
