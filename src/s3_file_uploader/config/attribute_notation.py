"""How the attributes of objects are written, and what S3 takes of each: lengths, characters, words.

What S3 would refuse with every file is refused here, once, before anything is sent. Maps come as keys
and values in a file, and as `key=value` on a command line; they are kept as pairs in their order.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from s3_file_uploader.config.notation import Notation

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "ACCOUNT",
    "CONTENT_TYPE",
    "DEFAULT_OR_YES_NO",
    "ENCRYPTION",
    "ENCRYPTION_CONTEXT",
    "HEADER_TEXT",
    "KMS_KEY",
    "METADATA",
    "MOST_METADATA_BYTES",
    "STORAGE_CLASS",
    "TAGS",
]

Pairs = tuple[tuple[str, str], ...]

_MOST_TAGS = 10
_LONGEST_TAG_KEY = 128
_LONGEST_TAG_VALUE = 256
MOST_METADATA_BYTES = 2048  # of all keys and values together
_LONGEST_CONTEXT = 4096
_MTIME_BYTES = len("mtime") + 21
_TAG = re.compile(r"[\w \-+=.:/@]*")  # letters and digits of any script
_METADATA_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_PRINTABLE = r"[!-~](?:[ -~]*[!-~])?"
_STORAGE_CLASS = r"^[A-Z][A-Z0-9_]{0,63}$"
_MEDIA_TYPE = r"^(auto|off|[A-Za-z0-9!#$&^_.+-]+/[A-Za-z0-9!#$&^_.+-]+( *; *[!-~][ -~]*)?)$"
_KMS_KEY = r"^[A-Za-z0-9:/_-]{1,2048}$"
_ACCOUNT = r"^[0-9]{12}$"


def _pairs(raw: object) -> object:
    """Keys and values, `key=value`, or a list of these, as pairs; other things go on to be refused."""
    if isinstance(raw, dict):
        return tuple((str(key), _value(value)) for key, value in raw.items())
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple):
        return raw
    pairs: list[tuple[str, str]] = []
    for item in items:
        if not isinstance(item, str) or "=" not in item:
            raise ValueError("each is written key=value")
        key, _, value = item.partition("=")
        pairs.append((key, value))
    return tuple(pairs)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("a value is text")


def _reader(check: Callable[[Pairs], None], *, folds_keys: bool = False) -> Callable[[object], object]:
    def read(raw: object) -> object:
        pairs = _pairs(raw)
        if not isinstance(pairs, tuple):
            return pairs
        if folds_keys:
            pairs = tuple((key.lower(), value) for key, value in pairs)
        keys = [key for key, _ in pairs]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise ValueError(f"the key {twice} stands twice")
        check(pairs)
        return pairs

    return read


def _check_tags(pairs: Pairs) -> None:
    if len(pairs) > _MOST_TAGS:
        raise ValueError(f"an object has at most {_MOST_TAGS} tags, and these are {len(pairs)}")
    for key, value in pairs:
        if not 1 <= len(key) <= _LONGEST_TAG_KEY:
            raise ValueError(f"the key {key[:20]!r} has {len(key)} characters, not 1 to {_LONGEST_TAG_KEY}")
        if len(value) > _LONGEST_TAG_VALUE:
            raise ValueError(f"the value of {key} is longer than {_LONGEST_TAG_VALUE} characters")
        if key.lower().startswith("aws:"):
            raise ValueError(f"the key {key} begins with aws:, which AWS keeps for itself")
        if not _TAG.fullmatch(key) or not _TAG.fullmatch(value):
            raise ValueError(
                f"{key}={value} holds other characters than letters, digits, space and - + = . _ : / @"
            )


def _check_metadata(pairs: Pairs) -> None:
    size_bytes = sum(len(key) + len(value) for key, value in pairs) + _MTIME_BYTES
    if size_bytes > MOST_METADATA_BYTES:
        raise ValueError(
            f"all keys and values are at most {MOST_METADATA_BYTES - _MTIME_BYTES} bytes together"
        )
    for key, value in pairs:
        if not _METADATA_KEY.fullmatch(key):
            raise ValueError(f"the key {key!r} is not made of letters, digits, `-`, `_` and `.`")
        if value and not re.fullmatch(_PRINTABLE, value):
            raise ValueError(f"the value of {key} is not printable ASCII without spaces at its ends")


def _check_context(pairs: Pairs) -> None:
    if any(not key or not value for key, value in pairs):
        raise ValueError("neither a key nor a value is empty")
    if len(json.dumps(dict(pairs))) > _LONGEST_CONTEXT:
        raise ValueError(f"it is longer than {_LONGEST_CONTEXT} characters")


def _write_pairs(pairs: Pairs) -> str:
    return json.dumps(dict(pairs), ensure_ascii=False) if pairs else ""


def _matching(pattern: str, *, upper: bool = False) -> Callable[[object], object]:
    def read(raw: object) -> object:
        text = str(raw) if isinstance(raw, int) and not isinstance(raw, bool) else raw
        if not isinstance(text, str):
            return text
        text = text.strip().upper() if upper else text.strip()
        if text and not re.search(pattern, text):
            raise ValueError("")
        return text

    return read


def _word(*words: str) -> Callable[[object], object]:
    """One of these, in any case."""
    by_fold = {word.lower(): word for word in words}
    return lambda raw: by_fold.get(raw.strip().lower(), raw) if isinstance(raw, str) else raw


def _default_or_yes_no(raw: object) -> object:
    if not isinstance(raw, str):
        return raw
    word = raw.strip().lower()
    if word in ("true", "yes", "on", "1"):
        return True
    return False if word in ("false", "no", "off", "0") else word


TAGS = Notation(
    "at most 10 keys and values of letters, digits, spaces and - + = . _ : / @; keys to 128 characters, "
    "values to 256",
    "KEY=VALUE",
    _reader(_check_tags),
    _write_pairs,
    example="like site=hall-7",
)
METADATA = Notation(
    "keys of letters, digits, `-`, `_` and `.`, values of printable ASCII; 2 KB together",
    "KEY=VALUE",
    _reader(_check_metadata, folds_keys=True),
    _write_pairs,
    example="like unit=car7",
)
ENCRYPTION_CONTEXT = Notation(
    "keys and values, at most 4 KB together",
    "KEY=VALUE",
    _reader(_check_context),
    _write_pairs,
    example="like fleet=north",
)
STORAGE_CLASS = Notation(
    "the name of a storage class, like STANDARD_IA, INTELLIGENT_TIERING, GLACIER_IR",
    "CLASS",
    _matching(_STORAGE_CLASS, upper=True),
    pattern=_STORAGE_CLASS,
)
CONTENT_TYPE = Notation(
    "auto, off, or a type like text/csv; charset=utf-8",
    "TYPE",
    _matching(_MEDIA_TYPE),
    pattern=_MEDIA_TYPE,
)
HEADER_TEXT = Notation(
    "printable ASCII without spaces at its ends",
    "TEXT",
    _matching(f"^{_PRINTABLE}$"),
    pattern=f"^{_PRINTABLE}$",
)
KMS_KEY = Notation("the id, alias or ARN of a KMS key", "KEY", _matching(_KMS_KEY), pattern=_KMS_KEY)
ACCOUNT = Notation("an AWS account: 12 digits", "ACCOUNT", _matching(_ACCOUNT), pattern=_ACCOUNT)
ENCRYPTION = Notation("", "WORD", _word("default", "AES256", "aws:kms", "aws:kms:dsse"))
DEFAULT_OR_YES_NO = Notation(
    "default, true or false",
    "default|true|false",
    _default_or_yes_no,
    lambda value: value if isinstance(value, str) else "true" if value else "false",
    "^(default|true|false|yes|no|on|off)$",
)
