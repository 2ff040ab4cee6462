"""What is said of an installation: how it goes on, and one line that says what ended it and what to try."""

from __future__ import annotations

import errno
from collections.abc import Callable

__all__ = ["Refusal", "Say", "refusal_of"]

Say = Callable[[str], None]  # a line for the log

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


class Refusal(Exception):
    """`str()` is one line, and ends with what to try."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(f"{what}. Try: {advice}.")


def refusal_of(error: OSError, work: str) -> Refusal:
    """The same for what the disk refused."""
    where = error.filename or work
    if error.errno in _FULL:
        return Refusal(
            f"the disk of {work} is full ({where} cannot be written)",
            "make room for 60 MB, then deploy again or restart the component",
        )
    if error.errno in _CLOSED and not str(where).startswith(work):
        return Refusal(f"{where} cannot be read: {error.strerror}", "let the component's user read it")
    if error.errno in _CLOSED:
        return Refusal(
            f"{where} cannot be written: {error.strerror}",
            f"let the component's user write below {work}, on a disk that is mounted for writing",
        )
    return Refusal(
        f"{where}: {error.strerror or error}", f"the same again; if it stays, look at the disk of {work}"
    )
