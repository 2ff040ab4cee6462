"""Looking for tasks in the tail of a stream: what is kept of it is bounded."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, cast

from s3_file_uploader.transport.stream_manager import search
from s3_file_uploader.transport.stream_manager.outlets import Outlet
from s3_file_uploader.transport.stream_manager.tasks import Task
from s3_file_uploader.transport.stream_manager.values import Message

if TYPE_CHECKING:
    import pytest

    from s3_file_uploader.transport.stream_manager.link import Link


class Tail:
    """A stream whose message N is the task of file N."""

    async def read(self, _stream: str, start: int, most: int) -> list[Message]:
        return [Message(number, payload(task(number))) for number in range(start, start + most)]


def payload(of: Task) -> bytes:
    return json.dumps({"inputUrl": of.url, "bucket": of.bucket, "key": of.key}).encode()


def task(number: int) -> Task:
    return Task(f"file:///{number}", "bucket", f"key{number}")


def test_a_lane_that_is_never_idle_keeps_no_more_of_a_stream_than_is_searched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search, "_MOST_SEARCHED", 50)
    outlet = Outlet(0, "stream", newest=-1)
    looking = search.Search(cast("Link", Tail()), outlet)

    async def run() -> None:
        for newest in range(9, 1000, 10):
            outlet.newest = newest
            assert await looking.newest(task(newest), newest - 5) == newest
            assert await looking.newest(task(newest), newest) is None
            assert len(looking._numbers) <= 2 * 50

    asyncio.run(run())
