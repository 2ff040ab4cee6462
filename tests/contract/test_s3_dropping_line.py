"""A large file over a line that breaks: what arrived is not sent again, and what is on its way goes on.

What is counted is what the store saw: a part is finished there once its last byte has come in.
"""

from __future__ import annotations

import asyncio
import os
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import AccessDenied, DeliveryError, TransferFault, Unreachable
from s3_file_uploader.transport.s3 import checkpoint, engine, exchange, streams
from s3_file_uploader.transport.s3.connection import Deadlines
from support.deliveries import Courier
from support.s3_transports import transport_to
from support.scripted_s3 import Line, Request, ScriptedS3, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.model import Checkpoint, Receipt

PART = 64 * 1024


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything a hundred times smaller, and pauses that nobody notices."""
    monkeypatch.setattr(engine, "PUT_LIMIT_BYTES", PART)
    monkeypatch.setattr(checkpoint, "LEAST_PART_BYTES", PART)
    monkeypatch.setattr(checkpoint, "USUAL_PART_BYTES", PART)
    monkeypatch.setattr(exchange, "EXPECT_ABOVE_BYTES", PART // 4)
    monkeypatch.setattr(streams, "FIRST_PAUSE_SECONDS", 0.002)


class Counting:
    """A store that counts each part whose last byte came in; `breaks` says whether the line dies with it.

    `breaks` is asked before the body (False), where it dies in the middle of it, and after the part is
    stored (True), where its answer is lost.
    """

    def __init__(
        self,
        breaks: Callable[[int, bool], bool] = lambda _number, _stored: False,
        *,
        proceeds: bool = True,
    ) -> None:
        self._breaks = breaks
        self._proceeds = proceeds
        self._lock = threading.RLock()
        self.finished: Counter[int] = Counter()
        self.broken = 0

    def __call__(self, line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers and self._proceeds:
                line.proceed()
            number = int(request.query.get("partNumber", "0"))
            if number and self._dies(number, False):
                line.body(request.size // 2)
                line.reset()
                return
            body = line.body(request.size)
            if len(body) < request.size:
                return
            if number:
                self._store(line, request, number, body)
                if self._dies(number, True):
                    line.reset()
                    return
            self._answer(line, request, body)

    def _dies(self, number: int, stored: bool) -> bool:
        with self._lock:
            dies = self._breaks(number, stored)
            self.broken += dies
            return dies

    def _store(self, line: Line, request: Request, number: int, body: bytes) -> None:
        with self._lock:
            self.finished[number] += 1
        line.server.uploads.get(request.query["uploadId"], {})[number] = body

    def _answer(self, line: Line, request: Request, body: bytes) -> None:
        serve(line, request, body)


def new_file(folder: Path, parts: float) -> str:
    path = folder / "file"
    path.write_bytes(os.urandom(int(parts * PART)))
    return str(path)


# Long enough that a test machine under load is never taken for a line that dropped.
_BEARING = Deadlines(resolve=5, connect=5, tls=5, progress=3, complete=3, proceed=1, credentials=5)


async def send(
    store: ScriptedS3, path: str, saved: Checkpoint | None = None, courier: Courier | None = None, **more: Any
) -> Receipt:
    courier = courier or Courier("bucket")
    async with transport_to(store, deadlines=_BEARING, **more) as transport:
        return await transport.deliver(courier.delivery(path, "file", checkpoint=saved))


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def operations(store: ScriptedS3, operation: str) -> int:
    asked = {
        "create": lambda one: one.method == "POST" and "uploads" in one.query,
        "list": lambda one: one.method == "GET",
        "abort": lambda one: one.method == "DELETE",
    }[operation]
    return sum(map(asked, store.requests))


def once(number: int, *, stored: bool) -> Callable[[int, bool], bool]:
    """The line dies once, with that part."""
    left = [True]

    def breaks(now: int, is_stored: bool) -> bool:
        return (now, is_stored) == (number, stored) and bool(left) and left.pop()

    return breaks


@pytest.mark.parametrize("number", [1, 3, 12])
@pytest.mark.parametrize("concurrency", [1, 8])
def test_a_part_that_broke_is_sent_again_by_itself(number: int, concurrency: int, tmp_path: Path) -> None:
    path, counting = new_file(tmp_path, 11.5), Counting(once(number, stored=False))
    with ScriptedS3(counting) as store:
        asyncio.run(send(store, path, concurrency=concurrency))
        assert store.objects["/bucket/file"] == read(path)
    assert counting.broken == 1
    assert counting.finished == Counter(range(1, 13))
    assert operations(store, "create") == 1
    assert operations(store, "abort") == 0


@pytest.mark.parametrize("number", [1, 12])
@pytest.mark.parametrize("proceeds", [True, False], ids=["100-continue", "never a word before the end"])
def test_a_part_of_which_only_the_answer_was_lost_is_not_sent_again(
    number: int, proceeds: bool, tmp_path: Path
) -> None:
    path, counting = new_file(tmp_path, 11.5), Counting(once(number, stored=True), proceeds=proceeds)
    with ScriptedS3(counting) as store:
        asyncio.run(send(store, path))
        assert store.objects["/bucket/file"] == read(path)
    assert counting.broken == 1
    assert counting.finished == Counter(range(1, 13))
    assert operations(store, "list") == 1


def test_a_file_over_a_line_that_keeps_dropping_gets_through_and_sends_no_finished_part_twice(
    tmp_path: Path,
) -> None:
    chance = random.Random(7)
    path, counting = new_file(tmp_path, 80), Counting(lambda _number, _stored: chance.random() < 0.15)
    with ScriptedS3(counting) as store:
        asyncio.run(send(store, path))
        assert store.objects["/bucket/file"] == read(path)
    assert counting.broken > 10
    assert counting.finished == Counter(range(1, 81))
    assert operations(store, "create") == 1


class Allowance:
    """A line that carries so many bytes and then drops every connection, over and over."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._left = size
        self._lock = threading.Lock()
        self.drops = 0

    def take(self, size: int) -> bool:
        with self._lock:
            self._left -= size
            if self._left >= 0:
                return True
            self._left = self._size
            self.drops += 1
            return False


class Narrow(Counting):
    """Bodies come in by small pieces, all connections sharing one allowance until they all drop."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._allowance = Allowance(size)
        self._open: set[Line] = set()

    @property
    def drops(self) -> int:
        return self._allowance.drops

    def __call__(self, line: Line) -> None:
        with self._lock:
            self._open.add(line)
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = b""
            while len(body) < request.size:
                piece = line.body(min(4096, request.size - len(body)))
                if not piece or not self._takes(line, request, body := body + piece, len(piece)):
                    return
            self._answer(line, request, body)

    def _takes(self, line: Line, request: Request, body: bytes, count: int) -> bool:
        """A piece has come in, and with the last one the part is there: unless the line has dropped by then."""
        with self._lock:
            if line not in self._open:
                return False
            if not self._allowance.take(count):
                self._drop_all(line)
                return False
            if (number := int(request.query.get("partNumber", "0"))) and len(body) == request.size:
                self._store(line, request, number, body)
        return True

    def hang_up(self) -> None:
        """Between two tries there is no line: what was still on its way when the first gave up is lost."""
        with self._lock:
            lines, self._open = self._open, set()
            for line in lines:
                line.drop()

    def _drop_all(self, last: Line) -> None:
        others, self._open = self._open - {last}, set()
        for line in others:
            line.drop()
        last.reset()


def test_a_line_that_drops_before_several_parts_at_once_could_finish_gets_one_through_at_a_time(
    tmp_path: Path,
) -> None:
    path, narrow = new_file(tmp_path, 10), Narrow(int(1.5 * PART))  # four at once never finish any
    with ScriptedS3(narrow) as store:
        saved: Checkpoint | None = None
        for _ in range(20):  # the pipeline's tries
            courier = Courier("bucket")
            try:
                asyncio.run(send(store, path, saved, courier))
            except DeliveryError:
                saved = courier.saved[-1] if courier.saved else saved
                narrow.hang_up()
            else:
                break
        assert store.objects["/bucket/file"] == read(path)
    assert narrow.drops >= 6
    assert narrow.finished == Counter(range(1, 11))
    assert operations(store, "create") == 1


def test_a_line_that_drops_before_any_part_could_finish_is_tried_with_smaller_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "LEAST_PART_BYTES", PART // 4)
    path, narrow = new_file(tmp_path, 3), Narrow(PART // 2)
    with ScriptedS3(narrow) as store:
        saved: Checkpoint | None = None
        for _ in range(20):  # the pipeline's tries
            courier = Courier("bucket")
            try:
                asyncio.run(send(store, path, saved, courier))
            except DeliveryError:
                saved = courier.saved[-1] if courier.saved else saved
                narrow.hang_up()
            else:
                break
        assert store.objects["/bucket/file"] == read(path)
    assert narrow.finished == Counter(range(1, 13))
    assert operations(store, "create") == 1


@pytest.mark.parametrize("all_is_denied", [False, True], ids=["only listing", "everything"])
def test_without_the_right_to_list_parts_a_large_file_begins_anew_unless_everything_is_denied(
    all_is_denied: bool, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path, 8), Courier("bucket")
    with ScriptedS3(Counting(lambda number, _stored: number == 5)) as store, pytest.raises(DeliveryError):
        asyncio.run(send(store, path, None, courier))

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            if request.method == "GET" or all_is_denied:
                line.refuse(403, "AccessDenied")
            else:
                serve(line, request, body)

    second = Courier("bucket")
    with ScriptedS3(script) as after:
        after.uploads = {"u0": store.uploads["u1"]}
        saved = {**(courier.saved[-1] or {}), "upload_id": "u0"}
        if all_is_denied:
            with pytest.raises(AccessDenied):
                asyncio.run(send(after, path, saved, second))
            assert (list(after.uploads), second.saved) == (["u0"], [])
            return
        asyncio.run(send(after, path, saved, second))
        assert after.objects["/bucket/file"] == read(path)
        assert after.uploads == {}


def test_parts_on_their_way_arrive_though_the_store_takes_no_new_ones(tmp_path: Path) -> None:
    others_begun, refused = threading.Semaphore(0), threading.Event()

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            number = request.query.get("partNumber")
            if number == "2":
                for _ in range(3):
                    others_begun.acquire(timeout=30)
                line.refuse(503, "SlowDown")
                refused.set()
                continue
            if number:
                others_begun.release()
                refused.wait(30)
            serve(line, request, body)

    path, courier = new_file(tmp_path, 12), Courier("bucket")
    with ScriptedS3(script) as store, pytest.raises(DeliveryError, match="SlowDown"):
        asyncio.run(send(store, path, None, courier))
    arrived = set(store.uploads["u1"])
    # Whoever got an answer in the moment between the store's "no" and our hearing it went on with one more.
    assert {1, 3, 4} <= arrived <= {1, 3, 4, 5, 6, 7}
    assert courier.saved[-1] is not None
    assert courier.saved[-1]["parts_arrived"] == len(arrived)


def test_a_line_on_which_nothing_ever_finishes_ends_the_delivery_and_keeps_the_upload(tmp_path: Path) -> None:
    path, courier = new_file(tmp_path, 8), Courier("bucket")
    counting = Counting(lambda number, _stored: number > 2)
    with ScriptedS3(counting) as store, pytest.raises((TransferFault, Unreachable)):
        asyncio.run(send(store, path, None, courier))
    assert store.uploads
    assert courier.saved[-1] is not None
    assert (courier.saved[-1]["parts_arrived"], courier.saved[-1]["bytes_arrived"]) == (2, 2 * PART)


def test_stopping_while_a_part_waits_to_be_sent_again_ends_at_once_and_closes_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "FIRST_PAUSE_SECONDS", 3600.0)
    path, counting = new_file(tmp_path, 8), Counting(lambda number, _stored: number == 3)

    async def run(store: ScriptedS3) -> int:
        async with transport_to(store) as transport:
            delivery = Courier("bucket").delivery(path, "file")
            outcome = transport.deliver(delivery)
            while not counting.broken:  # noqa: ASYNC110  (counted in another thread)
                await asyncio.sleep(0.01)
            outcome.cancel()
            await asyncio.wait([outcome])
        opened: int = delivery.source.opened[0].fileno()  # type: ignore[attr-defined]  # a PlainSource
        return opened

    with ScriptedS3(counting) as store:
        assert asyncio.run(run(store)) == -1


def test_another_process_with_other_credentials_at_another_address_goes_on(tmp_path: Path) -> None:
    """The same store behind another port, as after a move of its address."""
    path, courier = new_file(tmp_path, 8), Courier("bucket")
    counting = Counting(lambda number, _stored: number == 5)
    with ScriptedS3(counting) as before, pytest.raises(DeliveryError):
        asyncio.run(send(before, path, None, courier))
    had = Counter(before.uploads["u1"].keys())
    again = Counting()
    from s3_file_uploader.transport.s3.credentials import CredentialSource

    with ScriptedS3(again) as after:
        after.uploads = before.uploads
        credentials = CredentialSource(fetch=lambda profile, seconds: ("id2", "secret2", "token2", None))
        asyncio.run(send(after, path, courier.saved[-1], credentials=credentials))
        assert after.objects["/bucket/file"] == read(path)
    assert had + again.finished == Counter(range(1, 9))
    assert operations(after, "create") == 0


def test_an_upload_that_cannot_be_aborted_is_handed_over_and_the_file_begun_anew(tmp_path: Path) -> None:
    path = new_file(tmp_path, 8)
    courier = Handing("bucket")
    counting = Counting(lambda number, _stored: number == 5)
    with ScriptedS3(counting) as store, pytest.raises(DeliveryError):
        asyncio.run(send(store, path, None, courier))
    os.utime(path, ns=(1, 1))

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.method == "DELETE":
                line.refuse(403, "AccessDenied")
            else:
                serve(line, request, body)

    with ScriptedS3(script) as store:
        asyncio.run(send(store, path, courier.saved[-1], courier))
        assert store.objects["/bucket/file"] == read(path)
    assert courier.handed_over == ["the file has other content now"]


class Handing(Courier):
    def __init__(self, bucket: str) -> None:
        super().__init__(bucket)
        self.handed_over: list[str] = []

    async def give_up(self, reason: str) -> None:
        self.handed_over.append(reason)
