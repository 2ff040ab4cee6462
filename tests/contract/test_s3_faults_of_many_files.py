"""What the whole pipeline makes of a store's faults: who waits, who is parked, what the log says, who recovers."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import AccessDenied
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.transport import S3Transport
from support import pipelines
from support.pipelines import drain, rule, running, settings
from support.s3_transports import FIXED, PATIENT
from support.scripted_s3 import Line, Request, ScriptedS3, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.config import Rule
    from s3_file_uploader.pipeline import Summary, Uploader

FILES = 30


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "folder"
    made.mkdir()
    for number in range(FILES):
        (made / f"file{number:02}").write_bytes(os.urandom(100))
    return made


def refusing(refuse: Callable[[Line, Request], bool]) -> Callable[[Line], None]:
    """Serves what `refuse` has not answered, and everything once the store is healed."""

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if line.server.is_healed.is_set() or not refuse(line, request):
                serve(line, request, body)

    return script


class Seen:
    """The lines of the log, by event."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __getitem__(self, event: str) -> list[dict[str, Any]]:
        return [record.__dict__["fields"] for record in self._caplog.records if record.msg == event]


def empty(
    folder: Path, tmp_path: Path, store: ScriptedS3, scenario: Callable[[Uploader], Any], *more: Rule
) -> None:
    """The folder's own rule, and `more`."""

    async def run() -> None:
        endpoint = Endpoint.of("bucket", "eu-test-1", store.url)
        transport = S3Transport(endpoint, credentials=FIXED(), deadlines=PATIENT)
        one = rule(folder, active_file="none")
        await running(settings(tmp_path / "state", one, *more), transport, scenario)  # type: ignore[arg-type]  # any transport

    asyncio.run(run())


def denying(path: str) -> Callable[[Line], None]:
    """A store with a policy against whatever begins so."""

    def deny(line: Line, request: Request) -> bool:
        is_denied = request.path.startswith(path)
        if is_denied:
            line.refuse(403, "AccessDenied")
        return is_denied

    return refusing(deny)


async def until(condition: Callable[[], bool]) -> None:
    await pipelines.until(condition, "what the scenario waits for")


def left_in(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if not name.startswith("."))


def test_when_the_store_asks_to_slow_down_everyone_does_and_all_arrive_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = itertools.count()

    def slow_down(line: Line, request: Request) -> bool:
        is_early = next(asked) < 20
        if is_early:
            line.refuse(503, "SlowDown")
        return is_early

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: not left_in(folder))

    caplog.set_level(logging.INFO, "s3_file_uploader")
    with ScriptedS3(refusing(slow_down)) as store:
        empty(folder, tmp_path, store, scenario)
    assert len(store.objects) == len(store.stored) == FILES
    seen = Seen(caplog)
    assert seen["slowed"]
    assert not seen["parked"]
    assert len(seen["delivered"]) == FILES


def test_one_object_that_is_denied_is_parked_and_holds_up_nobody(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen(caplog)

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: left_in(folder) == ["file07"] and bool(seen["parked"]))

    caplog.set_level(logging.INFO, "s3_file_uploader")
    with ScriptedS3(denying("/bucket/file07")) as store:
        empty(folder, tmp_path, store, scenario)
    assert "/bucket/file07" not in store.objects
    [parked] = seen["parked"]
    assert parked["path"].endswith("/file07")
    assert "while other files of this destination go through: PutObject" in parked["reason"]
    assert not seen["paused"]


def test_a_denied_file_that_is_alone_is_said_tried_again_and_settled_by_the_next_other_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "denied").write_bytes(b"x")
    seen = Seen(caplog)

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(seen["paused"]))
        tries = len(store.requests)
        await until(lambda: len(store.requests) > tries)
        (folder / "other").write_bytes(b"y")
        await until(lambda: left_in(folder) == ["denied"] and bool(seen["parked"]))

    caplog.set_level(logging.INFO, "s3_file_uploader")
    with ScriptedS3(denying("/bucket/denied")) as store:
        empty(folder, tmp_path, store, scenario)
    assert "no other file is there to tell" in seen["paused"][0]["reason"]
    assert seen["resumed"]
    [parked] = seen["parked"]
    assert parked["path"].endswith("/denied")


def test_a_drain_that_is_denied_one_file_alone_sends_the_others_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "denied").write_bytes(b"x")

    async def run(store: ScriptedS3) -> Summary:
        endpoint = Endpoint.of("bucket", "eu-test-1", store.url)
        transport = S3Transport(endpoint, credentials=FIXED(), deadlines=PATIENT)
        one = rule(folder, active_file="none")
        return await drain(settings(tmp_path / "state", one), transport)  # type: ignore[arg-type]  # any transport

    with ScriptedS3(denying("/bucket/denied")) as store:
        alone = asyncio.run(run(store))
        assert isinstance(alone.unreachable, AccessDenied)
        for number in range(3):
            (folder / f"other{number}").write_bytes(b"y")
        together = asyncio.run(run(store))
    assert together.unreachable is None
    # Parked if it was denied before and after another got through; only failed if it came last.
    assert [path for path, _ in [*together.parked, *together.failed]] == [os.fsencode(folder / "denied")]
    assert together.delivered == 3


def test_a_drain_whose_last_file_is_denied_says_that_it_failed_and_not_that_the_store_is_away(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(3):
        (folder / f"other{number}").write_bytes(b"y")
        os.utime(folder / f"other{number}", (number + 1, number + 1))
    (folder / "denied").write_bytes(b"x")
    delivered = threading.Event()

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.path == "/bucket/denied":
                delivered.wait(30)  # so that no other file gets through after it was denied
                line.refuse(403, "AccessDenied")
                continue
            serve(line, request, body)
            if len(store.objects) == 3:
                delivered.set()

    async def run(store: ScriptedS3) -> Summary:
        endpoint = Endpoint.of("bucket", "eu-test-1", store.url)
        transport = S3Transport(endpoint, credentials=FIXED(), deadlines=PATIENT)
        one = rule(folder, active_file="none")
        return await drain(settings(tmp_path / "state", one), transport)  # type: ignore[arg-type]  # any transport

    with ScriptedS3(script) as store:
        summary = asyncio.run(run(store))
    assert (summary.unreachable, summary.delivered) == (None, 3)
    assert [path for path, _ in [*summary.parked, *summary.failed]] == [os.fsencode(folder / "denied")]


def test_a_prefix_that_a_policy_denies_holds_up_no_other_prefix_of_the_bucket(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for number in range(FILES):
        (secret / f"file{number:02}").write_bytes(os.urandom(100))
    seen = Seen(caplog)

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(seen["paused"]) and not left_in(folder))
        (folder / "later").write_bytes(b"x")
        await until(lambda: not left_in(folder))
        assert len(left_in(secret)) == FILES
        store.heal()
        await until(lambda: not left_in(secret))

    caplog.set_level(logging.INFO, "s3_file_uploader")
    with ScriptedS3(denying("/bucket/secret/")) as store:
        other = rule(secret, name="secret", active_file="none", object_key_prefix="secret")
        empty(folder, tmp_path, store, scenario, other)
    assert {line["rule"] for line in seen["paused"]} == {"secret"}
    assert not seen["parked"]
    assert len(store.stored) == 2 * FILES + 1


@pytest.mark.parametrize(
    ("status", "code"),
    [(403, "AccessDenied"), (404, "NoSuchBucket"), (400, "ExpiredToken"), (503, "SlowDown")],
)
def test_a_destination_that_refuses_everything_is_waited_for_and_parks_nobody(
    status: int, code: str, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(line: Line, request: Request) -> bool:
        line.refuse(status, code)
        return True

    seen = Seen(caplog)

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(seen["slowed" if code == "SlowDown" else "paused"]))
        assert left_in(folder) == [f"file{number:02}" for number in range(FILES)]
        store.heal()
        await until(lambda: not left_in(folder))

    caplog.set_level(logging.INFO, "s3_file_uploader")
    with ScriptedS3(refusing(refuse)) as store:
        empty(folder, tmp_path, store, scenario)
    assert len(store.objects) == len(store.stored) == FILES
    assert not seen["parked"]
    if code != "SlowDown":
        assert code in seen["paused"][0]["reason"]
        assert seen["paused"][0]["try"]
        assert seen["resumed"]
