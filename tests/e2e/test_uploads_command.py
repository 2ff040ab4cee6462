"""`uploads` as a person types it: real processes, a real S3 server, a large file that was cut off half-way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.seaweed import SeaweedFS

_PROGRAM = [sys.executable, "-m", "s3_file_uploader"]
_QUICK = ("--settle-time", "0.1s", "--settle-time-unverified", "0.1s", "--interval", "0.5s")
_SIZE = 20 * 1024 * 1024


class Device:
    """A folder with one large file, and a narrow way to a bucket."""

    def __init__(self, home: Path, server: SeaweedFS, bucket: str) -> None:
        self.path = home / "data" / "large.bag"
        self.path.parent.mkdir()
        self.path.write_bytes(os.urandom(1024) * (_SIZE // 1024))
        self.server, self.bucket = server, bucket
        self.environment = {
            **os.environ,
            "XDG_STATE_HOME": str(home / "state"),
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
        }

    def route(self, *more: str) -> tuple[str, ...]:
        place = (str(self.path.parent), f"s3://{self.bucket}/pre", "--endpoint-url", self.server.endpoint_url)
        return (*place, *_QUICK, "--active-file", "none", *more)

    def type(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*_PROGRAM, *arguments], env=self.environment, capture_output=True, text=True, check=False
        )

    def told(self, *arguments: str) -> Any:
        return json.loads(self.type(*arguments, "--json").stdout)

    @contextmanager
    def running(self, *more: str) -> Iterator[subprocess.Popen[bytes]]:
        """A daemon that has begun to send the file, a MB a second."""
        command = [*_PROGRAM, "run", *self.route("--max-bandwidth", "1MB", *more)]
        with subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL) as process:
            try:
                until(lambda: bool(self.uploads()))
                yield process
            finally:
                process.kill()

    def uploads(self) -> list[str]:
        return [upload_id for _, upload_id in self.server.open_uploads(self.bucket)]

    def cut_off(self) -> str:
        """A daemon dies in the middle of the file; the upload that it leaves."""
        with self.running() as process:
            until(lambda: bool(self.type("uploads", "list").stdout))
            process.send_signal(signal.SIGKILL)
        [upload_id] = self.uploads()
        return upload_id

    def clean(self) -> None:
        client = self.server.client()
        for key, upload_id in self.server.open_uploads(self.bucket):
            client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload_id)
        for key in self.server.list_objects(self.bucket):
            client.delete_object(Bucket=self.bucket, Key=key)


def until(condition: Callable[[], bool]) -> None:
    """The test's own timeout is the bound."""
    while not condition():
        time.sleep(0.05)


@pytest.fixture
def device(tmp_path: Path, seaweed: SeaweedFS, bucket: str) -> Iterator[Device]:
    device = Device(tmp_path, seaweed, bucket)
    yield device
    device.clean()


def test_a_file_that_was_cut_off_is_listed_explained_and_gone_on_with(device: Device) -> None:
    upload_id = device.cut_off()

    listed = device.type("uploads", "list").stdout
    assert listed.startswith(f"under way  {device.path}  # s3://{device.bucket}/pre/large.bag; begun ")
    assert "of 3 parts, " in listed
    assert "of 21.0 MB there" in listed
    assert f"upload id {upload_id}\n" in listed
    told = device.told("uploads", "list")
    assert (told["state"], told["upload_id"], told["size"], told["parts"]) == (
        "under_way",
        upload_id,
        _SIZE,
        3,
    )
    assert "half sent: " in device.type("explain", str(device.path)).stdout
    assert device.told("explain", str(device.path))["known"][0]["upload"]["upload_id"] == upload_id

    assert device.type("drain", *device.route()).returncode == 0
    assert device.server.list_objects(device.bucket) == {"pre/large.bag": _SIZE}
    assert device.type("uploads", "list").stdout == ""
    assert device.uploads() == []


@pytest.mark.parametrize("by", ["file", "upload id", "all"])
def test_an_upload_is_aborted_without_a_daemon(device: Device, by: str) -> None:
    upload_id = device.cut_off()

    told = device.told(
        "uploads", "abort", {"file": str(device.path), "upload id": upload_id, "all": "--all"}[by]
    )

    assert [one["upload_id"] for one in told["aborted"]] == [upload_id]
    assert (told["failed"], told["unknown"], told["daemon"]) == ([], [], False)
    assert device.uploads() == []
    assert device.type("uploads", "list").stdout == ""
    assert device.path.exists()


def test_a_running_daemon_aborts_an_upload_and_sends_the_file_from_its_start(device: Device) -> None:
    with device.running():
        [before] = device.uploads()
        told = device.told("uploads", "abort", str(device.path))
        assert ([one["upload_id"] for one in told["aborted"]], told["daemon"]) == ([before], True)
        until(lambda: bool(device.uploads()) and before not in device.uploads())


def test_the_upload_of_a_file_that_is_gone_is_taken_back_by_the_next_run(device: Device) -> None:
    device.cut_off()
    device.path.unlink()

    answer = device.type("drain", *device.route("--log-level", "info"))

    assert "aborted path=" in answer.stderr
    assert 'reason="its file is gone' in answer.stderr
    assert device.uploads() == []


def test_what_cannot_be_aborted_stays_listed_and_is_aborted_later(device: Device) -> None:
    [upload_id, *_] = [device.cut_off()]
    secret = device.environment["AWS_SECRET_ACCESS_KEY"]
    device.environment["AWS_SECRET_ACCESS_KEY"] = "wrong"

    answer = device.type("uploads", "abort", "--all")
    assert (answer.returncode, answer.stdout.splitlines()[0]) == (1, "0 uploads aborted")
    assert f"not now: {device.path} (upload id {upload_id}): AbortMultipartUpload" in answer.stdout
    told = device.told("uploads", "list")
    assert (told["state"], told["attempts"]) == ("given_up", 1)
    assert told["reason"] == "somebody asked for it"
    assert "1 try to abort it failed: " in device.type("uploads", "list").stdout

    device.environment["AWS_SECRET_ACCESS_KEY"] = secret
    assert device.type("uploads", "abort", "--given-up").stdout == "1 upload aborted\n"
    assert device.uploads() == []


def test_what_is_unknown_and_what_is_not_said_is_told(device: Device) -> None:
    device.cut_off()

    assert device.told("uploads", "abort", "never-heard-of")["unknown"] == ["never-heard-of"]
    assert device.type("uploads", "abort", "never-heard-of").returncode == 1
    for senseless in (["abort"], ["abort", "x", "--all"], ["abort", "--all", "--given-up"], ["list", "x"]):
        answer = device.type("uploads", *senseless)
        assert answer.returncode == 2
        assert "Try: " in answer.stderr
    assert len(device.uploads()) == 1


def test_a_ledger_that_somebody_holds_without_listening_is_named(device: Device) -> None:
    device.cut_off()
    folder = device.type("ledger", "path").stdout.strip()
    ledger = Ledger.open(*os.path.split(folder))
    try:
        answer = device.type("uploads", "abort", "--all")
    finally:
        ledger.close()
    assert answer.returncode == 2
    assert f"process {os.getpid()} holds the ledger" in answer.stderr
