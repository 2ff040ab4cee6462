"""Numbers, times and paths as people read them. Pure text; machines get JSON with plain numbers."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader.model import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s3_file_uploader.config import Rule

__all__ = [
    "columns",
    "destination",
    "duration",
    "files",
    "iso_moment",
    "moment",
    "rate",
    "shared_reason",
    "size",
    "without_path",
    "write_json",
]

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


def destination(rule: Rule) -> str:
    """Where the rule's files go, and by whom where we do not carry them."""
    place = f"s3://{rule.bucket_name}/{rule.object_key_prefix}".rstrip("/")
    return f"{place}, by Stream Manager" if rule.transport == "stream-manager" else place


def files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files".replace(",", " ")


def size(size_bytes: float) -> str:
    """In powers of 1000, with about three digits: `12.3 MB`."""
    if size_bytes < 1000:  # noqa: PLR2004  # kilo
        return f"{int(size_bytes)} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size_bytes /= 1000
        if size_bytes < 999.5 or unit == "TB":  # noqa: PLR2004  # what rounds to 1000 has a larger unit
            break
    return f"{size_bytes:.{0 if size_bytes >= 100 else 1}f} {unit}"  # noqa: PLR2004  # three digits


def rate(size_bytes: float, seconds: float) -> str:
    return f"{size(size_bytes / seconds)}/s" if seconds > 0 else "-"


def duration(seconds: float) -> str:
    """The two largest units: `1 h 5 min`."""
    if seconds < 10:  # noqa: PLR2004  # tenths matter only there
        return f"{max(0.0, seconds):.1f} s".replace(".0 ", " ")
    seconds = round(seconds)
    if seconds < _MINUTE:
        return f"{seconds} s"
    for unit, length, below, below_length in (
        ("min", _MINUTE, "s", 1.0),
        ("h", _HOUR, "min", _MINUTE),
        ("d", _DAY, "h", _HOUR),
    ):
        if unit == "d" or seconds < length * (60 if unit == "min" else 24):
            whole, rest = divmod(seconds, length)
            part = int(rest // below_length)
            return f"{int(whole)} {unit} {part} {below}" if part else f"{int(whole)} {unit}"
    raise AssertionError


def moment(wall_seconds: float) -> str:
    """A time of day, in UTC as in the log."""
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(wall_seconds))


def iso_moment(wall_seconds: float | None) -> str | None:
    """The same for JSON, with milliseconds."""
    if wall_seconds is None:
        return None
    whole = int(wall_seconds // 1)
    milliseconds = int((wall_seconds - whole) * 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03d}Z"


def without_path(reason: str, path: bytes) -> str:
    """A reason for a line that names the file already."""
    return reason.removeprefix(f"{printable(path)} ")


# `PutObject s3://bucket/key: 403 AccessDenied: … (request 4711)`: both ends are of one request only.
_OPERATION = re.compile(r"^[A-Z][A-Za-z0-9]+ s3://.*?: (?=\d{3} )", re.DOTALL)
_REQUEST = re.compile(r" \(request [^()]*\)$")


def shared_reason(reason: str, path: bytes) -> str:
    """A reason without what concerns this one file, so that equal reasons are equal."""
    return _REQUEST.sub("", _OPERATION.sub("", without_path(reason, path)))


def columns(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Rows as lines with aligned columns; those numbered in `right` are aligned at their right side."""
    table = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]


def write_json(value: Any, out: TextIO, *, indent: int | None = 2) -> None:
    import json  # noqa: PLC0415  # only where it was asked for

    out.write(json.dumps(value, indent=indent) + "\n")
