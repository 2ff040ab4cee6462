"""The commands as a person types them: real processes, a real S3 server, real signals."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader import control

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.seaweed import SeaweedFS

_PROGRAM = [sys.executable, "-m", "s3_file_uploader"]
_NEWEST = "newest in its folder; ActiveFileTimeout or --include-active sends it"
_QUICK = ("--settle-time", "0.1s", "--settle-time-unverified", "0.1s", "--interval", "0.5s")


class Device:
    """A folder, a state directory, and the way to a bucket."""

    def __init__(self, home: Path, server: SeaweedFS, bucket: str) -> None:
        self.folder = home / "data"
        self.folder.mkdir()
        self.server = server
        self.bucket = bucket
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(home / "state"),
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }

    @property
    def route(self) -> tuple[str, ...]:
        return (
            str(self.folder),
            f"s3://{self.bucket}/pre",
            "--endpoint-url",
            self.server.endpoint_url,
            *_QUICK,
        )

    def write(self, name: str, seconds: int, content: bytes = b"12345") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        os.utime(path, (seconds, seconds))
        return path

    def type(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """One command, to its end."""
        return subprocess.run(
            [*_PROGRAM, *map(str, arguments)],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def ledger(self) -> str:
        return self.type("ledger", "path").stdout.strip()

    @contextmanager
    def running(self, *arguments: object) -> Iterator[Daemon]:
        command = [*_PROGRAM, "run", *map(str, arguments or self.route)]
        with subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE, text=True) as process:
            try:
                yield Daemon(process)
            finally:
                process.kill()

    def objects(self) -> dict[str, int]:
        return self.server.list_objects(self.bucket)


class Daemon:
    """A running `run`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.lines: list[str] = []

    def log_until(self, wanted: str) -> str:
        """Read its log up to the line that holds `wanted`."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line)
            if wanted in line:
                return line
        raise AssertionError(f"{wanted!r} is not in {self.lines}")

    def end(self, number: int) -> int:
        self.process.send_signal(number)
        return self.process.wait()

    def rest_of_log(self) -> str:
        assert self.process.stderr is not None
        self.lines += self.process.stderr.readlines()
        return "".join(self.lines)


@pytest.fixture
def device(tmp_path: Path, seaweed: SeaweedFS, bucket: str) -> Device:
    return Device(tmp_path, seaweed, bucket)


def until(condition: Callable[[], bool]) -> None:
    """The test's own timeout is the bound."""
    while not condition():
        time.sleep(0.05)


def test_check_probes_the_store_and_leaves_nothing_behind(device: Device) -> None:
    device.write("a.csv", 1)

    answer = device.type("check", *device.route, "--probe")

    assert (answer.returncode, answer.stderr) == (0, "")
    assert "a probe object arrived and was proven" in answer.stdout
    assert "what the probe made was removed" in answer.stdout
    assert "from the environment (AWS_ACCESS_KEY_ID)" in answer.stdout
    assert "clock: within" in answer.stdout
    assert device.server.secret_key not in answer.stdout
    assert device.server.access_key not in answer.stdout
    assert device.objects() == {}
    assert os.listdir(device.folder) == ["a.csv"]


@pytest.mark.parametrize("fault", ["no bucket", "wrong secret", "nobody listens", "no credentials"])
def test_check_names_what_is_wrong_with_the_destination_and_exits_with_3(device: Device, fault: str) -> None:
    route = list(device.route)
    if fault == "no bucket":
        route[1] = "s3://no-such-bucket-here"
    elif fault == "wrong secret":
        device.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"
    elif fault == "nobody listens":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            route[3] = f"http://127.0.0.1:{free.getsockname()[1]}"
    else:
        del device.environment["AWS_ACCESS_KEY_ID"]

    answer = device.type("check", *route, "--json")

    told = json.loads(answer.stdout)
    failed = [finding for finding in told["findings"] if finding["level"] == "fail"]
    assert (answer.returncode, told["exit_code"], len(failed)) == (3, 3, 1)
    assert failed[0]["area"].startswith("credentials" if fault == "no credentials" else "store")
    assert failed[0]["try"]


def test_drain_sends_all_but_the_newest_and_the_questions_know_it(device: Device) -> None:
    gone, held = device.write("a.csv", 1), device.write("b.csv", 2)

    answer = device.type("drain", *device.route)

    assert answer.returncode == 0
    first, second, third = answer.stdout.splitlines()
    assert first.startswith("1 file delivered, 5 B in ")
    assert (second, third) == (f"1 file held: {_NEWEST}", f"  {held}")
    assert device.objects() == {"pre/a.csv": 5}
    assert (gone.exists(), held.exists()) == (False, True)
    assert "object: pre/a.csv" in device.type("explain", gone).stdout
    assert _NEWEST in device.type("explain", held).stdout
    [rule] = json.loads(device.type("status", "--json").stdout)["rules"]
    assert (rule["ever"]["removed"], rule["now"]["held"]["files"]) == (1, 1)

    assert device.type("drain", *device.route, "--include-active").stdout.startswith("1 file delivered")
    assert sorted(device.objects()) == ["pre/a.csv", "pre/b.csv"]


@pytest.mark.parametrize(
    ("variable", "code"),
    [("AWS_ACCESS_KEY_ID", "InvalidAccessKeyId"), ("AWS_SECRET_ACCESS_KEY", "SignatureDoesNotMatch")],
)
def test_drain_to_a_store_that_takes_nothing_exits_with_3_and_keeps_the_only_file(
    device: Device, variable: str, code: str
) -> None:
    device.environment[variable] = "nobody-knows-this"
    path = device.write("a.csv", 1)

    answer = device.type("drain", *device.route, "--include-active")

    assert answer.returncode == 3
    assert code in answer.stdout
    assert "Try: " in answer.stdout.splitlines()[-1]
    assert path.exists()


def test_drain_shows_a_bar_on_a_terminal(device: Device) -> None:
    device.write("a.csv", 1)
    main_end, terminal = pty.openpty()
    process = subprocess.Popen(
        [*_PROGRAM, "drain", *device.route, "--include-active"],
        env=device.environment,
        stdout=subprocess.DEVNULL,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""
    while process.poll() is None or select.select([main_end], [], [], 0)[0]:
        if select.select([main_end], [], [], 0.1)[0]:
            try:
                shown += os.read(main_end, 65536)
            except OSError:  # the other end is closed
                break
    os.close(main_end)

    assert process.wait() == 0
    assert b"1/1 files" in shown
    assert b"%|" in shown


def test_the_first_run_on_a_single_file_says_what_it_holds_back_and_why(device: Device) -> None:
    device.write("only.csv", 1)

    with device.running() as daemon:
        line = daemon.log_until(" held ")

        assert "files=1" in line
        assert f'reason="{_NEWEST}"' in line
        assert daemon.end(signal.SIGTERM) == 0


def test_a_service_manager_ends_run_with_0_and_ctrl_c_with_130(device: Device) -> None:
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with device.running() as daemon:
            daemon.log_until(" started ")

            assert daemon.end(number) == code
            assert " stopped " in daemon.rest_of_log()


def test_a_second_signal_ends_run_at_once_and_loses_nothing(device: Device) -> None:
    path = device.write("a.csv", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        route = [device.folder, f"s3://{device.bucket}", "--endpoint-url", address, *_QUICK]
        with device.running(*route, "--active-file", "none", "--log-level", "debug") as daemon:
            daemon.log_until(" sending ")
            daemon.process.send_signal(signal.SIGTERM)
            daemon.log_until(" stopping")

            assert daemon.end(signal.SIGTERM) == 128 + signal.SIGTERM
    assert path.exists()


def test_questions_and_retry_reach_a_running_daemon(device: Device) -> None:
    path = device.write("held.csv", 1)

    with device.running() as daemon:
        daemon.log_until(" held ")

        told = json.loads(device.type("status", "--json").stdout)
        assert told["daemon"] == {"running": True, "pid": daemon.process.pid}
        assert "unchanged for" in device.type("explain", path).stdout
        assert device.type("retry", "--all").stdout == "0 files to be tried again now\n"
        answer: Any = control.ask(device.ledger(), "status")
        assert answer["pid"] == daemon.process.pid

        newer = device.write("newer.csv", 2)
        until(lambda: not path.exists())
        assert newer.exists()
        assert daemon.end(signal.SIGTERM) == 0
    assert control.NAME not in os.listdir(device.ledger())


def test_a_parked_file_goes_once_its_reason_is_mended_and_retry_is_asked(device: Device) -> None:
    name = os.fsdecode(b"\xff.csv")
    device.write(name, 1)
    route = (*device.route, "--active-file", "none")

    parked = device.type("drain", *route, "--key-escape", "off")
    again = device.type("drain", *route)
    released = device.type("retry", "--all")
    mended = device.type("drain", *route)

    assert (parked.returncode, again.returncode) == (1, 1)
    assert "1 file parked" in parked.stdout
    assert released.stdout.startswith("1 file to be tried again")
    assert mended.returncode == 0
    assert len(device.objects()) == 1


def test_drain_tries_at_once_what_failed_before(device: Device) -> None:
    """A second try is far away for `run`; who types `drain` has mended something."""
    device.write("a.csv", 1000)
    archive = device.folder.parent / "archive"
    archive.touch()  # no folder: nothing can be archived
    route = (
        *(*device.route, "--include-active", "--after-upload", "archive"),
        *("--archive-directory", archive, "--retry-backoff", "1h", "--retry-backoff-max", "1h"),
    )

    before = device.type("drain", *route)
    archive.unlink()
    after = device.type("drain", *route)

    assert (before.returncode, after.returncode) == (1, 0), (before, after)
    assert "1 file delivered and not removed" in before.stdout
    assert list(device.folder.iterdir()) == []


def test_a_second_daemon_on_the_same_ledger_names_the_first(device: Device) -> None:
    with device.running() as daemon:
        daemon.log_until(" started ")

        answer = device.type("drain", *device.route)

        assert answer.returncode == 2
        assert f"process {daemon.process.pid} holds the ledger" in answer.stderr
        assert "Try: " in answer.stderr


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_no_secret_is_in_the_log_of_a_run_however_much_it_tells(device: Device, log_format: str) -> None:
    device.environment["AWS_ACCESS_KEY_ID"] = "unknown-key-unknown-key"
    device.write("a.csv", 1)

    route = (*device.route, "--active-file", "none", "--log-level", "debug", "--log-format", log_format)
    with device.running(*route) as daemon:
        daemon.log_until("paused")
        assert daemon.end(signal.SIGINT) == 130
        log = daemon.rest_of_log()

    assert device.server.secret_key not in log
    assert "unknown-key" not in log
    assert "Signature=" not in log
    if log_format == "json":
        assert all(json.loads(line)["event"] for line in log.splitlines())
