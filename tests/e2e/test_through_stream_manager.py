"""The commands, as a person types them, while files go through a Stream Manager."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.keys import unescape
from support.scripted_stream_manager import (
    APPEND,
    CANCELED,
    FAILURE,
    ScriptedStreamManager,
    Told,
    upload,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_PROGRAM = [sys.executable, "-m", "s3_file_uploader"]
_QUICK = ("--settle-time", "0.1s", "--settle-time-unverified", "0.1s", "--interval", "0.5s")


class Device:
    """A folder, and a Stream Manager that does what it is told once `server.outcome` says so."""

    def __init__(self, home: Path, server: ScriptedStreamManager) -> None:
        self.folder = home / "data"
        self.folder.mkdir()
        self.state = home / "state" / "s3-file-uploader"
        self.server = server
        foreign = ("AWS_", "STREAM_MANAGER_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        self.environment["XDG_STATE_HOME"] = str(home / "state")

    def route(self) -> tuple[str, ...]:
        way = ("--transport", "stream-manager", "--stream-manager-port", str(self.server.port))
        return (str(self.folder), "s3://bucket/pre", *way, *_QUICK, "--active-file", "none")

    def type(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_PROGRAM, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def told(self, *arguments: str) -> Any:
        return json.loads(self.type(*arguments, "--json").stdout)

    @contextmanager
    def running(self, *route: str) -> Iterator[None]:
        command = [*_PROGRAM, "run", *(route or self.route())]
        with subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.kill()

    def do_all(self) -> None:
        """From now on it uploads, what waits first."""

        def change() -> None:
            self.server.outcome = lambda task: upload(self.server, task)

        self.server.do(change)


def until(condition: Callable[[], bool]) -> None:
    """The test's own timeout is the bound."""
    while not condition():
        time.sleep(0.05)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    with ScriptedStreamManager() as server:
        server.outcome = lambda _task: None
        yield Device(tmp_path, server)


def test_a_file_that_waits_in_stream_manager_is_explained_and_keeps_its_stream(device: Device) -> None:
    path = device.folder / "a.csv"
    path.write_text("content")
    with device.running():
        until(lambda: any(stream.messages for stream in device.server.streams.values()))
        told = device.type("explain", str(path)).stdout
        assert "handed to Stream Manager: stream s3fu-" in told
        assert "half sent" not in told
        assert "→ s3://bucket/pre, by Stream Manager\n" in told
        assert "→ s3://bucket/pre, by Stream Manager\n" in device.type("status").stdout
        assert device.told("explain", str(path))["known"][0]["upload"] is None
        assert device.type("uploads", "list").stdout == ""
        assert device.told("status")["uploads"] == {"under_way": 0, "given_up": 0}
        waiting = [json.loads(line) for line in device.type("streams", "list", "--json").stdout.splitlines()]
        assert sum(each["tasks_waiting"] for each in waiting) == 1
        before = set(device.server.streams)
        assert "Nothing to delete" in device.type("streams", "prune", "--force").stdout
        assert set(device.server.streams) == before
        device.do_all()
        until(lambda: not path.exists())
    assert device.server.objects == {"pre/a.csv": b"content"}


@pytest.mark.parametrize("kind", [FAILURE, CANCELED])
def test_what_fails_again_and_again_is_parked_with_stream_managers_own_words_until_it_is_retried(
    device: Device, kind: int
) -> None:
    for name in ("bad.csv", "good.csv"):
        (device.folder / name).write_text(name)

    def outcome(task: dict[str, Any]) -> list[Told]:
        return [Told(kind, "disk on fire")] if "bad" in task["key"] else upload(device.server, task)

    device.server.outcome = outcome
    attempts = ("--max-attempts", "3", "--retry-backoff", "0.05s")
    assert device.type("drain", *device.route(), *attempts).returncode == 1
    [parked] = [json.loads(line) for line in device.type("list", "--json").stdout.splitlines()]
    assert parked["state"] == "parked"
    assert "disk on fire" in parked["reason"]
    handed_over = [
        json.loads(request["payload"])["key"]
        for operation, request in device.server.requests
        if operation == APPEND
    ]
    assert sorted(handed_over) == ["pre/bad.csv"] * 3 + ["pre/good.csv"]
    device.do_all()
    assert device.type("retry", "--all").returncode == 0
    assert device.type("drain", *device.route()).returncode == 0
    assert device.server.objects == {"pre/bad.csv": b"bad.csv", "pre/good.csv": b"good.csv"}


def test_an_odd_name_goes_under_an_alias_that_is_gone_afterwards(device: Device) -> None:
    name = b"50% of #1 \xff[x].csv"
    with open(os.path.join(os.fsencode(device.folder), name), "wb") as file:
        file.write(b"odd")
    device.do_all()
    dry_run = device.type("drain", *device.route(), "--dry-run").stdout
    outcome = device.type("drain", *device.route())
    assert outcome.returncode == 0, outcome.stderr
    [key] = device.server.objects
    assert unescape(key.removeprefix("pre/")) == name
    assert key in dry_run
    assert device.server.objects[key] == b"odd"
    [aliases] = device.state.glob(".aliases-*")
    assert list(aliases.iterdir()) == []


def test_without_escaping_an_odd_name_is_parked_at_once_and_nothing_is_handed_over(device: Device) -> None:
    (device.folder / "a b.csv").write_text("x")
    outcome = device.type("drain", *device.route(), "--key-escape", "off")
    assert outcome.returncode == 1
    [parked] = [json.loads(line) for line in device.type("list", "--json").stdout.splitlines()]
    assert parked["state"] == "parked"
    assert "which Stream Manager refuses in an object name" in parked["reason"]
    assert device.server.objects == {}


def test_a_name_made_for_the_way_straight_to_s3_is_made_anew_where_stream_manager_refuses_it(
    device: Device,
) -> None:
    (device.folder / "a b.csv").write_text("x")
    name = ("--name", "ledger")
    dead = ("--endpoint-url", "http://127.0.0.1:9", "--region", "r")
    device.environment |= {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    direct = (str(device.folder), "s3://bucket/pre", *_QUICK, *dead, "--active-file", "none", *name)
    with device.running(*direct):
        until(lambda: '"pre/a b.csv"' in device.type("list", "--json").stdout)
    device.do_all()
    assert device.type("drain", *device.route(), *name).returncode == 0
    assert device.server.objects == {"pre/a!20b.csv": b"x"}


def test_a_stream_manager_that_is_not_there_pauses_the_rule_until_it_is(device: Device) -> None:
    (device.folder / "a.csv").write_text("x")
    device.server.stop()
    with device.running():
        until(lambda: "no Stream Manager at 127.0.0.1" in device.type("status").stdout)
        assert (device.folder / "a.csv").exists()
        device.server.start()
        device.do_all()
        until(lambda: not (device.folder / "a.csv").exists())
    assert device.server.objects == {"pre/a.csv": b"x"}
