"""A full disk below the ledger: the daemon waits for it, and its reserve lets it go on."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
from pathlib import Path

import pytest

from s3_file_uploader.errors import LedgerBusy, LedgerUnavailable
from s3_file_uploader.ledger import Ledger
from s3_file_uploader.ledger.database import Lock
from s3_file_uploader.pipeline.threads import LedgerThread


def fill(ledger: Ledger) -> None:
    ledger.connection.execute("CREATE TABLE IF NOT EXISTS ballast (data BLOB)")
    ledger.connection.execute("INSERT INTO ballast VALUES (zeroblob(500000))")


@pytest.fixture
def small_disk(tmp_path: Path) -> Ledger:
    ledger = Ledger.open(str(tmp_path), "l")
    ledger.connection.execute("PRAGMA max_page_count = 50")
    return ledger


def test_a_full_disk_is_an_error_that_may_pass(small_disk: Ledger) -> None:
    with pytest.raises(LedgerUnavailable, match="full") as caught, small_disk.transaction():
        fill(small_disk)
    assert "free space" in caught.value.advice
    small_disk.close()


def test_the_ledger_thread_waits_until_there_is_space_again(small_disk: Ledger) -> None:
    thread = LedgerThread(small_disk)
    waiting = thread.write(fill, small_disk)
    spent = small_disk.reserve

    async def scenario() -> None:
        for _ in range(2000):
            if (Path(small_disk.folder) / "reserve").stat().st_size == 0:
                break
            await asyncio.sleep(0.005)
        assert not waiting.done()
        small_disk.connection.execute("PRAGMA max_page_count = 100000")
        await asyncio.wrap_future(waiting)

    asyncio.run(scenario())
    assert thread.stop()
    assert small_disk.connection.execute("SELECT count(*) FROM ballast").fetchone() == (1,)
    spent.fill()
    assert (Path(small_disk.folder) / "reserve").stat().st_size > 0
    small_disk.close()


def test_a_stop_does_not_wait_for_a_full_disk(small_disk: Ledger) -> None:
    thread = LedgerThread(small_disk)
    waiting = thread.write(fill, small_disk)
    assert thread.stop(timeout_seconds=10)
    with pytest.raises(LedgerUnavailable):
        waiting.result()
    assert isinstance(small_disk.connection, sqlite3.Connection)
    small_disk.close()


def test_a_lock_whose_holder_cannot_be_written_into_it_holds_all_the_same(tmp_path: Path) -> None:
    """A limit of no bytes for any file stands in for a disk with none."""
    lock, limits = Lock(str(tmp_path)), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        lock.take()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert (lock.is_held(), lock.holder()) == (True, "")
    with pytest.raises(LedgerBusy, match="another process holds"):
        Lock(str(tmp_path)).take()
    lock.release()
