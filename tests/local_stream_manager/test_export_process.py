"""The whole way: AWS's client, the real server as a process that may be killed, a store behind it."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from stream_manager import (
    ExportDefinition,
    MessageStreamDefinition,
    Persistence,
    ReadMessagesOptions,
    S3ExportTaskDefinition,
    S3ExportTaskExecutorConfig,
    Status,
    StatusConfig,
    StatusLevel,
    StatusMessage,
    StrategyOnFull,
    StreamManagerClient,
    Util,
)

from support.local_stream_manager import LocalStreamManager, start_local_stream_manager
from support.s3_transports import MIB, new_file
from support.scripted_s3 import Line, ScriptedS3, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.seaweed import SeaweedFS

SOME_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-test-1"}


def create(client: StreamManagerClient, *, persistence: Persistence = Persistence.File) -> None:
    """The streams `tasks` and `status`, the former with an export that tells the latter."""
    export = S3ExportTaskExecutorConfig(
        identifier="s3",
        status_config=StatusConfig(status_level=StatusLevel.INFO, status_stream_name="status"),
    )
    for name, exports in [("status", None), ("tasks", ExportDefinition(s3_task_executor=[export]))]:
        client.create_message_stream(
            MessageStreamDefinition(
                name=name,
                strategy_on_full=StrategyOnFull.OverwriteOldestData,
                persistence=persistence,
                export_definition=exports,
            )
        )


def append(client: StreamManagerClient, path: str, bucket: str, key: str) -> int:
    task = S3ExportTaskDefinition(input_url=f"file://{path}", bucket=bucket, key=key)
    sequence_number = client.append_message("tasks", Util.validate_and_serialize_to_json_bytes(task))
    assert isinstance(sequence_number, int)
    return sequence_number


def statuses(client: StreamManagerClient) -> list[StatusMessage]:
    newest = client.describe_message_stream("status").storage_status.newest_sequence_number
    if newest < 0:
        return []
    options = ReadMessagesOptions(min_message_count=1, max_message_count=newest + 1)
    found = client.read_messages("status", options)
    return [Util.deserialize_json_bytes_to_obj(message.payload, StatusMessage) for message in found]


def successes(client: StreamManagerClient) -> list[int]:
    """The tasks that are told to have succeeded, in the order of their statuses."""
    found = [each for each in statuses(client) if each.status == Status.Success]
    return [each.status_context.sequence_number for each in found]


def wait_until(condition: Callable[[], object]) -> None:
    """Or fail after half a minute, which is for ever here."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.01)


@pytest.mark.parametrize("persistence", [Persistence.File, Persistence.Memory])
def test_a_client_sees_its_files_arrive(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, persistence: Persistence
) -> None:
    small, large = new_file(tmp_path, 1000, "small file.csv"), new_file(tmp_path, 11 * MIB, "large")
    flags = ("--endpoint-url", seaweed.endpoint_url, "--in-progress", "always")
    with (
        start_local_stream_manager(tmp_path, *flags, environment=seaweed.environment) as server,
        StreamManagerClient(port=server.port) as client,
    ):
        create(client, persistence=persistence)
        append(client, small, bucket, "in/small.csv")
        append(client, large, bucket, "large")
        append(client, str(tmp_path / "missing"), bucket, "missing")
        wait_until(lambda: len(statuses(client)) >= 5)
        assert [(each.status_context.sequence_number, each.status.name) for each in statuses(client)] == [
            *((0, "InProgress"), (0, "Success"), (1, "InProgress"), (1, "Success"), (2, "Failure"))
        ]
        wait_until(
            lambda: (
                [
                    each.last_exported_sequence_number
                    for each in client.describe_message_stream("tasks").export_statuses
                ]
                == [2]
            )
        )
    assert seaweed.list_objects(bucket) == {"in/small.csv": 1000, "large": 11 * MIB}


def second_part_hangs(line: Line) -> None:
    while (request := line.request()) is not None:
        body = line.body(request.size)
        if request.query.get("partNumber") == "2":
            while not line.server.is_healed.wait(0.01):
                if line.server.is_over.is_set():
                    return
        serve(line, request, body)


def test_a_server_killed_amid_an_upload_in_parts_goes_on_with_it(tmp_path: Path) -> None:
    path = new_file(tmp_path, 11 * MIB)
    with ScriptedS3(second_part_hangs) as store:
        flags = ("--endpoint-url", store.url)
        with start_local_stream_manager(tmp_path, *flags, environment=SOME_CREDENTIALS) as server:
            with StreamManagerClient(port=server.port) as client:
                create(client)
                append(client, path, "bucket", "key")
                wait_until(lambda: "/bucket/key part 1" in store.stored)
            server.kill()
            store.heal()
            server.start()
            with StreamManagerClient(port=server.port) as client:
                wait_until(lambda: successes(client) == [0])
        assert store.stored.count("/bucket/key part 1") == 1
        with open(path, "rb") as file:
            assert store.objects["/bucket/key"] == file.read()


def test_an_upload_of_a_stream_in_memory_is_aborted_after_a_kill(tmp_path: Path) -> None:
    path = new_file(tmp_path, 11 * MIB)
    with ScriptedS3(second_part_hangs) as store:
        flags = ("--endpoint-url", store.url)
        with start_local_stream_manager(tmp_path, *flags, environment=SOME_CREDENTIALS) as server:
            with StreamManagerClient(port=server.port) as client:
                create(client, persistence=Persistence.Memory)
                append(client, path, "bucket", "key")
                wait_until(lambda: "/bucket/key part 1" in store.stored)
            server.kill()
            server.start()
            wait_until(lambda: not store.uploads)


def _has_stored(store: ScriptedS3, enough: int) -> bool:
    return len(set(store.stored)) >= enough


def test_no_task_is_lost_however_often_the_server_is_killed(tmp_path: Path) -> None:
    """Each is done at least once, and told in order, but for those that were under way at a kill."""
    count, chance, path = 120, random.Random(seed := random.randrange(2**32)), new_file(tmp_path, 100)
    print(f"seed {seed}")

    def seen(server: LocalStreamManager) -> list[int]:
        with StreamManagerClient(port=server.port) as client:
            return successes(client)

    with ScriptedS3() as store:
        flags = ("--endpoint-url", store.url)
        with start_local_stream_manager(tmp_path, *flags, environment=SOME_CREDENTIALS) as server:
            with StreamManagerClient(port=server.port) as client:
                create(client)
                for number in range(count):
                    append(client, path, "bucket", f"{number}")
            for _ in range(3):
                enough = min(count, len(set(store.stored)) + chance.randrange(1, 25))
                wait_until(partial(_has_stored, store, enough))
                server.kill()
                server.start()
            wait_until(lambda: set(seen(server)) == set(range(count)))
            told = seen(server)
        assert len(store.objects) == count
        assert [number for place, number in enumerate(told) if number not in told[:place]] == list(
            range(count)
        )
