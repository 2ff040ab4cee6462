"""A ledger that cannot be used any more: said clearly, set aside, and every file is found again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import SeaweedFS

_PROGRAM = (sys.executable, "-m", "s3_file_uploader")
# The real program, which dies by SIGKILL in the instant in which it would unlink its first file.
_DIES_UNLINKING = """
import os, signal, sys
from s3_file_uploader.cli import main
from s3_file_uploader.source.edge import Edge
Edge.unlink = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
main(sys.argv[1:])
"""


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["overwritten", "in its middle", "gone"])
def test_a_damaged_ledger_is_set_aside_and_a_file_left_hidden_by_a_kill_is_found_again(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str, damage: str
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    contents = {f"{number}.csv": b"content %d" % number for number in range(3)}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    environment = {**os.environ, **seaweed.environment, "XDG_STATE_HOME": str(tmp_path / "state")}
    route = [
        *(str(folder), f"s3://{bucket}", "--name", "damaged", "--active-file", "none"),
        *("--settle-time", "0.1s", "--interval", "0.5s"),
    ]

    def type_(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_PROGRAM, *words], env=environment, capture_output=True, text=True, check=False
        )

    died = subprocess.run(
        [sys.executable, "-c", _DIES_UNLINKING, "run", *route], env=environment, check=False
    )
    assert died.returncode == -signal.SIGKILL
    assert len([name for name in os.listdir(folder) if name.startswith(".s3fu-")]) == 1
    (folder / "later.csv").write_bytes(b"later")
    _damage(tmp_path / "state" / "s3-file-uploader" / "damaged", damage)

    if damage != "gone":
        refused = type_("run", *route)
        assert refused.returncode == 2
        assert "is damaged" in refused.stderr
        assert "ledger set-aside" in refused.stderr
        assert refused.stderr.count("\n") <= 3
        assert len(os.listdir(folder)) == 4
        aside = type_("ledger", "set-aside", *route[:2], "--name", "damaged")
        assert aside.returncode == 0, aside.stderr
        assert "set-aside-" in aside.stdout

    with subprocess.Popen([*_PROGRAM, "run", *route], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            while os.listdir(folder):
                assert process.poll() is None
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)
            assert process.wait() == 0
        finally:
            process.kill()

    found = {seaweed.read_object(bucket, key) for key in seaweed.list_objects(bucket)}
    assert found == {*contents.values(), b"later"}


def _damage(ledger: Path, how: str) -> None:
    database = ledger / "ledger.db"
    if how == "in its middle":
        # What the dead process wrote last is in the WAL: bring it home, so that the damage counts.
        import sqlite3

        connection = sqlite3.connect(database)
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        size = database.stat().st_size
        with open(database, "r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * (size - 4096))
        return
    for path in ledger.glob("ledger.db*"):
        path.unlink()
    if how == "overwritten":
        database.write_bytes(os.urandom(20_000))
