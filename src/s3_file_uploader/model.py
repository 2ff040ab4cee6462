"""The values that the whole program speaks in. No I/O, no clock, no decisions.

Paths and names are bytes: a name on a Linux disk is any bytes but NUL and the slash, and a program
that removes files must be able to name each of them exactly.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

__all__ = [
    "Candidate",
    "Checkpoint",
    "Evidence",
    "Fingerprint",
    "Receipt",
    "printable",
]


# How `surrogateescape` carries bytes 0x80 to 0xFF that are not UTF-8 (PEP 383).
_LONE_OFFSET = 0xDC00
_FIRST_LONE = _LONE_OFFSET + 0x80
_LAST_LONE = _LONE_OFFSET + 0xFF

# A scan makes one Fingerprint and one Candidate for each of a million files: as tuples they cost a
# fifth of what frozen dataclasses do.


class Fingerprint(NamedTuple):
    """What stat says of a file's content: equal is taken as the same content.

    `device` and `inode` are st_dev and st_ino, `size` is in bytes, `mtime_ns` and `ctime_ns` are in
    nanoseconds since the epoch. ctime cannot be set by a program, so it shows a change of content
    whose mtime was put back. Our own rename changes it: compare before, or use `same_content_as`.
    """

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Fingerprint:
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    def differs_only_in_device(self, other: Fingerprint) -> bool:
        """A reboot or a replugged disk numbers its device anew: hash again, do not send again."""
        return (
            self.device != other.device
            and self.inode == other.inode
            and self.size == other.size
            and self.mtime_ns == other.mtime_ns
            and self.ctime_ns == other.ctime_ns
        )

    def same_but_for_ctime(self, other: Fingerprint) -> bool:
        """Equal as far as can be told once our own rename has touched ctime."""
        return (
            self.device == other.device
            and self.inode == other.inode
            and self.size == other.size
            and self.mtime_ns == other.mtime_ns
        )


class Evidence(Enum):
    """What is known of writers that may still hold a file open; the value is what the ledger stores."""

    NONE = 0  # never watched from its first event
    OPEN = 1  # watched from its first event; not closed since its last modification
    CLOSED = 2  # watched from its first event and closed after its last modification


class Candidate(NamedTuple):
    """A regular file that matches a rule's pattern, as one look at it found it.

    `folder` is the absolute path of its folder and `name` its name in it; `relative` is the folder's
    path below the fixed part of the rule's pattern (b"" when the pattern's folder has no wildcard).
    """

    folder: bytes
    name: bytes
    fingerprint: Fingerprint
    relative: bytes = b""
    evidence: Evidence = Evidence.NONE
    is_symlink: bool = False

    @property
    def path(self) -> bytes:
        return os.path.join(self.folder, self.name)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The far side's proof that it holds exactly the content of one fingerprint.

    `checksum` is written `algorithm:value` as the far side echoed it, for example
    `crc64nvme:rosUhgp5mIg=`; `size` is in bytes.
    """

    bucket: str
    key: str
    size: int
    checksum: str
    etag: str = ""
    version_id: str = ""


# What a transport saved to continue a delivery after a restart: JSON values only, opaque to all but
# the transport that wrote it.
Checkpoint = dict[str, Any]


def is_regular(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode)


def printable(name: bytes) -> str:
    r"""A path or name as text that a terminal, a log line and JSON can carry.

    UTF-8 stays as it is; bytes that are not UTF-8, control characters and the backslash become
    `\\xNN`, so the text is unambiguous and never moves a cursor.
    """
    text = name.decode("utf-8", "surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    code = ord(character)
    if _FIRST_LONE <= code <= _LAST_LONE:
        return f"\\x{code - _LONE_OFFSET:02x}"
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8"))
