"""What a Stream Manager says of itself when a line is made: its version, and the protocol it chose.

AWS's client keeps neither. It logs the answer, though, so this listens to its log for a moment.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Greeting", "overheard"]

_CLIENT = "s3_file_uploader.transport.stream_manager.sdk.client"  # where sdk.py lets the client log


@dataclass(slots=True)
class Greeting:
    """Empty where it was not said."""

    protocol: str = ""
    version: str = ""


@contextmanager
def overheard() -> Iterator[Greeting]:
    """The greeting of a line that is made meanwhile."""
    greeting = Greeting()
    logger, ear = logging.getLogger(_CLIENT), _Ear(greeting)
    before = logger.level
    logger.addHandler(ear)
    logger.setLevel(logging.DEBUG)
    try:
        yield greeting
    finally:
        logger.setLevel(before)
        logger.removeHandler(ear)


class _Ear(logging.Handler):
    def __init__(self, greeting: Greeting) -> None:
        super().__init__()
        self._greeting = greeting

    def emit(self, record: logging.LogRecord) -> None:
        for said in record.args if isinstance(record.args, tuple) else ():
            protocol = getattr(said, "protocol_version", None)
            if type(said).__name__ == "ConnectResponse" and isinstance(protocol, str):
                self._greeting.protocol = protocol
                self._greeting.version = getattr(said, "server_version", None) or ""
