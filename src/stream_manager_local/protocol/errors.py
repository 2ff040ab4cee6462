"""How a request ends when it does not succeed.

`Refused` is an answer: the client gets its status and text. `Undecodable` has no answer: nobody can say
which request it was, or the real server is known to hang up; the connection is closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stream_manager_local.protocol.codes import Status

__all__ = ["Refused", "Undecodable"]


class Refused(Exception):
    """A request is answered with a status that is not SUCCESS; `text` is for the person who reads it."""

    def __init__(self, status: Status, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Undecodable(Exception):
    """Bytes that are no frame or no request: the connection that sent them is closed."""
