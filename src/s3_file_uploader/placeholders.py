"""What may stand in ObjectKeyPrefix for the machine, the thing and the file's own time: `!{thingName}` and others.

Pure: the environment, the machine's name and the time are arguments.
"""

from __future__ import annotations

import re
import time
from functools import lru_cache
from typing import TYPE_CHECKING

from s3_file_uploader.errors import KeyProblem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PLACEHOLDER", "TIMESTAMP_LETTERS", "names_used", "problem_of", "resolved", "text_of"]

PLACEHOLDER = re.compile(r"!\{([^}]*)\}")
_THING_NAME, _HOSTNAME, _TIMESTAMP = "thingName", "hostname", "timestamp"
_KNOWN = f"!{{{_THING_NAME}}}, !{{{_HOSTNAME}}} and !{{{_TIMESTAMP}:yyyy/MM/dd}}"

# The letters of Java's DateTimeFormatter that we know, as Stream Manager's users write them.
TIMESTAMP_LETTERS: dict[str, tuple[str, Callable[[time.struct_time, int], str]]] = {
    "yyyy": ("year, four digits", lambda utc, _ns: f"{utc.tm_year:04d}"),
    "yy": ("year, two digits", lambda utc, _ns: f"{utc.tm_year % 100:02d}"),
    "MM": ("month, 01-12", lambda utc, _ns: f"{utc.tm_mon:02d}"),
    "M": ("month, 1-12", lambda utc, _ns: str(utc.tm_mon)),
    "dd": ("day of the month, 01-31", lambda utc, _ns: f"{utc.tm_mday:02d}"),
    "d": ("day of the month, 1-31", lambda utc, _ns: str(utc.tm_mday)),
    "DDD": ("day of the year, 001-366", lambda utc, _ns: f"{utc.tm_yday:03d}"),
    "HH": ("hour, 00-23", lambda utc, _ns: f"{utc.tm_hour:02d}"),
    "H": ("hour, 0-23", lambda utc, _ns: str(utc.tm_hour)),
    "mm": ("minute, 00-59", lambda utc, _ns: f"{utc.tm_min:02d}"),
    "m": ("minute, 0-59", lambda utc, _ns: str(utc.tm_min)),
    "ss": ("second, 00-59", lambda utc, _ns: f"{utc.tm_sec:02d}"),
    "s": ("second, 0-59", lambda utc, _ns: str(utc.tm_sec)),
    "SSS": ("millisecond, 000-999", lambda _utc, ns: f"{ns // 1_000_000:03d}"),
}
_LAST_YEAR = 9999

# Quoted text ('' is a quote), a run of one letter, or anything that stands for itself.
_DATE_PART = re.compile(r"''|'((?:[^']|'')+)'|([a-zA-Z])\2*|[^a-zA-Z']")


def problem_of(content: str) -> str:
    """Why what stands between `!{` and `}` is no placeholder; "" when it is one."""
    name, colon, pattern = content.partition(":")
    if name == _TIMESTAMP:
        return _date_problem(pattern)
    if content in (_THING_NAME, _HOSTNAME):
        return ""
    if colon and name in (_THING_NAME, _HOSTNAME):
        return f"!{{{name}}} takes nothing behind a colon"
    return f"there is no placeholder !{{{content}}}{_meant(name)}; known are {_KNOWN}"


def _meant(name: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # only on the way to an error

    known = {known.lower(): known for known in (_THING_NAME, _HOSTNAME, _TIMESTAMP)}
    close = get_close_matches(name.lower(), known, n=1)
    return f" (did you mean !{{{known[close[0]]}}}?)" if close else ""


def _date_problem(pattern: str) -> str:
    if not pattern:
        return "!{timestamp} needs a pattern, for example !{timestamp:yyyy/MM/dd}"
    position = 0
    while position < len(pattern):
        found = _DATE_PART.match(pattern, position)
        if found is None:
            return f"the quote in !{{timestamp:{pattern}}} is not closed"
        if found[2] and found[0] not in TIMESTAMP_LETTERS:
            return _unknown_letters(found[0], pattern)
        if found[0] in "[]{#":
            return f"`{found[0]}` in !{{timestamp:{pattern}}} must stand in quotes"
        position = found.end()
    return ""


def _unknown_letters(letters: str, pattern: str) -> str:
    hint = ""
    if letters.startswith("Y"):
        hint = " (YYYY is the year of the week, wrong around New Year: write yyyy)"
    known = " ".join(TIMESTAMP_LETTERS)
    return f"`{letters}` in !{{timestamp:{pattern}}} is not known{hint}; known are {known} and 'quoted text'"


def names_used(prefix: str) -> frozenset[str]:
    """The names of the placeholders in `prefix`: thingName, hostname, timestamp."""
    return frozenset(content.partition(":")[0] for content in PLACEHOLDER.findall(prefix))


def resolved(prefix: str, mtime_ns: int, environment: Mapping[str, str], hostname: str) -> str:
    """The prefix with every placeholder filled in. KeyProblem where one cannot be."""
    parts = _parts(prefix)
    if len(parts) == 1:
        return parts[0]
    # re.split puts what a placeholder holds at the odd places.
    resolved = list(parts)
    resolved[1::2] = [_value(content, mtime_ns, environment, hostname) for content in parts[1::2]]
    return "".join(resolved)


@lru_cache(maxsize=64)
def _parts(prefix: str) -> tuple[str, ...]:
    return tuple(PLACEHOLDER.split(prefix))


def _value(content: str, mtime_ns: int, environment: Mapping[str, str], hostname: str) -> str:
    if content == _HOSTNAME:
        return hostname
    if content != _THING_NAME:
        return _date(content.partition(":")[2], mtime_ns)
    thing_name = environment.get("AWS_IOT_THING_NAME", "")
    if not thing_name:
        raise KeyProblem(
            "ObjectKeyPrefix asks for !{thingName}, and AWS_IOT_THING_NAME is not set",
            advice="Set AWS_IOT_THING_NAME (the nucleus does), or use !{hostname}.",
        )
    return thing_name


def _date(pattern: str, mtime_ns: int) -> str:
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    try:
        utc = time.gmtime(seconds)
    except (OverflowError, ValueError, OSError):
        utc = None
    if utc is None or not 1 <= utc.tm_year <= _LAST_YEAR:
        raise KeyProblem(
            "its modification time lies outside the years 1 to 9999, and ObjectKeyPrefix has a timestamp",
            advice="Give the file a sensible time (`touch FILE`); it is then found again.",
        )
    return "".join(_date_part(found, utc, nanoseconds) for found in _DATE_PART.finditer(pattern))


def text_of(content: str) -> str:
    """What of a placeholder stands for itself."""
    name, _, pattern = content.partition(":")
    parts = _DATE_PART.finditer(pattern) if name == _TIMESTAMP else ()
    return "".join(_literal(found) for found in parts if not found[2])


def _date_part(found: re.Match[str], utc: time.struct_time, nanoseconds: int) -> str:
    if found[2]:
        return TIMESTAMP_LETTERS[found[0]][1](utc, nanoseconds)
    return _literal(found)


def _literal(found: re.Match[str]) -> str:
    if found[0] == "''":
        return "'"
    return found[1].replace("''", "'") if found[1] else found[0]
