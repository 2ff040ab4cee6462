"""A user who owns the folder but not the files: everything still leaves, only with other evidence."""

from __future__ import annotations

import os
import time
from datetime import datetime
from typing import TYPE_CHECKING

import pytest

from support.folder_owner import Owner, folder_owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.seaweed import SeaweedFS

_UNVERIFIED_SECONDS = 2.0
_QUICK = (
    *("--settle-time", "0.1s", "--settle-time-unverified", f"{_UNVERIFIED_SECONDS:g}s", "--interval", "0.5s"),
    *("--log-level", "info"),
)


@pytest.fixture
def owner(seaweed: SeaweedFS, bucket: str) -> Iterator[Owner]:
    with folder_owner(seaweed, bucket) as one:
        yield one


def _write(path: Path, content: bytes, mtime: int) -> None:
    path.write_bytes(content)
    path.chmod(0o644)
    os.utime(path, (mtime, mtime))


def _moments(log: str, event: str) -> list[datetime]:
    return [
        datetime.fromisoformat(line.split()[0].removesuffix("Z"))
        for line in log.splitlines()
        if f" INFO {event} " in line
    ]


def test_drain_delivers_and_removes_files_of_somebody_else_once_time_has_spoken_for_them(
    owner: Owner,
) -> None:
    for number in range(20):
        _write(owner.folder / f"{number:02}.csv", b"%d" % number, 1000 + number)

    answer = owner.type(owner.moving("drain", *_QUICK))

    assert answer.returncode == 0, answer.stderr
    assert os.listdir(owner.folder) == ["19.csv"]
    objects = owner.server.list_objects(owner.bucket)
    assert len(objects) == 19
    assert all(owner.server.read_object(owner.bucket, f"{n:02}.csv") == b"%d" % n for n in range(19))
    [started] = _moments(answer.stderr, "started")
    waited = min(_moments(answer.stderr, "delivered")) - started
    assert waited.total_seconds() >= _UNVERIFIED_SECONDS

    told = owner.type(owner.command("explain", str(owner.folder / "19.csv")))
    assert "time alone (SettleTimeUnverified): no lease is possible" in told.stdout
    checked = owner.type(owner.command("check", str(owner.folder), f"s3://{owner.bucket}"))
    assert "SettleTimeUnverified" in checked.stdout, checked.stdout + checked.stderr


def test_run_sees_by_watching_alone_when_somebody_else_closes_a_file(owner: Owner) -> None:
    with owner.running(*_QUICK, "--active-file", "none") as run:
        run.until(lambda: " started " in run.log.read_text())
        time.sleep(1.0)  # its first look is over: what comes now is watched from its first event
        with open(owner.folder / "slow.csv", "wb") as file:
            file.write(b"first, ")
            file.flush()
            time.sleep(2 * _UNVERIFIED_SECONDS)
            told = owner.type(owner.command("explain", str(owner.folder / "slow.csv"))).stdout
            before = owner.server.list_objects(owner.bucket)
            file.write(b"second")
        run.until(lambda: not os.listdir(owner.folder))
        run.stop()

    assert before == {}
    assert "watched (inotify) and not closed since its last change" in told
    assert owner.server.read_object(owner.bucket, "slow.csv") == b"first, second"


def test_a_file_that_may_not_be_read_stays_and_blocks_nobody(owner: Owner) -> None:
    _write(owner.folder / "closed.csv", b"x", 1)
    _write(owner.folder / "open.csv", b"y", 2)
    (owner.folder / "closed.csv").chmod(0o000)
    mended = False
    with owner.running(*_QUICK, "--active-file", "none", "--retry-backoff", "0.1s") as run:
        run.until(lambda: not (owner.folder / "open.csv").exists())
        if os.geteuid() == 0:
            run.until(lambda: "closed.csv cannot be read" in run.log.read_text())
            mended = True
        (owner.folder / "closed.csv").chmod(0o644)
        run.until(lambda: not os.listdir(owner.folder))
        run.stop()
    assert mended or os.geteuid() != 0
    assert sorted(owner.server.list_objects(owner.bucket)) == ["closed.csv", "open.csv"]
