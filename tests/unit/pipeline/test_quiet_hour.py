"""An hour with nobody there: simulated, so that each probe and each line of the log can be counted."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.pipeline import Clock, Uploader
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.pipelines import rule, settings
from support.virtual_time import run_in_virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from s3_file_uploader.transport.contract import Delivery

_HOUR = 3600.0
_FILES = 600


class _Away:
    """A destination that fails in one way, for as long as it is away."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self.asked = 0

    def __call__(self, _delivery: Delivery) -> Fault:
        self.asked += 1
        return self.fault


async def _an_hour(state: Path, folder: Path, away: _Away) -> tuple[int, float]:
    """The highest number of attempts that any file has after it, and the CPU seconds of all of it."""
    loop = asyncio.get_running_loop()
    one = rule(
        folder,
        active_file="none",
        interval_seconds=60.0,
        retry_backoff_seconds=1.0,
        retry_backoff_max_seconds=300.0,
    )
    made = settings(state, one)
    ledger = Ledger.open(made.state_directory, made.name)
    try:
        clock = Clock(monotonic=loop.time, wall=loop.time)
        uploader = Uploader(made, ledger, transports=lambda _: FakeTransport(script=away), clock=clock)
        running = asyncio.ensure_future(uploader.run())
        while not uploader.progress.paused:  # noqa: ASYNC110  # time must not jump before its first look is over
            await asyncio.sleep(0.004)
        before = time.process_time()
        await asyncio.sleep(_HOUR)
        used = time.process_time() - before
        uploader.stop()
        await running
        [most] = ledger.connection.execute("SELECT max(attempts) FROM file").fetchone()
        return int(most), used
    finally:
        ledger.close()


@pytest.mark.parametrize(
    ("fault", "attempts"), [(Fault.UNREACHABLE, 0), (Fault.MISCONFIGURED, 0), (Fault.BROKEN, 1)]
)
def test_an_hour_without_the_store_is_some_probes_and_a_handful_of_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: Fault, attempts: int
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(_FILES):
        (folder / f"{number}.csv").write_bytes(b"x")
    away = _Away(fault)

    with caplog.at_level(logging.INFO, "s3_file_uploader"):
        most_attempts, cpu_seconds = run_in_virtual_time(_an_hour(tmp_path / "state", folder, away))

    lines = [record.getMessage() for record in caplog.records]
    assert lines.count("paused") <= 2  # at its begin, and again after an hour
    assert len(lines) <= 8, lines
    assert most_attempts <= attempts
    # Those in flight when it went away, then one at a time, ever more rarely: five minutes at most.
    assert away.asked < _FILES
    assert len(list(folder.iterdir())) == _FILES
    assert cpu_seconds < _HOUR / 100
