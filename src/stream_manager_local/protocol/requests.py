"""What clients ask for: maps out of frames, and the properties that each operation has."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

from stream_manager_local.protocol.cbor import CBORDecoder, loads
from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.definition import StreamDefinition
from stream_manager_local.protocol.errors import Refused, Undecodable
from stream_manager_local.protocol.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ConnectRequest",
    "ReadRequest",
    "append_of",
    "decode",
    "definition_of",
    "name_of",
    "request_id_in_head",
    "request_id_of",
    "too_large",
]

_SMALL_MAPS = range(0xA0, 0xB8)
_INDEFINITE_MAP = 0xBF
_MOST_COUNT = 2**31 - 1
_MOST_MILLIS = (2**63 - 1) // 1_000_000


def decode(payload: bytes) -> Mapping[str, Any]:
    """The map that a request is. Raises Undecodable."""
    try:
        values = loads(payload)
    except Exception as error:  # a stranger's bytes: decoders fail in many ways, tags in yet more
        raise Undecodable(f"a payload is no CBOR: {type(error).__name__}") from error
    if not isinstance(values, dict):
        raise Undecodable(f"a payload is no map but {type(values).__name__}")
    return values


def request_id_of(values: Mapping[str, Any]) -> str:
    """What the answer must repeat, whatever it is: ids are neither unique nor trimmed. Raises Undecodable."""
    found = values.get("requestId")
    if not isinstance(found, str) or not found:
        raise Undecodable("a request has no requestId, so nobody could tell its answer")
    return found


def request_id_in_head(head: bytes) -> str:
    """The requestId of a request of which only the first bytes are known. Raises Undecodable."""
    try:
        for key, value in _pairs(head):
            if key == "requestId":
                return request_id_of({key: value})
    except Exception as error:  # as in `decode`
        raise Undecodable("a request that is too large hides its requestId behind its payload") from error
    raise Undecodable("a request that is too large has no requestId")


def _pairs(head: bytes) -> Any:
    """The pairs of a map, of 23 keys at most or of indefinite length, as long as they are whole."""
    first = head[0]
    if first in _SMALL_MAPS:
        count = first - _SMALL_MAPS.start
    elif first == _INDEFINITE_MAP:
        count = len(head)
    else:
        raise ValueError(first)
    decoder = CBORDecoder(BytesIO(head[1:]))
    for _ in range(count):
        yield decoder.decode(), decoder.decode()


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """`versions` begins with the one that the client likes best. An empty token counts as none."""

    versions: tuple[str, ...]
    auth_token: str

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ConnectRequest:
        """Raises Refused(INVALID_PROTOCOL_VERSION) when no text says a version."""
        first = values.get("protocolVersion")
        others = values.get("otherSupportedProtocolVersions")
        versions = [first, *(others if isinstance(others, list) else [])]
        if not isinstance(first, str):
            raise Refused(Status.INVALID_PROTOCOL_VERSION, "protocolVersion must be a text, as in 1.1.0")
        token = values.get("authToken")
        return cls(
            versions=tuple(each for each in versions if isinstance(each, str)),
            auth_token=token if isinstance(token, str) else "",
        )


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """`start` is the first sequence number that is wanted; `least` to `most` messages answer it."""

    stream_name: str
    start: int
    least: int
    most: int
    wait_seconds: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> ReadRequest:
        """Raises Refused(INVALID_REQUEST)."""
        fields = Fields(values)
        name = fields.name("streamName")
        options = fields.map("readMessagesOptions")
        if options is None:
            return cls(name, start=0, least=1, most=1, wait_seconds=0.0)
        least = options.integer("minMessageCount", least=1, most=_MOST_COUNT) or 1
        most = options.integer("maxMessageCount", least=1, most=_MOST_COUNT)
        if most is not None and most < least:
            raise options.wrong("minMessageCount", f"it must be at most maxMessageCount, which is {most}")
        return cls(
            name,
            start=options.integer("desiredStartSequenceNumber", least=0) or 0,
            least=least,
            most=most or least,
            wait_seconds=(options.integer("readTimeoutMillis", least=0, most=_MOST_MILLIS) or 0) / 1000,
        )


def append_of(values: Mapping[str, Any], most_bytes: int) -> tuple[str, bytes]:
    """The stream's name and the payload. Raises Refused, or Undecodable for a payload that is a text.

    The real server closes the connection then: a text is no array of bytes to it.
    """
    name, payload = values.get("name"), values.get("payload")
    if isinstance(payload, str):
        raise Undecodable("the payload of an append is a CBOR text and must be a CBOR byte string")
    if not isinstance(name, str):
        name = Fields(values).name("name")  # says what is wrong
    if not isinstance(payload, bytes):
        raise Fields(values).wrong("payload", "it must be a byte string")
    if not payload:
        raise Refused(Status.INVALID_REQUEST, "payload is empty: it must have at least 1 byte")
    if len(payload) > most_bytes:
        raise too_large(len(payload), most_bytes)
    return name, payload


def too_large(size: int | None, most_bytes: int) -> Refused:
    """The refusal of a message by its size; None when it was not even looked at."""
    has = "the request is too large" if size is None else f"payload has {size} bytes"
    return Refused(
        Status.REQUEST_PAYLOAD_TOO_LARGE,
        f"{has}: at most {most_bytes} bytes of payload are allowed (--max-message-size)",
    )


def name_of(values: Mapping[str, Any]) -> str:
    """The stream that is meant. Raises Refused(INVALID_REQUEST)."""
    return Fields(values).name("name")


def definition_of(values: Mapping[str, Any]) -> StreamDefinition:
    """Raises Refused(INVALID_REQUEST)."""
    fields = Fields(values)
    definition = fields.map("definition")
    if definition is None:
        raise fields.wrong("definition", "it must be a map")
    return StreamDefinition.from_fields(definition)
