"""Folders that are missing, go away or lose their permissions: waited for, said once, and recovered."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from support.folder_owner import Owner, folder_owner

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.seaweed import SeaweedFS

_QUICK = (
    *("--settle-time", "0.1s", "--settle-time-unverified", "0.2s", "--interval", "0.5s"),
    *("--active-file", "none"),
)


@pytest.fixture
def owner(seaweed: SeaweedFS, bucket: str) -> Iterator[Owner]:
    with folder_owner(seaweed, bucket) as one:
        yield one


def test_a_folder_that_comes_goes_and_is_closed_is_told_of_once_and_recovered_each_time(owner: Owner) -> None:
    shutil.rmtree(owner.folder)

    def make() -> None:
        owner.folder.mkdir()
        owner.give(owner.folder)

    def deliver(name: str) -> None:
        (owner.folder / name).write_bytes(name.encode())
        run.until(lambda: not (owner.folder / name).exists())

    with owner.running(*_QUICK) as run:
        run.until(lambda: run.lines("waiting_for_folder") == 1)
        time.sleep(1.5)  # three scans later it has been said once all the same
        make()
        deliver("made.csv")

        (owner.folder / "lost.csv").mkdir()  # never a candidate
        shutil.rmtree(owner.folder)
        run.until(lambda: run.lines("waiting_for_folder") == 2)
        time.sleep(1.5)
        make()
        deliver("made again.csv")

        owner.folder.chmod(0o000)
        run.until(lambda: run.lines("waiting_for_folder") == 3)
        time.sleep(1.5)
        owner.folder.chmod(0o755)
        deliver("open again.csv")

        (owner.home / "aside").mkdir()
        owner.folder.rename(owner.home / "aside" / "data")
        (owner.home / "aside" / "data" / "not ours.csv").write_bytes(b"x")
        run.until(lambda: run.lines("waiting_for_folder") == 4)
        (owner.home / "aside" / "data" / "not ours.csv").write_bytes(b"xy")
        time.sleep(1.0)
        (owner.home / "aside" / "data").rename(owner.folder)
        run.until(lambda: not os.listdir(owner.folder))

        text = run.stop()

    assert run.lines("waiting_for_folder") == 4, text
    assert run.lines("folder_back") == 4, text
    assert " ERROR " not in text
    assert sorted(owner.server.list_objects(owner.bucket)) == [
        *("made again.csv", "made.csv", "not ours.csv", "open again.csv"),
    ]
