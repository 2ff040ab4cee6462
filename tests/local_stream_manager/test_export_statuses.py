"""What status streams are told, and what happens to tasks that are not finished any more."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from stream_manager import EventType, Status, StatusLevel, StatusMessage, Util

from stream_manager_local.protocol import codes
from stream_manager_local.protocol.codes import Persistence, StrategyOnFull
from stream_manager_local.protocol.definition import OtherExport
from stream_manager_local.store.events import Appended
from support.exports import HASTY, definition, s3_export, staged, to_scripted, until
from support.s3_transports import MIB, new_file
from support.scripted_s3 import Line, ScriptedS3, serve

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.store.events import Event

# --- The message ---------------------------------------------------------------------------------------


def test_a_status_has_the_keys_and_numbers_of_the_models_and_names_the_task(tmp_path: Path) -> None:
    path = new_file(tmp_path, 10, "größe %41")
    payloads: list[bytes] = []

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), wall=lambda: 1_700_000_000.5) as stage:
            stage.append(path, "first")
            stage.append(path, "second", userMetadata={"Unit": 7}, color="red")
            await stage.ended(2)
            payloads.extend(each.payload for each in stage.store.get("status").read(0, 9, most_bytes=MIB))

    with ScriptedS3() as store:
        asyncio.run(run())
    assert json.loads(payloads[1]) == {
        "eventType": 0,
        "statusLevel": 2,
        "status": 0,
        "statusContext": {
            "s3ExportTaskDefinition": {
                "inputUrl": f"file://{path}",
                "bucket": "bucket",
                "key": "second",
                "userMetadata": {"Unit": "7"},
            },
            "exportIdentifier": "s3",
            "streamName": "tasks",
            "sequenceNumber": 1,
        },
        "message": "uploaded 10 bytes to s3://bucket/second",
        "timestampEpochMs": 1_700_000_000_500,
    }
    for payload in payloads:
        read = Util.deserialize_json_bytes_to_obj(payload, StatusMessage)
        assert (read.event_type, read.status, read.status_level) == (
            EventType.S3Task,
            Status.Success,
            StatusLevel.INFO,
        )
        assert read.status_context.s3_export_task_definition.input_url == f"file://{path}"


def test_the_failure_of_a_message_that_is_no_task_can_be_read_too(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, None) as stage:
            stage.store.get("tasks").append(b"\xff")
            await stage.ended(1)
            [message] = stage.store.get("status").read(0, 9, most_bytes=MIB)
            read = Util.deserialize_json_bytes_to_obj(message.payload, StatusMessage)
            assert read.status == Status.Failure
            assert read.status_level == StatusLevel.ERROR
            assert read.message
            assert read.status_context.sequence_number == 0

    asyncio.run(run())


def refusing_aborts(line: Line) -> None:
    """Takes nothing but first parts, and does not let go of them either."""
    while (request := line.request()) is not None:
        body = line.body(request.size)
        if request.method == "DELETE" or request.query.get("partNumber") == "2":
            line.refuse(403, "AccessDenied")
        else:
            serve(line, request, body)


@pytest.mark.parametrize(
    ("level", "names"),
    [
        (codes.StatusLevel.ERROR, ["Failure"]),
        (codes.StatusLevel.WARN, ["Warning", "Failure"]),
        (codes.StatusLevel.INFO, ["InProgress", "Warning", "Failure"]),
        (codes.StatusLevel.DEBUG, ["InProgress", "Warning", "Failure"]),
        (codes.StatusLevel.TRACE, ["InProgress", "Warning", "Failure"]),
    ],
)
def test_an_export_tells_what_is_at_its_level_or_below(
    tmp_path: Path, level: codes.StatusLevel, names: list[str]
) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), exports=(s3_export(level=level),)) as stage:
            stage.append(new_file(tmp_path, 6 * MIB), "key")
            assert [name for _, name in await stage.ended(1)] == names

    with ScriptedS3(refusing_aborts) as store:
        asyncio.run(run())


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("never", [(0, "Success"), (1, "Success")]),
        ("multipart", [(0, "Success"), (1, "InProgress"), (1, "Success")]),
        ("always", [(0, "InProgress"), (0, "Success"), (1, "InProgress"), (1, "Success")]),
    ],
)
def test_in_progress_is_told_of_the_uploads_that_were_chosen(
    tmp_path: Path, choice: str, expected: list[tuple[int, str]]
) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), in_progress=choice) as stage:
            stage.append(new_file(tmp_path, 10), "small")
            stage.append(new_file(tmp_path, 6 * MIB, "large"), "large")
            assert await stage.ended(2) == expected

    with ScriptedS3() as store:
        asyncio.run(run())


def test_a_task_that_is_tried_often_begins_and_ends_once(tmp_path: Path) -> None:
    refusals = 5

    def play(line: Line) -> None:
        nonlocal refusals
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if refusals:
                refusals -= 1
                line.refuse(503, "SlowDown")
            else:
                serve(line, request, body)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), in_progress="always") as stage:
            stage.append(new_file(tmp_path, 10), "key")
            assert await stage.ended(1) == [(0, "InProgress"), (0, "Success")]

    with ScriptedS3(play) as store:
        asyncio.run(run())


def test_the_cursor_goes_on_only_once_the_status_is_in_its_stream(tmp_path: Path) -> None:
    """A process that dies in between does the task again: nobody waits for a status that never comes."""
    cursors: list[int] = []

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:

            def look(event: Event) -> None:
                if isinstance(event, Appended) and event.stream.definition.name == "status":
                    cursors.append(stage.cursor())

            stage.store.watch(look)
            path = new_file(tmp_path, 10)
            for number in range(3):
                stage.append(path, f"{number}")
            await until(lambda: stage.cursor() == 3)

    with ScriptedS3() as store:
        asyncio.run(run())
    assert cursors == [0, 1, 2]


def test_exports_share_streams_of_tasks_and_of_statuses(tmp_path: Path) -> None:
    async def run() -> None:
        exports = (s3_export("one"), s3_export("two"))
        async with staged(tmp_path, to_scripted(store), exports=exports) as stage:
            stage.store.create(definition("more", s3_export("three")))
            path = new_file(tmp_path, 10)
            stage.append(path, "a")
            stage.append(path, "b", to="more")
            await stage.ended(3)
            contexts = [status["statusContext"] for status in stage.statuses()]
            assert sorted((each["streamName"], each["exportIdentifier"]) for each in contexts) == [
                ("more", "three"),
                ("tasks", "one"),
                ("tasks", "two"),
            ]

    with ScriptedS3() as store:
        asyncio.run(run())


# --- Nobody to tell ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [None, "not there"])
def test_uploads_happen_also_where_nobody_can_be_told(tmp_path: Path, status: str | None) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), exports=(s3_export(status=status),)) as stage:
            for number in range(3):
                stage.append(new_file(tmp_path, 10), f"{number}")
            await until(lambda: stage.cursor() == 3)

    with ScriptedS3() as store:
        asyncio.run(run())
        assert len(store.objects) == 3


def test_a_full_status_stream_is_waited_for_and_then_done_without(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        exports = (s3_export(status="small"),)
        async with staged(tmp_path, to_scripted(store), exports=exports) as stage:
            stage.store.create(definition("small", max_size=1024, segment_size=1024))
            path = new_file(tmp_path, 10)
            for number in range(20):
                stage.append(path, f"{number}")
            await until(lambda: stage.cursor() == 20)
            assert 0 < len(stage.statuses("small")) < 20
            assert caplog.text.count("statuses of uploads are lost") == 1
            stage.store.delete("small")
            stage.store.create(definition("small"))
            stage.append(path, "again")
            await stage.ended(1, "small")

    with ScriptedS3() as store:
        asyncio.run(run())


def test_a_status_that_is_too_large_for_its_stream_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        exports = (s3_export(status="small"),)
        patience = replace(HASTY, status=1e9)
        async with staged(tmp_path, to_scripted(store), exports=exports, patience=patience) as stage:
            stage.store.create(definition("small", max_size=1024, segment_size=1024))
            path = new_file(tmp_path, 10)
            stage.append(path, "large", userMetadata={"x": "x" * 2000})
            stage.append(path, "small")
            assert await stage.ended(1, "small") == [(1, "Success")]
            assert "a status is lost" in caplog.text

    with ScriptedS3() as store:
        asyncio.run(run())
        assert len(store.objects) == 2


def test_a_status_stream_that_has_room_again_in_time_loses_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        exports = (s3_export(status="small"),)
        patience = replace(HASTY, status=60)
        async with staged(tmp_path, to_scripted(store), exports=exports, patience=patience) as stage:
            small = definition("small", max_size=1024, segment_size=1024)
            stage.store.create(small)
            path = new_file(tmp_path, 10)
            for number in range(20):
                stage.append(path, f"{number}")
            await until(lambda: len(stage.statuses("small")) >= 2)
            stage.store.update(replace(small, max_size=MIB))
            assert [number for number, _ in await stage.ended(20, "small")] == list(range(20))

    with ScriptedS3() as store:
        asyncio.run(run())


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("lose-status=2", [(0, "Success"), (2, "Success")]),
        ("repeat-status=2", [(0, "Success"), (1, "Success"), (1, "Success"), (2, "Success")]),
        ("fail-task=2", [(0, "Success"), (1, "Failure"), (2, "Success")]),
    ],
)
def test_what_shall_go_wrong_goes_wrong(tmp_path: Path, fault: str, told: list[tuple[int, str]]) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), faults=(fault,)) as stage:
            path = new_file(tmp_path, 10)
            for number in range(3):
                stage.append(path, f"{number}")
            await until(lambda: stage.cursor() == 3)
            assert stage.told() == told

    with ScriptedS3() as store:
        asyncio.run(run())


# --- Paused, gone, canceled ----------------------------------------------------------------------------


def silent(line: Line) -> None:
    """Takes parts and single PUTs and says nothing before it is healed; all else is answered."""
    while (request := line.request()) is not None:
        body = line.body(request.size)
        if request.method == "PUT":
            while not line.server.is_healed.wait(0.01):
                if line.server.is_over.is_set():
                    return
        serve(line, request, body)


def started(store: ScriptedS3) -> Any:
    return lambda: any(request.method == "PUT" for request in store.requests)


def test_a_disabled_export_rests_and_goes_on_with_the_same_task(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), exports=(s3_export(disabled=True),)) as stage:
            path = new_file(tmp_path, 10)
            stage.store.create(definition("other", s3_export()))
            stage.append(path, "first")
            stage.append(path, "other", to="other")
            await stage.ended(1)
            assert store.stored == ["/bucket/other"]
            stage.store.update(definition("tasks", s3_export()))
            await stage.ended(2)
            stage.store.update(definition("tasks", s3_export(disabled=True)))
            stage.append(path, "second")
            stage.append(path, "another", to="other")
            await stage.ended(3)
            assert store.stored == ["/bucket/other", "/bucket/first", "/bucket/another"]
            stage.store.update(definition("tasks", s3_export()))
            await stage.ended(4)

    with ScriptedS3() as store:
        asyncio.run(run())
        assert store.stored[-1] == "/bucket/second"


@pytest.mark.parametrize("size", [10, 6 * MIB], ids=["whole", "parts"])
@pytest.mark.parametrize("way", ["deleted", "removed", "replaced"])
def test_unfinished_tasks_of_what_is_taken_away_are_canceled(tmp_path: Path, size: int, way: str) -> None:
    path = new_file(tmp_path, size)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), in_progress="never") as stage:
            for number in range(3):
                stage.append(path, f"{number}")
            await until(started(store))
            if way == "deleted":
                stage.store.delete("tasks")
            else:
                others = (s3_export("another"),) if way == "replaced" else ()
                stage.store.update(definition("tasks", *others))
                if way == "replaced":
                    stage.store.update(definition("tasks"))
            told = await stage.ended(3 if way != "replaced" else 6)
            ours = [
                (status["statusContext"]["sequenceNumber"], status["status"])
                for status in stage.statuses()
                if status["statusContext"]["exportIdentifier"] == "s3"
            ]
            assert sorted(ours) == [(0, 4), (1, 4), (2, 4)]
            assert len(told) == (3 if way != "replaced" else 6)
            for status in stage.statuses():
                assert status["message"]
                assert status["statusContext"]["s3ExportTaskDefinition"]["bucket"] == "bucket"

    with ScriptedS3(silent) as store:
        asyncio.run(run())
        assert store.objects == {}
        assert store.uploads == {}


def test_a_stream_that_is_made_anew_begins_anew(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            path = new_file(tmp_path, 10)
            stage.append(path, "old")
            await stage.ended(1)
            stage.store.delete("tasks")
            stage.store.create(definition("tasks", s3_export()))
            assert stage.append(path, "new") == 0
            assert await stage.ended(2) == [(0, "Success"), (0, "Success")]

    with ScriptedS3() as store:
        asyncio.run(run())
        assert store.stored == ["/bucket/old", "/bucket/new"]


def test_an_upload_that_cannot_be_aborted_is_warned_of_before_the_end(tmp_path: Path) -> None:
    def play(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.method == "DELETE":
                line.refuse(403, "AccessDenied")
                continue
            if request.query.get("partNumber") == "2":
                line.server.is_over.wait(60)
            serve(line, request, body)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.append(new_file(tmp_path, 11 * MIB), "key")
            await until(lambda: "/bucket/key part 1" in store.stored)
            stage.store.delete("tasks")
            assert await stage.ended(1) == [(0, "InProgress"), (0, "Warning"), (0, "Canceled")]
            warning = stage.statuses()[1]
            assert warning["statusLevel"] == 1
            assert "the multipart upload u1 of s3://bucket/key could not be aborted" in warning["message"]

    with ScriptedS3(play) as store:
        asyncio.run(run())


def test_tasks_that_grow_too_old_are_canceled(tmp_path: Path) -> None:
    seconds = 0.0

    async def run() -> None:
        nonlocal seconds
        clocks = {"wall": lambda: 1e9 + seconds, "monotonic": lambda: seconds}
        async with staged(tmp_path, to_scripted(store), clocks=clocks) as stage:
            stage.store.create(definition("aging", s3_export(), time_to_live_millis=60_000))
            path = new_file(tmp_path, 10)
            for number in range(3):
                stage.append(path, f"{number}", to="aging")
            await until(started(store))
            seconds = 200.0
            stage.store.expire()
            told = await stage.ended(3)
            assert sorted(told) == [(0, "Canceled"), (1, "Canceled"), (2, "Canceled")]
            store.heal()
            last = stage.append(path, "young", to="aging")
            assert (await stage.ended(4))[-1] == (last, "Success")

    with ScriptedS3(silent) as store:
        asyncio.run(run())
        assert "/bucket/young" in store.objects


def test_tasks_that_are_overwritten_are_canceled(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            small = definition(
                "small",
                s3_export(),
                max_size=2048,
                segment_size=1024,
                strategy_on_full=StrategyOnFull.OVERWRITE_OLDEST_DATA,
            )
            stage.store.create(small)
            path = new_file(tmp_path, 10)
            stage.append(path, "0", to="small")
            await until(started(store))
            for number in range(1, 60):
                stage.append(path, f"{number}", to="small")
            oldest = stage.store.get("small").oldest
            assert oldest > 0
            await until(lambda: len(stage.told()) == oldest)
            store.heal()
            told = await stage.ended(60)
            assert sorted(told) == [
                (number, "Canceled" if number < oldest else "Success") for number in range(60)
            ]

    with ScriptedS3(silent) as store:
        asyncio.run(run())


def test_a_server_that_stops_amid_an_upload_says_nothing_and_does_it_again(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), in_progress="never") as stage:
            for name, exports in [("kept", (s3_export(status="told"),)), ("told", ())]:
                stage.store.create(definition(name, *exports, persistence=Persistence.FILE))
            stage.append(new_file(tmp_path, 6 * MIB), "key", to="kept")
            await until(started(store))
        store.heal()
        async with staged(tmp_path, to_scripted(store), in_progress="never") as stage:
            assert await stage.ended(1, "told") == [(0, "Success")]

    with ScriptedS3(silent) as store:
        asyncio.run(run())
        assert store.uploads == {}


# --- Other services ------------------------------------------------------------------------------------


def test_exports_to_other_services_are_warned_of_once_for_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kinesis = OtherExport("kinesis", "k", {"identifier": "k", "kinesisStreamName": "x"})
    http = OtherExport("http", "h", {"identifier": "h", "uri": "x"})

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), exports=(kinesis, s3_export())) as stage:
            assert caplog.text.count("NOTHING IS SENT") == 1
            stage.store.update(definition("tasks", kinesis, http, s3_export()))
            assert caplog.text.count("NOTHING IS SENT") == 2
            assert "goes to http" in caplog.text
            stage.append(new_file(tmp_path, 10), "key")
            assert await stage.ended(1) == [(0, "Success")]

    with ScriptedS3() as store:
        asyncio.run(run())
