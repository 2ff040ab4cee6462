"""The hidden name: what a file is called in its own folder while it is being removed.

`.s3fu-` and 24 lower-case hex digits: 8 of the ledger that hid it, 16 of the file's id there. The
length is fixed, so that it fits wherever a name of 255 bytes did; the form alone says that the file
is ours, also when the ledger is gone. No rule ever matches it, whatever its pattern.
"""

from __future__ import annotations

import re

__all__ = ["PREFIX", "digits_of", "hidden_name", "identifier_of", "is_hidden", "tag_of"]

PREFIX = b".s3fu-"
_FORM = re.compile(rb"\.s3fu-([0-9a-f]{8})([0-9a-f]{16})")
_TAG = re.compile("[0-9a-f]{8}")


def is_hidden(name: bytes) -> bool:
    """Whether a file of this name is in the middle of its removal."""
    return name.startswith(PREFIX) and _FORM.fullmatch(name) is not None


def hidden_name(ledger_tag: str, identifier: int) -> bytes:
    """The hidden name of file `identifier` of the ledger tagged with 8 lower-case hex digits."""
    if not _TAG.fullmatch(ledger_tag):
        raise ValueError(f"a ledger's tag is 8 lower-case hex digits, not {ledger_tag!r}")
    if not 0 <= identifier < 1 << 64:
        raise ValueError(f"a file's id fits 64 bits, unlike {identifier}")
    return PREFIX + f"{ledger_tag}{identifier:016x}".encode("ascii")


def digits_of(name: bytes) -> bytes:
    """The sixteen digits of a hidden name that tell it from all others of its ledger."""
    return name[-16:]


def tag_of(name: bytes) -> str | None:
    """The tag of the ledger that hid this file; None for a name that is not hidden."""
    form = _FORM.fullmatch(name)
    return form[1].decode("ascii") if form else None


def identifier_of(name: bytes) -> int | None:
    """The id that this file has in the ledger that hid it; None for a name that is not hidden."""
    form = _FORM.fullmatch(name)
    return int(form[2], 16) if form else None
