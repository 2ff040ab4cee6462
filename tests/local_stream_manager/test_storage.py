"""What streams keep over the ends of the real server, polite and not, as its clients see it."""

from __future__ import annotations

import itertools
import json
import random
import resource
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from stream_manager import (
    ExportDefinition,
    InvalidRequestException,
    MessageStoreReadErrorException,
    MessageStreamDefinition,
    Persistence,
    ReadMessagesOptions,
    ResourceNotFoundException,
    S3ExportTaskExecutorConfig,
    StatusConfig,
    StrategyOnFull,
    StreamManagerClient,
    UnknownFailureException,
    UpdateFailedException,
    UpdateNotAllowedException,
)

from stream_manager_local.protocol.codes import Operation
from support.stream_manager_client import PlainClient

if TYPE_CHECKING:
    from support.local_stream_manager import LocalStreamManager

_KIB = 1024
_MOST = ReadMessagesOptions(max_message_count=100_000)


def defined(name: str, **properties: Any) -> MessageStreamDefinition:
    """16 KiB in segments of 4 KiB, which reject new data."""
    chosen: dict[str, Any] = {
        "max_size": 16 * _KIB,
        "stream_segment_size": 4 * _KIB,
        "strategy_on_full": StrategyOnFull.RejectNewData,
    }
    return MessageStreamDefinition(name=name, **(chosen | properties))


def exported_to(status: str) -> ExportDefinition:
    executor = S3ExportTaskExecutorConfig(
        identifier="e", status_config=StatusConfig(status_stream_name=status)
    )
    return ExportDefinition(s3_task_executor=[executor])


def numbers(client: StreamManagerClient, name: str, start: int = 0) -> list[int]:
    options = ReadMessagesOptions(desired_start_sequence_number=start, max_message_count=100_000)
    return [message.sequence_number for message in client.read_messages(name, options)]


def fill(client: StreamManagerClient, name: str) -> int:
    for count in range(1000):
        try:
            client.append_message(name, b"x" * 1000)
        except InvalidRequestException:
            return count
    raise AssertionError("it is never full")


# -- the server ends


@pytest.mark.parametrize("is_killed", [False, True], ids=["SIGTERM", "SIGKILL"])
def test_streams_and_messages_are_there_when_the_server_is_back(
    own_server: LocalStreamManager, is_killed: bool
) -> None:
    own_server.start()
    names = ["plain", "..", "trailing.", " ", "UPPER", "upper", "n" * 255]
    with StreamManagerClient(port=own_server.port) as client:
        for name in names:
            client.create_message_stream(defined(name))
            assert [client.append_message(name, name.encode() + b"%d" % number) for number in range(3)] == [
                0,
                1,
                2,
            ]
        client.create_message_stream(defined("in memory", persistence=Persistence.Memory))
        client.append_message("in memory", b"x")
        client.update_message_stream(defined("plain", time_to_live_millis=3_600_000))
        before = {name: client.describe_message_stream(name).as_dict() for name in names}
    if is_killed:
        own_server.kill()
    else:
        assert own_server.stop() == 0
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        assert sorted(client.list_streams()) == sorted(names)
        assert {name: client.describe_message_stream(name).as_dict() for name in names} == before
        for name in names:
            payloads = [message.payload for message in client.read_messages(name, _MOST)]
            assert payloads == [name.encode() + b"%d" % number for number in range(3)]
            assert client.append_message(name, b"next") == 3
        with pytest.raises(ResourceNotFoundException):
            client.append_message("in memory", b"x")


@pytest.mark.parametrize("is_flushed", [False, True])
def test_no_acknowledged_append_is_lost_when_the_server_is_killed(
    own_server: LocalStreamManager, is_flushed: bool
) -> None:
    chance = random.Random(3)
    own_server.start()
    with PlainClient(own_server.port) as client:
        client.create("s", persistence=0, flushOnWrite=is_flushed, maxSize=1 << 26, streamSegmentSize=1 << 14)
    acknowledged = 0
    for _ in range(3):
        with PlainClient(own_server.port) as client:
            for number in range(acknowledged, acknowledged + 2000):
                client.send(Operation.APPEND_MESSAGE, name="s", payload=b"%d " % number * (number % 90 + 1))
            for _ in range(chance.randrange(1, 1000)):
                acknowledged = client.receive().values["sequenceNumber"] + 1
            own_server.kill()
        own_server.start()
        with StreamManagerClient(port=own_server.port) as sdk:
            messages = sdk.read_messages("s", _MOST)
        assert len(messages) >= acknowledged
        for number, message in enumerate(messages):
            assert message.payload == b"%d " % number * (number % 90 + 1)
        acknowledged = len(messages)


def test_every_task_ends_at_least_once_and_in_order_however_often_the_server_is_killed(
    own_server: LocalStreamManager,
) -> None:
    chance = random.Random(5)
    own_server.flags = ("--success-without-upload",)
    own_server.start()
    task = json.dumps({"inputUrl": "file:/x", "bucket": "bucket", "key": "key"}).encode()
    with PlainClient(own_server.port) as client:
        client.create("status", persistence=0)
        executor = {"identifier": "e", "statusConfig": {"statusStreamName": "status", "statusLevel": 2}}
        client.create("tasks", persistence=0, exportDefinition={"s3TaskExecutor": [executor]})
        for _ in range(300):
            client.append("tasks", task)
    for _ in range(3):
        with PlainClient(own_server.port) as client:
            for _ in range(chance.randrange(1, 100)):
                client.append("tasks", task)
        own_server.kill()
        own_server.start()
    ended: list[int] = []
    with StreamManagerClient(port=own_server.port) as sdk:
        newest = sdk.describe_message_stream("tasks").storage_status.newest_sequence_number
        at = 0
        while not ended or ended[-1] < newest:
            options = ReadMessagesOptions(
                desired_start_sequence_number=at, max_message_count=1000, read_timeout_millis=30_000
            )
            for message in sdk.read_messages("status", options):
                status = json.loads(message.payload)
                if status["status"] in {0, 1, 4}:
                    assert status["status"] == 0
                    ended.append(status["statusContext"]["sequenceNumber"])
                at = message.sequence_number + 1
    assert sorted(set(ended)) == list(range(newest + 1))
    assert ended.index(0) == 0
    for before, after in itertools.pairwise(ended):
        assert after <= before + 1, "a task was passed over"


def test_a_store_is_not_opened_by_two_servers(own_server: LocalStreamManager) -> None:
    own_server.start()
    command = [
        sys.executable,
        "-m",
        "stream_manager_local",
        "--port",
        "0",
        "--store-root-dir",
        str(own_server.root),
    ]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 2
    assert "in use by another server" in second.stderr
    with StreamManagerClient(port=own_server.port) as client:
        assert client.list_streams() == []


# -- full, old, changed


def test_a_full_stream_rejects_and_takes_data_again_when_it_was_made_anew(
    client: StreamManagerClient, stream_name: str
) -> None:
    client.create_message_stream(defined(stream_name))
    assert fill(client, stream_name) == 16
    with pytest.raises(InvalidRequestException, match="full"):
        client.append_message(stream_name, b"x" * 1000)
    assert numbers(client, stream_name) == list(range(16))
    client.delete_message_stream(stream_name)
    client.create_message_stream(defined(stream_name))
    assert fill(client, stream_name) == 16


@pytest.mark.parametrize("persistence", [Persistence.File, Persistence.Memory])
def test_a_stream_that_overwrites_loses_its_oldest_segments(
    client: StreamManagerClient, stream_name: str, persistence: Persistence
) -> None:
    overwriting = defined(
        stream_name, strategy_on_full=StrategyOnFull.OverwriteOldestData, persistence=persistence
    )
    client.create_message_stream(overwriting)
    for number in range(42):
        assert client.append_message(stream_name, b"x" * 1000) == number
    status = client.describe_message_stream(stream_name).storage_status
    assert (status.oldest_sequence_number, status.newest_sequence_number) == (28, 41)
    assert status.total_bytes == 14 * 1020 <= 16 * _KIB
    assert numbers(client, stream_name) == list(range(28, 42))


@pytest.mark.parametrize(
    ("properties", "refusal"),
    [
        ({"persistence": Persistence.Memory}, UpdateNotAllowedException),
        ({"max_size": 8 * _KIB}, UpdateFailedException),
        ({"stream_segment_size": 17 * _KIB}, InvalidRequestException),
    ],
)
def test_an_update_that_cannot_be_is_refused_and_changes_nothing(
    client: StreamManagerClient, stream_name: str, properties: dict[str, Any], refusal: type[Exception]
) -> None:
    client.create_message_stream(defined(stream_name))
    fill(client, stream_name)
    before = client.describe_message_stream(stream_name).as_dict()
    with pytest.raises(refusal):
        client.update_message_stream(defined(stream_name, **properties))
    assert client.describe_message_stream(stream_name).as_dict() == before


def test_what_was_exported_makes_room_in_a_full_stream(own_server: LocalStreamManager) -> None:
    own_server.flags = ("--success-without-upload",)
    own_server.start()
    task = json.dumps({"inputUrl": "file:/x", "bucket": "bucket", "key": "k" * 1000}).encode()
    with StreamManagerClient(port=own_server.port) as client:
        client.create_message_stream(defined("status", max_size=1 << 20))
        client.create_message_stream(defined("tasks", export_definition=exported_to("status")))
        for number in range(40):
            assert client.append_message("tasks", task) == number
            # The status comes before the cursor moves; that of the task before says that it has moved.
            options = ReadMessagesOptions(desired_start_sequence_number=number, read_timeout_millis=30_000)
            client.read_messages("status", options)
        assert client.describe_message_stream("tasks").storage_status.oldest_sequence_number > 0


# -- the disk


def test_a_damaged_stream_is_a_read_error_and_the_others_are_fine(own_server: LocalStreamManager) -> None:
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        for name in ("damaged", "other"):
            client.create_message_stream(defined(name))
            fill(client, name)
    own_server.stop()
    (segment,) = own_server.root.glob("damaged-*/00000000000000000004.segment")
    content = bytearray(segment.read_bytes())
    content[1500] ^= 1
    segment.write_bytes(content)
    (last,) = own_server.root.glob("damaged-*/00000000000000000012.segment")
    last.write_bytes(last.read_bytes()[:-1])
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        with pytest.raises(MessageStoreReadErrorException, match="Read on from 6"):
            numbers(client, "damaged", 5)
        assert numbers(client, "damaged") == [0, 1, 2, 3, 4]
        assert numbers(client, "damaged", 6) == list(range(6, 15))
        assert numbers(client, "other") == list(range(16))
        assert client.append_message("damaged", b"goes on") == 15
    own_server.wait_for("stream 'damaged': the last 1019 bytes were no whole message")
    own_server.wait_for("stream 'damaged': messages 5 to 5 are damaged on the disk")


def test_a_stream_that_cannot_be_opened_keeps_no_other_from_it(own_server: LocalStreamManager) -> None:
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        for name in ("broken", "other"):
            client.create_message_stream(defined(name))
    own_server.stop()
    (definition,) = own_server.root.glob("broken-*/stream.json")
    definition.write_text("{")
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        assert client.list_streams() == ["other"]
        assert client.append_message("other", b"x") == 0
    own_server.wait_for("is left alone, it cannot be used as a stream")


def test_a_disk_that_takes_nothing_is_an_error_and_no_crash(own_server: LocalStreamManager) -> None:
    """The kernel itself refuses: no file of the server may grow beyond 5 kB for a while."""
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        client.create_message_stream(defined("s", stream_segment_size=16 * _KIB))
        resource.prlimit(own_server.pid, resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
        appended = [client.append_message("s", b"x" * 1000) for _ in range(4)]
        for _ in range(3):
            with pytest.raises(UnknownFailureException, match="File too large"):
                client.append_message("s", b"x" * 1000)
        assert numbers(client, "s") == appended
        resource.prlimit(
            own_server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        )
        assert client.append_message("s", b"x" * 1000) == 4
    own_server.kill()
    own_server.start()
    with StreamManagerClient(port=own_server.port) as client:
        assert numbers(client, "s") == [0, 1, 2, 3, 4]
