from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import Evicted, StoreUnusable, store
from stream_manager_local.store.edge import Edge
from support.local_store import (
    KIB,
    MEMORY,
    MOST,
    OVERWRITE,
    RefusingEdge,
    Stage,
    defined,
    payloads,
    segment_files,
)

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.store import Event

_EIO = "Input/output error"


@pytest.fixture
def edge() -> RefusingEdge:
    return RefusingEdge()


@pytest.fixture
def stage(tmp_path: Path, edge: RefusingEdge) -> Stage:
    return Stage(tmp_path, edge=edge)


def test_a_stream_that_the_disk_does_not_let_go_stays_as_it_was(stage: Stage, edge: RefusingEdge) -> None:
    store = stage.open()
    stream = store.create(defined())
    stream.append(b"a")
    edge.refused = ("rename",)
    with pytest.raises(Refused, match=_EIO) as refused:
        store.delete("s")
    assert refused.value.status is Status.UNKNOWN_FAILURE
    edge.refused = ()
    assert not stream.is_deleted
    assert store.get("s").append(b"b") == 1
    assert payloads(stream) == [b"a", b"b"]
    store = stage.reopen(store)
    assert payloads(store.get("s")) == [b"a", b"b"]
    store.close()


def test_files_that_cannot_be_removed_go_at_the_next_start(stage: Stage, edge: RefusingEdge) -> None:
    store = stage.open()
    store.create(defined()).append(b"a")
    edge.refused = ("remove_tree",)
    store.delete("s")
    assert store.names() == []
    assert store.create(defined()).append(b"new") == 0
    assert "stay until the next start" in stage.reports[0]
    edge.refused = ()
    store = stage.reopen(store)
    assert payloads(store.get("s")) == [b"new"]
    assert len(segment_files(stage.root)) == 1
    store.close()


def test_segments_that_cannot_be_removed_are_dropped_all_the_same(stage: Stage, edge: RefusingEdge) -> None:
    store = stage.open()
    stream = store.create(defined(strategy_on_full=OVERWRITE))
    edge.refused = ("unlink",)
    for _ in range(20):
        stream.append(b"x" * 1000)
    assert stream.oldest == 4
    assert "messages 0 to 3 are dropped, but not off the disk" in stage.reports[0]
    store.close()


def test_what_cannot_be_dropped_when_it_is_too_old_is_dropped_later(stage: Stage, edge: RefusingEdge) -> None:
    store = stage.open()
    stream = store.create(defined(time_to_live_millis=60_000))
    stream.append(b"a")
    stage.clock.pass_seconds(60)
    edge.refused = ("create_file",)
    assert store.expire() == 60
    assert payloads(stream) == [b"a"]
    assert _EIO in stage.reports[0]
    edge.refused = ()
    store.expire()
    assert payloads(stream) == []
    store.close()


def test_no_descriptor_left_for_a_sync_is_told_to_whoever_waits(stage: Stage, edge: RefusingEdge) -> None:
    async def main(refused: str) -> None:
        store = stage.open()
        stream = store.create(defined(flush_on_write=True))
        for _ in range(5):
            stream.append(b"x" * 1000)
        edge.refused = (refused,)
        with pytest.raises(Refused, match="could not be made safe"):
            await stream.durable(4)
        edge.refused = ()
        await stream.durable(stream.append(b"works"))
        store.delete("s")
        store.close()

    for refused in ("duplicate", "open_folder"):
        asyncio.run(asyncio.wait_for(main(refused), 60))


def test_a_store_that_cannot_be_listed_is_not_opened_and_let_go(stage: Stage, edge: RefusingEdge) -> None:
    edge.refused = ("names",)
    with pytest.raises(StoreUnusable, match=_EIO):
        stage.open()
    edge.refused = ()
    stage.open().close()


def test_a_store_in_a_folder_that_takes_no_file_is_refused() -> None:
    with pytest.raises(StoreUnusable, match="/proc cannot be written to"):
        store.Store.open("/proc", report=print)


def test_there_are_not_more_streams_than_fit(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MOST_STREAMS", 3)
    opened = stage.open()
    for number in range(3):
        opened.create(defined(f"{number}", persistence=MEMORY))
    with pytest.raises(Refused, match="delete some") as refused:
        opened.create(defined("more"))
    assert refused.value.status is Status.INVALID_REQUEST
    opened.close()


def test_who_hears_of_dropped_messages_gets_those_that_are_not_damaged(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined(strategy_on_full=OVERWRITE))
    for _ in range(16):
        stream.append(b"x" * 1000)
    first, second, *_ = segment_files(stage.root)
    first.write_bytes(first.read_bytes().replace(b"x" * 1000, b"y" * 1000, 2))
    second.unlink()
    heard: list[list[int]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Evicted):
            heard.append([message.sequence_number for message in event.messages()])

    stream.watch(listen)
    for _ in range(5):
        stream.append(b"x" * 1000)
    assert heard[0] == [2, 3]
    store.close()


def test_messages_of_many_damaged_places_are_left_out_and_reported_a_few_times(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined(max_size=64 * KIB, segment_size=64 * KIB))
    for number in range(200):
        stream.append(b"%04d" % number)
    (path,) = segment_files(stage.root)
    content = bytearray(path.read_bytes())
    for number in range(0, 200, 2):
        content[number * 24 + 21] ^= 1
    path.write_bytes(content)
    good = []
    at = 0
    while (at := stream.next_readable(at)) <= stream.newest:
        good += [message.sequence_number for message in stream.read(at, 100, most_bytes=MOST)]
        at += 1
        with pytest.raises(Refused, match="damaged") if at < 200 else contextlib.nullcontext():
            stream.read(at, 1, most_bytes=MOST)
    assert good == list(range(1, 200, 2))
    assert len(stage.reports) == 20
    assert stage.reports[-1].endswith("more of it is not reported")
    store.close()


class ShortReads(Edge):
    """As Linux may answer, though it hardly ever does."""

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        return super().read(descriptor, min(count, 777), offset)

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        return super().write(descriptor, data[:555], offset)

    def write_two(self, descriptor: int, first: bytes, second: bytes, offset: int) -> int:
        return super().write(descriptor, (first + second)[:555], offset)


@pytest.mark.parametrize("size", [1000, 100_000])
def test_reads_and_writes_that_do_less_than_asked_for_go_on(tmp_path: Path, size: int) -> None:
    stage = Stage(tmp_path, edge=ShortReads())
    store = stage.open()
    stream = store.create(defined(max_size=1024 * KIB, segment_size=256 * KIB))
    sent = [b"%05d" % number * (size // 5) for number in range(5)]
    for payload in sent:
        stream.append(payload)
    assert payloads(stream) == sent
    store = stage.reopen(store)
    assert payloads(store.get("s")) == sent
    store.close()
