"""Multipart uploads that a server leaves behind when it stops or is killed."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Persistence
from support.exports import definition, s3_export, staged, to_scripted, until
from support.s3_transports import MIB, new_file
from support.scripted_s3 import Line, ScriptedS3, serve

if TYPE_CHECKING:
    from pathlib import Path


def second_part_hangs(line: Line) -> None:
    """Until the store is healed."""
    while (request := line.request()) is not None:
        body = line.body(request.size)
        if request.query.get("partNumber") == "2":
            while not line.server.is_healed.wait(0.01):
                if line.server.is_over.is_set():
                    return
        serve(line, request, body)


def keep_first_part(tmp_path: Path, store: ScriptedS3, persistence: Persistence) -> bytes:
    """One life of a server, which ends amid an upload; returns what it had on the disk shortly before."""
    path = new_file(tmp_path, 11 * MIB)
    record = tmp_path / "store" / ".uploads.json"

    async def run() -> bytes:
        async with staged(tmp_path, to_scripted(store)) as stage:
            for name, exports in [("kept", (s3_export(status="told"),)), ("told", ())]:
                stage.store.create(definition(name, *exports, persistence=persistence))
            stage.append(path, "!{timestamp:SSSSSSSSS}", to="kept")
            await until(lambda: any("part 1" in name for name in store.stored))
            return record.read_bytes()

    return asyncio.run(run())


def test_an_upload_is_continued_by_the_next_server(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            assert [name for _, name in await stage.ended(1, "told")][-1] == "Success"

    with ScriptedS3(second_part_hangs) as store:
        keep_first_part(tmp_path, store, Persistence.FILE)
        store.heal()
        asyncio.run(run())
        [(name, content)] = store.objects.items()
        assert len(content) == 11 * MIB
        assert [each for each in store.stored if each.endswith("part 1")] == [f"{name} part 1"]
        assert sum("uploads" in request.query for request in store.requests) == 1
    assert not (tmp_path / "store" / ".uploads.json").exists()


@pytest.mark.parametrize("change", ["stream deleted", "export removed", "task done"])
def test_an_upload_whose_task_is_gone_is_aborted_after_the_start(tmp_path: Path, change: str) -> None:
    async def let_go() -> None:
        """A life in which the upload was of no interest: here without it, as if it had come later."""
        async with staged(tmp_path, None, success_without_upload=True) as stage:
            if change == "stream deleted":
                stage.store.delete("kept")
            elif change == "export removed":
                stage.store.update(definition("kept", persistence=Persistence.FILE))
            else:
                await until(lambda: stage.cursor("kept") == 1)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)):
            await until(lambda: not store.uploads)
            await until(lambda: not record.exists())

    record = tmp_path / "store" / ".uploads.json"
    with ScriptedS3(second_part_hangs) as store:
        left = keep_first_part(tmp_path, store, Persistence.FILE)
        record.unlink()
        asyncio.run(let_go())
        assert store.uploads
        record.write_bytes(left)
        asyncio.run(run())
        assert store.objects == {}


def test_an_upload_of_another_task_with_the_same_number_is_aborted_and_the_task_begins_anew(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            assert (await stage.ended(1, "told"))[-1] == (0, "Success")

    record = tmp_path / "store" / ".uploads.json"
    with ScriptedS3(second_part_hangs) as store:
        left = json.loads(keep_first_part(tmp_path, store, Persistence.FILE))
        left[0][3]["task"]["inputUrl"] = "file:///another"
        record.write_text(json.dumps(left))
        store.heal()
        asyncio.run(run())
        methods = [request.method for request in store.requests]
        assert methods.index("DELETE") < len(methods) - 1 - methods[::-1].index("POST")
        assert len(store.objects) == 1
        assert store.uploads == {}


def test_an_upload_of_a_stream_in_memory_is_aborted_when_the_server_stops(tmp_path: Path) -> None:
    with ScriptedS3(second_part_hangs) as store:
        keep_first_part(tmp_path, store, Persistence.MEMORY)
        assert store.uploads == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'[["a", "b", 0, {}]]', b"\xff"])
def test_a_record_that_makes_no_sense_is_said_and_keeps_nothing_from_running(
    tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / ".uploads.json").write_bytes(content)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.append(new_file(tmp_path, 6 * MIB), "key")
            await stage.ended(1)

    with ScriptedS3() as store:
        asyncio.run(run())
    assert "unfinished uploads cannot be read" in caplog.text


def test_a_disk_that_takes_no_record_holds_up_no_upload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "store" / ".uploads.json.new").mkdir(parents=True)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            for number in range(2):
                stage.append(new_file(tmp_path, 6 * MIB), f"{number}")
            assert (await stage.ended(2))[-1] == (1, "Success")

    with ScriptedS3() as store:
        asyncio.run(run())
    assert caplog.text.count("cannot be remembered") == 1
