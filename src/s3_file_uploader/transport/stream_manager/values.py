"""What is said to Stream Manager and heard from it, in words of our own; and what may go wrong. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["LineEnded", "Message", "NoStream", "Refusal", "StreamPlan", "StreamState", "Unauthorised"]


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """How a stream is to be. Sizes in bytes.

    `status_stream` names the stream that hears of the export's tasks; empty: nothing is exported.
    `overwrites`: the oldest data goes when it is full; else appends are refused.
    """

    name: str
    max_size: int
    segment_size: int
    flush_on_write: bool
    overwrites: bool = False
    status_stream: str = ""


@dataclass(frozen=True, slots=True)
class StreamState:
    """A stream as Stream Manager describes it. `newest` is -1 where nothing was ever appended.

    `exported` is the sequence number up to which tasks are over, whatever came of them; None: not told.
    """

    plan: StreamPlan
    oldest: int
    newest: int
    total_bytes: int
    exported: int | None

    @property
    def is_drained(self) -> bool:
        """Nothing in it is still to be exported, as far as is told."""
        return self.newest < 0 or (self.exported is not None and self.exported >= self.newest)


class Message(NamedTuple):
    sequence: int
    payload: bytes


class LineEnded(Exception):
    """The connection is gone or answers no longer: whether the request was carried out is not known."""


class Unauthorised(Exception):
    """Stream Manager answers, and does not want us."""


class NoStream(Exception):
    """There is no stream of that name."""


class Refusal(Exception):
    """Stream Manager understood and said no, with this text."""
