"""What has lost files, or stopped for good, in programs that carry files to S3: each must not happen here.

Where the far side need only be there, both transports go, with real servers. Where it must do something
at one certain moment, it is a Stream Manager with a script.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from support.scripted_stream_manager import (
    APPEND,
    CONNECT,
    DELETE,
    READ,
    ScriptedStreamManager,
    Told,
    upload,
)
from support.stream_manager_place import settings_of
from support.whole_ways import Way, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3_file_uploader.pipeline import Uploader
    from support.local_stream_manager import LocalStreamManager
    from support.seaweed import SeaweedFS


@pytest.fixture(params=["s3", "stream-manager"])
def way(
    request: pytest.FixtureRequest,
    seaweed: SeaweedFS,
    bucket: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Way:
    for name, value in settings_of(seaweed).items():
        monkeypatch.setenv(name, value)

    def objects() -> dict[str, bytes]:
        return {key: seaweed.read_object(bucket, key) for key in seaweed.list_objects(bucket)}

    if request.param == "s3":
        through: dict[str, Any] = {"endpoint_url": seaweed.endpoint_url, "region": seaweed.region}
    else:
        server: LocalStreamManager = request.getfixturevalue("stream_manager")
        through = {"transport": "stream-manager", "stream_manager_port": server.port}
    return Way(tmp_path, bucket, objects, through)


@pytest.fixture
def server() -> Iterator[ScriptedStreamManager]:
    with ScriptedStreamManager() as made:
        yield made


@pytest.fixture
def scripted(server: ScriptedStreamManager, tmp_path: Path) -> Way:
    through = {"transport": "stream-manager", "stream_manager_port": server.port}
    return Way(tmp_path, "bucket", lambda: dict(server.objects), through)


def write(way: Way, name: str, content: str = "content") -> Path:
    path = way.folder / name
    path.write_text(content)
    return path


def names(way: Way) -> list[str]:
    return sorted(os.listdir(way.folder))


def keys(server: ScriptedStreamManager) -> list[str]:
    """Of the tasks, in the order in which they were handed over."""
    return [
        json.loads(request["payload"])["key"] for operation, request in server.requests if operation == APPEND
    ]


# -- loss, and standing still


def test_a_status_without_sense_or_about_a_file_that_is_gone_holds_up_no_other_file(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    for number in range(10):
        write(scripted, f"f{number}")

    def senseless(said: dict[str, Any]) -> None:
        said["statusContext"] = None

    def outcome(task: dict[str, Any]) -> list[Told]:
        told = upload(server, task)
        if task["key"] == "f3":
            (scripted.folder / "f3").unlink()  # gone when its success is told
        return [Told(changes=senseless), *told, *told]

    server.outcome = outcome
    asyncio.run(scripted.drain())
    assert names(scripted) == []
    assert len(server.objects) == 10


def test_data_that_is_written_while_a_file_is_on_its_way_is_not_removed_unsent(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    write(scripted, "log", "first line\n")
    added = ["second line\n"]

    def outcome(task: dict[str, Any]) -> list[Told]:
        told = upload(server, task)
        if added:
            with (scripted.folder / "log").open("a") as file:
                file.write(added.pop())
        return told

    server.outcome = outcome
    asyncio.run(scripted.drain())
    assert server.objects == {"log": b"first line\nsecond line\n"}
    assert names(scripted) == []


def test_a_name_that_is_used_again_at_once_is_sent_again(way: Way) -> None:
    async def scenario(_uploader: Uploader) -> None:
        for version in range(3):
            write(way, "latest.jpg", f"version {version}")
            await until(lambda: names(way) == [])

    asyncio.run(way.run(scenario))
    assert way.objects() == {"latest.jpg": b"version 2"}


def test_no_character_of_a_name_or_folder_keeps_a_file_from_going(way: Way) -> None:
    hostile = [
        "my file.csv",
        "run#1.csv",
        "x~1.csv",
        "f[1].csv",
        "a%41b",
        "A",
        "q?x",
        "back\\slash",
        "{b}'\"|",
    ]
    for name in hostile:
        write(way, name, name)
    (way.folder / "line#1").mkdir()
    write(way, "line#1/f", "in a folder")
    write(way, "line", "beside it")
    asyncio.run(way.drain(way.rule(path_name=str(way.folder / "**" / "*"))))
    assert names(way) == ["line#1"]
    assert names_below(way) == []
    sent = set(way.objects().values())
    assert sent == {name.encode() for name in hostile} | {b"in a folder", b"beside it"}


def names_below(way: Way) -> list[str]:
    return os.listdir(way.folder / "line#1")


def test_the_last_file_goes_as_well_once_it_is_quiet_and_one_that_is_still_written_does_not(
    way: Way,
) -> None:
    rule = way.rule(active_file="newest", active_file_timeout_seconds=0.2)

    async def scenario(_uploader: Uploader) -> None:
        slow = os.open(way.folder / "slow", os.O_CREAT | os.O_WRONLY, 0o644)
        os.write(slow, b"first half, ")
        write(way, "one")
        write(way, "last")
        await until(lambda: names(way) == ["slow"])
        os.write(slow, b"second half")
        os.close(slow)
        await until(lambda: names(way) == [])

    asyncio.run(way.run(scenario, rule))
    assert way.objects() == {
        "one": b"content",
        "last": b"content",
        "slow": b"first half, second half",
    }


def test_two_files_of_one_name_do_not_overwrite_each_other(way: Way) -> None:
    for folder in ("a", "b"):
        (way.folder / folder).mkdir()
        write(way, f"{folder}/same.csv", f"of {folder}")
    asyncio.run(way.drain(way.rule(path_name=str(way.folder / "*" / "*.csv"))))
    assert way.objects() == {"a/same.csv": b"of a", "b/same.csv": b"of b"}


def test_a_far_side_that_is_down_is_tried_now_and_then_and_not_in_a_loop(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    for number in range(50):
        write(scripted, f"f{number}")
    down = [True]
    server.before_answer = lambda operation, _: "drop" if operation == CONNECT and down else ""
    turns = 0

    async def scenario(uploader: Uploader) -> None:
        nonlocal turns
        await until(lambda: uploader.progress.paused)
        tried = server.connections
        for turns in range(100):  # noqa: B007  # told below
            await asyncio.sleep(0.01)
        assert server.connections - tried <= 3
        down.clear()
        await until(lambda: names(scripted) == [])

    rule = scripted.rule(retry_backoff_seconds=0.5, retry_backoff_max_seconds=1.0)
    asyncio.run(scripted.run(scenario, rule))
    assert turns == 99
    assert Counter(keys(server)) == dict.fromkeys([f"f{number}" for number in range(50)], 1)


def test_a_file_that_vanishes_halfway_makes_nobody_go_twice(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    for number in range(30):
        write(scripted, f"f{number:02d}")

    def outcome(task: dict[str, Any]) -> list[Told]:
        (scripted.folder / "f17").unlink(missing_ok=True)
        return upload(server, task)

    server.outcome = outcome
    asyncio.run(scripted.drain())
    assert names(scripted) == []
    assert set(server.objects) >= {f"f{number:02d}" for number in range(30)} - {"f17"}
    assert max(Counter(keys(server)).values()) == 1


def test_a_restart_cancels_nothing_and_hands_nothing_over_twice(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    for number in range(20):
        write(scripted, f"f{number}")
    server.outcome = lambda _task: None

    async def all_handed_over(_uploader: Uploader) -> None:
        await until(lambda: len(keys(server)) == 20)

    for _ in range(2):
        asyncio.run(scripted.run(all_handed_over))
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    asyncio.run(scripted.drain())
    assert names(scripted) == []
    assert len(server.objects) == len(keys(server)) == 20
    assert DELETE not in {operation for operation, _ in server.requests}


# -- slowness


def test_a_thousand_statuses_are_read_in_few_requests(scripted: Way, server: ScriptedStreamManager) -> None:
    for number in range(1000):
        write(scripted, f"f{number}")
    waiting = [True]
    server.outcome = lambda task: None if waiting else upload(server, task)

    async def scenario(_uploader: Uploader) -> None:
        await until(lambda: len(keys(server)) == 1000)
        asked = count(server, READ)
        server.do(waiting.clear)
        await until(lambda: names(scripted) == [])
        assert count(server, READ) - asked < 100

    asyncio.run(scripted.run(scenario))


def count(server: ScriptedStreamManager, operation: int) -> int:
    return sum(1 for asked, _ in server.requests if asked == operation)


def test_the_uploader_goes_on_while_stream_manager_keeps_it_waiting(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    write(scripted, "f")
    silent = [True]

    def before_answer(operation: int, _request: dict[str, Any]) -> str:
        return "never" if operation == APPEND and silent else ""

    server.before_answer = before_answer

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: count(server, APPEND))
        for _ in range(20):  # each of them would take a minute with a loop that is blocked
            await asyncio.sleep(0)
            uploader.rescan()
        silent.clear()

    asyncio.run(asyncio.wait_for(scripted.run(scenario), 60))
    asyncio.run(scripted.drain())
    assert names(scripted) == []


def test_files_are_handed_over_oldest_first(scripted: Way, server: ScriptedStreamManager) -> None:
    order = [f"f{(number * 37) % 100:02d}" for number in range(100)]
    for age, name in enumerate(order):
        os.utime(write(scripted, name), ns=(0, 1_600_000_000_000_000_000 + age * 1_000_000))
    asyncio.run(scripted.drain(scripted.rule(streams=1)))
    assert keys(server) == order


def test_a_large_file_holds_up_its_own_stream_and_no_other(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    for number in range(200):
        write(scripted, f"f{number:03d}")
    server.outcome = lambda task: None if task["key"] == "f000" else upload(server, task)

    async def scenario(_uploader: Uploader) -> None:
        await until(lambda: len(names(scripted)) < 100)

    asyncio.run(scripted.run(scenario, scripted.rule(streams=4)))


def test_two_copies_with_one_bucket_leave_each_others_streams_alone(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    through = {"transport": "stream-manager", "stream_manager_port": server.port}
    ways = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        ways.append(Way(tmp_path / name, "bucket", lambda: dict(server.objects), through))
        write(ways[-1], name)

    async def both() -> None:
        await asyncio.gather(*(way.drain() for way in ways))

    asyncio.run(both())
    assert sorted(server.objects) == ["one", "other"]
    assert len(server.streams) == 2 * 5
    assert count(server, DELETE) == 0


def test_a_full_stream_refuses_what_is_new_and_drops_nothing_that_it_has(
    scripted: Way, server: ScriptedStreamManager
) -> None:
    server.full_at = 5
    for number in range(60):
        write(scripted, f"f{number}")
    asyncio.run(scripted.drain())
    strategies = {one.definition["strategyOnFull"] for one in server.streams.values() if one.exports}
    assert strategies == {0}
    assert len(server.objects) == 60
    assert names(scripted) == []


def test_without_a_prefix_an_object_has_its_files_name_and_no_empty_folder_before_it(way: Way) -> None:
    write(way, "file.csv")
    asyncio.run(way.drain())
    assert list(way.objects()) == ["file.csv"]
