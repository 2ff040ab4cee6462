"""ActiveFileTimeout is for the newest file of a folder, and for no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from s3_file_uploader.ledger.reader import Reader
from s3_file_uploader.source.readiness import Reason
from s3_file_uploader.transport.fake import FakeTransport
from support.pipelines import rule, running, settings, until

if TYPE_CHECKING:
    from pathlib import Path

    from s3_file_uploader.pipeline import Uploader


def _reasons(state: Path) -> list[str]:
    """Why each file on the disk waits."""
    reader = Reader.open(str(state / "test"))
    if reader is None:
        return []
    with reader:
        return [entry.reason for entry in reader.files()]


def test_a_file_goes_as_soon_as_a_newer_one_comes_however_long_the_timeout_is(tmp_path: Path) -> None:
    folder, state = tmp_path / "data", tmp_path / "state"
    folder.mkdir()
    (folder / "a").write_bytes(b"first")
    transport = FakeTransport()

    async def scenario(_: Uploader) -> None:
        await until(lambda: _reasons(state) == [Reason.NEWEST.value], "the wait for the timeout")
        (folder / "b").write_bytes(b"second")
        await until(lambda: "a" in transport.objects, "the delivery of what is not the newest any more")

    patient = rule(folder, active_file_timeout_seconds=3600.0)
    asyncio.run(running(settings(state, patient), transport, scenario))

    assert transport.objects == {"a": b"first"}
    assert (folder / "b").exists()
