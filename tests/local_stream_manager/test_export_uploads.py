"""Tasks that are carried out: what arrives in S3, in which order, and when not."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from stream_manager import S3ExportTaskDefinition, Util

from stream_manager_local.export.engine import MOST_BUCKETS, Engine
from stream_manager_local.protocol.codes import Persistence
from stream_manager_local.settings import Settings
from support.exports import definition, s3_export, staged, to_scripted, to_server, until
from support.looked_at import fresh_bucket
from support.s3_transports import MIB, new_file
from support.scripted_s3 import ECHO, Line, Request, ScriptedS3, honest, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.exports import Stage
    from support.other_stores import Moto
    from support.seaweed import SeaweedFS

# --- A real server -------------------------------------------------------------------------------------


def test_files_arrive_with_their_metadata_and_stay_where_they_are(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path
) -> None:
    path = new_file(tmp_path, 1000, "größe 100%.csv")

    async def run() -> None:
        async with staged(tmp_path, to_server(seaweed)) as stage:
            metadata = {"Unit": "Car 7", "retry": 1}
            stage.append(path, "in/größe.csv", bucket=bucket, userMetadata=metadata)
            assert await stage.ended(1) == [(0, "Success")]

    asyncio.run(run())
    with open(path, "rb") as file:
        assert seaweed.read_object(bucket, "in/größe.csv") == file.read()
    head = seaweed.client().head_object(Bucket=bucket, Key="in/größe.csv")
    assert head["Metadata"] == {"unit": "Car 7", "retry": "1"}


def test_the_environment_says_where_to_and_with_which_credentials(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)

    async def run() -> None:
        async with staged(tmp_path, None, endpoint_url=seaweed.endpoint_url) as stage:
            stage.append(new_file(tmp_path, 10), "key", bucket=bucket)
            assert await stage.ended(1) == [(0, "Success")]

    asyncio.run(run())
    assert seaweed.list_objects(bucket) == {"key": 10}


@pytest.mark.parametrize("more", [0, 1], ids=["at the threshold", "above it"])
def test_a_file_goes_in_parts_only_above_the_threshold(
    seaweed: SeaweedFS, bucket: str, tmp_path: Path, more: int
) -> None:
    size = 6 * MIB + more
    path = new_file(tmp_path, size)

    async def run() -> None:
        export = s3_export(multipart_threshold=6 * MIB)
        async with staged(tmp_path, to_server(seaweed), exports=(export,)) as stage:
            stage.append(path, "key", bucket=bucket)
            expected = [(0, "InProgress")] * more + [(0, "Success")]
            assert await stage.ended(1) == expected

    asyncio.run(run())
    with open(path, "rb") as file:
        assert seaweed.read_object(bucket, "key") == file.read()


def test_another_store_with_other_checksums_does_as_well(moto: Moto, tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_server(moto)) as stage:
            stage.append(new_file(tmp_path, 10, "small"), "small", bucket=own)
            stage.append(new_file(tmp_path, 6 * MIB, "large"), "large", bucket=own)
            stage.append(new_file(tmp_path, 10, "small"), "small", bucket="no-such-bucket")
            told = await stage.ended(3)
            assert told == [(0, "Success"), (1, "InProgress"), (1, "Success"), (2, "Failure")]
            assert "NoSuchBucket" in stage.statuses()[-1]["message"]

    with fresh_bucket(moto) as own:
        asyncio.run(run())
        assert moto.list_objects(own) == {"small": 10, "large": 6 * MIB}


# --- What goes in parts --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "least", "parts"),
    [
        (5 * MIB, 5 * MIB, []),
        (5 * MIB + 1, 5 * MIB, [5 * MIB, 1]),
        (14 * MIB, 6 * MIB, [6 * MIB, 6 * MIB, 2 * MIB]),
    ],
)
def test_parts_have_the_least_size_that_is_set(
    tmp_path: Path, size: int, least: int, parts: list[int]
) -> None:
    path = new_file(tmp_path, size)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), least_part_bytes=least) as stage:
            stage.append(path, "key")
            await stage.ended(1)

    with ScriptedS3() as store:
        asyncio.run(run())
        sent = [request for request in store.requests if "partNumber" in request.query]
        assert sorted(request.size for request in sent) == sorted(parts)
        assert len(store.objects["/bucket/key"]) == size


def test_one_limit_of_bandwidth_is_for_all_buckets(tmp_path: Path) -> None:
    async def run() -> None:
        settings = Settings(export_bytes_per_second=125_000, endpoint_url="http://127.0.0.1:1")
        engine = Engine(settings)
        one, two = (engine._open_transport(bucket) for bucket in ("one", "two"))
        assert one._bandwidth is not None
        assert one._bandwidth is two._bandwidth
        assert one._bandwidth.bytes_per_second == 125_000
        await asyncio.gather(one.close(), two.close(), engine.close())
        assert Engine(Settings())._open_transport("three")._bandwidth.is_unlimited

    asyncio.run(run())


# --- Order ---------------------------------------------------------------------------------------------


def test_tasks_of_a_stream_go_one_after_the_other_in_the_order_of_their_appends(tmp_path: Path) -> None:
    path = new_file(tmp_path, 10)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            for number in range(100):
                stage.append(path, f"{number}")
            assert await stage.ended(100) == [(number, "Success") for number in range(100)]
            await until(lambda: stage.cursor() == 100)

    with ScriptedS3() as store:
        asyncio.run(run())
        assert store.stored == [f"/bucket/{number}" for number in range(100)]


class Crowd:
    """A script that answers nobody until it is healed, and knows how many wait at a time."""

    def __init__(self) -> None:
        self.waiting = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            self._count(1)
            line.server.is_healed.wait(60)
            self._count(-1)
            serve(line, request, body)

    def _count(self, change: int) -> None:
        with self._lock:
            self.waiting += change
            self.most = max(self.most, self.waiting)


def test_streams_upload_beside_each_other_as_many_as_the_pool_has_places(tmp_path: Path) -> None:
    crowd, path = Crowd(), new_file(tmp_path, 10)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), export_threads=3) as stage:
            for number in range(6):
                stage.store.create(definition(f"tasks {number}", s3_export()))
                stage.append(path, f"{number}", to=f"tasks {number}")
            await until(lambda: crowd.waiting == 3)
            store.heal()
            await stage.ended(6)

    with ScriptedS3(crowd) as store:
        asyncio.run(run())
        assert crowd.most == 3


def test_an_export_of_higher_priority_goes_first(tmp_path: Path) -> None:
    crowd, path = Crowd(), new_file(tmp_path, 10)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), export_threads=1) as stage:
            stage.append(path, "first")
            await until(lambda: crowd.waiting)
            for name, priority in [("none", None), ("ten", 10), ("one", 1)]:
                stage.store.create(definition(name, s3_export(priority=priority)))
                stage.append(path, name, to=name)
            await asyncio.sleep(0)
            store.heal()
            await stage.ended(4)

    with ScriptedS3(crowd) as store:
        asyncio.run(run())
        assert store.stored == ["/bucket/first", "/bucket/one", "/bucket/ten", "/bucket/none"]


def test_hundreds_of_streams_and_many_buckets_cost_a_bounded_number_of_threads(tmp_path: Path) -> None:
    path, most = new_file(tmp_path, 10), 0

    async def run() -> None:
        nonlocal most
        async with staged(tmp_path, to_scripted(store)) as stage:
            for number in range(300):
                stage.store.create(definition(f"s{number}", s3_export()))
                stage.append(path, f"{number}", to=f"s{number}", bucket=f"bucket-{number % 40}")
            while len(stage.statuses()) < 300:
                names = [each.name for each in threading.enumerate()]
                most = max(most, sum(name.startswith(("s3-engine", "export")) for name in names))
                await asyncio.sleep(0.01)

    with ScriptedS3() as store:
        asyncio.run(run())
        assert len(store.objects) == 300
    assert most <= 2 * (MOST_BUCKETS + 5) + 5  # those that are closing among them


# --- Places --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "content"),
    [("literal-first", b"literal"), ("decode-first", b"decoded"), ("never", b"literal")],
)
def test_of_two_files_that_a_url_may_mean_the_policy_chooses(
    tmp_path: Path, policy: str, content: bytes
) -> None:
    (tmp_path / "%41").write_bytes(b"literal")
    (tmp_path / "A").write_bytes(b"decoded")
    assert uploaded(tmp_path, f"file://{tmp_path}/%41", decode_urls=policy) == content


@pytest.mark.parametrize("policy", ["literal-first", "decode-first"])
@pytest.mark.parametrize("name", ["%41", "A"])
def test_the_one_file_that_is_there_is_found_however_its_url_is_read(
    tmp_path: Path, policy: str, name: str
) -> None:
    (tmp_path / name).write_bytes(b"found")
    assert uploaded(tmp_path, f"file:{tmp_path}/%41", decode_urls=policy) == b"found"


def uploaded(tmp_path: Path, url: str, **settings: Any) -> bytes:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), **settings) as stage:
            stage.append(url, "key")
            await stage.ended(1)
            assert stage.statuses()[0]["statusContext"]["s3ExportTaskDefinition"]["inputUrl"] == url

    with ScriptedS3() as store:
        asyncio.run(run())
        return store.objects["/bucket/key"]


def test_a_link_is_followed_to_what_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"content")
    os.symlink("target", tmp_path / "alias")
    assert uploaded(tmp_path, f"file://{tmp_path}/alias") == b"content"


def test_a_timestamp_in_the_key_is_the_time_of_the_upload(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), wall=lambda: 1_767_225_909.0) as stage:
            key = "x/!{timestamp:yyyy/MM/dd/HH}/y"
            stage.append(new_file(tmp_path, 10), key)
            await stage.ended(1)
            [status] = stage.statuses()
            assert status["statusContext"]["s3ExportTaskDefinition"]["key"] == key

    with ScriptedS3() as store:
        asyncio.run(run())
        assert list(store.objects) == ["/bucket/x/2026/01/01/00/y"]


# --- Failures ------------------------------------------------------------------------------------------


def test_what_can_never_be_uploaded_fails_with_its_reason_and_the_next_task_runs(tmp_path: Path) -> None:
    path = new_file(tmp_path, 10)
    os.mkfifo(tmp_path / "fifo")
    os.symlink("loop", tmp_path / "loop")
    reasons: list[str] = []

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            tasks = stage.store.get("tasks")
            for payload in (b"not json", b"{}", b'{"inputUrl":"file:///x","bucket":"bucket"}'):
                tasks.append(payload)
            for place in ("missing", "", "fifo", "loop", f"{os.path.basename(path)}/below", "n" * 300):
                stage.append(tmp_path / place, "key")
            stage.append(path, "!{timestamp:bbb}")
            stage.append(path, "!{hostname:x}")
            stage.append(path, "x" * 1020 + "!{timestamp:yyyyMMdd}")
            stage.append(path, "key", userMetadata={"$aws-gg-x": "1"})
            last = stage.append(path, "good")
            told = await stage.ended(last + 1)
            assert told == [(number, "Failure") for number in range(last)] + [(last, "Success")]
            reasons.extend(status["message"] for status in stage.statuses()[:-1])

    with ScriptedS3() as store:
        asyncio.run(run())
        assert list(store.objects) == ["/bucket/good"]
    wanted = (
        *("not JSON", "inputUrl is missing", "key is missing", "there is no file", "is a directory"),
        *("no regular file", "Too many levels", "there is no file", "name too long", "`bbb`", "hostname"),
        *("S3 takes 1024", "reserved"),
    )
    for reason, part in zip(reasons, wanted, strict=True):
        assert part in reason or part in reason.lower(), reason


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (403, "AccessDenied"),
        (403, "SignatureDoesNotMatch"),
        (404, "NoSuchBucket"),
        (400, "InvalidRequest"),
        (400, "KeyTooLongError"),
        (405, "MethodNotAllowed"),
        (501, "NotImplemented"),
    ],
)
def test_a_no_of_the_store_is_a_failure(tmp_path: Path, status: int, code: str) -> None:
    def refuse_bad(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.path.endswith("bad"):
                line.refuse(status, code)
            else:
                serve(line, request, body)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            path = new_file(tmp_path, 10)
            stage.append(path, "bad")
            stage.append(path, "good")
            assert await stage.ended(2) == [(0, "Failure"), (1, "Success")]
            assert code in stage.statuses()[0]["message"]

    with ScriptedS3(refuse_bad) as store:
        asyncio.run(run())


def _refusing(status: int, code: str) -> Callable[[Line, Request], object]:
    def answer(line: Line, request: Request) -> None:
        line.body(request.size)
        line.refuse(status, code)

    return answer


PASSING: dict[str, Callable[[Line, Request], object]] = {
    "500": _refusing(500, "InternalError"),
    "503": _refusing(503, "SlowDown"),
    "429": _refusing(429, "TooManyRequests"),
    "expired token": _refusing(400, "ExpiredToken"),
    "key not known": _refusing(403, "InvalidAccessKeyId"),
    "full": _refusing(507, "InsufficientStorage"),
    "reset": lambda line, request: line.reset(),
    "silence": lambda line, request: line.server.is_healed.wait(60),
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_for_and_the_task_succeeds_in_the_end(tmp_path: Path, fault: str) -> None:
    tries = 0

    def play(line: Line) -> None:
        nonlocal tries
        if line.server.is_healed.is_set():
            honest(line)
        request = line.request()
        if request is not None:
            tries += 1
            PASSING[fault](line, request)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            path = new_file(tmp_path, 10)
            stage.append(path, "first")
            stage.append(path, "second")
            await until(lambda: tries >= 3)
            assert stage.told() == []
            assert stage.store.get("tasks").export_status("s3").error_message
            store.heal()
            assert await stage.ended(2) == [(0, "Success"), (1, "Success")]
            assert stage.store.get("tasks").export_status("s3").error_message is None

    with ScriptedS3(play) as store:
        asyncio.run(run())
        assert list(store.objects) == ["/bucket/first", "/bucket/second"]


def test_a_store_that_is_not_there_is_waited_for_until_it_is(tmp_path: Path) -> None:
    with ScriptedS3() as gone:
        pass

    async def run() -> None:
        async with staged(tmp_path, to_scripted(gone)) as stage:
            stage.append(new_file(tmp_path, 10), "key")
            await until(lambda: stage.store.get("tasks").export_status("s3").error_message)
            assert stage.told() == []
            assert stage.cursor() == 0
            with ScriptedS3(port=gone.port) as back:
                assert await stage.ended(1) == [(0, "Success")]
            assert list(back.objects) == ["/bucket/key"]

    asyncio.run(run())


def test_an_upload_in_parts_goes_on_where_it_broke(tmp_path: Path) -> None:
    """Only what had not arrived is sent again."""

    def play(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.query.get("partNumber") == "2" and not line.server.is_healed.is_set():
                line.refuse(503, "SlowDown")
                if "/bucket/key part 1" in line.server.stored:
                    line.server.heal()
            else:
                serve(line, request, body)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.append(new_file(tmp_path, 11 * MIB), "key")
            await stage.ended(1)

    with ScriptedS3(play) as store:
        asyncio.run(run())
        assert len(store.objects["/bucket/key"]) == 11 * MIB
        assert store.stored.count("/bucket/key part 1") == 1


def echoing(*, etag: bool, mismatch: bool = False) -> Callable[[Line], None]:
    """A store that knows no checksums but MD5, or none, or computes wrong ones."""

    def play(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.method == "HEAD":
                line.answer(200, {"content-length": str(len(line.server.objects[request.path]))})
                continue
            line.server.objects[request.path] = body
            md5 = hashlib.md5(body, usedforsecurity=False).hexdigest()
            wrong = {ECHO: "AAAAAAAAAAA="} if mismatch else {}
            line.answer(200, {**wrong, **({"etag": f'"{md5}"'} if etag else {})})

    return play


@pytest.mark.parametrize(("etag", "proof"), [(True, "md5"), (False, "its size alone")], ids=["md5", "size"])
def test_a_store_that_knows_no_checksum_is_asked_for_what_it_knows(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, etag: bool, proof: str
) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            for number in range(3):
                stage.append(new_file(tmp_path, 10), f"{number}")
            assert await stage.ended(3) == [(0, "Success"), (1, "Success"), (2, "Success")]

    with ScriptedS3(echoing(etag=etag)) as store:
        asyncio.run(run())
        assert len(store.objects) == 3
    told = [each.getMessage() for each in caplog.records if "is compared by" in each.getMessage()]
    assert len(told) == (1 if etag else 2)
    assert f"by {proof} from now on" in told[-1]


def test_a_store_that_says_another_checksum_is_never_a_success(tmp_path: Path) -> None:
    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.append(new_file(tmp_path, 10), "key")
            assert await stage.ended(1) == [(0, "Failure")]

    with ScriptedS3(echoing(etag=True, mismatch=True)) as store:
        asyncio.run(run())


# --- Files that change ---------------------------------------------------------------------------------


def changing(path: str, *, size: int, times: int) -> Callable[[Line], None]:
    """A store that is honest, and a file of which each PUT finds that it changes meanwhile."""
    left = [times]

    def play(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if left[0]:
                left[0] -= 1
                with open(path, "wb") as file:
                    file.write(b"y" * (size + left[0]))
            serve(line, request, body)

    return play


@pytest.mark.parametrize("size", [5, 200], ids=["truncated", "grown"])
@pytest.mark.parametrize(("times", "ends"), [(1, "Success"), (100, "Failure")], ids=["once", "always"])
def test_a_file_that_changes_while_it_is_uploaded_is_never_a_wrong_success(
    tmp_path: Path, size: int, times: int, ends: str
) -> None:
    path = new_file(tmp_path, 100)

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.append(path, "key")
            assert await stage.ended(1) == [(0, ends)]

    with ScriptedS3(changing(path, size=size, times=times)) as store:
        asyncio.run(run())
        if ends == "Success":
            assert store.objects["/bucket/key"] == b"y" * size


# --- Answers without uploads ---------------------------------------------------------------------------


def test_a_server_that_answers_at_once_uploads_nothing_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def run() -> None:
        async with staged(tmp_path, None, success_without_upload=True) as stage:
            assert "nothing is uploaded" in caplog.text
            for number in range(1000):
                stage.append("/no/such/file", f"{number}")
            stage.store.get("tasks").append(b"no task")
            told = await stage.ended(1001)
            assert told == [*((number, "Success") for number in range(1000)), (1000, "Failure")]

    asyncio.run(run())


def _has_come_to(stage: Stage, cursor: int) -> bool:
    return stage.cursor("kept") == cursor


def test_a_restart_goes_on_behind_what_was_told(tmp_path: Path) -> None:
    async def run() -> None:
        path = new_file(tmp_path, 10)
        for lap in range(2):
            async with staged(tmp_path, to_scripted(store)) as stage:
                if not lap:
                    kept = definition("kept", s3_export(), persistence=Persistence.FILE)
                    stage.store.create(kept)
                for number in range(3):
                    stage.append(path, f"{lap}{number}", to="kept")
                await stage.ended(3)
                await until(partial(_has_come_to, stage, 3 * (lap + 1)))

    with ScriptedS3() as store:
        asyncio.run(run())
        assert [key[-2:] for key in store.stored] == ["00", "01", "02", "10", "11", "12"]


def test_task_messages_are_json_as_the_sdk_writes_it(tmp_path: Path) -> None:
    path = new_file(tmp_path, 10)
    task = S3ExportTaskDefinition(input_url=f"file://{path}", bucket="bucket", key="key")
    payload = Util.validate_and_serialize_to_json_bytes(task)
    assert json.loads(payload)["inputUrl"] == f"file://{path}"

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store)) as stage:
            stage.store.get("tasks").append(payload)
            assert await stage.ended(1) == [(0, "Success")]

    with ScriptedS3() as store:
        asyncio.run(run())
