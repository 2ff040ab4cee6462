from __future__ import annotations

import asyncio
import errno
import os
import random
import threading
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.definition import S3Export
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import durability
from stream_manager_local.store.edge import Edge
from support.local_store import KIB, MEMORY, OVERWRITE, CountingEdge, PowerCutEdge, Stage, defined, payloads

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from stream_manager_local.protocol.definition import StreamDefinition
    from stream_manager_local.store import Store, Stream

_FLUSHED = defined(flush_on_write=True)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def run(main: Coroutine[object, object, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def kept(stream: Stream, payload: bytes) -> int:
    sequence = stream.append(payload)
    await stream.durable(sequence)
    return sequence


def test_each_message_that_is_waited_for_is_synced(stage: Stage) -> None:
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        before = edge.fsync_count
        for _ in range(3):
            await kept(stream, b"x")
        assert edge.fsync_count - before == 3
        store.close()

    run(main())


def test_messages_that_wait_at_the_same_time_share_a_sync(stage: Stage) -> None:
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        edge.gate.clear()
        before = edge.fsync_count
        first = asyncio.ensure_future(kept(stream, b"first"))
        await asyncio.sleep(0)
        others = [asyncio.ensure_future(kept(stream, b"other")) for _ in range(100)]
        await asyncio.sleep(0)
        assert not any(each.done() for each in [first, *others])
        edge.gate.set()
        await asyncio.gather(first, *others)
        assert edge.fsync_count - before == 2
        store.close()

    run(main())


def test_what_was_synced_is_not_synced_again(stage: Stage) -> None:
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        await kept(stream, b"x")
        before = edge.fsync_count
        await stream.durable(0)
        assert edge.fsync_count == before
        store.close()

    run(main())


@pytest.mark.parametrize("definition", [defined(), defined(persistence=MEMORY, flush_on_write=True)])
def test_nothing_is_synced_that_need_not_be(stage: Stage, definition: StreamDefinition) -> None:
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(definition)
        before = edge.fsync_count
        for _ in range(10):
            await kept(stream, b"x" * 1000)
        assert edge.fsync_count == before
        store.close()

    run(main())


def test_a_stream_that_is_told_to_flush_syncs_what_it_has_not(stage: Stage) -> None:
    stage.edge = edge = PowerCutEdge(str(stage.root))

    async def main() -> None:
        store = stage.open()
        stream = store.create(defined())
        for _ in range(10):
            stream.append(b"x" * 1000)
        store.update(_FLUSHED)
        await kept(stream, b"last")
        store.close()

    run(main())
    edge.cut()
    store = stage.open()
    assert len(payloads(store.get("s"))) == 11
    store.close()


def test_a_disk_that_hangs_holds_its_stream_and_no_other(stage: Stage) -> None:
    gate = threading.Event()

    class OneHangs(Edge):
        def fsync(self, descriptor: int) -> None:
            if "/hangs-" in os.readlink(f"/proc/self/fd/{descriptor}") and is_hanging:
                gate.wait(60)

    is_hanging = False
    stage.edge = OneHangs()

    async def main() -> None:
        nonlocal is_hanging
        store = stage.open()
        hangs, works = store.create(defined("hangs", flush_on_write=True)), store.create(_FLUSHED)
        is_hanging = True
        waiting = asyncio.ensure_future(kept(hangs, b"a"))
        for _ in range(5):
            await kept(works, b"b")
        assert not waiting.done()
        gate.set()
        await waiting
        store.close()

    run(main())


def test_waiting_for_the_disk_has_an_end(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durability.Durability.wait, "__defaults__", (0.05,))
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        edge.gate.clear()
        with pytest.raises(Refused, match="still does not say") as refused:
            await kept(stream, b"x")
        assert refused.value.status is Status.SERVER_TIMEOUT
        edge.gate.set()
        store.close()

    run(main())


def test_a_disk_that_fails_to_sync_is_told_to_whoever_waits_and_the_stream_goes_on(stage: Stage) -> None:
    class Fails(Edge):
        is_failing = False

        def fsync(self, descriptor: int) -> None:
            if self.is_failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    stage.edge = edge = Fails()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        await kept(stream, b"good")
        edge.is_failing = True
        for sequence in (1, 2):
            with pytest.raises(Refused, match=f"message {sequence} could not be made safe") as refused:
                await kept(stream, b"bad")
            assert refused.value.status is Status.UNKNOWN_FAILURE
        edge.is_failing = False
        await kept(stream, b"good again")
        with pytest.raises(Refused, match="could not be made safe"):
            await stream.durable(2)
        await stream.durable(0)
        assert len(list(stage.root.glob("*/*.segment"))) == 3, "what failed is not written to again"
        store.close()

    run(main())
    assert any(os.strerror(errno.EIO) in line for line in stage.reports)


def test_who_waits_may_give_up_without_harm_to_others(stage: Stage) -> None:
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        edge.gate.clear()
        waiting = [asyncio.ensure_future(kept(stream, b"x")) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.sleep(0)
        edge.gate.set()
        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert results[1:] == [1, 2]
        store.close()

    run(main())


def test_a_stream_that_is_deleted_while_somebody_waits_keeps_nobody_waiting(stage: Stage) -> None:
    stage.edge = edge = CountingEdge()

    async def main() -> None:
        store = stage.open()
        stream = store.create(_FLUSHED)
        edge.gate.clear()
        waiting = [asyncio.ensure_future(kept(stream, b"x")) for _ in range(3)]
        await asyncio.sleep(0)
        edge.gate.set()
        store.delete("s")
        await asyncio.gather(*waiting)
        store.close()

    run(main())


# -- power cuts, at their worst: the disk has what was synced, and not a byte more


@pytest.mark.parametrize("seed", range(8))
def test_no_message_that_was_acknowledged_is_lost_in_a_power_cut(stage: Stage, seed: int) -> None:
    chance = random.Random(seed)
    stage.edge = edge = PowerCutEdge(str(stage.root))
    acknowledged: dict[str, list[tuple[int, bytes]]] = {"a": [], "b": []}

    async def write(store: Store) -> None:
        for _ in range(chance.randrange(40)):
            name = chance.choice("ab")
            payload = chance.randbytes(chance.randrange(1, 3000))
            sequence = store.get(name).append(payload)
            if chance.random() < 0.5:
                await store.get(name).durable(sequence)
                acknowledged[name].append((sequence, payload))

    async def life(*, is_first: bool) -> None:
        store = stage.open()
        for name in "ab" if is_first else "":
            store.create(defined(name, flush_on_write=True, max_size=1024 * KIB))
        for name, sent in acknowledged.items():
            stream = store.get(name)
            for sequence, payload in sent:
                assert stream.read(sequence, 1, most_bytes=1)[0].payload == payload
        await write(store)
        store.close()

    for number in range(6):
        run(life(is_first=number == 0))
        edge.cut()


def test_definitions_and_deletions_survive_a_power_cut(stage: Stage) -> None:
    stage.edge = edge = PowerCutEdge(str(stage.root))
    store = stage.open()
    store.create(defined("made"))
    store.create(defined("changed"))
    store.update(defined("changed", strategy_on_full=OVERWRITE, exports=(S3Export("e"),)))
    store.create(defined("deleted"))
    store.delete("deleted")
    store.close()
    edge.cut()
    store = stage.open()
    assert sorted(store.names()) == ["changed", "made"]
    assert store.get("changed").definition.strategy_on_full is OVERWRITE
    assert store.get("made").append(b"a") == 0
    store.close()


def test_an_export_is_not_taken_to_be_ahead_after_a_power_cut(stage: Stage) -> None:
    """Its progress may have reached the disk when the messages it is about have not."""
    stage.edge = edge = PowerCutEdge(str(stage.root))
    store = stage.open()
    stream = store.create(defined(exports=(S3Export("e"),)))
    for _ in range(5):
        stream.append(b"task")
    stream.advance("e", 5, exported_bytes=0, at=0)
    store.close()
    (path,) = stage.root.glob("*/exports.json")
    progress = path.read_bytes()
    edge.cut()
    path.write_bytes(progress)
    store = stage.open()
    stream = store.get("s")
    assert (stream.newest, stream.cursor("e")) == (-1, 0)
    store.close()
