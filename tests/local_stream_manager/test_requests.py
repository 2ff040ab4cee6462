"""Each operation over the wire: what it answers, and what it answers when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from support.local_stream_manager import LocalStreamManager, start_local_stream_manager
from support.stream_manager_client import PlainClient

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CREATE, DELETE, APPEND, READ, LIST, DESCRIBE, UPDATE = 2, 3, 4, 5, 11, 13, 15


@pytest.fixture
def plain(server: LocalStreamManager) -> Iterator[PlainClient]:
    with PlainClient(server.port) as client:
        yield client


@pytest.mark.parametrize(
    ("operation", "response", "values"),
    [
        (DELETE, 8, {"name": "missing"}),
        (APPEND, 9, {"name": "missing", "payload": b"x"}),
        (READ, 10, {"streamName": "missing"}),
        (DESCRIBE, 14, {"name": "missing"}),
        (UPDATE, 16, {"definition": {"name": "missing", "strategyOnFull": 0}}),
    ],
)
def test_a_stream_that_does_not_exist_is_not_found(
    plain: PlainClient, operation: int, response: int, values: dict[str, Any]
) -> None:
    answer = plain.ask(operation, **values)

    assert (answer.operation, answer.status) == (response, 5)
    assert "'missing'" in answer.text


@pytest.mark.parametrize("operation", [CREATE, UPDATE, DELETE, APPEND, READ, DESCRIBE])
@pytest.mark.parametrize("values", [{}, {"name": 7, "streamName": 7, "definition": 7, "payload": b"x"}])
def test_a_request_that_lacks_what_it_needs_is_invalid(
    plain: PlainClient, operation: int, values: dict[str, Any]
) -> None:
    answer = plain.ask(operation, **values)

    assert answer.status == 3
    assert answer.text.split()[0] in {"name", "streamName", "definition"}


def test_a_stream_that_exists_cannot_be_created_again(plain: PlainClient, stream_name: str) -> None:
    plain.create(stream_name)

    again = plain.ask(CREATE, definition={"name": stream_name, "strategyOnFull": 0})

    assert again.status == 3
    assert "stream already exists" in again.text


@pytest.mark.parametrize("payload", [b"", None, [1, 2], {"a": 1}, 5])
def test_a_message_must_be_bytes_and_not_empty(plain: PlainClient, stream_name: str, payload: object) -> None:
    plain.create(stream_name)

    answer = plain.ask(APPEND, name=stream_name, payload=payload)

    assert (answer.status, answer.text.split()[0]) == (3, "payload")
    assert plain.append(stream_name) == 0


def test_messages_up_to_the_most_are_taken(tmp_path: Path) -> None:
    with (
        start_local_stream_manager(tmp_path, "--max-message-size", "2MiB") as server,
        PlainClient(server.port) as plain,
    ):
        plain.create("s")
        assert plain.append("s", bytes(2 << 20)) == 0
        for size in ((2 << 20) + 1, 3 << 20):
            answer = plain.ask(APPEND, name="s", payload=bytes(size))
            assert answer.status == 4
            assert "at most 2097152 bytes" in answer.text
        read = plain.ask(READ, streamName="s", readMessagesOptions={"maxMessageCount": 9}).values["messages"]
        assert [len(each["payload"]) for each in read] == [2 << 20]


def test_one_that_no_segment_can_hold_is_too_large(plain: PlainClient, stream_name: str) -> None:
    plain.create(stream_name, maxSize=4096, streamSegmentSize=1024)

    assert plain.ask(APPEND, name=stream_name, payload=bytes(1025)).status == 4


def test_a_full_stream_refuses_with_the_status_that_was_chosen(tmp_path: Path) -> None:
    with (
        start_local_stream_manager(tmp_path, "--full-status", "15") as server,
        PlainClient(server.port) as plain,
    ):
        plain.create("s", maxSize=2048, streamSegmentSize=1024)
        statuses = [plain.ask(APPEND, name="s", payload=bytes(500)).status for _ in range(5)]
        readable = plain.ask(READ, streamName="s", readMessagesOptions={"maxMessageCount": 9}).values[
            "messages"
        ]
        assert plain.ask(DELETE, name="s").status == 0
        plain.create("s", maxSize=2048, streamSegmentSize=1024)
        assert plain.append("s") == 0

    assert statuses[0] == 0
    assert set(statuses) == {0, 15}
    assert len(readable) == statuses.count(0)


def test_the_list_holds_names_as_they_were_given(plain: PlainClient) -> None:
    names = ["..", ".", " two spaces  ", "trailing dot.", "Case", "case", "x" * 255, "a,b-c_d"]
    for name in names:
        plain.create(name, persistence=0)

    assert set(names) <= set(plain.ask(LIST).values["streams"])
    for name in names:
        assert plain.append(name) == 0
        assert plain.ask(DELETE, name=name).status == 0
    assert not set(names) & set(plain.ask(LIST).values["streams"])


def test_a_stream_created_anew_begins_at_zero_without_the_old_messages(
    plain: PlainClient, stream_name: str
) -> None:
    plain.create(stream_name, persistence=0)
    plain.append(stream_name)
    plain.append(stream_name)
    plain.ask(DELETE, name=stream_name)
    plain.create(stream_name, persistence=0)

    assert plain.ask(READ, streamName=stream_name).status == 13
    assert plain.append(stream_name, b"new") == 0


def test_a_description_tells_limits_filling_and_exports(plain: PlainClient, stream_name: str) -> None:
    exports = {
        "s3TaskExecutor": [{"identifier": "up", "disabled": True}],
        "IotSitewise": [{"identifier": "w"}],
    }
    plain.create(stream_name, exportDefinition=exports)

    empty = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]
    plain.append(stream_name)
    plain.append(stream_name)
    filled = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]

    assert empty["storageStatus"] == {"oldestSequenceNumber": 0, "newestSequenceNumber": -1, "totalBytes": 0}
    assert empty["definition"]["exportDefinition"]["IotSitewise"] == [{"identifier": "w"}]
    assert {
        each["exportConfigIdentifier"]: each["lastExportedSequenceNumber"] for each in empty["exportStatuses"]
    } == {
        "up": -1,
        "w": -1,
    }
    assert filled["storageStatus"]["newestSequenceNumber"] == 1
    assert filled["storageStatus"]["totalBytes"] > 0


def test_a_described_definition_can_be_sent_back_as_an_update(plain: PlainClient, stream_name: str) -> None:
    plain.create(
        stream_name, timeToLiveMillis=60_000, exportDefinition={"s3TaskExecutor": [{"identifier": "up"}]}
    )
    described = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]["definition"]

    assert plain.ask(UPDATE, definition={**described, "strategyOnFull": 1}).status == 0

    after = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]["definition"]
    assert after == {**described, "strategyOnFull": 1}


def test_persistence_cannot_be_updated(plain: PlainClient, stream_name: str) -> None:
    plain.create(stream_name)

    answer = plain.ask(UPDATE, definition={"name": stream_name, "strategyOnFull": 0, "persistence": 0})

    assert answer.status == 17


def test_a_size_below_what_is_there_cannot_be_updated_and_nothing_changes(
    plain: PlainClient, stream_name: str
) -> None:
    plain.create(stream_name, maxSize=4096, streamSegmentSize=1024)
    for _ in range(6):
        plain.append(stream_name, bytes(400))
    before = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]

    smaller = {"name": stream_name, "strategyOnFull": 0, "persistence": 1, "streamSegmentSize": 1024}
    assert plain.ask(UPDATE, definition={**smaller, "maxSize": 1024}).status == 16
    assert plain.ask(UPDATE, definition={**smaller, "maxSize": 1024, "streamSegmentSize": 2048}).status == 3

    assert plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"] == before


def test_exports_are_added_and_removed_by_their_identifiers(plain: PlainClient, stream_name: str) -> None:
    base = {"name": stream_name, "strategyOnFull": 0, "persistence": 1}
    off = {"disabled": True}
    plain.create(
        stream_name,
        exportDefinition={"s3TaskExecutor": [{"identifier": "a", **off}, {"identifier": "b", **off}]},
    )
    new = {"s3TaskExecutor": [{"identifier": "b", "priority": 1, **off}, {"identifier": "c", **off}]}

    assert plain.ask(UPDATE, definition={**base, "exportDefinition": new}).status == 0

    info = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]
    assert [each["identifier"] for each in info["definition"]["exportDefinition"]["s3TaskExecutor"]] == [
        "b",
        "c",
    ]
    assert [each["exportConfigIdentifier"] for each in info["exportStatuses"]] == ["b", "c"]


# ---- reading -------------------------------------------------------------------------------------


@pytest.fixture
def ten(plain: PlainClient, stream_name: str) -> str:
    plain.create(stream_name)
    for number in range(10):
        plain.append(stream_name, f"message {number}".encode())
    return stream_name


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({}, [0]),
        ({"maxMessageCount": 3}, [0, 1, 2]),
        ({"desiredStartSequenceNumber": 7, "maxMessageCount": 2**31 - 1}, [7, 8, 9]),
        ({"minMessageCount": 4}, [0, 1, 2, 3]),
        ({"minMessageCount": 10, "maxMessageCount": 10}, list(range(10))),
        ({"desiredStartSequenceNumber": 9, "readTimeoutMillis": 50_000}, [9]),
    ],
)
def test_a_read_gets_from_the_least_to_the_most_that_it_asks_for(
    plain: PlainClient, ten: str, options: dict[str, int], numbers: list[int]
) -> None:
    answer = plain.ask(READ, streamName=ten, readMessagesOptions=options)

    assert [each["sequenceNumber"] for each in answer.values["messages"]] == numbers
    assert [each["payload"] for each in answer.values["messages"]] == [
        f"message {n}".encode() for n in numbers
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"desiredStartSequenceNumber": 10},
        {"desiredStartSequenceNumber": 2**63 - 1},
        {"minMessageCount": 11, "maxMessageCount": 20},
        {"desiredStartSequenceNumber": 8, "minMessageCount": 3, "readTimeoutMillis": 20},
    ],
)
def test_a_read_for_more_than_there_is_gets_nothing_of_it(
    plain: PlainClient, ten: str, options: dict[str, int]
) -> None:
    answer = plain.ask(READ, streamName=ten, readMessagesOptions=options)

    assert answer.status == 13
    assert "messages" not in answer.values


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (
            {"minMessageCount": 3, "maxMessageCount": 2},
            "minMessageCount is 3: it must be at most maxMessageCount",
        ),
        ({"minMessageCount": 0}, "minMessageCount is 0"),
        ({"maxMessageCount": 0}, "maxMessageCount is 0"),
        ({"maxMessageCount": 2**31}, "maxMessageCount is 2147483648"),
        ({"desiredStartSequenceNumber": -1}, "desiredStartSequenceNumber is -1"),
        ({"readTimeoutMillis": -1}, "readTimeoutMillis is -1"),
        ({"readTimeoutMillis": "soon"}, "readTimeoutMillis is 'soon'"),
    ],
)
def test_a_read_that_makes_no_sense_is_invalid(
    plain: PlainClient, ten: str, options: dict[str, Any], wrong: str
) -> None:
    answer = plain.ask(READ, streamName=ten, readMessagesOptions=options)

    assert (answer.status, wrong in answer.text) == (3, True)


def test_a_read_from_before_the_oldest_begins_there(plain: PlainClient, stream_name: str) -> None:
    plain.create(stream_name, strategyOnFull=1, maxSize=2048, streamSegmentSize=1024)
    last = [plain.append(stream_name, bytes(300)) for _ in range(20)][-1]
    oldest = plain.ask(DESCRIBE, name=stream_name).values["messageStreamInfo"]["storageStatus"][
        "oldestSequenceNumber"
    ]

    answer = plain.ask(READ, streamName=stream_name, readMessagesOptions={"maxMessageCount": 100})

    assert 0 < oldest < last
    assert [each["sequenceNumber"] for each in answer.values["messages"]] == list(range(oldest, last + 1))


def test_large_messages_come_in_several_answers_unless_the_least_asks_for_them(
    plain: PlainClient, stream_name: str
) -> None:
    plain.create(stream_name)
    for _ in range(6):
        plain.append(stream_name, bytes(5 << 20))

    some = plain.ask(READ, streamName=stream_name, readMessagesOptions={"maxMessageCount": 100})
    every = plain.ask(READ, streamName=stream_name, readMessagesOptions={"minMessageCount": 6})

    assert 1 <= len(some.values["messages"]) < 6
    assert len(every.values["messages"]) == 6
