"""The numbers of the protocol: operations, status codes and the choices in definitions and statuses.

Clients know exactly these. A status code outside 0 to 18 kills the read loop of AWS's Python SDK for
good, so none is ever invented here.
"""

from __future__ import annotations

from enum import IntEnum

__all__ = [
    "EventType",
    "ExportFormat",
    "Operation",
    "Persistence",
    "Status",
    "StatusLevel",
    "StrategyOnFull",
    "TaskStatus",
]


class Operation(IntEnum):
    """The fifth byte of every frame. The numbers 15 to 17 are new in protocol 1.1.0."""

    UNKNOWN = 0
    CONNECT = 1
    CREATE_MESSAGE_STREAM = 2
    DELETE_MESSAGE_STREAM = 3
    APPEND_MESSAGE = 4
    READ_MESSAGES = 5
    CONNECT_RESPONSE = 6
    CREATE_MESSAGE_STREAM_RESPONSE = 7
    DELETE_MESSAGE_STREAM_RESPONSE = 8
    APPEND_MESSAGE_RESPONSE = 9
    READ_MESSAGES_RESPONSE = 10
    LIST_STREAMS = 11
    LIST_STREAMS_RESPONSE = 12
    DESCRIBE_MESSAGE_STREAM = 13
    DESCRIBE_MESSAGE_STREAM_RESPONSE = 14
    UPDATE_MESSAGE_STREAM = 15
    UPDATE_MESSAGE_STREAM_RESPONSE = 16
    UNKNOWN_OPERATION_ERROR = 17


class Status(IntEnum):
    """How a request ended. Clients make an exception of each but SUCCESS.

    UNSUPPORTED_CONNECT_VERSION to FAILED_TO_CONNECT mean something in a ConnectResponse only.
    """

    SUCCESS = 0
    UNKNOWN_FAILURE = 1
    UNAUTHORIZED = 2
    INVALID_REQUEST = 3
    REQUEST_PAYLOAD_TOO_LARGE = 4
    RESOURCE_NOT_FOUND = 5
    SERVER_TIMEOUT = 6
    RESPONSE_PAYLOAD_TOO_LARGE = 7
    UNSUPPORTED_CONNECT_VERSION = 8
    UNEXPECTED_OPERATION = 9
    UNSUPPORTED_PROTOCOL_VERSION = 10
    INVALID_PROTOCOL_VERSION = 11
    FAILED_TO_CONNECT = 12
    NOT_ENOUGH_MESSAGES = 13
    MESSAGE_STORE_READ_ERROR = 14
    OUT_OF_MEMORY = 15
    UPDATE_FAILED = 16
    UPDATE_NOT_ALLOWED = 17
    UNKNOWN_OPERATION = 18


class StrategyOnFull(IntEnum):
    """What an append to a full stream does."""

    REJECT_NEW_DATA = 0
    OVERWRITE_OLDEST_DATA = 1


class Persistence(IntEnum):
    """Where the messages of a stream are kept. It cannot be changed by an update."""

    FILE = 0
    MEMORY = 1


class ExportFormat(IntEnum):
    """How an HTTP export writes messages."""

    RAW_NOT_BATCHED = 0
    JSON_BATCHED = 1


class StatusLevel(IntEnum):
    """How much an exporter tells its status stream: what is at this level or below."""

    ERROR = 0
    WARN = 1
    INFO = 2
    DEBUG = 3
    TRACE = 4


class TaskStatus(IntEnum):
    """The state of an export task in a status message. SUCCESS, FAILURE and CANCELED are final."""

    SUCCESS = 0
    FAILURE = 1
    IN_PROGRESS = 2
    WARNING = 3
    CANCELED = 4


class EventType(IntEnum):
    """What a status message is about."""

    S3_TASK = 0
