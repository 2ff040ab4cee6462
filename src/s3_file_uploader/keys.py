"""The name of the object a file becomes: prefix, path below the pattern's fixed part, file name.

Pure: the machine's name, the environment and the file's modification time come in as arguments, and the
result is stored in the ledger, so that a file keeps its object name over retries and restarts.

Names on disk are bytes; keys are UTF-8 text. What a key cannot carry is written as the sign `!` and two
upper-case hexadecimal digits for each byte; a `!` that already stands before two such digits is written
`!21`, so `unescape` has exactly one answer and two names never meet in one key. `!` was chosen because
both S3's list of safe characters and Stream Manager's pattern take it (`%` is refused by the latter), and
because names hardly ever hold it before two hexadecimal digits, as they do `=`, `_` or `-`.

This module never guesses: a name that cannot be carried, or a key over 1024 bytes, is a KeyProblem, which
parks the file with its reason.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from s3_file_uploader.errors import KeyProblem
from s3_file_uploader.placeholders import PLACEHOLDER, problem_of, resolved, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.config import Rule

__all__ = [
    "KEY_ESCAPES",
    "MAX_KEY_BYTES",
    "STRICT_FORBIDDEN",
    "KeyProblem",
    "escape",
    "is_carried",
    "next_key",
    "object_key",
    "prefix_problem",
    "unescape",
]

KEY_ESCAPES = ("auto", "strict", "off")
MAX_KEY_BYTES = 1024
_LAST_OTHER_NAME = 9
_COMPRESSED = frozenset({"gz", "bz2", "xz", "zst", "lz4"})

# What Stream Manager's clients refuse in a key.
STRICT_FORBIDDEN = "\\{} %`[]\"'><~#^?|"
_STREAM_MANAGER = "stream-manager"
_REFUSED_BY_STREAM_MANAGER = re.compile(f"[{re.escape(STRICT_FORBIDDEN)}]")

# What XML 1.0, in which stores list their keys, cannot carry or changes on the way.
_CONTROLS = "\x00-\x1f\x7f\x80-\x9f\ufffe\uffff"
_ESCAPE_ITSELF = "!(?=[0-9A-F]{2})"
# Segments a store or a proxy would resolve, and slashes that would leave an empty segment.
_SEGMENTS = r"(?:(?<=/)|\A)\.{1,2}(?=/|\Z)|\A/|(?<=/)/|/\Z"
# A byte that is not UTF-8 is a lone surrogate once decoded with surrogateescape.
_FIRST_LONE, _LAST_LONE = 0xDC80, 0xDCFF
_NOT_UTF8 = f"{chr(_FIRST_LONE)}-{chr(_LAST_LONE)}"

_NO_TEXT = re.compile(f"[{_CONTROLS}{_NOT_UTF8}]")
_DOTS = re.compile(r"(?:(?<=/)|\A)\.{1,2}(?=/|\Z)")
_CANNOT_BE_CARRIED = re.compile(f"[{_CONTROLS}{_NOT_UTF8}]|{_SEGMENTS}")
_TO_ESCAPE = {
    "auto": re.compile(rf"[{_CONTROLS}{_NOT_UTF8}\\]|{_ESCAPE_ITSELF}|{_SEGMENTS}"),
    "strict": re.compile(
        f"[{_CONTROLS}{_NOT_UTF8}{re.escape(STRICT_FORBIDDEN)}]|{_ESCAPE_ITSELF}|{_SEGMENTS}"
    ),
}
_ESCAPED = re.compile(rb"!([0-9A-F]{2})")


def object_key(
    rule: Rule,
    *,
    relative: bytes,
    name: bytes,
    mtime_ns: int,
    environment: Mapping[str, str],
    hostname: str,
) -> str:
    """The key of the file `name` in folder `relative` (below the pattern's fixed part, b"" for none).

    Placeholders of the prefix are resolved here: call once per file and store the answer. Raises
    KeyProblem when this file cannot have a key.
    """
    path = relative.strip(b"/") + b"/" + name if relative else name
    key = _carried(path, rule.key_escape, rule.transport)
    prefix = rule.object_key_prefix
    if prefix:
        key = _joined(resolved(prefix, mtime_ns, environment, hostname), key)
        if not is_carried(rule, key):  # by a placeholder: all else has been looked at before
            raise KeyProblem(
                f"with ObjectKeyPrefix {prefix} the object name would be {key}, which Stream Manager refuses",
                advice="Leave the placeholder out, or give the machine or the thing a plainer name.",
            )
    size_bytes = len(key) if key.isascii() else len(key.encode())
    if size_bytes > MAX_KEY_BYTES:
        raise KeyProblem(
            f"the object name would be {size_bytes} bytes long; S3 takes {MAX_KEY_BYTES}",
            advice="Shorten the file's name or ObjectKeyPrefix, then `s3-file-uploader retry FILE`.",
        )
    return key


def is_carried(rule: Rule, key: str) -> bool:
    """Whether the rule's transport takes this object name; also of one that was made for another transport."""
    return rule.transport != _STREAM_MANAGER or _REFUSED_BY_STREAM_MANAGER.search(key) is None


def next_key(key: str, mtime_ns: int) -> str:
    """The name to take where `key` belongs to another object; each call on the last answer gives a new one.

    First with the file's modification time before the ending, then with a number behind that, so that
    two tries of one content, also before and after a crash, come to the same names. KeyProblem after
    the last, or where there is no room.
    """
    folder, slash, name = key.rpartition("/")
    stem, ending = _split_ending(name)
    stamp = "-" + _stamp(mtime_ns)
    found = re.fullmatch(rf"(.*?){re.escape(stamp)}(?:-([2-9]))?", stem, re.DOTALL)
    number = "" if found is None else str(int(found[2] or 1) + 1)
    if number == str(_LAST_OTHER_NAME + 1):
        raise KeyProblem(
            f"other objects have the names that this file could take, up to {key}",
            advice="Rename the file, or remove the objects.",
        )
    first = stem if found is None else found[1]
    renamed = f"{folder}{slash}{first}{stamp}{'-' + number if number else ''}{ending}"
    if len(renamed.encode()) > MAX_KEY_BYTES:
        raise KeyProblem(
            f"another object has the name {key}, and with its modification time it would be too long",
            advice="Rename the file.",
        )
    return renamed


def _split_ending(name: str) -> tuple[str, str]:
    """A name's stem and its ending with the dot; that of what was compressed belongs to it."""
    stem, dot, ending = name.rpartition(".")
    if not dot or not stem:
        return name, ""
    inner, inner_dot, inner_ending = stem.rpartition(".")
    if ending.lower() in _COMPRESSED and inner_dot and inner and inner_ending.isalnum():
        return inner, f".{inner_ending}.{ending}"
    return stem, f".{ending}"


def _stamp(mtime_ns: int) -> str:
    """20240531T235959-123456789Z, or the bare seconds of times that no calendar has."""
    seconds, nanoseconds = divmod(mtime_ns, 1_000_000_000)
    try:
        text = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
    except (OverflowError, ValueError, OSError):
        text = str(seconds)
    return f"{text}-{nanoseconds:09d}Z"


def _joined(prefix: str, key: str) -> str:
    prefix = prefix.strip("/")
    return f"{prefix}/{key}" if prefix else key


def _carried(path: bytes, key_escape: str, transport: str) -> str:
    if key_escape != "off":
        return escape(path, strict=key_escape == "strict" or transport == _STREAM_MANAGER)
    text = path.decode("utf-8", "surrogateescape")
    found = _CANNOT_BE_CARRIED.search(text)
    if found:
        raise KeyProblem(
            f"the name holds {_told(found[0])}, which an object name cannot carry, and KeyEscape is off",
            advice="Set KeyEscape to auto, or rename the file.",
        )
    found = _REFUSED_BY_STREAM_MANAGER.search(text) if transport == _STREAM_MANAGER else None
    if found:
        raise KeyProblem(
            f"the name holds {found[0]!r}, which Stream Manager refuses in an object name, and KeyEscape is off",
            advice="Set KeyEscape to strict, or rename the file.",
        )
    return text


def _told(text: str) -> str:
    code = ord(text[0])
    if _FIRST_LONE <= code <= _LAST_LONE:
        return f"the byte {code & 0xFF:#04x}, which is not UTF-8"
    if text[0] == ".":
        return "a segment `.` or `..`"
    if text == "/":
        return "an empty segment"
    return f"the control character U+{code:04X}"


def escape(path: bytes, *, strict: bool = False) -> str:
    """`path` as text that a key can carry; `unescape` gives it back, byte for byte."""
    text = path.decode("utf-8", "surrogateescape")
    return _TO_ESCAPE["strict" if strict else "auto"].sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return "".join(f"!{byte:02X}" for byte in found[0].encode("utf-8", "surrogateescape"))


def unescape(key: str) -> bytes:
    """The path that `escape` was given: the part of an object name behind its prefix, as bytes on disk."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), key.encode("utf-8", "surrogateescape"))


def prefix_problem(prefix: str, *, strict: bool = False) -> str:
    """Why no key can begin with `prefix`, in words for a person; "" when it is fine.

    `strict`: what stands outside placeholders, and the text in them, must also be in Stream Manager's set.
    """
    for content in PLACEHOLDER.findall(prefix):
        problem = problem_of(content)
        if problem:
            return problem
    text = PLACEHOLDER.sub("x", prefix)
    if "!{" in text:
        return "`!{` opens a placeholder that no `}` closes"
    found = _NO_TEXT.search(prefix) or _DOTS.search(text)
    if found:
        return f"it holds {_told(found[0])}, which an object name cannot carry"
    written = text + "".join(text_of(content) for content in PLACEHOLDER.findall(prefix))
    forbidden = sorted(set(written) & set(STRICT_FORBIDDEN)) if strict else []
    if forbidden:
        return f"it holds {' '.join(forbidden)!r}, which Stream Manager refuses, as KeyEscape strict does"
    if len(text.encode()) >= MAX_KEY_BYTES:
        return f"it leaves no room for a file name: an object name has at most {MAX_KEY_BYTES} bytes"
    return ""
