"""How the transport gets a file through where the store or the line is difficult, and when it gives up."""

from __future__ import annotations

import asyncio
import email.utils
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import FileChanged, Interrupted, Refused, TransferFault, Unproven, Unreachable
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.faults import ClockSkewed
from s3_file_uploader.transport.s3.slots import FIRST_SLOTS
from support.deliveries import Courier
from support.s3_transports import FIXED, MIB, PATIENT, new_file, transport_to
from support.scripted_s3 import ECHO, Line, ScriptedS3, echo_of, honest, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.model import Receipt


def deliver(store: ScriptedS3, *paths: str, **settings: Any) -> list[Receipt]:
    """One after the other over one transport."""

    async def run() -> list[Receipt]:
        async with transport_to(store, **settings) as transport:
            courier = Courier("bucket")
            return [await transport.deliver(courier.delivery(path, os.path.basename(path))) for path in paths]

    return asyncio.run(run())


@pytest.mark.parametrize("certificate", ["", "localhost"], ids=["plain", "tls"])
def test_many_files_go_over_one_connection(certificate: str, tmp_path: Path) -> None:
    files = [new_file(tmp_path, size, f"f{size}") for size in (0, 1, 300_000, 2 * MIB, 5)]
    with ScriptedS3(certificate=certificate) as store:
        receipts = deliver(store, *files)
    assert store.connections == 1
    assert [receipt.size for receipt in receipts] == [0, 1, 300_000, 2 * MIB, 5]


def one_request_then(end: Callable[[Line], None]) -> Callable[[Line], None]:
    """Answers one request, invites to come again, and hangs up while the next is on its way."""

    def script(line: Line) -> None:
        request = line.request()
        assert request is not None
        line.answer(200, echo_of(line.body(request.size)))
        assert line.request() is not None
        end(line)

    return script


@pytest.mark.parametrize("certificate", ["", "localhost"], ids=["plain", "tls"])
@pytest.mark.parametrize("size", [10, 3 * MIB], ids=["small", "large"])
@pytest.mark.parametrize("end", [Line.reset, Line.close], ids=["reset", "closed"])
def test_a_kept_connection_that_dies_under_a_request_is_replaced_at_once(
    end: Callable[[Line], None], size: int, certificate: str, tmp_path: Path
) -> None:
    files = [new_file(tmp_path, 10, "first"), new_file(tmp_path, size, "second")]
    with ScriptedS3(one_request_then(end), honest, certificate=certificate) as store:
        assert len(deliver(store, *files)) == 2
    assert store.connections == 2


def test_a_new_connection_that_dies_is_a_fault_and_not_tried_for_ever(tmp_path: Path) -> None:
    def script(line: Line) -> None:
        assert line.request() is not None
        line.reset()

    with ScriptedS3(script) as store, pytest.raises(TransferFault):
        deliver(store, new_file(tmp_path, 10))
    assert store.connections == 1


def test_a_store_that_closes_each_connection_gets_a_new_one_for_each_file(tmp_path: Path) -> None:
    def script(line: Line) -> None:
        request = line.request()
        assert request is not None
        line.answer(200, {**echo_of(line.body(request.size)), "connection": "close"})

    with ScriptedS3(script) as store:
        deliver(store, *(new_file(tmp_path, 10, f"f{number}") for number in range(3)))
    assert store.connections == 3


def test_a_store_that_never_says_continue_gets_the_body_all_the_same(tmp_path: Path) -> None:
    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            line.answer(200, echo_of(line.body(request.size)))

    with ScriptedS3(script) as store:
        deliver(store, *(new_file(tmp_path, 2 * MIB, f"f{number}") for number in range(4)))
    expected = [request.headers.get("expect", "") for request in store.requests]
    assert expected == ["100-continue", "100-continue", "", ""]


def test_a_refusal_instead_of_continue_saves_sending_the_body(tmp_path: Path) -> None:
    seen: list[int] = []

    def script(line: Line) -> None:
        assert line.request() is not None
        line.refuse(400, "EntityTooLarge")
        seen.append(len(line.body(100 * MIB)))

    with ScriptedS3(script) as store, pytest.raises(Refused):
        deliver(store, new_file(tmp_path, 5 * MIB))
    assert seen == [0]


def test_an_expired_token_is_renewed_and_the_request_signed_anew(tmp_path: Path) -> None:
    tokens = iter(["old", "new"])

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.headers["x-amz-security-token"] == "old":
                line.refuse(400, "ExpiredToken")
            else:
                line.answer(200, echo_of(body))

    source = CredentialSource(fetch=lambda profile, seconds: ("id", "secret", next(tokens), None))
    # The source waits a moment between two fetches of its own accord.
    with ScriptedS3(script) as store:
        assert len(deliver(store, new_file(tmp_path, 10), credentials=source, deadlines=PATIENT)) == 1
    assert len(store.requests) == 2


def test_a_device_whose_clock_is_years_off_signs_with_the_time_of_the_store(tmp_path: Path) -> None:
    wrong = time.time() - 5 * 365 * 86400

    def script(line: Line) -> None:
        date = {"date": email.utils.formatdate(usegmt=True)}
        while (request := line.request()) is not None:
            body = line.body(request.size)
            if request.headers["x-amz-date"][:4] != time.strftime("%Y", time.gmtime()):
                line.refuse(403, "RequestTimeTooSkewed", date)
            else:
                line.answer(200, {**date, **echo_of(body)})

    files = [new_file(tmp_path, 10, f"f{number}") for number in range(2)]
    with ScriptedS3(script) as store:
        assert len(deliver(store, *files, clock=lambda: wrong)) == 2
    assert len(store.requests) == 3  # learnt once, kept


def test_a_store_that_finds_every_time_wrong_is_asked_twice_and_no_more(tmp_path: Path) -> None:
    date = {"date": email.utils.formatdate(usegmt=True)}

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            line.body(request.size)
            line.refuse(403, "RequestTimeTooSkewed", date)

    with ScriptedS3(script) as store, pytest.raises(ClockSkewed):
        deliver(store, new_file(tmp_path, 10))
    assert len(store.requests) == 2


@pytest.mark.parametrize("certificate", ["", "localhost"], ids=["plain", "tls"])
def test_a_large_file_that_shrinks_while_it_is_sent_has_changed(certificate: str, tmp_path: Path) -> None:
    path = new_file(tmp_path, 14 * MIB)

    def script(line: Line) -> None:
        assert line.request() is not None
        line.body(1 * MIB)
        os.truncate(path, 2 * MIB)
        line.body(14 * MIB)

    with ScriptedS3(script, certificate=certificate) as store, pytest.raises(FileChanged):
        deliver(store, path)


def test_a_file_that_changed_before_its_first_byte_is_not_sent_at_all(tmp_path: Path) -> None:
    path = new_file(tmp_path, 2 * MIB)
    looks = []

    def on_check() -> None:
        looks.append(1)
        if len(looks) == 2:  # the first look is that of opening it
            os.utime(path, ns=(1, 1))

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store) as transport:
            await transport.deliver(Courier("bucket").delivery(path, "key", on_check=on_check))

    with ScriptedS3() as store, pytest.raises(FileChanged):
        asyncio.run(run(store))
    assert not store.requests


def test_over_plain_http_to_another_machine_the_payload_is_signed(tmp_path: Path) -> None:
    """Here the other machine is a name that is not known to be this one."""
    from s3_file_uploader.transport.s3.endpoint import Endpoint
    from s3_file_uploader.transport.s3.transport import S3Transport

    with ScriptedS3() as store:

        async def run() -> None:
            host = "0.0.0.0"  # connects to this machine and does not look like it
            transport = S3Transport(
                Endpoint.of("bucket", "eu-test-1", f"http://{host}:{store.port}"), credentials=FIXED()
            )
            for size in (10, 2 * MIB):
                await transport.deliver(Courier("bucket").delivery(new_file(tmp_path, size), "key"))
            await transport.close()

        asyncio.run(run())
    assert all(len(request.headers["x-amz-content-sha256"]) == 64 for request in store.requests)


def test_without_credentials_a_delivery_ends_saying_so(tmp_path: Path) -> None:
    from s3_file_uploader.errors import Misconfigured
    from s3_file_uploader.transport.s3.crt import ChainError

    def fetch(profile: str, seconds: float) -> tuple[str, str, str | None, float | None]:
        raise ChainError("nothing there")

    with ScriptedS3() as store, pytest.raises((Misconfigured, Unreachable), match="credentials"):
        deliver(store, new_file(tmp_path, 10), credentials=CredentialSource(fetch=fetch))
    assert not store.requests


def test_cancelling_a_delivery_lets_go_of_its_file_and_its_connection(tmp_path: Path) -> None:
    began = threading.Event()

    def script(line: Line) -> None:
        assert line.request() is not None
        began.set()
        line.stall()

    async def run(store: ScriptedS3) -> int:
        async with transport_to(store, deadlines=PATIENT) as transport:
            delivery = Courier("bucket").delivery(new_file(tmp_path, 10), "key")
            outcome = transport.deliver(delivery)
            await asyncio.to_thread(began.wait)
            outcome.cancel()
            with pytest.raises(asyncio.CancelledError):
                await outcome
            await transport.deliver(Courier("bucket").delivery(new_file(tmp_path, 10), "key"))
            opened: int = delivery.source.opened[0].fileno()  # type: ignore[attr-defined]  # a PlainSource
            return opened

    with ScriptedS3(script, honest) as store:
        assert asyncio.run(run(store)) == -1


def test_closing_ends_what_runs_and_what_waits_with_interrupted(tmp_path: Path) -> None:
    began = threading.Event()

    def script(line: Line) -> None:
        assert line.request() is not None
        began.set()
        line.stall()

    async def run(store: ScriptedS3) -> list[object]:
        async with transport_to(store, deadlines=PATIENT, concurrency=1) as transport:
            courier = Courier("bucket")
            path = new_file(tmp_path, 10)
            outcomes = [transport.deliver(courier.delivery(path, f"key{number}")) for number in range(5)]
            await asyncio.to_thread(began.wait)
            await transport.close()
            late = transport.deliver(courier.delivery(path, "late"))
            return list(await asyncio.gather(*outcomes, late, return_exceptions=True))

    with ScriptedS3(script) as store:
        assert {type(error) for error in asyncio.run(run(store))} == {Interrupted}
    assert not any(thread.name.startswith("s3-engine") for thread in threading.enumerate())


def test_a_disk_that_hangs_does_not_hold_up_the_files_of_another_nor_the_exit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3_file_uploader.transport.s3.engine.CLOSE_SECONDS", 0.2)
    hangs, thaw = threading.Event(), threading.Event()

    def on_check() -> None:
        hangs.set()
        thaw.wait()

    async def run(store: ScriptedS3) -> BaseException | None:
        async with transport_to(store, deadlines=PATIENT) as transport:
            courier = Courier("bucket")
            hung = courier.delivery(new_file(tmp_path, 10, "a"), "a", on_check=on_check)
            other_disk = hung.source.fingerprint._replace(device=4711)
            hung.source.fingerprint = other_disk  # type: ignore[misc]  # a PlainSource
            stuck = transport.deliver(hung)
            await asyncio.to_thread(hangs.wait)
            await transport.deliver(courier.delivery(new_file(tmp_path, 10, "b"), "b"))
            await transport.close()
            return stuck.exception()

    with ScriptedS3() as store:
        error = asyncio.run(run(store))
        thaw.set()
    assert isinstance(error, Interrupted)


def test_small_files_pass_while_large_ones_crawl(tmp_path: Path) -> None:
    small_done = threading.Event()

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if request.method != "PUT" or request.query:
                small_done.wait(30)  # the large ones' requests move only after the small file arrived
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            if "uploads" in request.query:
                line.refuse(503, "SlowDown")
            else:
                line.answer(200, echo_of(body))

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store, deadlines=PATIENT, concurrency=4) as transport:
            courier = Courier("bucket")
            large = new_file(tmp_path, 17 * MIB, "large")
            crawling = [transport.deliver(courier.delivery(large, f"large{number}")) for number in range(6)]
            await transport.deliver(courier.delivery(new_file(tmp_path, 10, "small"), "small"))
            small_done.set()
            await asyncio.gather(*crawling, return_exceptions=True)

    with ScriptedS3(script) as store:
        asyncio.run(run(store))


def test_a_far_store_is_given_more_connections_and_never_more_than_the_cap(tmp_path: Path) -> None:
    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            time.sleep(0.03)  # the way there and back
            line.answer(200, echo_of(body))

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store, deadlines=PATIENT, concurrency=40) as transport:
            courier = Courier("bucket")
            path = new_file(tmp_path, 10)
            await asyncio.gather(
                *(transport.deliver(courier.delivery(path, f"key{number}")) for number in range(300))
            )

    with ScriptedS3(script) as store:
        asyncio.run(run(store))
    assert FIRST_SLOTS < store.connections <= 40


def test_a_part_whose_echo_is_of_other_bytes_is_unproven_and_the_upload_taken_back(tmp_path: Path) -> None:
    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            if "partNumber" in request.query:
                line.answer(200, echo_of(body + b"!"))
            elif "uploads" in request.query:
                line.server.uploads["u1"] = {}
                line.answer(
                    200,
                    body=b"<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>",
                )
            elif request.method == "DELETE":
                line.server.uploads.clear()
                line.answer(204)

    courier = Courier("bucket")

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store) as transport:
            await transport.deliver(courier.delivery(new_file(tmp_path, 20 * MIB), "key"))

    with ScriptedS3(script) as store, pytest.raises(Unproven):
        asyncio.run(run(store))
    assert not store.uploads
    assert courier.saved[-1] is None


def completing_with(answer: Callable[[Line, bytes], None]) -> Callable[[Line], None]:
    """Honest up to CompleteMultipartUpload."""

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            if request.method == "POST" and request.query.get("uploadId") in line.server.uploads:
                parts = line.server.uploads[request.query["uploadId"]]
                answer(line, b"".join(part for _, part in sorted(parts.items())))
            else:
                serve(line, request, body)

    return script


def complete(body: bytes) -> bytes:
    return b"<CompleteMultipartUploadResult>" + body + b"</CompleteMultipartUploadResult>"


def test_an_error_inside_a_success_is_an_error(tmp_path: Path) -> None:
    error = b" \n <Error><Code>InternalError</Code><Message>no</Message></Error>"
    script = completing_with(lambda line, content: line.answer(200, body=error))
    with ScriptedS3(script) as store, pytest.raises(TransferFault, match="InternalError"):
        deliver(store, new_file(tmp_path, 17 * MIB))


def test_a_completion_that_echoes_another_checksum_is_unproven(tmp_path: Path) -> None:
    wrong = complete(b"<ChecksumCRC64NVME>AAAAAAAAAAA=</ChecksumCRC64NVME>")
    script = completing_with(lambda line, content: line.answer(200, body=wrong))
    with ScriptedS3(script) as store, pytest.raises(Unproven):
        deliver(store, new_file(tmp_path, 17 * MIB))


def finish_upload(line: Line, content: bytes) -> None:
    line.server.uploads.clear()
    line.server.objects["/bucket/file"] = content


def test_a_completion_without_a_checksum_is_proved_by_asking_for_it(tmp_path: Path) -> None:
    def answer(line: Line, content: bytes) -> None:
        finish_upload(line, content)
        line.answer(200, body=complete(b"<ETag>e</ETag>"))

    with ScriptedS3(completing_with(answer)) as store:
        (receipt,) = deliver(store, new_file(tmp_path, 17 * MIB))
    assert receipt.checksum == "crc64nvme:" + echo_of(store.objects["/bucket/file"])[ECHO]
    assert store.requests[-1].method == "HEAD"


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_completion_whose_answer_was_lost_is_found_complete(concurrency: int, tmp_path: Path) -> None:
    def answer(line: Line, content: bytes) -> None:
        finish_upload(line, content)
        line.reset()

    with ScriptedS3(completing_with(answer)) as store:
        assert len(deliver(store, new_file(tmp_path, 17 * MIB), concurrency=concurrency)) == 1


def saved_for(path: str, upload_id: str = "u1") -> dict[str, object]:
    status = os.stat(path)
    numbers = [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]
    return {
        "kind": "s3-multipart",
        "bucket": "bucket",
        "key": "file",
        "upload_id": upload_id,
        "part_size": 8 * MIB,
        "fingerprint": numbers,
    }


def resume(store: ScriptedS3, path: str, checkpoint: dict[str, object], courier: Courier) -> Receipt:
    async def run() -> Receipt:
        async with transport_to(store) as transport:
            return await transport.deliver(courier.delivery(path, "file", checkpoint=checkpoint))

    return asyncio.run(run())


def parts_sent(store: ScriptedS3) -> list[int]:
    return sorted(
        int(request.query["partNumber"]) for request in store.requests if "partNumber" in request.query
    )


def test_what_was_complete_before_a_crash_is_not_sent_again(tmp_path: Path) -> None:
    path = new_file(tmp_path, 20 * MIB)
    with ScriptedS3() as store, open(path, "rb") as file:
        store.objects["/bucket/file"] = file.read()
        receipt = resume(store, path, saved_for(path), Courier("bucket"))
    assert receipt.size == 20 * MIB
    assert parts_sent(store) == []


def test_an_upload_that_is_gone_is_begun_anew(tmp_path: Path) -> None:
    path = new_file(tmp_path, 20 * MIB)
    courier = Courier("bucket")
    with ScriptedS3() as store, open(path, "rb") as file:
        store.objects["/bucket/file"] = b"what was there before"
        resume(store, path, saved_for(path, "gone"), courier)
        assert store.objects["/bucket/file"] == file.read()
    assert parts_sent(store) == [1, 2, 3]
    assert courier.saved[0] is None
    assert courier.saved[1] is not None


def test_only_parts_with_the_checksum_of_our_own_bytes_are_believed(tmp_path: Path) -> None:
    path = new_file(tmp_path, 20 * MIB)
    with ScriptedS3() as store, open(path, "rb") as file:
        content = file.read()
        store.uploads["u1"] = {1: content[: 8 * MIB], 2: b"!" + content[8 * MIB + 1 : 16 * MIB], 3: b"short"}
        resume(store, path, saved_for(path), Courier("bucket"))
        assert store.objects["/bucket/file"] == content
    assert parts_sent(store) == [2, 3]


def test_an_upload_of_other_content_is_taken_back_and_begun_anew(tmp_path: Path) -> None:
    path = new_file(tmp_path, 20 * MIB)
    checkpoint = saved_for(path)
    os.utime(path, ns=(1, 1))
    courier = Courier("bucket")
    with ScriptedS3() as store, open(path, "rb") as file:
        store.uploads["u1"] = {1: b"old"}
        resume(store, path, checkpoint, courier)
        assert store.objects["/bucket/file"] == file.read()
    assert store.requests[0].method == "DELETE"
    assert courier.saved[0] is None


def test_a_file_that_became_small_takes_the_upload_of_its_large_self_back(tmp_path: Path) -> None:
    path = new_file(tmp_path, 20 * MIB)
    checkpoint = saved_for(path)
    new_file(tmp_path, 10)
    courier = Courier("bucket")
    with ScriptedS3() as store:
        store.uploads["u1"] = {1: b"old"}
        resume(store, path, checkpoint, courier)
        assert not store.uploads
        assert len(store.objects["/bucket/file"]) == 10
    assert courier.saved == [None]


def test_a_large_file_that_changes_is_never_visible_and_its_parts_are_taken_back(tmp_path: Path) -> None:
    path = new_file(tmp_path, 20 * MIB)
    courier = Courier("bucket")

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            if request.query.get("partNumber") == "2":
                os.utime(path, ns=(1, 1))
            serve(line, request, body)

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store, deadlines=PATIENT) as transport:
            await transport.deliver(courier.delivery(path, "file"))

    with ScriptedS3(script) as store, pytest.raises(FileChanged):
        asyncio.run(run(store))
    assert not store.objects
    assert not store.uploads
    assert courier.saved[-1] is None


def test_a_broken_line_keeps_the_upload_and_the_next_delivery_sends_only_what_is_missing(
    tmp_path: Path,
) -> None:
    path = new_file(tmp_path, 33 * MIB)
    courier = Courier("bucket")
    is_broken = threading.Event()
    is_broken.set()

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if request.query.get("partNumber") == "4" and is_broken.is_set():
                line.reset()
                return
            if "expect" in request.headers:
                line.proceed()
            serve(line, request, line.body(request.size))

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store, deadlines=PATIENT, concurrency=1) as transport:
            with pytest.raises(TransferFault):
                await transport.deliver(courier.delivery(path, "file"))
            assert courier.saved[-1] is not None
            is_broken.clear()
            store.requests.clear()
            await transport.deliver(courier.delivery(path, "file", checkpoint=courier.saved[-1]))

    with ScriptedS3(script) as store, open(path, "rb") as file:
        asyncio.run(run(store))
        assert store.objects["/bucket/file"] == file.read()
    assert parts_sent(store) == [4, 5]
