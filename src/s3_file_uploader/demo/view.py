"""What the demo shows while it runs: a picture redrawn in place on a terminal, else a line a second.

The text is made by pure functions from a `Moment`; only `Screen` writes.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Moment", "Screen", "count", "line", "picture", "size"]

_LOG_LINES = 8
_WHY_WAITING = "(those being written, and for a while the newest)"
_UNITS = ("B", "kB", "MB", "GB", "TB")
_KILO = 1000


@dataclass(frozen=True, slots=True)
class Moment:
    """One look at the stage; sizes in bytes, rates per second."""

    seconds: float
    produced_files: int
    produced_bytes: int
    waiting_files: int
    delivered_objects: int
    delivered_bytes: int
    objects_per_second: float = 0.0
    bytes_per_second: float = 0.0
    doing: str = ""
    log: Sequence[str] = ()


def count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}".replace(",", " ")


def size(size_bytes: float) -> str:
    """Bytes for people: three digits and a decimal unit."""
    for unit in _UNITS:
        if size_bytes < _KILO or unit == _UNITS[-1]:
            break
        size_bytes /= _KILO
    digits = 0 if unit == "B" or size_bytes >= 100 else 1  # noqa: PLR2004 - three digits
    return f"{size_bytes:.{digits}f} {unit}"


def line(moment: Moment) -> str:
    """The moment in one line."""
    return (
        f"{moment.seconds:4.0f} s  produced {moment.produced_files} ({size(moment.produced_bytes)})"
        f"  in the folder {moment.waiting_files}"
        f"  in the bucket {moment.delivered_objects} ({size(moment.delivered_bytes)})"
        f"  {moment.objects_per_second:.0f} files/s {size(moment.bytes_per_second)}/s"
        + (f"  {moment.doing}" if moment.doing else "")
    )


def picture(moment: Moment, columns: int) -> list[str]:
    """The moment in a few lines, none wider than the terminal."""
    rate = f"{moment.objects_per_second:.0f} files/s, {size(moment.bytes_per_second)}/s"
    lines = [
        f"  produced       {count(moment.produced_files, 'file'):>14}  {size(moment.produced_bytes):>9}",
        f"  in the folder  {count(moment.waiting_files, 'file'):>14}  {_WHY_WAITING}",
        (
            f"  in the bucket  {count(moment.delivered_objects, 'object'):>14}"
            f"  {size(moment.delivered_bytes):>9}  {rate}"
        ),
        "",
        *(f"  | {text}" for text in moment.log[-_LOG_LINES:]),
        "",
        f"{moment.seconds:4.0f} s  {moment.doing or 'Ctrl-C ends it and compares.'}",
    ]
    return [text[: columns - 1] for text in lines]


class Screen:
    """Shows moments on `out`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._in_place = out.isatty()
        self._drawn = 0

    def show(self, moment: Moment) -> None:
        if not self._in_place:
            self.say(line(moment))
            return
        lines = picture(moment, shutil.get_terminal_size().columns)
        up = f"\x1b[{self._drawn}F" if self._drawn else ""
        self._out.write(up + "\x1b[J" + "\n".join(lines) + "\n")
        self._out.flush()
        self._drawn = len(lines)

    def say(self, text: str) -> None:
        """Write below what is shown, and leave it there."""
        self._drawn = 0
        self._out.write(text + "\n")
        self._out.flush()
