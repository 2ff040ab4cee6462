"""How long a read waits, on a clock that jumps."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING, Any

import cbor2
import pytest

from stream_manager_local.faults import Faults
from stream_manager_local.server.mischief import Ends
from stream_manager_local.server.process import make_listener
from stream_manager_local.settings import Settings
from stream_manager_local.store import Store
from support.stream_manager_client import request
from support.virtual_time import run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class _Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, operation: int, **values: Any) -> None:
        self._writer.write(request(operation, **values))

    async def receive(self) -> dict[str, Any]:
        length = int.from_bytes(await self._reader.readexactly(4), "big")
        values: dict[str, Any] = cbor2.loads((await self._reader.readexactly(length))[1:])
        return values

    async def ask(self, operation: int, **values: Any) -> dict[str, Any]:
        self.send(operation, **values)
        return await self.receive()


@asynccontextmanager
async def _serving(root: Path, *faults: str) -> AsyncIterator[_Client]:
    store = Store.open(root, report=print)
    listener = make_listener(
        Settings(),
        store,
        Faults(faults, chance=Random(1)),
        Ends(crash=lambda: None, restart=lambda: None),
        "0",
    )
    port = await listener.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client = _Client(reader, writer)
    writer.write(b"\x01" + request(1, protocolVersion="1.1.0"))
    assert await reader.readexactly(1) == b"\x01"
    await client.receive()
    await client.ask(2, definition={"name": "s", "strategyOnFull": 0, "persistence": 1})
    yield client
    writer.close()
    await listener.stop()
    store.close()


@pytest.mark.parametrize(
    ("asked_millis", "waits_seconds"),
    [(1, 0.001), (2_500, 2.5), (54_999, 54.999), (55_001, 55), (60_000, 55), (9_223_372_036_854, 55)],
)
def test_a_read_waits_as_long_as_it_asks_for_and_less_than_clients_do(
    tmp_path: Path, asked_millis: int, waits_seconds: float
) -> None:
    async def work() -> tuple[float, int]:
        loop = asyncio.get_running_loop()
        async with _serving(tmp_path) as client:
            began = loop.time()
            answer = await client.ask(
                5, streamName="s", readMessagesOptions={"readTimeoutMillis": asked_millis}
            )
            return loop.time() - began, answer["status"]

    waited, status = run_in_virtual_time(work())

    assert status == 13
    assert waits_seconds <= waited < waits_seconds + 5  # what a busy machine adds; AWS's SDK waits for 60


def test_messages_that_come_in_time_but_are_too_few_are_kept_for_later(tmp_path: Path) -> None:
    async def work() -> tuple[dict[str, Any], dict[str, Any]]:
        async with _serving(tmp_path) as client:
            options = {"minMessageCount": 2, "readTimeoutMillis": 5_000}
            client.send(5, streamName="s", readMessagesOptions=options)
            appended = await client.ask(4, requestId="append", name="s", payload=b"x")
            assert appended["sequenceNumber"] == 0
            late = await client.receive()
            return late, await client.ask(5, streamName="s")

    late, then = run_in_virtual_time(work())

    assert late["status"] == 13
    assert "messages" not in late
    assert len(then["messages"]) == 1


def test_a_fault_delays_answers_by_what_it_says(tmp_path: Path) -> None:
    async def work() -> tuple[float, list[str]]:
        loop = asyncio.get_running_loop()
        async with _serving(tmp_path, "delay=append:2:7.5") as client:
            began = loop.time()
            for number in range(3):
                client.send(4, requestId=str(number), name="s", payload=b"x")
            order = [(await client.receive())["requestId"] for _ in range(3)]
            return loop.time() - began, order

    took, order = run_in_virtual_time(work())

    assert order == ["0", "2", "1"]
    assert 7.5 <= took < 12
