"""Another configuration while large files are on their way, with a real server at the other end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from support.stream_manager_place import settings_of
from support.whole_ways import Way, until

if TYPE_CHECKING:
    from pathlib import Path

    from s3_file_uploader.config import Rule
    from s3_file_uploader.pipeline import Uploader
    from support.local_stream_manager import LocalStreamManager
    from support.seaweed import SeaweedFS

MIB = 1024 * 1024
SIZE = 64 * MIB


@pytest.fixture
def way(seaweed: SeaweedFS, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Way:
    for name, value in settings_of(seaweed).items():
        monkeypatch.setenv(name, value)

    def objects() -> dict[str, bytes]:
        return {key: seaweed.read_object(bucket, key) for key in seaweed.list_objects(bucket)}

    through: dict[str, Any] = {"endpoint_url": seaweed.endpoint_url, "region": seaweed.region}
    return Way(tmp_path, bucket, objects, through, {"max_bandwidth": 40 * MIB})


def rule_of(way: Way, name: str, **more: Any) -> Rule:
    (way.folder / name).mkdir(exist_ok=True)
    return way.rule(name=name, path_name=str(way.folder / name / "*"), **more)


def are_removed(uploader: Uploader, files: int) -> bool:
    return uploader.progress.files_removed == files


def new_file(way: Way, name: str) -> bytes:
    """Written elsewhere and put there whole."""
    content = os.urandom(MIB) * (SIZE // MIB)
    (way.folder / "new").write_bytes(content)
    (way.folder / "new").rename(way.folder / name)
    return content


def test_no_part_goes_twice_when_one_of_two_rules_changes(way: Way) -> None:
    one, two = rule_of(way, "one"), rule_of(way, "two")
    contents = {name: new_file(way, f"{name}/{name}") for name in ("one", "two")}

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: uploader.progress.bytes_sent > 8 * MIB)
        changed = replace(two, interval_seconds=5.0)
        await uploader.reconfigure(way.settings(one, changed, max_bandwidth=None))
        assert uploader.progress.bytes_sent < 2 * SIZE
        await until(lambda: uploader.progress.files_removed == 2)
        assert uploader.progress.bytes_sent == 2 * SIZE
        assert uploader.progress.failures == 0

    asyncio.run(way.run(scenario, one, two))
    assert way.objects() == contents


def test_a_stop_sends_no_part_twice_either(way: Way) -> None:
    one = rule_of(way, "one")
    content = new_file(way, "one/one")
    sent: list[int] = []

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: uploader.progress.bytes_sent > 8 * MIB)
        uploader.stop()
        await until(lambda: uploader.in_flight.files == 0)
        sent.append(uploader.progress.bytes_sent)

    async def rest(uploader: Uploader) -> None:
        await until(lambda: uploader.progress.files_removed)
        sent.append(uploader.progress.bytes_sent)

    asyncio.run(way.run(scenario, one))
    asyncio.run(way.run(rest, one))
    assert sum(sent) == SIZE
    assert way.objects() == {"one": content}


def test_a_rule_gets_another_transport(way: Way, stream_manager: LocalStreamManager) -> None:
    before = rule_of(way, "one")
    after = replace(before, transport="stream-manager", stream_manager_port=stream_manager.port)

    async def scenario(uploader: Uploader) -> None:
        for number, each in enumerate((after, before, after)):
            (way.folder / "one" / f"{number}").write_bytes(b"x")
            await until(partial(are_removed, uploader, number + 1))
            await uploader.reconfigure(way.settings(each))
        (way.folder / "one" / "last").write_bytes(b"x")
        await until(partial(are_removed, uploader, 4))
        assert uploader.progress.failures == 0

    asyncio.run(way.run(scenario, before))
    assert set(way.objects()) == {"0", "1", "2", "last"}
