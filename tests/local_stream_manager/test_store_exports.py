from __future__ import annotations

import asyncio
import errno
import os
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.definition import S3Export
from stream_manager_local.store.edge import Edge
from stream_manager_local.store.exports import SAVE_SECONDS
from support.local_store import OVERWRITE, FullDiskEdge, Stage, defined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream_manager_local.store import Store, Stream

_EXPORTED = defined(exports=(S3Export("e"),))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def store(stage: Stage) -> Iterator[Store]:
    store = stage.open()
    yield store
    store.close()


def filled(store: Store, count: int = 10) -> Stream:
    stream = store.create(_EXPORTED)
    for number in range(count):
        stream.append(b"%d" % number)
    return stream


def saved(stage: Stage) -> str:
    (path,) = stage.root.glob("*/exports.json")
    return path.read_text()


def test_an_export_begins_at_the_first_message(store: Store) -> None:
    stream = filled(store)
    status = stream.export_status("e")
    assert stream.cursor("e") == 0
    assert (status.last_exported, status.last_export_millis, status.exported_bytes) == (-1, None, 0)


def test_what_an_export_did_is_told(store: Store) -> None:
    stream = filled(store)
    stream.advance("e", 1, exported_bytes=100, at=1.5)
    stream.advance("e", 3, exported_bytes=50, at=2.5)
    status = stream.export_status("e")
    assert stream.cursor("e") == 3
    assert (status.last_exported, status.exported_messages, status.exported_bytes) == (2, 3, 150)
    assert status.last_export_millis == 2500


def test_an_export_that_was_left_behind_goes_on_at_the_oldest_message(store: Store) -> None:
    stream = store.create(defined(exports=(S3Export("e"),), strategy_on_full=OVERWRITE))
    for _ in range(40):
        stream.append(b"x" * 1000)
    assert stream.cursor("e") == stream.oldest > 0
    stream.advance("e", stream.oldest + 1, exported_bytes=1, at=1.0)
    assert stream.export_status("e").exported_messages == 1


def test_what_keeps_an_export_from_going_on_is_told_until_it_goes_on(store: Store) -> None:
    stream = filled(store)
    stream.note_export_error("e", "no route to host")
    assert stream.export_status("e").error_message == "no route to host"
    stream.advance("e", 1, exported_bytes=1, at=1.0)
    assert stream.export_status("e").error_message is None


def test_an_export_that_the_stream_does_not_have_is_at_the_begin_and_stays_there(store: Store) -> None:
    stream = filled(store)
    stream.advance("nobody", 5, exported_bytes=1, at=1.0)
    stream.note_export_error("nobody", "lost")
    assert stream.export_status("nobody").last_exported == -1


def test_exports_go_on_after_a_restart_where_they_were(stage: Stage) -> None:
    store = stage.open()
    stream = filled(store)
    for number in range(7):
        stream.advance("e", number + 1, exported_bytes=10, at=number)
    before = stream.export_status("e")
    store = stage.reopen(store)
    assert store.get("s").export_status("e") == before
    store.close()


def test_progress_is_not_written_for_each_message(stage: Stage) -> None:
    class Renames(Edge):
        count = 0

        def rename(self, old: str, new: str) -> None:
            self.count += 1
            super().rename(old, new)

    stage.edge = edge = Renames()
    store = stage.open()
    stream = filled(store, 500)
    before = edge.count
    for number in range(500):
        stream.advance("e", number + 1, exported_bytes=1, at=1.0)
        stage.clock.pass_seconds(1 / 64)
    assert edge.count - before == 7
    store.close()


def test_progress_is_on_the_disk_a_second_later_also_when_nothing_else_happens(stage: Stage) -> None:
    saving = asyncio.Event()

    class Renames(Edge):
        def rename(self, old: str, new: str) -> None:
            super().rename(old, new)
            if new.endswith("exports.json") and '"next_sequence": 2' in saved(stage):
                saving.set()

    async def main() -> None:
        stage.edge = Renames()
        store = stage.open()
        stream = filled(store)
        stage.clock.pass_seconds(SAVE_SECONDS)
        stream.advance("e", 1, exported_bytes=1, at=1.0)
        stream.advance("e", 2, exported_bytes=1, at=1.0)
        assert '"next_sequence": 1' in saved(stage)
        await saving.wait()
        assert '"next_sequence": 2' in saved(stage)
        store.close()

    asyncio.run(asyncio.wait_for(main(), 60))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[1]", b'{"exports": [{"identifier": "e", "unknown": 1}]}', b"{}", b"7", b"\xff"]
)
def test_progress_that_cannot_be_understood_begins_anew_and_loses_nothing(
    stage: Stage, content: bytes
) -> None:
    store = stage.open()
    stream = filled(store)
    stream.advance("e", 5, exported_bytes=1, at=1.0)
    store.close()
    (path,) = stage.root.glob("*/exports.json")
    path.write_bytes(content)
    store = stage.open()
    assert store.get("s").cursor("e") == 0
    assert len(stage.reports) == 1
    store.close()


def test_an_export_is_never_ahead_of_the_messages_that_are_there(stage: Stage) -> None:
    store = stage.open()
    stream = filled(store)
    stream.advance("e", 10, exported_bytes=1, at=1.0)
    store.close()
    (segment,) = stage.root.glob("*/*.segment")
    os.truncate(segment, segment.stat().st_size - 3 * 21)
    store = stage.open()
    stream = store.get("s")
    assert stream.newest == 6
    assert stream.cursor("e") == 7
    store.close()


def test_a_disk_that_is_full_costs_progress_nothing_but_time(stage: Stage) -> None:
    stage.edge = edge = FullDiskEdge()
    store = stage.open()
    stream = filled(store)
    edge.room = 0
    for number in range(3):
        stage.clock.pass_seconds(SAVE_SECONDS)
        stream.advance("e", number + 1, exported_bytes=1, at=1.0)
        store.expire()
    assert stream.cursor("e") == 3
    assert len(stage.reports) == 1
    assert os.strerror(errno.ENOSPC) in stage.reports[0]
    edge.room = None
    store.expire()
    assert '"next_sequence": 3' in saved(stage)
    store.close()
