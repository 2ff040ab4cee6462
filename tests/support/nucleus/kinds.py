"""In what the two nuclei differ, one field for each difference.

`classic` is the one in Java, `lite` the one in C. A component must run on both, so a test names the one it
is about. Each nucleus has its own copy, and a test may change any field of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["CLASSIC", "LITE", "Kind", "kind_named"]

CLASSIC, LITE = "classic", "lite"

# Lite has no handler for these and answers ServiceError.
_NOT_ON_LITE = frozenset(
    {
        "DeferComponentUpdate",
        "DeleteThingShadow",
        "GetComponentDetails",
        "GetSecretValue",
        "GetThingShadow",
        "ListComponents",
        "ListNamedShadowsForThing",
        "PutComponentMetric",
        "SendConfigurationValidityReport",
        "SubscribeToComponentUpdates",
        "SubscribeToValidateConfigurationUpdates",
        "UpdateThingShadow",
    }
)


@dataclass
class Kind:
    name: str
    version: str
    unsupported: set[str] = field(default_factory=set)
    # Of what follows a frame's prelude.
    most_message_bytes: int | None = None
    # Beyond this a payload to IoT Core is answered ServiceError.
    most_iot_core_bytes: int = 128 * 1024
    # An oversized request: the connection ends without a word (True), or is answered ServiceError.
    does_oversized_end_connection: bool = True
    # A token that is not known: an acknowledgement that says no, or only the end of the connection.
    does_say_no: bool = True
    # An error's text is in `message`, where AWS's client looks, or only in `_message`, where it does not.
    does_name_message: bool = True
    # An answer ends the stream of an operation that is no subscription.
    does_end_answered: bool = True
    does_answer_ping: bool = True
    # An update with an older timestamp than the value's: FailedUpdateConditionCheckError, or just ignored.
    does_refuse_older: bool = True
    # A key that goes is an event like any other, or nobody is told.
    does_tell_removals: bool = True


def kind_named(name: str) -> Kind:
    if name == CLASSIC:
        return Kind(CLASSIC, "2.14.3")
    if name == LITE:
        return Kind(
            LITE,
            "2.6.0",
            unsupported=set(_NOT_ON_LITE),
            most_message_bytes=10_000,
            most_iot_core_bytes=7_000,
            does_say_no=False,
            does_name_message=False,
            does_end_answered=False,
            does_answer_ping=False,
            does_refuse_older=False,
            does_tell_removals=False,
        )
    raise ValueError(f"no nucleus of kind {name!r}")
