"""One soak: four producers, the real `run`, a real bucket, and eyes that look at the bucket all the while."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.keys import unescape
from support import producers
from support.producers import LONGEST_NAME_BYTES, TEMPORARY, WAYS, Order, Records

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from typing_extensions import Self

    from support.local_stream_manager import LocalStreamManager
    from support.seaweed import SeaweedFS

__all__ = ["Soak", "Watcher"]

_PROGRAM = [sys.executable, "-m", "s3_file_uploader"]
_PREFIX = "soak"
_IGNORED = b".not-a-candidate"
_SECONDS_BETWEEN_LOOKS = 0.3
_FEWEST_KILLS = 4


class Watcher:
    """Reads every object whenever it is new or another one, and holds it against the records.

    An object is read first and the records afterwards: what was finished before it could be sent is in them then.
    """

    def __init__(
        self,
        server: SeaweedFS,
        bucket: str,
        records: Records,
        *,
        may_be_between: Callable[[bytes], bool] = lambda _name: False,
    ) -> None:
        """`may_be_between`: of these names an object may be seen that is no finished version, for a while."""
        self._may_be_between = may_be_between
        self._server = server
        self._client = server.client()
        self._bucket = bucket
        self._reading = server.bucket(bucket)
        self._records = records
        self._etags: dict[str, str] = {}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher")
        self.seen: dict[bytes, set[str]] = {}  # name → SHA-256 of what was in the bucket
        self.wrong: list[str] = []
        self.looks = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def close(self) -> None:
        self._reading.close()

    def _run(self) -> None:
        try:
            while not self._ending.wait(_SECONDS_BETWEEN_LOOKS):
                self.look()
        except Exception as error:  # the test must hear of it
            self.wrong.append(f"the watcher died: {error!r}")
            raise

    def look(self) -> None:
        """Read whatever is new."""
        self.looks += 1
        read: list[tuple[bytes, str, int]] = []
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        for key, etag in [(one["Key"], one["ETag"]) for page in pages for one in page.get("Contents", [])]:
            if self._etags.get(key) != etag:
                content = self._reading.content(key)
                self._etags[key] = etag
                read.append((name_of(key), content.sha256, content.size_bytes))
        self._records.read()
        for name, sha256, size in read:
            self.check(name, sha256, size)

    def check(self, name: bytes, sha256: str, size: int) -> None:
        self.seen.setdefault(name, set()).add(sha256)
        if sha256 not in self._records.finished.get(name, []) and not self._may_be_between(name):
            self.wrong.append(f"{name!r}: an object of {size} bytes is no finished version of it")

    def now(self) -> dict[bytes, str]:
        """Every object, read anew: name → SHA-256."""
        found = {}
        for key, size in self._reading.objects():
            content = self._reading.content(key)
            assert content.size_bytes == size
            found[name_of(key)] = content.sha256
        return found

    def check_versions(self) -> None:
        """In a bucket that keeps versions: all that ever was under any key."""
        self._records.read()
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self._bucket)
        for version in [version for page in pages for version in page.get("Versions", [])]:
            answer = self._client.get_object(
                Bucket=self._bucket, Key=version["Key"], VersionId=version["VersionId"]
            )
            content = answer["Body"].read()
            self.check(name_of(version["Key"]), _sha256(content), len(content))


def name_of(key: str) -> bytes:
    assert key.startswith(f"{_PREFIX}/"), key
    return unescape(key[len(_PREFIX) + 1 :])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass
class Soak:
    """`files` are shared out among the producers, who take `seconds`; `kill` ends `run` every few seconds."""

    home: Path
    server: SeaweedFS
    bucket: str
    files: int
    seconds: float
    seed: int
    kill: bool
    longest_name: int = LONGEST_NAME_BYTES
    far_side: LocalStreamManager | None = None
    fewest_kills: int = _FEWEST_KILLS
    longest_life_seconds: float = 4.0
    kills: int = 0
    strikes: list[str] = field(default_factory=list)
    _daemon: subprocess.Popen[bytes] | None = None
    _producers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folder = os.fsencode(self.home / "data")
        os.mkdir(self.folder)
        for number in range(3):
            with open(os.path.join(self.folder, b"%s-%d" % (_IGNORED, number)), "wb"):
                pass
        self.log = self.home / "run.log"
        self.random = random.Random(self.seed)
        self.records = Records([str(self.home / f"{way}.records") for way in WAYS])
        # Stream Manager reads a file in its own time: where a producer writes it anew in place meanwhile,
        # what is between the two may be seen until the newer one is there.
        self.watcher = Watcher(
            self.server,
            self.bucket,
            self.records,
            may_be_between=lambda name: self.far_side is not None and b"reuse" in name,
        )

    # Processes.

    def _command(self, verb: str, *more: str) -> list[str]:
        return [
            *(*_PROGRAM, verb, os.fsdecode(self.folder), f"s3://{self.bucket}/{_PREFIX}"),
            *(*self._way, "--exclude", f"*{TEMPORARY.decode()}"),
            *(
                "--settle-time",
                "0.2s",
                "--interval",
                "1s",
                "--retry-backoff",
                "0.2s",
                "--name",
                "soak",
                *more,
            ),
        ]

    @property
    def _way(self) -> list[str]:
        if self.far_side is None:
            return ["--endpoint-url", self.server.endpoint_url]
        return ["--transport", "stream-manager", "--stream-manager-port", str(self.far_side.port)]

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self.server.environment, "XDG_STATE_HOME": str(self.home / "state")}

    def start_daemon(self) -> None:
        with open(self.log, "ab") as log:
            self._daemon = subprocess.Popen(self._command("run"), env=self._environment, stderr=log)

    def kill_daemon(self) -> None:
        assert self._daemon is not None
        assert self._daemon.poll() is None, self.tail_of_log()
        self._daemon.kill()
        self._daemon.wait()
        self.kills += 1

    def strike(self) -> None:
        """Kill something: the uploader; or Stream Manager, with or without what it holds; or both."""
        choices = (
            ["uploader"] if self.far_side is None else ["uploader", "server", "both", "wiped", "both, wiped"]
        )
        choice = self.random.choice(choices)
        self.strikes.append(choice)
        if choice not in ("server", "wiped"):
            self.kill_daemon()
        if self.far_side is not None and choice != "uploader":
            self.far_side.kill()
            if "wiped" in choice:
                shutil.rmtree(self.far_side.root)
            self.far_side.start()
        if choice not in ("server", "wiped"):
            self.start_daemon()

    def stop_daemon(self) -> None:
        assert self._daemon is not None
        self._daemon.send_signal(signal.SIGTERM)
        assert self._daemon.wait() == 0, self.tail_of_log()

    def drain_all(self) -> None:
        answer = subprocess.run(
            self._command("drain", "--include-active"),
            env=self._environment,
            capture_output=True,
            check=False,
        )
        assert answer.returncode == 0, (answer.stdout, answer.stderr)

    def tail_of_log(self) -> str:
        return self.log.read_text(encoding="utf-8")[-3000:]

    def start_producers(self) -> None:
        for number, (way, record) in enumerate(zip(WAYS, self.records.paths, strict=True)):
            order = Order(
                *(way, os.fsdecode(self.folder), record, self.files // len(WAYS), self.seconds),
                *(self.seed * 10 + number, max(1, self.files // 500), self.longest_name),
            )
            self._producers[way] = subprocess.Popen(
                [sys.executable, "-I", producers.__file__, order.to_json()], stdin=subprocess.PIPE
            )

    def end(self) -> None:
        """Whatever happened, nothing stays."""
        self.watcher.close()
        for process in [*self._producers.values(), *([self._daemon] if self._daemon else [])]:
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()

    # The course.

    def run(self) -> None:
        """Until every producer is done but for what it holds open, and everything that may go has gone."""
        self.start_daemon()
        self.start_producers()
        dies_at = None
        while not self._is_quiet() or (self.kill and len(self.strikes) < self.fewest_kills):
            self.assert_nothing_wrong()
            # Where more than one program dies, in lives of a second, there comes a time to let them work.
            is_enough = self.far_side is not None and len(self.strikes) >= self.fewest_kills
            if self.kill and not is_enough and dies_at is None and self._has_started():
                dies_at = time.monotonic() + self.random.uniform(0.0, self.longest_life_seconds)
            elif dies_at is not None and time.monotonic() >= dies_at:
                self.strike()
                dies_at = None
            time.sleep(0.1)
        while not self._has_started():  # before it has, a signal ends it as it ends any process
            time.sleep(0.05)
        self.stop_daemon()

    def _has_started(self) -> bool:
        """In this life of it: a start takes its time, and counts for nothing."""
        return self.log.read_text(encoding="utf-8").count(" INFO started ") > self.kills

    def _is_quiet(self) -> bool:
        assert self._daemon is not None
        assert self._daemon.poll() is None, self.tail_of_log()
        for way, process in self._producers.items():
            if way != "append" and process.poll() is None:
                return False
            assert process.poll() in (None, 0), way
        self.records.read()
        return bool(self.records.opened) and set(self.names()) == self.expected_to_stay()

    def close_what_is_open(self) -> None:
        process = self._producers["append"]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait() == 0

    # What is on the disk.

    def names(self) -> list[bytes]:
        return os.listdir(self.folder)

    def newest(self) -> bytes:
        candidates = [
            name for name in self.names() if not name.startswith(b".") and not name.endswith(TEMPORARY)
        ]
        dated = []
        for name in candidates:
            try:
                dated.append((os.stat(os.path.join(self.folder, name)).st_mtime_ns, name))
            except FileNotFoundError:
                continue
        return max(dated)[1] if dated else b""

    def expected_to_stay(self) -> set[bytes]:
        ignored = {b"%s-%d" % (_IGNORED, number) for number in range(3)}
        return ignored | self.records.opened | {self.newest()}

    # What must hold.

    def assert_nothing_wrong(self) -> None:
        assert not self.watcher.wrong, f"seed {self.seed}: {self.watcher.wrong[:5]}"
        # Nothing here is refused or fails: not a parked file, not a removal that did not work.
        errors = [line for line in self.log.read_text(encoding="utf-8").splitlines() if " ERROR " in line]
        assert not errors, f"seed {self.seed}: {errors[:5]}"

    def assert_consistent(self, held: set[bytes]) -> None:
        """Every name's last version is in the bucket, or held here; and no version was lost on the way."""
        self.records.read()
        now = self.watcher.now()
        for name, versions in self.records.finished.items():
            if name in held:
                continue
            assert name in now, f"seed {self.seed}: {name!r} is nowhere"
            assert now[name] == versions[-1], f"seed {self.seed}: {name!r} is an older version"
        assert not set(now) - set(self.records.finished), "objects that nobody finished"
        self.assert_nothing_wrong()

    def assert_no_version_lost(self) -> None:
        """Each version that stood complete on the disk was in the bucket, or its producer replaced it."""
        for name, versions in self.records.finished.items():
            lost = (
                set(versions) - self.watcher.seen.get(name, set()) - self.records.overwritten.get(name, set())
            )
            assert not lost, f"seed {self.seed}: {name!r} had versions that are nowhere: {lost}"

    def assert_no_upload_with_content_left(self) -> None:
        """One killed between the store's answer and the commit of its id is left empty: nobody can know of it."""
        client = self.server.client()
        for key, upload in self.server.open_uploads(self.bucket):
            parts = client.list_parts(Bucket=self.bucket, Key=key, UploadId=upload).get("Parts", [])
            assert parts == [], f"seed {self.seed}: {key!r} left {len(parts)} parts behind"
            client.abort_multipart_upload(Bucket=self.bucket, Key=key, UploadId=upload)

    def assert_nothing_left_behind(self) -> None:
        assert [name for name in self.names() if name.startswith(b".s3fu")] == []
        ledger = self.home / "state" / "s3-file-uploader" / "soak" / "ledger.db"
        with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as connection:
            states: dict[str, Any] = dict(
                connection.execute("SELECT state, count(*) FROM file GROUP BY state").fetchall()
            )
            intents = connection.execute("SELECT count(*) FROM intent").fetchone()[0]
            [sound] = connection.execute("PRAGMA integrity_check").fetchone()
        assert set(states) <= {"settling"}, states
        assert (intents, sound) == (0, "ok")
