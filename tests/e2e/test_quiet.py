"""With the store away, `run` waits: almost no CPU, a handful of lines, and no file is held to account."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from support.doorways import Doorway

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import SeaweedFS

_FILES = 400
_AWAY_SECONDS = float(os.environ.get("QUIET_SECONDS", "12"))
_CPU_SHARE = 0.03  # of one core, while it is away; measured: about a tenth of that


def _cpu_seconds(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.slow
@pytest.mark.parametrize("away", ["refuses", "says nothing"])
def test_run_waits_for_a_store_that_is_away_and_then_delivers_everything(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str, away: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for number in range(_FILES):
        (folder / f"{number:04}.csv").write_bytes(b"%d\n" % number)
    log = tmp_path / "run.log"
    command = [
        *(sys.executable, "-m", "s3_file_uploader", "run", str(folder), f"s3://{bucket}"),
        *("--active-file", "none", "--settle-time", "0.1s", "--interval", "1s", "--name", "quiet"),
        *("--retry-backoff-max", "4s"),
    ]
    with Doorway() as doorway, open(log, "wb") as errors:
        if away == "says nothing":
            doorway.swallow()
        environment = {
            **os.environ,
            **seaweed.environment,
            "AWS_ENDPOINT_URL_S3": doorway.url,
            "XDG_STATE_HOME": str(tmp_path / "state"),
        }
        with subprocess.Popen(command, env=environment, stderr=errors) as process:
            try:
                _until_it_waits(log, doorway, away)
                before = _cpu_seconds(process.pid)
                time.sleep(_AWAY_SECONDS)
                used = _cpu_seconds(process.pid) - before
                lines = log.read_text(encoding="utf-8").splitlines()
                attempts = _attempts(tmp_path)

                doorway.lead_to(seaweed.endpoint_url)
                while os.listdir(folder):
                    assert process.poll() is None
                    time.sleep(0.1)
                process.send_signal(signal.SIGTERM)
                assert process.wait() == 0
            finally:
                process.kill()

    assert used < _CPU_SHARE * _AWAY_SECONDS, lines
    assert len(lines) <= 3, lines
    assert attempts == (_FILES, 0)
    assert len(seaweed.list_objects(bucket)) == _FILES


def _until_it_waits(log: Path, doorway: Doorway, away: str) -> None:
    """Started, and what it does at its start is over."""
    while " paused " not in log.read_text(encoding="utf-8") if away == "refuses" else doorway.taken < 8:
        time.sleep(0.1)
    time.sleep(1.0)


def _attempts(home: Path) -> tuple[int, int]:
    """How many files the ledger has, and the most attempts that one of them has used up."""
    ledger = home / "state" / "s3-file-uploader" / "quiet" / "ledger.db"
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
        [row] = connection.execute("SELECT count(*), max(attempts) FROM file").fetchall()
        return row[0], row[1]
