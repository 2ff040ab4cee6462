"""The progress of a drain: a bar on a terminal, a plain line now and then elsewhere.

The one place that imports tqdm, and only where there is a terminal.
"""

from __future__ import annotations

import asyncio
import io
import os
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader.cli.presentation import duration, files, rate, size

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.pipeline.progress import Progress

__all__ = ["Bar", "BarredStream", "Lines", "plain_line"]

_BAR_SECONDS = 0.2
_LINE_SECONDS = 10.0
_COLUMNS, _ROWS = 80, 24  # where a terminal does not know


class Bar:
    """Files, bytes, rate and the time that is left, on one line of a terminal."""

    def __init__(self, stream: TextIO, is_stopping: Callable[[], bool] = lambda: False) -> None:
        from tqdm import tqdm  # noqa: PLC0415  # only on a terminal

        self._is_stopping = is_stopping
        has_width = _columns(stream) > 0
        self._tqdm: Any = tqdm
        self._bar = tqdm(
            total=0,
            unit="B",
            unit_scale=True,
            file=stream,
            dynamic_ncols=has_width,
            ncols=None if has_width else _COLUMNS,
            nrows=None if has_width else _ROWS,
            leave=False,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} {rate_fmt} {remaining} left",
        )

    async def watch(self, progress: Progress) -> None:
        """Until cancelled."""
        try:
            while True:
                self.show(progress)
                await asyncio.sleep(_BAR_SECONDS)
        finally:
            self.show(progress)
            self._bar.close()

    def show(self, progress: Progress) -> None:
        sent = _sent(progress)
        self._bar.total = progress.bytes_found
        stopping = "stopping (Ctrl-C: at once); " if self._is_stopping() else ""
        self._bar.set_description_str(
            f"{stopping}{progress.files_done}/{progress.files_found} files", refresh=False
        )
        self._bar.update(sent - self._bar.n)
        self._bar.refresh()

    def write(self, text: str, stream: TextIO) -> None:
        """Other text on the same terminal, above the bar."""
        self._tqdm.write(text, file=stream, end="")


def _sent(progress: Progress) -> int:
    """What is sent again after a failure counts twice in bytes_sent, and never as more than there is."""
    return min(max(progress.bytes_sent, progress.bytes_done), progress.bytes_found)


def _columns(stream: TextIO) -> int:
    """A serial console says 0: tqdm would then show nothing at all."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0


class BarredStream(io.TextIOBase):
    """A stream for the log that shares its terminal with a bar."""

    def __init__(self, bar: Bar, stream: TextIO) -> None:
        self._bar = bar
        self._stream = stream

    def write(self, text: str) -> int:
        self._bar.write(text, self._stream)
        return len(text)

    def flush(self) -> None:
        self._stream.flush()


class Lines:
    """The same for a file or a pipe: one line every few seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._clock = clock

    async def watch(self, progress: Progress) -> None:
        """Until cancelled."""
        started = self._clock()
        told = (-1, -1)
        while True:
            await asyncio.sleep(_LINE_SECONDS)
            if told == (progress.files_done, progress.bytes_sent):
                continue  # nothing moved; why is in the log
            told = (progress.files_done, progress.bytes_sent)
            self._stream.write(plain_line(progress, self._clock() - started) + "\n")
            self._stream.flush()


def plain_line(progress: Progress, seconds: float) -> str:
    """`12 of 40 files, 1.2 MB of 4.0 MB, 120 kB/s, 23 s left`."""
    sent = _sent(progress)  # also of files on their way: one large file is worth telling of
    left = progress.bytes_found - sent
    parts = [
        f"{progress.files_done} of {files(progress.files_found)}",
        f"{size(sent)} of {size(progress.bytes_found)}",
        rate(sent, seconds),
    ]
    if sent and left > 0:
        parts.append(f"{duration(left * seconds / sent)} left")
    return ", ".join(parts)
