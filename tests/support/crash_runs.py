"""Kills the real uploader, by SIGKILL, right before its n-th step, for every n, and starts it again.

A step is a call to the file system's edge, a commit of the ledger, or a word to or from the far side.
Nothing in the product knows of it: edge, ledger and transport are subclassed here. Run as a program,
for a fresh interpreter without threads: each life of the uploader is then a fork, and costs no start.

    python crash_runs.py HOME CASE FIRST STRIDE     prints one JSON line for each n = FIRST, FIRST + STRIDE, …
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import sqlite3
import sys
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.model import Receipt
from s3_file_uploader.pipeline import Uploader
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.hidden import PREFIX
from support import lives
from support.lives import QUICK, SteppingLedger, Steps

if TYPE_CHECKING:
    import random

    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.contract import Delivery

__all__ = ["CASES", "Life", "main"]

CASES = ("delete", "archive", "marker", "without leases")
_REPLACED = b"b.csv"
_FIRST = {b"a.csv": b"content of a", b"b.csv": b"first content of b", b"c.csv": b""}
_SECOND = b"second content of b, which is longer"
_MARKER = ".done"


class SteppingEdge(Edge):
    """Every call is a step; right before or after a file gets its hidden name its producer replaces it, once."""

    def __init__(self, life: Life, steps: Steps) -> None:
        self.life = life
        self.steps = steps

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        if name.startswith("_") or name not in vars(Edge):
            return method
        steps: Steps = object.__getattribute__(self, "steps")
        life: Life = object.__getattribute__(self, "life")

        def call(*arguments: Any, **named: Any) -> Any:
            steps.step()
            if name == "set_lease" and life.case == "without leases":
                raise PermissionError(13, "refused")
            is_hiding = name == "rename_noreplace" and arguments[1] == _REPLACED
            if is_hiding and life.replaces_before:
                life.replace()
            result = method(*arguments, **named)
            if is_hiding and not life.replaces_before:
                life.replace()
            return result

        return call


@dataclass(frozen=True)
class DiskTransport:
    """A far side that outlives the process: a folder, and a list of all that was ever put there."""

    folder: str
    steps: Steps

    async def deliver(self, delivery: Delivery) -> Receipt:
        opened = delivery.source.open()
        try:
            opened.check_unchanged()
            content = os.pread(opened.fileno(), 1000, 0)
            self.steps.step()
            await asyncio.sleep(0)
            self._put(delivery.key, content)
            self.steps.step()
            opened.check_unchanged()
        finally:
            opened.close()
        return Receipt(delivery.bucket, delivery.key, len(content), f"crc32:{zlib.crc32(content):08x}")

    def _put(self, key: str, content: bytes) -> None:
        path = os.path.join(self.folder, key)
        with open(f"{path}.new", "wb") as file:
            file.write(content)
        os.replace(f"{path}.new", path)
        with open(os.path.join(self.folder, ".puts"), "ab") as file:
            file.write(json.dumps([key, content.decode()]).encode() + b"\n")

    async def abandon(self, checkpoint: Checkpoint) -> None: ...

    async def close(self) -> None: ...


@dataclass
class Life:
    """One scenario in a folder of its own: three files, one of which is replaced while it is being removed."""

    home: str
    case: str
    replaces_before: bool
    folder: str = field(init=False)

    def __post_init__(self) -> None:
        self.folder = os.path.join(self.home, "data")
        self.archive = os.path.join(self.home, "archive")
        self.far = os.path.join(self.home, "far")

    def prepare(self) -> None:
        shutil.rmtree(self.home, ignore_errors=True)
        for folder in (self.folder, self.archive, self.far):
            os.makedirs(folder)
        for number, (name, content) in enumerate(_FIRST.items()):
            self._write(os.fsencode(self.folder) + b"/" + name, content, 1000 + number)

    def _write(self, path: bytes, content: bytes, seconds: int) -> None:
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, (seconds, seconds))
        if self.case == "marker":
            with open(path + _MARKER.encode(), "wb"):
                pass

    @property
    def is_replaced(self) -> bool:
        return os.path.exists(os.path.join(self.home, "replaced"))

    def replace(self) -> None:
        if self.is_replaced:
            return
        with open(self._new, "wb") as file:
            file.write(_SECOND)
        with open(os.path.join(self.home, "replaced"), "wb"):
            pass
        self.finish_replacing()

    def finish_replacing(self) -> None:
        """The producer lives in the same process, and may have died half-way: another one goes on."""
        path = os.path.join(os.fsencode(self.folder), _REPLACED)
        if not self.is_replaced:
            return
        if os.path.exists(self._new):
            os.rename(self._new, path)
        if self.case == "marker" and os.path.exists(path):
            with open(path + _MARKER.encode(), "wb"):
                pass

    @property
    def _new(self) -> bytes:
        return os.path.join(os.fsencode(self.folder), b".new")

    # One life of the process.

    def live(self, deadly: int | None) -> bool:
        """Whether it survived."""
        return lives.live(lambda: asyncio.run(self._drain(Steps(deadly))))

    async def _drain(self, steps: Steps) -> None:
        more: dict[str, Any] = {}
        if self.case == "archive":
            more = {"after_upload": "archive", "archive_directory": self.archive}
        elif self.case == "marker":
            more = {"done_marker": _MARKER}
        rule = Rule(
            name="default",
            path_name=os.path.join(self.folder, "*.csv"),
            bucket_name="bucket",
            **{**QUICK, **more},
        )
        settings = Settings(name="crash", state_directory=os.path.join(self.home, "state"), rules=(rule,))
        SteppingLedger.steps = steps
        ledger = SteppingLedger.open(settings.state_directory, settings.name)
        try:
            await Uploader(
                settings,
                ledger,
                transports=lambda _: DiskTransport(self.far, steps),
                until_done=True,
                include_active=True,
                edge=SteppingEdge(self, steps),
            ).run()
        finally:
            ledger.close()

    # What must hold.

    def assert_nothing_lost(self) -> None:
        """At any moment: each content is on the disk, under whatever name, or was put on the far side, whole."""
        puts = self._puts()
        for key, content in puts:
            assert content in self._contents(key), f"{key} was half: {content!r}"
        on_disk = {self._content(name) for name in os.listdir(os.fsencode(self.folder))}
        for name in _FIRST:
            for version in self._versions(name):
                is_put = any(content == version and name in self._names(key) for key, content in puts)
                assert is_put or version in on_disk, f"{version!r} is lost"

    def assert_all_done(self) -> None:
        self.assert_nothing_lost()
        # What no producer ever said it had written was never a candidate.
        left = [name for name in os.listdir(self.folder) if name != ".new"]
        assert left == [], f"left in the folder: {left}"
        for name in _FIRST:
            with open(os.path.join(os.fsencode(self.far), name), "rb") as file:
                assert file.read() == self._versions(name)[-1], f"{name!r} is an older version"
        if self.case == "archive":
            self._assert_archived()
        with contextlib.closing(
            sqlite3.connect(os.path.join(self.home, "state", "crash", "ledger.db"))
        ) as one:
            assert one.execute("SELECT name, state FROM file").fetchall() == []
            assert one.execute("SELECT count(*) FROM intent").fetchone() == (0,)
            assert one.execute("PRAGMA integrity_check").fetchone() == ("ok",)

    def _assert_archived(self) -> None:
        contents = []
        for place, _, names in os.walk(os.fsencode(self.archive)):
            for name in names:
                assert not name.startswith(PREFIX), name
                with open(os.path.join(place, name), "rb") as file:
                    contents.append(file.read())
        whole = [version for name in _FIRST for version in self._versions(name)]
        assert set(contents) <= set(whole), contents
        assert {self._versions(name)[-1] for name in _FIRST} <= set(contents), contents

    def _names(self, key: str) -> tuple[bytes, ...]:
        """Whose content an object may have: older content whose name was used again gets a name of its own."""
        return (_REPLACED,) if key.startswith("recovered-") else (key.encode(),)

    def _contents(self, key: str) -> list[bytes]:
        return [version for name in self._names(key) for version in self._versions(name)]

    def _versions(self, name: bytes) -> list[bytes]:
        return [_FIRST[name], _SECOND] if name == _REPLACED and self.is_replaced else [_FIRST[name]]

    def _content(self, name: bytes) -> bytes:
        with open(os.path.join(os.fsencode(self.folder), name), "rb") as file:
            return file.read()

    def _puts(self) -> list[tuple[str, bytes]]:
        with contextlib.suppress(FileNotFoundError), open(os.path.join(self.far, ".puts"), "rb") as file:
            return [(key, content.encode()) for key, content in map(json.loads, file)]
        return []


def _run(life: Life, deadly: list[int]) -> bool:
    """Die at each of these steps in turn, then live to the end. Whether the first of them was reached."""
    life.prepare()
    reached = False
    for place, step in enumerate(deadly):
        survived = life.live(step)
        life.assert_nothing_lost()
        if place == 0:
            reached = not survived
        if survived:
            break
    life.finish_replacing()
    life.live(None)
    if os.listdir(life.folder):  # a drain does not wait for what is written while it runs
        life.live(None)
    life.assert_all_done()
    return reached


def main() -> None:
    home, case = sys.argv[1:3]

    def story(step: int, chosen: random.Random, told: dict[str, Any]) -> bool:
        life = Life(os.path.join(home, str(step)), case, replaces_before=chosen.random() < 0.5)
        # Every other time a second death, somewhere in what follows the first.
        deadly = [step, chosen.randrange(1, 60)] if chosen.random() < 0.5 else [step]
        told.update(deadly=deadly, replaces_before=life.replaces_before)
        reached = _run(life, deadly)
        shutil.rmtree(life.home)
        return reached

    lives.play(story, *map(int, sys.argv[3:5]))


if __name__ == "__main__":
    main()
