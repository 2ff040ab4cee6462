"""One part of a pattern between two slashes, and what it matches.

The meaning is that of Python's glob on text: a name is read as UTF-8, bytes that are not UTF-8 as
one character each, so that `?` stands for one letter also where a letter takes two bytes. `*`, `?`
and `[...]` do not match a leading dot unless the part starts with one. Wherever characters cannot
matter the bytes are compared as they are, which is what makes matching fast.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["RECURSIVE", "Segment", "as_bytes", "as_text", "escape", "tokens"]

RECURSIVE = "**"

# A closing bracket right after `[` or `[!` is one of the set; a bracket that never closes is itself.
_TOKEN = re.compile(r"\*+|\[(?:!\][^\]]*|![^\]]+|\][^\]]*|[^\]!][^\]]*)\]|.", re.DOTALL)
_MAGIC = re.compile(r"[*?[]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(name: bytes) -> str:
    """A name as characters, reversibly, whatever its bytes."""
    return name.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """The name whose characters these are; UnicodeEncodeError where there is none."""
    return text.encode("utf-8", "surrogateescape")


def escape(name: bytes) -> str:
    """A pattern that matches this name or path and nothing else."""
    return _MAGIC.sub(r"[\g<0>]", as_text(name))


def tokens(text: str) -> tuple[str, ...]:
    """The pieces of a part: `*`, `?`, a whole `[...]`, or one character that stands for itself."""
    return tuple("*" if token.startswith("*") else token for token in _TOKEN.findall(text))


@dataclass(frozen=True, slots=True)
class Segment:
    """A compiled part. `literal` is the one name that it matches, or None if it is a wildcard.

    `matches` is not asked of a recursive part (`**`), which stands for any number of folders.
    """

    text: str
    literal: bytes | None = field(compare=False)
    matches: Callable[[bytes], bool] = field(compare=False, repr=False)

    @classmethod
    def parse(cls, text: str) -> Segment:
        literal = _literal(text)
        return cls(text, literal, _exactly(literal) if literal is not None else _wildcard(text))

    @property
    def is_recursive(self) -> bool:
        return self.text == RECURSIVE

    @property
    def takes_dot(self) -> bool:
        """Whether names that start with a dot may match."""
        return self.text.startswith(".")


def _literal(text: str) -> bytes | None:
    """`a[*]b` is a name too: glob.escape writes it so."""
    name = ""
    for token in tokens(text):
        if token in ("*", "?"):
            return None
        if len(token) == 1:
            name += token
        elif len(token) == len("[x]"):
            name += token[1]
        else:
            return None
    if name.startswith(".") and not text.startswith("."):
        return None  # `[.]x` matches nothing: a wildcard does not match a leading dot
    return as_bytes(name)


def _exactly(literal: bytes) -> Callable[[bytes], bool]:
    return lambda name: name == literal


def _wildcard(text: str) -> Callable[[bytes], bool]:
    if "?" in text or "[" in text or _SURROGATE.search(text):
        return _by_characters(text)
    before, star, after = re.sub(r"\*+", "*", text).partition("*")
    head, tail = as_bytes(before), as_bytes(after)
    if star and not head and "*" not in after:
        return lambda name: name.endswith(tail) and not name.startswith(b".")
    if star and not tail:
        return lambda name: name.startswith(head)
    return _by_bytes(text)


def _by_characters(text: str) -> Callable[[bytes], bool]:
    match = re.compile(fnmatch.translate(text)).match
    if text.startswith("."):
        return lambda name: match(name.decode("utf-8", "surrogateescape")) is not None
    return lambda name: (
        not name.startswith(b".") and match(name.decode("utf-8", "surrogateescape")) is not None
    )


def _by_bytes(text: str) -> Callable[[bytes], bool]:
    """Only `*` and plain characters: UTF-8 bytes match exactly where their characters do."""
    expression = fnmatch.translate(as_bytes(text).decode("latin-1"))
    match = re.compile(expression.encode("latin-1")).match
    if text.startswith((".", "*")):
        return _dot_aware(match, takes_dot=text.startswith("."))
    return lambda name: match(name) is not None


def _dot_aware(match: Callable[[bytes], object], *, takes_dot: bool) -> Callable[[bytes], bool]:
    if takes_dot:
        return lambda name: match(name) is not None
    return lambda name: not name.startswith(b".") and match(name) is not None
