"""The disk below the ledger is full while the daemon runs: it waits, ends when told to, and loses nothing."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.ledger.database import translated
from s3_file_uploader.pipeline import Uploader, upkeep
from s3_file_uploader.transport.fake import FakeTransport
from support.pipelines import drain, rule, settings, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_stop_does_not_wait_for_space(folder: Path, tmp_path: Path) -> None:
    made = settings(tmp_path / "state", rule(folder, active_file="none"))
    ledger = Ledger.open(made.state_directory, made.name)
    transport = FakeTransport()

    async def scenario() -> None:
        uploader = Uploader(made, ledger, transports=lambda _: transport)
        task = asyncio.ensure_future(uploader.run())
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        ledger.connection.execute("PRAGMA query_only = ON")
        for number in range(20):
            (folder / f"{number}").write_bytes(b"x")
        await until((lambda: (tmp_path / "state/test/reserve").stat().st_size == 0), "the full disk")
        uploader.stop()
        await asyncio.wait_for(task, 9)

    asyncio.run(scenario())
    ledger.close()
    asyncio.run(drain(made, FakeTransport(objects=transport.objects)))
    assert len(transport.objects) == 20
    assert not list(folder.iterdir())


def test_a_stop_while_it_starts_does_not_wait_for_space(folder: Path, tmp_path: Path) -> None:
    made = settings(tmp_path / "state", rule(folder))
    ledger = Ledger.open(made.state_directory, made.name)
    ledger.connection.execute("PRAGMA query_only = ON")

    async def scenario() -> None:
        uploader = Uploader(made, ledger, transports=lambda _: FakeTransport())
        task = asyncio.ensure_future(uploader.run())
        await until((lambda: (tmp_path / "state/test/reserve").stat().st_size == 0), "the full disk")
        uploader.stop()
        await asyncio.wait_for(task, 9)

    asyncio.run(scenario())
    ledger.close()


class _FullWhenTidied(Ledger):
    tries = 0

    def tidy(self) -> None:
        self.tries += 1
        with translated(self.folder):
            raise sqlite3.OperationalError("database or disk is full")


def test_tidying_a_full_disk_does_not_end_the_daemon(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_ROUND_SECONDS", 0.01)
    monkeypatch.setattr(upkeep, "_ROUNDS_PER_TIDY", 1)
    made = settings(tmp_path / "state", rule(folder))
    ledger = _FullWhenTidied.open(made.state_directory, made.name)
    assert isinstance(ledger, _FullWhenTidied)

    async def scenario() -> None:
        uploader = Uploader(made, ledger, transports=lambda _: FakeTransport())
        task = asyncio.ensure_future(uploader.run())
        await until(lambda: ledger.tries > 2, "several tries")
        assert not task.done()
        uploader.stop()
        await task

    asyncio.run(scenario())
    ledger.close()
