"""What hardly ever happens to an exporter: it goes on all the same, and says what it left out."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.export.worker import MOST_CANCELED_BYTES
from stream_manager_local.protocol.codes import Persistence
from stream_manager_local.store.events import Appended
from support.exports import HASTY, definition, s3_export, staged, to_scripted, until
from support.other_owner import OTHER_UID
from support.s3_transports import MIB, new_file
from support.scripted_s3 import Line, ScriptedS3, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from s3_file_uploader.transport.s3.transport import S3Transport
    from stream_manager_local.store.events import Event


def _vanish(path: str) -> None:
    os.unlink(path)


def _loop(path: str) -> None:
    os.unlink(path)
    os.symlink(path, path)


def _grow(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def _become_a_fifo(path: str) -> None:
    os.unlink(path)
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("change", "ends"),
    [(_vanish, "Failure"), (_loop, "Failure"), (_grow, "Success"), (_become_a_fifo, "Failure")],
)
def test_a_file_may_become_another_between_the_look_at_it_and_its_opening(
    tmp_path: Path, change: Callable[[str], None], ends: str
) -> None:
    path = new_file(tmp_path, 10)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), in_progress="always") as stage:

            def on_first_status(event: Event) -> None:
                if isinstance(event, Appended) and event.stream.definition.name == "status":
                    unwatch()
                    change(path)

            unwatch = stage.store.watch(on_first_status)
            stage.append(path, "key")
            stage.append(new_file(tmp_path, 10, "other"), "other")
            assert [name for _, name in await stage.ended(2)][1::2] == [ends, "Success"]

    with ScriptedS3() as store:
        asyncio.run(run())


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user to whom rights mean something, should the tests be run by root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(OTHER_UID)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


@pytest.mark.parametrize("closed", ["file", "folder"])
def test_what_this_user_may_not_read_is_a_failure_that_says_so(tmp_path: Path, closed: str) -> None:
    async def run(folder: Path) -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            secret = folder / "below" / "secret"
            secret.parent.mkdir()
            secret.write_bytes(b"x")
            (folder / "open").write_bytes(b"x")
            (secret if closed == "file" else secret.parent).chmod(0)
            stage.append(folder / "open", "before")  # what is imported late may be closed to the other user
            await stage.ended(1)
            with unprivileged():
                stage.append(secret, "secret")
                await stage.ended(2)
            stage.append(folder / "open", "after")
            assert await stage.ended(3) == [(0, "Success"), (1, "Failure"), (2, "Success")]
            assert f"{secret} cannot be read: Permission denied" in stage.statuses()[1]["message"]
            secret.parent.chmod(0o755)

    with ScriptedS3() as store, tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # the other user passes through
        asyncio.run(run(Path(name)))


def test_tasks_that_are_damaged_on_the_disk_are_left_out_and_the_others_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = new_file(tmp_path, 10)

    def kept(*, disabled: bool) -> object:
        export = s3_export(disabled=disabled)
        return definition("kept", export, persistence=Persistence.FILE, segment_size=1024)

    async def first() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.store.create(kept(disabled=True))  # type: ignore[arg-type]
            for number in range(30):
                stage.append(path, f"{number}", to="kept")

    async def second() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.store.update(kept(disabled=False))  # type: ignore[arg-type]
            await until(lambda: stage.cursor("kept") == 30)
            told = [number for number, _ in stage.told()]
            assert told == sorted(set(told))
            assert told[0] == 0
            assert told[-1] == 29
            assert len(told) < 30

    with ScriptedS3() as store:
        asyncio.run(first())
        segments = sorted((tmp_path / "store").glob("kept-*/*.segment"))
        assert len(segments) > 2
        content = bytearray(segments[1].read_bytes())
        content[100:200] = b"x" * 100
        segments[1].write_bytes(content)
        asyncio.run(second())
    assert "tasks cannot be read and are left out" in caplog.text


def test_of_very_many_tasks_that_are_canceled_at_once_only_some_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with staged(tmp_path, None, exports=(s3_export(disabled=True),)) as stage:
            padding = {"x": "x" * 100_000}
            for number in range(60):
                stage.append("/x", f"{number}", userMetadata=padding)
            stage.store.delete("tasks")
            size = len(json.dumps({"userMetadata": padding})) + 60
            told = await stage.ended(MOST_CANCELED_BYTES // size)
            assert told == [(number, "Canceled") for number in range(len(told))]

    asyncio.run(run())
    assert "those from 41 on get no status" in caplog.text


def test_an_error_in_the_server_fails_the_task_and_not_the_export(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def break_once(bucket: str) -> S3Transport:
        if bucket == "broken":
            raise RuntimeError("a bug")
        return to_scripted(store)(bucket)

    async def run() -> None:
        async with staged(tmp_path, break_once) as stage:
            path = new_file(tmp_path, 10)
            stage.append(path, "key", bucket="broken")
            stage.append(path, "key")
            assert await stage.ended(2) == [(0, "Failure"), (1, "Success")]
            assert "error in this server" in stage.statuses()[0]["message"]

    with ScriptedS3() as store:
        asyncio.run(run())
    assert "a bug" in caplog.text


def test_settings_that_lead_nowhere_are_told_as_failures(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, None, region="no region") as stage:
            stage.append(new_file(tmp_path, 10), "key")
            assert await stage.ended(1) == [(0, "Failure")]
            assert "no region" in stage.statuses()[0]["message"]

    asyncio.run(run())


def test_an_abort_that_is_not_answered_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    def play(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.method == "DELETE":
                line.server.is_over.wait(60)
                return
            if request.query.get("partNumber") == "2":
                line.refuse(403, "AccessDenied")
            else:
                serve(line, request, body)

    async def run() -> None:
        patience = replace(HASTY, take_back=0.05)
        async with staged(tmp_path, to_scripted(store), patience=patience) as stage:
            stage.append(new_file(tmp_path, 6 * MIB), "key")
            assert await stage.ended(1) == [(0, "InProgress"), (0, "Warning"), (0, "Failure")]
            assert "no answer within 0.05 s" in stage.statuses()[1]["message"]

    with ScriptedS3(play) as store:
        asyncio.run(run())


def test_a_worker_that_dies_of_an_error_begins_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stream_manager_local.export import executor

    monkeypatch.setattr(executor, "_AFTER_ERROR_SECONDS", 0.01)
    is_broken = True

    def wall() -> float:
        if is_broken:
            raise RuntimeError("a clock that broke")
        return 1e9

    async def run() -> None:
        nonlocal is_broken
        async with staged(tmp_path, None, wall=wall, success_without_upload=True) as stage:
            stage.append("/x", "key")
            await until(lambda: "a clock that broke" in caplog.text)
            is_broken = False
            assert (await stage.ended(1))[-1] == (0, "Success")

    asyncio.run(run())
