"""Who we are to Stream Manager: a random number for each ledger, kept in its folder.

Not in the ledger itself: it must outlive one that was set aside, since the streams do.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets

from s3_file_uploader.errors import ConfigurationError

__all__ = ["owner_of", "read_owner"]

_FILE = "stream-manager-owner"
_DIGITS = 12
_OWNER = re.compile(rf"[0-9a-f]{{{_DIGITS}}}\n?")


def read_owner(folder: str) -> str:
    """The owner of the ledger in `folder`; empty where none was written yet."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with open(os.path.join(folder, _FILE), encoding="ascii") as file:
            found = _OWNER.fullmatch(file.read(64))
        return found.group().strip() if found else ""
    return ""


def owner_of(folder: str, random: str = "") -> str:
    """The same, written durably where there was none. Raises ConfigurationError."""
    if known := read_owner(folder):
        return known
    owner = random or secrets.token_hex(_DIGITS // 2)
    path = os.path.join(folder, _FILE)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        descriptor = os.open(f"{path}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, f"{owner}\n".encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(f"{path}.new", path)
        _sync_folder(folder)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}",
            advice="Give the user that runs s3-file-uploader the right to write there, or set StateDirectory.",
        ) from error
    return owner


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
