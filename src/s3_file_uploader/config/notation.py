"""How each sort of value is written by people, and read. Types and bounds are msgspec's, not ours.

A notation turns what stands in a file, a flag or the environment into what msgspec then converts and
checks against the type in the table of settings; it raises ValueError with a reason that fits into
"… is 'x': <reason>". It touches no disk.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from s3_file_uploader.config.units import (
    DURATION_PATTERN,
    RATE_PATTERN,
    SIZE_PATTERN,
    read_duration,
    read_rate,
    read_size,
    write_duration,
    write_rate,
    write_size,
)
from s3_file_uploader.placeholders import PLACEHOLDER
from s3_file_uploader.source.pattern import Pattern
from s3_file_uploader.source.selection import Filter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "BUCKET",
    "DURATION",
    "ENDPOINT",
    "FOLDER",
    "LABEL",
    "LEVEL",
    "NAME",
    "NUMBER",
    "PATH_NAME",
    "PATH_STYLE",
    "PATTERNS",
    "RATE",
    "REGION",
    "SIZE",
    "SUFFIX",
    "TEXT",
    "TOPIC",
    "WORD",
    "WORDS",
    "YES_NO",
    "Notation",
]


def _as_it_is(raw: object) -> object:
    return raw


class Notation(Struct, frozen=True):
    """`allowed` completes "allowed: …", and `example` does where room is short.

    `pattern`: what JSON Schema holds a text against.

    `empty_is_a_value`: the empty string says something; otherwise it means "not set".
    `is_path`: on a command line it may be relative and begin with a tilde.
    """

    allowed: str
    metavar: str
    read: Callable[[object], object] = _as_it_is
    write: Callable[[Any], str] = str
    pattern: str = ""
    empty_is_a_value: bool = False
    is_path: bool = False
    example: str = ""


def _of_text(read: Callable[[str], object]) -> Callable[[object], object]:
    """A reader for what was written as text; JSON's own numbers and booleans go on to msgspec."""
    return lambda raw: read(raw) if isinstance(raw, str) else raw


def _text(raw: object) -> object:
    # `ObjectKeyPrefix: 2024` is a text to everyone but a parser.
    return str(raw) if isinstance(raw, int | float) and not isinstance(raw, bool) else raw


def _matching(pattern: str) -> Callable[[object], object]:
    def read(raw: object) -> object:
        text = _text(raw)
        if isinstance(text, str) and text and not re.search(pattern, text):
            raise ValueError("")
        return text

    return read


def _path(raw: object) -> object:
    if not isinstance(raw, str) or not raw:
        return raw
    if "\0" in raw:
        raise ValueError("a path cannot hold a NUL")
    if not raw.startswith("/"):
        raise ValueError("it is a relative path")
    if ".." in raw.split("/"):
        raise ValueError("it holds '..': write the path that it leads to")
    return raw


def _path_name(raw: object) -> object:
    if isinstance(raw, str):
        Pattern.parse(raw)
    return raw


def _suffix(raw: object) -> object:
    text = _text(raw)
    if isinstance(text, str) and ("/" in text or "\0" in text):
        raise ValueError("the end of a file name holds no slash")
    return text


def _yes_no(raw: str) -> bool:
    word = raw.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    if word in ("false", "no", "off", "0"):
        return False
    raise ValueError("")


def _level(raw: str) -> str:
    word = raw.strip().upper()
    return {"WARN": "WARNING", "FATAL": "CRITICAL"}.get(word, word)


def _auto_or_yes_no(raw: str) -> object:
    return "auto" if raw.strip().lower() == "auto" else _yes_no(raw)


def _endpoint(raw: object) -> object:
    if not isinstance(raw, str) or not raw:
        return raw
    if "@" in raw:
        raise ValueError("credentials do not belong here")
    if not re.search(_ENDPOINT, raw):
        raise ValueError("")
    return raw.rstrip("/")


def _patterns(raw: object) -> object:
    """A list, or one pattern as text. Nothing splits a text: a comma may stand in a name."""
    patterns = [raw] if isinstance(raw, str) else raw
    for pattern in patterns if isinstance(patterns, list | tuple) else ():
        if isinstance(pattern, str):
            Filter.parse(pattern)
    return patterns


def _topic(raw: object) -> object:
    if not isinstance(raw, str):
        return raw
    if len(raw.encode("utf-8", "surrogateescape")) > _LONGEST_TOPIC_BYTES:
        raise ValueError(f"it is longer than {_LONGEST_TOPIC_BYTES} bytes")
    if set(raw) & set("+#") or not raw.isprintable():
        raise ValueError("nobody publishes on a topic with wildcards or control characters")
    for content in PLACEHOLDER.findall(raw):
        if content not in _PLACEHOLDERS_OF_TOPICS:
            raise ValueError(f"!{{{content}}} cannot stand in a topic")
    return raw


def _words(raw: object) -> object:
    """A list of words, or one."""
    words = [raw] if isinstance(raw, str) else raw
    if not isinstance(words, list | tuple):
        return words
    return list(dict.fromkeys(word.strip().lower() if isinstance(word, str) else word for word in words))


_LONGEST_TOPIC_BYTES = 256  # AWS IoT Core's limit
_PLACEHOLDERS_OF_TOPICS = ("thingName", "hostname")
_BUCKET = (
    r"^([A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]|arn:[!-~]+)$"  # AWS's own are narrower: see combinations
)
_ENDPOINT = r"^[hH][tT][tT][pP][sS]?://[^/@?#\s]+(/[^@?#\s]*)?$"
_LABEL = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_REGION = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"

DURATION = Notation(
    "a time: seconds, or with a unit (ms, s, min, h, d), like 10, 1.5s, 5 min, 1h30m",
    "TIME",
    _of_text(read_duration),
    write_duration,
    DURATION_PATTERN,
    example="like 10, 1.5s, 5 min, 1h30m",
)
SIZE = Notation(
    "a size: bytes, or with a unit (KiB, MiB, GiB; KB, MB, GB), like 1048576, 256 MiB, 1.5G",
    "SIZE",
    _of_text(read_size),
    write_size,
    SIZE_PATTERN,
    example="like 1048576, 256 MiB, 1.5G",
)
RATE = Notation(
    "bytes per second, or with a unit, like 250000, 2 MB/s, 10 Mbit/s",
    "RATE",
    _of_text(read_rate),
    write_rate,
    RATE_PATTERN,
    example="like 250000, 2 MB/s, 10 Mbit/s",
)
NUMBER = Notation("a whole number", "N", _of_text(str.strip), pattern=r"^\s*[0-9]+\s*$")
YES_NO = Notation(
    "true or false",
    "BOOL",
    _of_text(_yes_no),
    lambda value: "true" if value else "false",
    "^(true|false|yes|no|on|off)$",
)
WORD = Notation("", "WORD", _of_text(lambda raw: raw.strip().lower()))
WORDS = Notation("", "WORD", _words)
LEVEL = Notation("", "LEVEL", _of_text(_level))
PATH_STYLE = Notation(
    "auto, true or false",
    "auto|true|false",
    _of_text(_auto_or_yes_no),
    lambda value: value if isinstance(value, str) else YES_NO.write(value),
    "^(auto|true|false|yes|no|on|off)$",
)
TEXT = Notation("any text", "TEXT", _text, empty_is_a_value=True)
NAME = Notation("any name", "NAME", _text)
TOPIC = Notation(
    "a topic of MQTT without wildcards, at most 256 bytes; may hold !{thingName} and !{hostname}",
    "TOPIC",
    _topic,
    pattern="^[^+#]*$",
)
SUFFIX = Notation(
    "the end of a file name, like .done",
    "SUFFIX",
    _suffix,
    pattern="^[^/]*$",
    empty_is_a_value=True,
)
LABEL = Notation(
    "letters, digits, `.`, `_` and `-`, at most 64, the first a letter or digit",
    "NAME",
    _matching(_LABEL),
    pattern=_LABEL,
)
BUCKET = Notation(
    "3 to 63 lower-case letters, digits, dots and hyphens; with EndpointUrl also capitals, `_`, up to 255; "
    "or the ARN of an access point",
    "BUCKET",
    _matching(_BUCKET),
    pattern=_BUCKET,
)
REGION = Notation("a region, like eu-west-1", "REGION", _matching(_REGION), pattern=_REGION)
ENDPOINT = Notation(
    "http:// or https:// and a host, with a port and a path if need be",
    "URL",
    _endpoint,
    pattern=_ENDPOINT,
)
PATH_NAME = Notation(
    "an absolute path with wildcards as in Python's glob, like /data/*.csv, or a folder, like /data/",
    "PATTERN",
    _path_name,
    pattern="^/",
    empty_is_a_value=True,
    is_path=True,
)
FOLDER = Notation("an absolute path", "PATH", _path, pattern="^(/.*)?$", is_path=True)
PATTERNS = Notation(
    "patterns of the file's name, like *.tmp, or with a slash of its path below PathName's fixed part",
    "PATTERN",
    _patterns,
)
