"""The demo's stage: server, producer and the real `run`, side by side, and what can be seen of them.

It decides nothing about files: it starts the three, and a Stream Manager between the last two where that
is asked for, looks on, ends them in the right order (producer, `run`, Stream Manager, server), and
hands back what each of them left.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack, closing, suppress
from typing import TYPE_CHECKING

from s3_file_uploader.demo.bucket import Content
from s3_file_uploader.demo.comparison import Comparison, compare
from s3_file_uploader.demo.keeper import end_kept, start_kept
from s3_file_uploader.demo.local_stream_manager import LocalStreamManager
from s3_file_uploader.demo.producer import read_record
from s3_file_uploader.demo.seaweed import SeaweedFS
from s3_file_uploader.demo.view import Moment
from s3_file_uploader.keys import unescape

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["BUCKET", "PREFIX", "Stage"]

BUCKET = "demo"
PREFIX = "from-this-device"

_PRODUCER_GRACE_SECONDS = 10.0
_RUN_GRACE_SECONDS = 30.0
_RUN_START_SECONDS = 10.0
_RUN_LOOK_SECONDS = 0.02
_ACTIVE_FILE_TIMEOUT_SECONDS = 3
_LOG_LINES = 12
_LOG_TAIL_BYTES = 8192
_CHUNK_BYTES = 1 << 20


class Stage:
    """`with Stage() as stage:` starts all; leaving it ends them and removes the folder, unless kept."""

    def __init__(self, *, keep: bool = False, transport: str = "s3") -> None:
        self.home = os.path.join(tempfile.gettempdir(), f"s3-file-uploader-demo-{secrets.token_hex(4)}")
        self.folder = os.path.join(self.home, "outbox")
        self.log_path = os.path.join(self.home, "run.log")
        self._record_path = os.path.join(self.home, "produced.jsonl")
        self.is_kept = keep
        self.server = SeaweedFS(afterwards_remove=() if keep else (self.home,))
        self.stream_manager = LocalStreamManager(self.home) if transport == "stream-manager" else None
        self._producer: subprocess.Popen[bytes] | None = None
        self._run: subprocess.Popen[bytes] | None = None
        self._ending = ExitStack()

    def __enter__(self) -> Self:
        try:
            self.server.start()
            os.mkdir(self.home, 0o700)  # after the server: it removes the folder whenever it ends
            os.mkdir(self.folder)
            self._bucket = self._ending.enter_context(closing(self.server.bucket(BUCKET)))
            self._bucket.create()
            if self.stream_manager is not None:
                self.stream_manager.start(self._environment(leads_to_store=True))
            self._start_run()
            self._wait_for_run()
            self._start_producer()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    @property
    def destination(self) -> str:
        return f"s3://{BUCKET}/{PREFIX}"

    @property
    def run_command(self) -> list[str]:
        """What a person would type after `s3-file-uploader`."""
        return [
            "run",
            self.folder,
            self.destination,
            *self._way,
            "--active-file-timeout",
            str(_ACTIVE_FILE_TIMEOUT_SECONDS),
            "--interval",
            "2",
            "--state-directory",
            os.path.join(self.home, "state"),
        ]

    @property
    def _way(self) -> list[str]:
        if self.stream_manager is None:
            return ["--endpoint-url", self.server.endpoint_url]
        return ["--transport", "stream-manager", "--stream-manager-port", str(self.stream_manager.port)]

    def moment(self, seconds: float, doing: str = "") -> Moment:
        """What can be seen right now, without rates."""
        produced = read_record(self._record_path)
        sizes = [size_bytes for _, size_bytes in self._bucket.objects()]
        return Moment(
            seconds=seconds,
            produced_files=len(produced),
            produced_bytes=sum(content.size_bytes for content in produced.values()),
            waiting_files=self.waiting(),
            delivered_objects=len(sizes),
            delivered_bytes=sum(sizes),
            doing=doing,
            log=self.log_tail(),
        )

    def waiting(self) -> int:
        """How many files in the folder are not delivered and removed yet."""
        with os.scandir(self.folder) as entries:
            return sum(1 for entry in entries if not entry.name.startswith("."))

    def log_tail(self) -> list[str]:
        """The last lines that `run` logged."""
        with suppress(FileNotFoundError), open(self.log_path, "rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - _LOG_TAIL_BYTES))
            return log.read().decode("utf-8", "replace").splitlines()[-_LOG_LINES:]
        return []

    def run_has_ended(self) -> bool:
        return self._run is None or self._run.poll() is not None

    def end_producer(self) -> None:
        """Let it finish the file at hand."""
        if self._producer is not None:
            process, self._producer = self._producer, None
            end_kept(process, grace_seconds=_PRODUCER_GRACE_SECONDS)

    def end_run(self) -> int:
        """SIGTERM, as a service manager does; returns its exit code."""
        if self._run is None:
            return 0
        process, self._run = self._run, None
        return end_kept(process, grace_seconds=_RUN_GRACE_SECONDS)

    def compare(self) -> Comparison:
        """Read every object back and set it against the producer's record. Once nothing writes any more."""
        in_bucket = {
            os.fsdecode(unescape(key.removeprefix(f"{PREFIX}/"))): self._bucket.content(key)
            for key, _ in self._bucket.objects()
        }
        with os.scandir(self.folder) as entries:
            on_disk = {entry.name: _content_of(entry.path) for entry in entries if entry.is_file()}
        return compare(read_record(self._record_path), in_bucket, on_disk)

    def _environment(self, *, leads_to_store: bool) -> dict[str, str]:
        """Of this machine's none that leads elsewhere; through Stream Manager, `run` needs no credentials."""
        foreign = ("AWS_", "STREAM_MANAGER_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        environment["AWS_EC2_METADATA_DISABLED"] = "true"
        return {**environment, **self.server.environment} if leads_to_store else environment

    def _start_run(self) -> None:
        with open(self.log_path, "wb") as log:
            self._run = start_kept(
                [sys.executable, "-m", "s3_file_uploader", *self.run_command],
                grace_seconds=_RUN_GRACE_SECONDS,
                environment=self._environment(leads_to_store=self.stream_manager is None),
                folder=self.home,
                output=log.fileno(),
            )

    def _wait_for_run(self) -> None:
        """Until its first log line: from then on it also hears signals."""
        deadline = time.monotonic() + _RUN_START_SECONDS
        while not self.log_tail() and not self.run_has_ended() and time.monotonic() < deadline:
            time.sleep(_RUN_LOOK_SECONDS)

    def _start_producer(self) -> None:
        with open(os.path.join(self.home, "producer.log"), "wb") as log:
            self._producer = start_kept(
                [sys.executable, "-m", "s3_file_uploader.demo.producer", self.folder, self._record_path],
                grace_seconds=_PRODUCER_GRACE_SECONDS,
                folder=self.home,
                output=log.fileno(),
            )

    def _end(self) -> None:
        self.end_producer()
        self.end_run()
        if self.stream_manager is not None:
            self.stream_manager.stop()
        self._ending.close()
        self.server.stop()
        if not self.is_kept:
            shutil.rmtree(self.home, ignore_errors=True)


def _content_of(path: str) -> Content:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
        return Content(file.tell(), digest.hexdigest())
