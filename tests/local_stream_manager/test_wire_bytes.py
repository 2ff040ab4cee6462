"""Our bytes and those of AWS's SDK are the same, for every operation and in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cbor2
import pytest
import stream_manager.data as sdk
from hypothesis import given
from hypothesis import strategies as st
from stream_manager.utilinternal import UtilInternal

from stream_manager_local.protocol import cbor
from stream_manager_local.protocol.codes import (
    EventType,
    ExportFormat,
    Operation,
    Persistence,
    Status,
    StatusLevel,
    StrategyOnFull,
    TaskStatus,
)
from stream_manager_local.protocol.definition import StreamDefinition
from stream_manager_local.protocol.frames import FrameSplitter
from stream_manager_local.protocol.requests import (
    ConnectRequest,
    ReadRequest,
    append_of,
    decode,
    definition_of,
    name_of,
    request_id_of,
)
from stream_manager_local.protocol.responses import (
    appended,
    connected,
    messages_read,
    refused,
    succeeded,
    unknown_operation,
)

if TYPE_CHECKING:
    from enum import IntEnum

ID = "0b29f4a6-7b0c-4f3b-9a56-1d2f3c4b5a69"


def _spoken_by_sdk(operation: sdk.Operation, body: Any) -> bytes:
    """The frame that the SDK makes of one of its own objects."""
    assert not UtilInternal.is_invalid(body)
    frame = sdk.MessageFrame(operation=operation, payload=cbor2.dumps(body.as_dict()))
    return b"".join(UtilInternal.encode_frame(frame))


def _understood(data: bytes) -> tuple[int, Any]:
    splitter = FrameSplitter(most_bytes=1 << 20)
    splitter.feed(data)
    frame = splitter.next()
    assert frame is not None
    assert splitter.next() is None
    values = decode(frame.payload)
    assert request_id_of(values) == ID
    return frame.operation, values


def _definition(**more: Any) -> sdk.MessageStreamDefinition:
    return sdk.MessageStreamDefinition(
        name="a stream", strategy_on_full=sdk.StrategyOnFull.OverwriteOldestData, **more
    )


FULL = _definition(
    max_size=1 << 20,
    stream_segment_size=1 << 16,
    time_to_live_millis=60_000,
    persistence=sdk.Persistence.Memory,
    flush_on_write=True,
    export_definition=sdk.ExportDefinition(
        http=[
            sdk.HTTPConfig(
                identifier="h", uri="http://localhost/", batch_size=500, batch_interval_millis=60_000, priority=1,
                start_sequence_number=0, disabled=False, export_format=sdk.ExportFormat.JSON_BATCHED,
            )
        ],
        iot_analytics=[
            sdk.IoTAnalyticsConfig(
                identifier="a", iot_channel="c", iot_msg_id_prefix="p", batch_size=100,
                batch_interval_millis=9_223_372_036_854, priority=10, start_sequence_number=7, disabled=True,
            )
        ],
        kinesis=[sdk.KinesisConfig(identifier="k", kinesis_stream_name="n", batch_size=1)],
        iot_sitewise=[sdk.IoTSiteWiseConfig(identifier="w", batch_size=10)],
        s3_task_executor=[
            sdk.S3ExportTaskExecutorConfig(
                identifier="s", size_threshold_for_multipart_upload_bytes=6 << 20, priority=3, disabled=False,
                status_config=sdk.StatusConfig(status_level=sdk.StatusLevel.TRACE, status_stream_name="status"),
            ),
        ],
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Operation, sdk.Operation),
        (Status, sdk.ResponseStatusCode),
        (StrategyOnFull, sdk.StrategyOnFull),
        (Persistence, sdk.Persistence),
        (ExportFormat, sdk.ExportFormat),
        (StatusLevel, sdk.StatusLevel),
        (TaskStatus, sdk.Status),
        (EventType, sdk.EventType),
    ],
)
def test_each_enumeration_has_the_numbers_of_the_sdk(ours: type[IntEnum], theirs: Any) -> None:
    assert sorted(ours) == sorted(each.value for each in theirs)
    shorter = {each.value: each.name.lower() for each in theirs}
    for each in ours:
        ours_short, theirs_short = each.name.replace("_", "").lower(), shorter[each].replace("_", "")
        assert ours_short in theirs_short or theirs_short in ours_short


# ---- what the SDK says, as we understand it ------------------------------------------------------


def test_a_connect_request_is_understood() -> None:
    said = sdk.ConnectRequest(ID, "1.1.0", ["1.0.0"], "1.1.2", "token")

    operation, values = _understood(_spoken_by_sdk(sdk.Operation.Connect, said))

    assert operation == Operation.CONNECT
    assert ConnectRequest.of(values) == ConnectRequest(("1.1.0", "1.0.0"), "token")


@pytest.mark.parametrize("definition", [_definition(), FULL])
@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_definition_is_understood_and_said_again_byte_by_byte(kind: str, definition: Any) -> None:
    said = getattr(sdk, f"{kind}MessageStreamRequest")(ID, definition)

    operation, values = _understood(_spoken_by_sdk(sdk.Operation[f"{kind}MessageStream"], said))

    assert operation == Operation[f"{kind.upper()}_MESSAGE_STREAM"]
    ours = definition_of(values)
    filled = sdk.MessageStreamDefinition.from_dict(ours.to_wire())
    assert cbor2.dumps(filled.as_dict()) == cbor2.dumps(ours.to_wire())
    assert StreamDefinition.from_wire(ours.to_wire()) == ours
    if definition is FULL:
        assert cbor2.dumps(ours.to_wire()) == cbor2.dumps(definition.as_dict())


@pytest.mark.parametrize("kind", ["Delete", "Describe"])
def test_a_request_by_name_is_understood(kind: str) -> None:
    said = getattr(sdk, f"{kind}MessageStreamRequest")(ID, "a stream")

    operation, values = _understood(_spoken_by_sdk(sdk.Operation[f"{kind}MessageStream"], said))

    assert (operation, name_of(values)) == (Operation[f"{kind.upper()}_MESSAGE_STREAM"], "a stream")


def test_a_list_request_is_understood() -> None:
    operation, values = _understood(_spoken_by_sdk(sdk.Operation.ListStreams, sdk.ListStreamsRequest(ID)))

    assert (operation, values) == (Operation.LIST_STREAMS, {"requestId": ID})


def test_an_append_is_understood() -> None:
    said = sdk.AppendMessageRequest(ID, "s", bytes(range(256)))

    operation, values = _understood(_spoken_by_sdk(sdk.Operation.AppendMessage, said))

    assert (operation, append_of(values, 256)) == (Operation.APPEND_MESSAGE, ("s", bytes(range(256))))


@pytest.mark.parametrize(
    ("options", "understood"),
    [
        (None, ReadRequest("s", 0, 1, 1, 0.0)),
        (sdk.ReadMessagesOptions(), ReadRequest("s", 0, 1, 1, 0.0)),
        (sdk.ReadMessagesOptions(7, 2, 2**31 - 1, 1500), ReadRequest("s", 7, 2, 2**31 - 1, 1.5)),
        (sdk.ReadMessagesOptions(min_message_count=5), ReadRequest("s", 0, 5, 5, 0.0)),
    ],
)
def test_a_read_is_understood(options: Any, understood: ReadRequest) -> None:
    said = sdk.ReadMessagesRequest(ID, "s", options)

    operation, values = _understood(_spoken_by_sdk(sdk.Operation.ReadMessages, said))

    assert (operation, ReadRequest.of(values)) == (Operation.READ_MESSAGES, understood)


# ---- what we say, as the SDK would have said it --------------------------------------------------


def _as_the_sdk_says_it(answer: bytes, kind: str) -> None:
    frame = int.from_bytes(answer[:4], "big"), sdk.Operation(answer[4])
    assert frame == (len(answer) - 4, sdk.Operation[kind])
    understood = getattr(sdk, kind).from_dict(cbor2.loads(answer[5:]))
    assert _spoken_by_sdk(sdk.Operation[kind], understood) == answer


def test_our_connect_response_has_the_sdk_s_bytes() -> None:
    _as_the_sdk_says_it(connected(ID, "1.0.0", ("1.1.0", "1.0.0"), "1.2", "me-1"), "ConnectResponse")


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**63 - 1])
@pytest.mark.parametrize("request_id", ["a", "b" * 23, "c" * 24, "d" * 256, "e" * 70_000])
def test_our_append_response_has_the_sdk_s_bytes(number: int, request_id: str) -> None:
    _as_the_sdk_says_it(appended(request_id, number), "AppendMessageResponse")


@pytest.mark.parametrize("count", [0, 1, 23, 24, 300])
def test_our_read_response_has_the_sdk_s_bytes(count: int) -> None:
    messages = [(each * 1000, 1_700_000_000_000 + each, bytes(each + 1)) for each in range(count)]

    _as_the_sdk_says_it(messages_read(ID, "a stream", messages), "ReadMessagesResponse")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("CreateMessageStream", None),
        ("DeleteMessageStream", None),
        ("UpdateMessageStream", None),
        ("ListStreams", {"streams": ["one", "..", " two. "]}),
        (
            "DescribeMessageStream",
            {
                "messageStreamInfo": {
                    "definition": FULL.as_dict(),
                    "storageStatus": {"oldestSequenceNumber": 0, "newestSequenceNumber": 5, "totalBytes": 42},
                    "exportStatuses": [
                        {
                            "exportConfigIdentifier": "s",
                            "lastExportedSequenceNumber": 4,
                            "lastExportTime": 1_700_000_000_000,
                            "errorMessage": "no route to host",
                            "exportedBytesFromStream": 40,
                            "exportedMessagesCount": 5,
                        }
                    ],
                }
            },
        ),
    ],
)
def test_our_other_responses_have_the_sdk_s_bytes(kind: str, body: dict[str, object] | None) -> None:
    operation = sdk.Operation[kind].value

    _as_the_sdk_says_it(succeeded(operation, ID, body), f"{kind}Response")
    _as_the_sdk_says_it(refused(operation, ID, Status.RESOURCE_NOT_FOUND, "gone"), f"{kind}Response")


def test_our_answer_to_an_unknown_operation_has_the_sdk_s_bytes() -> None:
    _as_the_sdk_says_it(unknown_operation(ID, 99), "UnknownOperationError")


@given(
    st.sampled_from([cbor.INTEGER, cbor.TEXT]),
    st.integers(0, 70_000) | st.sampled_from([2**16 - 1, 2**16, 2**32 - 1, 2**32, 2**64 - 1]),
)
def test_a_head_is_what_the_encoder_writes(kind: int, value: int) -> None:
    if kind == cbor.INTEGER:
        assert cbor.head(kind, value) == cbor2.dumps(value)
    elif value <= 70_000:
        assert cbor.head(kind, value) + bytes(value) == cbor2.dumps("\x00" * value)
