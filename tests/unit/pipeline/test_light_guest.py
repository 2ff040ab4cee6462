"""What a look costs does not grow with what waits beside it, and scans stay within their share."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import Interrupted
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.pipelines import rule, running, settings, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from s3_file_uploader.pipeline import Uploader


class _Counting(Edge):
    """Counts the looks at done markers, and the folders that are read."""

    def __init__(self) -> None:
        self.markers = 0
        self.readings = 0

    def stat_at(self, folder_fd: int, name: bytes) -> os.stat_result:
        self.markers += name.endswith(b".done")
        return super().stat_at(folder_fd, name)

    def entries(self, folder_fd: int) -> Any:
        self.readings += threading.current_thread().name.startswith("look-")
        return super().entries(folder_fd)


def test_what_happens_to_one_file_has_nobody_elses_done_marker_looked_at(folder: Path, state: Path) -> None:
    for number in range(100):
        (folder / f"waits-{number}").write_bytes(b"x")
    edge, transport = _Counting(), FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: edge.markers >= 100, "the first look")
        await asyncio.sleep(0.3)
        before = edge.markers
        for number in range(10):
            (folder / f"new-{number}").write_bytes(b"y")
            (folder / f"new-{number}.done").touch()
            await until(lambda name=f"new-{number}": name in transport.puts, "the new one")  # type: ignore[misc]
        assert edge.markers - before < 100

    one = rule(folder, done_marker=".done", interval_seconds=60.0)
    asyncio.run(running(settings(state, one), transport, scenario, edge=edge))


def test_folders_that_come_and_go_do_not_have_everything_scanned_over_and_over(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3_file_uploader.pipeline.watching._SCAN_SHARE", 1e6)  # as if a scan took minutes
    edge = _Counting()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        for number in range(10):
            (folder / f"folder-{number}").mkdir()
            await asyncio.sleep(0.1)
        assert edge.readings == 1

    one = rule(folder, path_name=str(folder / "**" / "*"))
    asyncio.run(running(settings(state, one), FakeTransport(), scenario, edge=edge))


def test_a_new_folder_of_a_small_tree_is_scanned_at_once(folder: Path, state: Path) -> None:
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        (folder / "later").mkdir()
        (folder / "later" / "file").write_bytes(b"x")
        await until(lambda: "later/file" in transport.puts, "its file")

    one = rule(folder, path_name=str(folder / "**" / "*"), active_file="none", interval_seconds=3600.0)
    asyncio.run(running(settings(state, one), transport, scenario))


def test_a_transport_that_stops_every_delivery_is_not_asked_without_a_pause(
    folder: Path, state: Path
) -> None:
    (folder / "a").write_bytes(b"x")
    asked = 0

    def count(_delivery: object) -> Fault:
        nonlocal asked
        asked += 1
        raise Interrupted("something else stopped it")

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: asked > 0, "the first try")
        await asyncio.sleep(0.5)
        assert asked == 1

    one = rule(folder, active_file="none")
    asyncio.run(running(settings(state, one), FakeTransport(script=count), scenario))


class _NothingCanBeRemoved(Edge):
    tries = 0

    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        self.tries += 1
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def test_a_file_that_can_never_be_removed_is_told_of_ever_more_rarely(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("s3_file_uploader.pipeline.disposal._FIRST_DELAY_SECONDS", 0.01)
    monkeypatch.setattr("s3_file_uploader.pipeline.disposal._LONGEST_DELAY_SECONDS", 0.01)
    (folder / "a").write_bytes(b"x")
    edge, transport = _NothingCanBeRemoved(), FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: edge.tries >= 20, "twenty tries")

    one = rule(folder, active_file="none")
    with caplog.at_level("ERROR", logger="s3_file_uploader"):
        asyncio.run(running(settings(state, one), transport, scenario, edge=edge))
    assert 1 <= [record.msg for record in caplog.records].count("removal_failed") <= edge.tries.bit_length()
    assert transport.puts == ["a"]
