"""The table of faults: one row for each thing that a store or the line to it can do wrong.

Of every row the same must hold: the fault ends as the error that it is, in words that say what it was; the
file on the disk stays as it is; once the fault is over the file arrives, with exactly its content; and no
part that the store had taken is sent to it again.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import DeliveryError, TransferFault
from s3_file_uploader.transport.s3.connection import Deadlines
from support.deliveries import Courier
from support.s3_transports import MIB, PATIENT, new_file, transport_to
from support.scripted_s3 import ECHO, Line, Request, ScriptedS3, echo_of, serve

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.model import Receipt
    from s3_file_uploader.transport.s3.transport import S3Transport

    Answer = Callable[[Line, Request, bytes], None]
    Play = Callable[[Line, Request], None]

SMALL, LARGE, PARTS = 1000, 3 * MIB, 20 * MIB  # in one piece; after `Expect: 100-continue`; in three parts
HURRIED = Deadlines(progress=0.5, complete=0.5, proceed=0.1)


@dataclass(frozen=True)
class Fault:
    """`play` is what the store does with a request while the fault lasts.

    `error` is the class in the program's own tree, `words` what its text says; none where the store is
    merely odd. `sizes` are those of the files that meet it.
    """

    play: Play
    error: str = ""
    words: str = ""
    sizes: tuple[int, ...] = (SMALL, LARGE)
    deadlines: Deadlines = PATIENT
    sends_twice: bool = False  # the store is not believed to have what it took


def read_whole(line: Line, request: Request) -> bytes:
    if "expect" in request.headers:
        line.proceed()
    return line.body(request.size)


def after(answer: Answer) -> Play:
    """The whole request is read, then this is the answer."""

    def play(line: Line, request: Request) -> None:
        answer(line, request, read_whole(line, request))

    return play


def answered(status: int, body: bytes = b"", **headers: str) -> Play:
    return after(
        lambda line, request, content: line.answer(
            status, {name.replace("_", "-"): value for name, value in headers.items()}, body
        )
    )


def echoing(echo: str) -> Play:
    return after(lambda line, request, content: line.answer(200, {ECHO: echo}))


def refused(status: int, code: str, inner: str = "", **headers: str) -> Play:
    body = f"<Error><Code>{code}</Code><Message>as the script says</Message>{inner}</Error>"
    return answered(status, body.encode(), **headers)


def raw(data: bytes, end: Callable[[Line], None] = Line.close) -> Play:
    def play(line: Line, request: Request) -> None:
        read_whole(line, request)
        line.send(data)
        end(line)

    return play


def amid(end: Callable[[Line], None], share: float = 0.5) -> Play:
    """In the middle of the body."""

    def play(line: Line, request: Request) -> None:
        if "expect" in request.headers:
            line.proceed()
        line.body(int(request.size * share))
        end(line)

    return play


def saying(answer: Callable[[Line], None]) -> Callable[[Line], None]:
    """Says something, reads no further, and leaves the line open."""

    def end(line: Line) -> None:
        answer(line)
        line.stall()

    return end


def only(method: str, query: str, play: Play) -> Play:
    """The fault is in one kind of request, others are served."""

    def chosen(line: Line, request: Request) -> None:
        name, _, value = query.partition("=")
        found = request.query.get(name)
        if request.method == method and found is not None and (not value or found == value):
            play(line, request)
        else:
            serve(line, request, read_whole(line, request))

    return chosen


def head_of(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    fields = {ECHO: echo_of(body)[ECHO], "etag": '"e"', **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode()


def oddly(answer: Callable[[bytes], bytes], end: Callable[[Line], None] = lambda line: None) -> Play:
    """Takes the object, and answers truly, in a form of its own."""

    def play(line: Line, request: Request) -> None:
        body = read_whole(line, request)
        line.server.objects[request.path] = body
        line.server.stored.append(request.path)
        line.send(answer(body))
        end(line)

    return play


def with_continues(*answers: bytes, when: float = 0.0) -> Play:
    """Interim answers of all kinds, asked for or not, before or within the body."""

    def play(line: Line, request: Request) -> None:
        first = line.body(int(request.size * when))
        for answer in answers:
            line.send(answer)
        serve(line, request, first + line.body(request.size - len(first)))

    return play


def completed_and(end: Callable[[Line], None]) -> Play:
    """The upload is put together, but nobody hears of it."""

    def play(line: Line, request: Request) -> None:
        body = read_whole(line, request)
        parts = line.server.uploads.pop(request.query["uploadId"], None)
        if parts is None:
            serve(line, request, body)
            return
        line.server.objects[request.path] = b"".join(part for _, part in sorted(parts.items()))
        end(line)

    return play


def said(play: Play, error: str, words: str) -> Fault:
    return Fault(play, error, words, (SMALL,))


def refuse_and_read_on(line: Line) -> None:
    line.refuse(503, "SlowDown")
    line.linger()


def drip(line: Line) -> None:
    """An answer that never ends, one byte at a time."""
    line.send(b"HTTP/1.1 200 OK\r\nx: ")
    while not line.server.is_over.wait(0.05):
        line.send(b"y")


BOMB = (
    b'<!DOCTYPE Error [<!ENTITY a "'
    + b"ha" * 1000
    + b'"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]><Error><Code>&b;</Code></Error>'
)
DEEP = b"<Error>" + b"<a>" * 5000 + b"</a>" * 5000 + b"</Error>"
HUGE = b"<Error><Code>" + b"x" * 3_000_000 + b"</Code></Error>"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

# What a store says in a whole answer is read the same whatever was sent.
SAID: dict[str, Fault] = {
    # -- what the store says
    "500": said(refused(500, "InternalError"), "TransferFault", "500 InternalError: as the script says"),
    "500 in HTML": said(answered(500, b"<html><hr>nginx</html>"), "TransferFault", "500"),
    "502": said(answered(502), "TransferFault", "502"),
    "504": said(answered(504), "TransferFault", "504"),
    "503 SlowDown": said(refused(503, "SlowDown"), "Throttled", "503 SlowDown"),
    "503 without words": said(answered(503), "Throttled", "503"),
    "429": said(answered(429, retry_after="1"), "Throttled", "429"),
    "429 TooManyRequests": said(refused(429, "TooManyRequests"), "Throttled", "429 TooManyRequests"),
    "408": said(answered(408), "TransferFault", "408"),
    "RequestTimeout": said(refused(400, "RequestTimeout"), "TransferFault", "400 RequestTimeout"),
    "BadDigest": said(refused(400, "BadDigest"), "Unproven", "400 BadDigest"),
    "no echo": said(answered(200, etag='"e"'), "Unproven", "did not confirm the checksum"),
    "an empty echo": said(echoing(""), "Unproven", "did not confirm the checksum"),
    "a wrong echo": said(echoing("AAAAAAAAAAA="), "Unproven", "holds other bytes"),
    "AccessDenied": said(refused(403, "AccessDenied"), "AccessDenied", "403 AccessDenied"),
    "403 without words": said(answered(403), "AccessDenied", "403"),
    "SignatureDoesNotMatch": said(refused(403, "SignatureDoesNotMatch"), "AccessDenied", "SignatureDoesNot"),
    "NoSuchBucket": said(refused(404, "NoSuchBucket"), "Misconfigured", "404 NoSuchBucket"),
    "404 without words": said(answered(404), "Misconfigured", "404"),
    "InvalidAccessKeyId": said(refused(403, "InvalidAccessKeyId"), "Misconfigured", "InvalidAccessKeyId"),
    "ExpiredToken": said(refused(400, "ExpiredToken"), "Misconfigured", "400 ExpiredToken"),
    "RequestTimeTooSkewed, and no time": said(
        refused(403, "RequestTimeTooSkewed"), "Misconfigured", "RequestTimeTooSkewed"
    ),
    "another login": said(answered(511), "Unreachable", "511"),
    "the store is full": said(refused(507, "InsufficientStorage"), "Unreachable", "507"),
    "413": said(answered(413), "Refused", "413"),
    "a code that nobody knows": said(refused(418, "Teapot"), "Refused", "418 Teapot"),
    # -- elsewhere
    "301 PermanentRedirect": said(
        refused(301, "PermanentRedirect", "<Endpoint>other.example</Endpoint>"),
        "Misconfigured",
        "301 Permanent",
    ),
    "301 to a region that is not AWS's to name": said(
        refused(301, "PermanentRedirect", x_amz_bucket_region="eu-west-9"), "Misconfigured", "301 Permanent"
    ),
    "a redirection by the web's rules": said(
        answered(302, location="https://evil.example/"), "Misconfigured", "302"
    ),
    "307 without a region": said(refused(307, "TemporaryRedirect"), "Unreachable", "307 Temporary"),
    "307 to the region that was asked": said(
        refused(307, "TemporaryRedirect", x_amz_bucket_region="eu-test-1"), "Unreachable", "307 Temporary"
    ),
    "AuthorizationHeaderMalformed": said(
        refused(400, "AuthorizationHeaderMalformed", "<Region>eu-west-9</Region>"),
        "Misconfigured",
        "400 AuthorizationHeaderMalformed",
    ),
    # -- hostile XML: the status still says what it was
    "an entity bomb": said(answered(500, BOMB), "TransferFault", "500"),
    "a deep answer": said(answered(403, DEEP), "AccessDenied", "403"),
    "a huge answer": said(answered(503, HUGE), "Throttled", "503"),
    "an answer with another root": said(
        answered(404, b"<Oops><Code>SlowDown</Code></Oops>"), "Misconfigured", "404"
    ),
    "a truncated error": said(answered(500, b"<Error><Code>Slow"), "TransferFault", "500"),
}

FAULTS: dict[str, Fault] = {
    **SAID,
    # -- the line
    "reset after the head": Fault(lambda line, request: line.reset(), "TransferFault", "connection broke"),
    "hangs up after the head": Fault(lambda line, request: line.close(), "TransferFault", "connection broke"),
    "reset within the body": Fault(amid(Line.reset), "TransferFault", "connection broke", (LARGE,)),
    "hangs up within the body": Fault(amid(Line.close), "TransferFault", "connection broke", (LARGE,)),
    "reset after the body": Fault(raw(b"", Line.reset), "TransferFault", "connection broke"),
    "hangs up after the body": Fault(raw(b""), "TransferFault", "before it answered"),
    "reset within the answer": Fault(
        raw(b"HTTP/1.1 200 O", Line.reset), "TransferFault", "connection broke|middle"
    ),
    "hangs up within the answer": Fault(raw(b"HTTP/1.1 200 O"), "TransferFault", "middle of an answer"),
    "stalls after the head": Fault(
        lambda line, request: line.stall(), "TransferFault", "nothing moved", (LARGE,), HURRIED
    ),
    "stalls within the body": Fault(
        amid(Line.stall, 0.1), "TransferFault", "nothing moved", (12 * MIB,), HURRIED
    ),
    "stalls after the body": Fault(raw(b"", Line.stall), "TransferFault", "nothing moved", deadlines=HURRIED),
    "stalls within the head of the answer": Fault(
        raw(b"HTTP/1.1 200 OK\r\nx", Line.stall), "TransferFault", "nothing moved", deadlines=HURRIED
    ),
    "stalls within the body of the answer": Fault(
        raw(b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\n<Err", Line.stall),
        "TransferFault",
        "nothing moved",
        deadlines=HURRIED,
    ),
    "an answer that drips for ever": Fault(
        raw(b"", drip), "TransferFault", "not complete after", deadlines=Deadlines(progress=0.5, answer=0.5)
    ),
    "an early no": Fault(
        amid(saying(lambda line: line.refuse(403, "AccessDenied", {"connection": "close"})), 0.01),
        "AccessDenied",
        "403 AccessDenied",
    ),
    "an early no that reads on": Fault(
        amid(refuse_and_read_on, 0.01),
        "Throttled",
        "503 SlowDown",
    ),
    "an early yes": Fault(
        amid(saying(lambda line: line.answer(200, {ECHO: "AAAAAAAAAAA="})), 0.1),
        "TransferFault",
        "before the whole content",
        (12 * MIB,),
    ),
    "a no instead of Continue": Fault(
        lambda line, request: line.refuse(403, "AccessDenied"), "AccessDenied", "403", (LARGE,)
    ),
    "a yes instead of Continue": Fault(
        lambda line, request: line.answer(200, {ECHO: "AAAAAAAAAAA="}),
        "TransferFault",
        "before the whole",
        (LARGE,),
    ),
    "Expect is refused": Fault(
        lambda line, request: line.answer(417, {"connection": "close"}), "TransferFault", "417", (LARGE,)
    ),
    # -- no HTTP, or hardly
    "no HTTP": Fault(raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "TransferFault", "not HTTP"),
    "HTTP/2": Fault(raw(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), "TransferFault", "not HTTP"),
    "bare line feeds": Fault(raw(b"HTTP/1.1 200 OK\nx: y\n\n"), "TransferFault", "not HTTP|middle"),
    "two lengths": Fault(
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-length: 1\r\n\r\n"), "TransferFault", "lengths"
    ),
    "a head without end": Fault(
        raw(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000, Line.stall), "TransferFault", "HTTP"
    ),
    "too many headers": Fault(
        raw(b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 500 + b"\r\n"), "TransferFault", "too many"
    ),
    "an answer of 99 GB": Fault(
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n"), "TransferFault", "99999999999"
    ),
    "a chunk without size": Fault(raw(CHUNKED + b"xyz\r\n"), "TransferFault", "chunk"),
    "a chunked answer that is cut off": Fault(
        raw(CHUNKED + b"5\r\nab"), "TransferFault", "middle of an answer"
    ),
    "Continue for ever": Fault(
        raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 30), "TransferFault", "interim answer", (SMALL,)
    ),
    "another protocol": Fault(raw(b"HTTP/1.1 101 Switching\r\n\r\n"), "TransferFault", "interim answer 101"),
    # -- odd, and right
    "HTTP/1.0": Fault(oddly(lambda body: head_of(body).replace(b"/1.1", b"/1.0"), Line.close)),
    "closes after each answer": Fault(
        oddly(lambda body: head_of(body, content_length="0", connection="close"), Line.close)
    ),
    "closes without a word of it": Fault(oddly(lambda body: head_of(body, content_length="0"), Line.close)),
    "a chunked answer": Fault(
        oddly(lambda body: head_of(body, transfer_encoding="chunked") + b"1;x=y\r\n \r\n0\r\nx-t: 1\r\n\r\n")
    ),
    "an answer until the end": Fault(oddly(head_of, Line.close)),
    "more than the answer": Fault(
        oddly(lambda body: head_of(body, content_length="0") + b"and more", Line.close)
    ),
    "no reason": Fault(oddly(lambda body: head_of(body, "200", content_length="0"))),
    "201": Fault(oddly(lambda body: head_of(body, "201 Created", content_length="0"))),
    "Continue unasked": Fault(with_continues(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "Continue twice": Fault(with_continues(b"HTTP/1.1 100 Continue\r\n\r\n" * 2)),
    "Processing, then Continue": Fault(
        with_continues(b"HTTP/1.1 102 Processing\r\nx: y\r\n\r\n", b"HTTP/1.1 100 Go on\r\n\r\n")
    ),
    "Continue in HTTP/1.0": Fault(with_continues(b"HTTP/1.0 100 Continue\r\n\r\n")),
    "Continue when all is there": Fault(
        with_continues(b"HTTP/1.1 100 Continue\r\n\r\n", when=1.0), deadlines=Deadlines(proceed=0.05)
    ),
    "Continue within the body": Fault(
        with_continues(b"HTTP/1.1 100 Continue\r\n\r\n", when=0.5), deadlines=Deadlines(proceed=0.05)
    ),
    # -- files in parts
    "creating fails": Fault(
        only("POST", "uploads", refused(500, "InternalError")),
        "TransferFault",
        "CreateMultipartUpload .* 500",
        (PARTS,),
    ),
    "creating is not answered": Fault(
        only("POST", "uploads", raw(b"", Line.reset)), "TransferFault", "broke", (PARTS,)
    ),
    "creating is answered by a login page": Fault(
        only("POST", "uploads", answered(200, b"<html>log in</html>")), "TransferFault", "<html>", (PARTS,)
    ),
    "creating is answered by a bomb": Fault(
        only("POST", "uploads", answered(200, BOMB)), "TransferFault", "document type", (PARTS,)
    ),
    "a part is reset": Fault(
        only("PUT", "partNumber=2", amid(Line.reset)), "TransferFault", "connection broke", (PARTS,)
    ),
    "a part stalls": Fault(
        only("PUT", "partNumber=3", raw(b"", Line.stall)), "TransferFault", "nothing moved", (PARTS,), HURRIED
    ),
    "a part is throttled": Fault(
        only("PUT", "partNumber=2", refused(503, "SlowDown")), "Throttled", "UploadPart .* 503", (PARTS,)
    ),
    "a part is denied": Fault(
        only("PUT", "partNumber=2", refused(403, "AccessDenied")), "AccessDenied", "UploadPart", (PARTS,)
    ),
    "a part has a wrong echo": Fault(
        only("PUT", "partNumber=2", echoing("AAAAAAAAAAA=")),
        "Unproven",
        "holds other bytes",
        (PARTS,),
        sends_twice=True,
    ),
    "completing fails": Fault(
        only("POST", "uploadId", refused(500, "InternalError")), "TransferFault", "Complete.* 500", (PARTS,)
    ),
    "completing says 200 and fails": Fault(
        only("POST", "uploadId", answered(200, b"  \n<Error><Code>InternalError</Code></Error>")),
        "TransferFault",
        "CompleteMultipartUpload .* 200 InternalError",
        (PARTS,),
    ),
    "completing says 200 and slow down": Fault(
        only("POST", "uploadId", answered(200, b"<Error><Code>SlowDown</Code></Error>")),
        "Throttled",
        "SlowDown",
        (PARTS,),
    ),
    "completing is answered in half": Fault(
        only("POST", "uploadId", answered(200, b"<CompleteMultipartUploadResult><ETag>")),
        "TransferFault",
        "not what S3 sends",
        (PARTS,),
    ),
    "completing is answered by another root": Fault(
        only("POST", "uploadId", answered(200, b"<html>x</html>")), "TransferFault", "<html>", (PARTS,)
    ),
    "completing is denied": Fault(
        only("POST", "uploadId", refused(403, "AccessDenied")), "AccessDenied", "403", (PARTS,)
    ),
    "completing is reset before it began": Fault(
        only("POST", "uploadId", lambda line, request: line.reset()), "TransferFault", "broke", (PARTS,)
    ),
    "completing is done and not answered": Fault(
        only("POST", "uploadId", completed_and(Line.reset)), sizes=(PARTS,)
    ),
    "completing is done and stalls": Fault(
        only("POST", "uploadId", completed_and(Line.stall)),
        "TransferFault",
        "nothing moved",
        (PARTS,),
        HURRIED,
    ),
}


def script_of(play: Play) -> Callable[[Line], None]:
    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if line.server.is_healed.is_set():
                serve(line, request, read_whole(line, request))
            else:
                play(line, request)

    return script


def name_of(error: DeliveryError) -> str:
    """Sub-classes that the S3 transport makes for itself count as what they are in the program's tree."""
    kinds = (kind for kind in type(error).__mro__ if kind.__module__ == "s3_file_uploader.errors")
    return next(kinds).__name__


async def faulty(transport: S3Transport, courier: Courier, path: str, fault: Fault) -> None:
    """One delivery while the fault lasts."""
    outcome = transport.deliver(courier.delivery(path, "key"))
    await asyncio.wait([outcome])
    error = outcome.exception()
    if not fault.error:
        assert error is None, error
        return
    assert isinstance(error, DeliveryError), error
    assert name_of(error) == fault.error, error
    assert re.search(fault.words, str(error)), error
    assert str(error).isprintable()
    assert error.advice


async def until_delivered(transport: S3Transport, courier: Courier, path: str) -> Receipt:
    """A machine under load may let a short deadline of the row pass once more."""
    while True:
        checkpoint = courier.saved[-1] if courier.saved else None
        try:
            return await transport.deliver(courier.delivery(path, "key", checkpoint=checkpoint))
        except TransferFault as fault:
            if not re.search("nothing moved|not complete", str(fault)):
                raise


@pytest.mark.parametrize(
    ("name", "size"), [(name, size) for name, fault in FAULTS.items() for size in fault.sizes]
)
def test_each_fault_is_named_and_once_it_is_over_the_file_arrives(
    name: str, size: int, tmp_path: Path
) -> None:
    fault = FAULTS[name]
    path = new_file(tmp_path, size)
    content = Path(path).read_bytes()
    courier = Courier("bucket")

    async def run(store: ScriptedS3) -> Receipt:
        settings: dict[str, Any] = {"deadlines": fault.deadlines, "concurrency": 1}
        async with transport_to(store, **settings) as transport:
            await faulty(transport, courier, path, fault)
            store.heal()
            return await until_delivered(transport, courier, path)

    with ScriptedS3(script_of(fault.play)) as store:
        receipt = asyncio.run(run(store))
    assert Path(path).read_bytes() == content
    assert store.objects == {"/bucket/key": content}
    assert receipt.checksum == f"crc64nvme:{echo_of(content)[ECHO]}"
    assert not store.uploads
    parts = Counter(one for one in store.stored if "part" in one)
    assert fault.sends_twice or set(parts.values()) <= {1}
