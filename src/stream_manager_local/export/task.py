"""A task as it stands in a message: JSON that names a file, a bucket and a key.

What AWS's clients would refuse is refused here too, with a text for the Failure status; a task that did
not come through a client gets no further than one that did. Pure: nothing here looks at the disk.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DECODING_POLICIES", "MOST_KEY_BYTES", "MOST_TASK_BYTES", "BadTask", "Task", "paths_of", "task_of"]

DECODING_POLICIES = ("literal-first", "decode-first", "never")
MOST_KEY_BYTES = 1024
MOST_TASK_BYTES = 256 << 10  # far beyond a path, a key and the 2 KB of metadata that S3 takes

_MOST_SHOWN = 200

# Patterns of AWS's clients, written anew; `fullmatch` is asked.
_BUCKET = re.compile(
    r"(?!(?:\d+\.)+\d+\Z)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
)
_LEAST_BUCKET, _MOST_BUCKET = 3, 63
_KEY = re.compile(r"""(?:[^\\{ }%`\[\]"'><~#^?|]|!\{[a-zA-Z]+:[a-zA-Z/]+\})*""")
_NOT_IN_KEYS = re.compile(r"""[\\{ }%`\[\]"'><~#^?|]""")
_METADATA_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")  # of an HTTP header, in lower case
_METADATA_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?|")
_RESERVED = "$aws-gg-"
_TEXTS = ("inputUrl", "bucket", "key")


@dataclass(frozen=True, slots=True)
class Task:
    """`metadata` has lower-case names and texts; `wire` is what statuses repeat of the task."""

    input_url: str
    bucket: str
    key: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    wire: Mapping[str, object] = field(default_factory=dict)


class BadTask(ValueError):
    """A message that is no task; `wire` is what could be read of it all the same."""

    def __init__(self, text: str, wire: Mapping[str, object] | None = None) -> None:
        super().__init__(text)
        self.wire = wire or {}


def task_of(payload: bytes) -> Task:
    """The task in a message; BadTask says what is wrong with it."""
    if len(payload) > MOST_TASK_BYTES:
        raise BadTask(f"the message has {len(payload)} bytes; a task has at most {MOST_TASK_BYTES}")
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadTask(f"the message is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BadTask("the message is JSON, and not an object with inputUrl, bucket and key")
    wire: dict[str, object] = {name: found[name] for name in _TEXTS if isinstance(found.get(name), str)}
    try:
        _check_texts(found)
        given = _texts_in(found.get("userMetadata"))
        metadata = _metadata_of(given)
    except ValueError as error:
        raise BadTask(str(error), wire) from None
    if given is not None:
        wire["userMetadata"] = given
    return Task(found["inputUrl"], found["bucket"], found["key"], metadata, wire)


def _check_texts(found: Mapping[str, object]) -> None:
    for name in _TEXTS:
        value = found.get(name)
        if not isinstance(value, str) or not value:
            raise ValueError(f"{name} {'is missing' if value in (None, '') else 'must be a text'}")
    bucket, key = str(found["bucket"]), str(found["key"])
    if not _LEAST_BUCKET <= len(bucket) <= _MOST_BUCKET or not _BUCKET.fullmatch(bucket):
        raise ValueError(
            f"bucket {_shown(bucket)} is no name of a bucket: 3 to 63 lower-case letters, digits, dots and hyphens"
        )
    if not _KEY.fullmatch(key):
        forbidden = _NOT_IN_KEYS.search(re.sub(r"!\{[a-zA-Z]+:[a-zA-Z/]+\}", "", key))
        raise ValueError(
            f"key {_shown(key)} holds {forbidden[0] if forbidden else '!{'!r}, which keys may not; "
            "a placeholder looks like !{timestamp:yyyy/MM/dd}"
        )
    check_key_size(key)


def _shown(text: str) -> str:
    """For a message that is kept and sent on: as much as helps."""
    return repr(text) if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]!r}… ({len(text)} characters)"


def check_key_size(key: str) -> None:
    """ValueError for more than S3 takes, or what is not text."""
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError:
        raise ValueError("key holds half a surrogate pair, which is no character") from None
    if size_bytes > MOST_KEY_BYTES:
        raise ValueError(f"key has {size_bytes} bytes; S3 takes {MOST_KEY_BYTES}")


def _texts_in(given: object) -> dict[str, str] | None:
    """Metadata with each value as a text, as clients in Java send it: some send numbers."""
    if given is None:
        return None
    if not isinstance(given, dict):
        raise ValueError("userMetadata must be an object")  # noqa: TRY004  (told as a Failure, like all others)
    texts = {}
    for name, value in given.items():
        if isinstance(value, dict | list):
            raise ValueError(f"userMetadata {_shown(name)} must be a text, a number or a boolean")  # noqa: TRY004
        if value is not None:
            texts[name] = value if isinstance(value, str) else json.dumps(value)
    return texts


def _metadata_of(texts: Mapping[str, str] | None) -> dict[str, str]:
    metadata: dict[str, str] = {}
    for given, value in (texts or {}).items():
        name = given.lower()
        if name.startswith(_RESERVED):
            raise ValueError(f"userMetadata {_shown(given)}: names that begin with {_RESERVED} are reserved")
        if not _METADATA_NAME.fullmatch(name):
            raise ValueError(
                f"userMetadata {_shown(given)} is no name of a header: letters, digits and `-_.` are"
            )
        if not _METADATA_VALUE.fullmatch(value):
            raise ValueError(
                f"the value of userMetadata {_shown(given)} is not printable ASCII without outer spaces"
            )
        if name in metadata:
            raise ValueError(
                f"userMetadata has {_shown(name)} twice: upper and lower case are the same in S3"
            )
        metadata[name] = value
    return metadata


def paths_of(input_url: str, policy: str) -> tuple[bytes, ...]:
    """The absolute paths that an input URL may mean, in the order in which they are to be tried.

    `file:/x`, `file:///x` and `file://localhost/x` are known. Nobody who writes such URLs escapes
    anything, so nothing is a query or a fragment; whether `%41` is a name or an `A` is the policy's
    affair. BadTask for what is no local path.
    """
    scheme, colon, rest = input_url.partition(":")
    if not colon or scheme.lower() != "file":
        raise BadTask(f"inputUrl {_shown(input_url)} must begin with file:, as in file:///data/file.bin")
    if rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        if host.lower() not in ("", "localhost"):
            raise BadTask(
                f"inputUrl {_shown(input_url)} names the host {_shown(host)}; a local path has three slashes"
            )
        rest = slash + path
    if not rest.startswith("/"):
        raise BadTask(f"inputUrl {_shown(input_url)} must hold an absolute path, as in file:///data/file.bin")
    try:
        literal = os.fsencode(rest)
    except UnicodeEncodeError:
        raise BadTask(
            f"inputUrl {_shown(input_url)} holds half a surrogate pair, which is no character"
        ) from None
    decoded = unquote_to_bytes(literal)
    if b"\0" in literal + decoded:
        raise BadTask(f"inputUrl {_shown(input_url)} holds a NUL, which no path can")
    if policy == "never" or decoded == literal:
        return (literal,)
    return (literal, decoded) if policy == "literal-first" else (decoded, literal)
