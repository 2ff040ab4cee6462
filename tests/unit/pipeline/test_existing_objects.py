"""What becomes of a file whose object name another object has: OnExisting, from the ledger to the store."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.pipeline import Uploader
from s3_file_uploader.transport.s3.attributes import attributes_of
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.transport import S3Transport
from support.pipelines import rule, settings
from support.s3_transports import FIXED
from support.scripted_s3 import Line, ScriptedS3, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.config import Rule
    from s3_file_uploader.pipeline import Summary

MTIME_NS = 1_717_199_999_123_456_789
STAMPED = "a-20240531T235959-123456789Z"


def conditional(before: Callable[[Line, str], None] = lambda line, path: None) -> Callable[[Line], None]:
    """A store that knows If-None-Match; `before` is told each path that is put."""

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.method == "PUT":
                before(line, request.path)
                if request.headers.get("if-none-match") == "*" and request.path in line.server.objects:
                    line.refuse(412, "PreconditionFailed")
                    continue
            serve(line, request, body)

    return script


def uploader(store: ScriptedS3, state: Path, ledger: Ledger, one: Rule, **more: Any) -> Uploader:
    def transport(rule: Rule) -> S3Transport:
        endpoint = Endpoint.of("bucket", "eu-test-1", store.url)
        return S3Transport(endpoint, credentials=FIXED(), attributes=attributes_of(rule))

    return Uploader(settings(state, one), ledger, transports=transport, include_active=True, **more)


def drain(store: ScriptedS3, tmp_path: Path, on_existing: str) -> Summary:
    state = tmp_path / "state"
    ledger = Ledger.open(str(state), "test")
    one = rule(tmp_path / "out", on_existing=on_existing)
    try:
        return asyncio.run(uploader(store, state, ledger, one, until_done=True).run())
    finally:
        ledger.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    path = tmp_path / "out" / "a.csv"
    path.write_bytes(b"mine")
    os.utime(path, ns=(MTIME_NS, MTIME_NS))
    return path


def key_in_the_ledger(tmp_path: Path) -> str:
    """What another process reads, so what was committed."""
    connection = sqlite3.connect(f"file:{tmp_path}/state/test/ledger.db?mode=ro", uri=True)
    try:
        return str(connection.execute("SELECT key FROM file").fetchone()[0])
    finally:
        connection.close()


def test_an_object_is_overwritten_by_default(path: Path, tmp_path: Path) -> None:
    with ScriptedS3(conditional()) as store:
        store.objects["/bucket/a.csv"] = b"theirs"
        assert drain(store, tmp_path, "overwrite").delivered == 1
    assert store.objects["/bucket/a.csv"] == b"mine"
    assert not path.exists()


def test_skip_parks_the_file_at_once_with_its_reason(path: Path, tmp_path: Path) -> None:
    with ScriptedS3(conditional()) as store:
        store.objects["/bucket/a.csv"] = b"theirs"
        summary = drain(store, tmp_path, "skip")
    [(parked, reason)] = summary.parked
    assert parked == os.fsencode(path)
    assert "another object has the name s3://bucket/a.csv" in reason
    assert [request.method for request in store.requests] == ["PUT", "HEAD"]
    assert store.objects == {"/bucket/a.csv": b"theirs"}
    assert path.read_bytes() == b"mine"


def test_skip_takes_the_object_that_is_this_very_content_for_its_own(path: Path, tmp_path: Path) -> None:
    with ScriptedS3(conditional()) as store:
        store.objects["/bucket/a.csv"] = b"mine"
        assert drain(store, tmp_path, "skip").delivered == 1
    assert not path.exists()


def test_rename_sends_the_file_under_a_name_that_the_ledger_has_before(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: dict[str, str] = {}

    def before(line: Line, asked: str) -> None:
        del line
        seen[asked] = key_in_the_ledger(tmp_path)

    with caplog.at_level("INFO", "s3_file_uploader"), ScriptedS3(conditional(before)) as store:
        store.objects["/bucket/a.csv"] = b"theirs"
        store.objects[f"/bucket/{STAMPED}.csv"] = b"theirs too"
        assert drain(store, tmp_path, "rename").delivered == 1
    assert store.objects.pop(f"/bucket/{STAMPED}-2.csv") == b"mine"
    assert set(store.objects.values()) == {b"theirs", b"theirs too"}
    assert {asked: f"/bucket/{key}" for asked, key in seen.items()} == {asked: asked for asked in seen}
    assert len(seen) == 3
    told = [record.msg for record in caplog.records]
    assert (told.count("renamed"), told.count("retry")) == (2, 0)
    assert not path.exists()


def test_a_restart_goes_on_with_the_name_that_was_taken(path: Path, tmp_path: Path) -> None:
    renamed = f"/bucket/{STAMPED}.csv"
    state = tmp_path / "state"

    async def until_stalled(store: ScriptedS3, ledger: Ledger) -> None:
        running = uploader(store, state, ledger, rule(tmp_path / "out", on_existing="rename"))
        task = asyncio.ensure_future(running.run())
        while all(request.path != renamed for request in store.requests):  # noqa: ASYNC110  (another thread's)
            await asyncio.sleep(0.01)
        running.stop()
        store.is_over.set()
        await task

    def stalls(line: Line, asked: str) -> None:
        if asked == renamed:
            line.stall()
            line.reset()
            raise OSError("the line is gone")

    with ScriptedS3(conditional(stalls)) as store:
        store.objects["/bucket/a.csv"] = b"theirs"
        ledger = Ledger.open(str(state), "test")
        try:
            asyncio.run(until_stalled(store, ledger))
        finally:
            ledger.close()
    assert path.exists()
    with ScriptedS3(conditional()) as store:
        store.objects["/bucket/a.csv"] = b"theirs"
        assert drain(store, tmp_path, "rename").delivered == 1
    assert {request.path for request in store.requests} == {renamed}
    assert store.objects[renamed] == b"mine"
