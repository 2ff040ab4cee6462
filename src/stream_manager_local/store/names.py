"""Names on the disk: of the folder of a stream, and of the files in it.

A stream may be called "..", "CON", or 255 letters that take four bytes each. Its folder is called by as
much of that as is safe on any file system, for people who look around, and by a digest of all of it,
so that no two streams share a folder, also where "A" and "a" are one name. What stands in the
definition is the name; nothing is ever read out of a folder's name.
"""

from __future__ import annotations

import hashlib
import re

__all__ = [
    "CURSORS",
    "DEFINITION",
    "LOCK",
    "TEMPORARY",
    "folder_name",
    "is_temporary",
    "segment_base",
    "segment_name",
]

DEFINITION = "stream.json"
CURSORS = "exports.json"
LOCK = ".lock"
TEMPORARY = ".unfinished-"  # what begins like this is not there yet, or not any more

_READABLE_LENGTH = 60
_DIGEST_LENGTH = 32
_SEGMENT_DIGITS = 20
_SEGMENT = re.compile(rf"([0-9]{{{_SEGMENT_DIGITS}}})\.segment")


def folder_name(stream: str) -> str:
    """The folder of a stream, below the root of the store."""
    digest = hashlib.sha256(stream.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_LENGTH]
    readable = re.sub(r"[^a-z0-9_]+", "-", stream.lower())[:_READABLE_LENGTH].strip("-")
    return f"{readable}-{digest}" if readable else digest


def is_temporary(name: str) -> bool:
    return name.startswith(TEMPORARY)


def segment_name(base: int) -> str:
    """The file of the segment whose first sequence number is `base`."""
    return f"{base:0{_SEGMENT_DIGITS}}.segment"


def segment_base(name: str) -> int | None:
    """The first sequence number of a segment; None when the name is that of no segment."""
    match = _SEGMENT.fullmatch(name)
    return None if match is None else int(match[1])
