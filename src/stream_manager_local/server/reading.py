"""What a ReadMessages gets now, or that it has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from stream_manager_local.protocol.requests import ReadRequest
    from stream_manager_local.store import Message, Stream

__all__ = ["MOST_BYTES", "MOST_MESSAGES", "answer_bytes", "last_needed", "read_now"]

# An answer stops here although the client would take more: it gets the rest with its next request.
MOST_BYTES = 16 << 20
MOST_MESSAGES = 50_000

# Beyond these it gets none at all: the protocol's frames end at 1 GiB, and a million messages take as
# much memory while they are put together.
_LAST_BYTES = (1 << 30) - (256 << 20)
_LAST_MESSAGES = 1_000_000
_AROUND_BYTES = 80  # of a message in an answer: keys, numbers and lengths; the stream's name comes on top


def last_needed(stream: Stream, request: ReadRequest) -> int:
    """The sequence number that the stream must reach before this read can be answered.

    What was removed before it was read does not count; so the number can grow while one waits.
    """
    return max(request.start, stream.oldest) + request.least - 1


def read_now(stream: Stream, request: ReadRequest) -> list[Message] | None:
    """From `least` to `most` messages, never fewer; None while there are not enough.

    Raises Refused: RESPONSE_PAYLOAD_TOO_LARGE when `least` do not fit into one answer,
    MESSAGE_STORE_READ_ERROR when one of them is damaged.
    """
    if stream.newest < last_needed(stream, request):
        return None
    if request.least > _LAST_MESSAGES:
        raise _too_many(request)
    start = max(request.start, stream.oldest)
    messages = stream.read(start, min(request.most, max(request.least, MOST_MESSAGES)), most_bytes=MOST_BYTES)
    size = answer_bytes(stream, messages)
    while len(messages) < request.least:
        more = stream.read(start + len(messages), request.least - len(messages), most_bytes=MOST_BYTES)
        size += answer_bytes(stream, more)
        if not more or size > _LAST_BYTES:
            raise _too_many(request)
        messages += more
    return messages


def answer_bytes(stream: Stream, messages: list[Message]) -> int:
    """At least what they take in an answer."""
    around = _AROUND_BYTES + len(stream.definition.name)
    return sum(around + len(each.payload) for each in messages)


def _too_many(request: ReadRequest) -> Refused:
    return Refused(
        Status.RESPONSE_PAYLOAD_TOO_LARGE,
        f"minMessageCount is {request.least}: so many messages do not fit into one answer, ask for fewer",
    )
