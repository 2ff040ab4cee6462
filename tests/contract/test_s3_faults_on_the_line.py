"""What goes wrong on a line that speaks TLS: the same as without, and certificates.

The table of all faults, without TLS, is in `test_s3_faults_one_by_one`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import DeliveryError, Misconfigured, Unreachable
from support.deliveries import Courier
from support.s3_transports import MIB, new_file, transport_to
from support.scripted_s3 import ECHO, Line, ScriptedS3, echo_of, honest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Script = Callable[[Line], None]


async def outcome_of(store: ScriptedS3, path: str) -> str:
    """What one delivery ends with: the name of its error, or "receipt"."""
    async with transport_to(store) as transport:
        outcome = transport.deliver(Courier("bucket").delivery(path, "key"))
        await asyncio.wait([outcome])
        error = outcome.exception()
    if error is None:
        return "receipt"
    assert isinstance(error, DeliveryError)
    return name_of(error)


def name_of(error: DeliveryError) -> str:
    """Sub-classes that the S3 transport makes for itself count as what they are in the program's tree."""
    kinds = (kind for kind in type(error).__mro__ if kind.__module__ == "s3_file_uploader.errors")
    return next(kinds).__name__


def taking(answer: Callable[[Line, bytes], None]) -> Script:
    """A script that reads one whole request, then answers."""

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            answer(line, line.body(request.size))

    return script


def before_the_body(answer: Script) -> Script:
    def script(line: Line) -> None:
        assert line.request() is not None
        answer(line)

    return script


def reset_within_the_body(line: Line) -> None:
    request = line.request()
    assert request is not None
    if "expect" in request.headers:
        line.proceed()
    line.body(request.size // 2)
    line.reset()


def refuse_within_the_body(line: Line) -> None:
    """Says no in the middle, reads no further, hangs up: what proxies do with what is too large."""
    request = line.request()
    assert request is not None
    if "expect" in request.headers:
        line.proceed()
    line.body(min(request.size, 1000))
    line.refuse(403, "AccessDenied", {"connection": "close"})
    line.server.is_over.wait(0.2)


def cut_off(line: Line, data: bytes) -> None:
    line.send(data)
    line.reset()


ANSWERS: dict[str, tuple[Script, str]] = {
    "honest": (honest, "receipt"),
    "reset before an answer": (before_the_body(Line.reset), "TransferFault"),
    "reset within the body": (reset_within_the_body, "TransferFault"),
    "hangs up within its head": (
        taking(lambda line, body: cut_off(line, b"HTTP/1.1 200 OK\r\ncont")),
        "TransferFault",
    ),
    "stalls after the head": (before_the_body(Line.stall), "TransferFault"),
    "stalls after the body": (taking(lambda line, body: line.stall()), "TransferFault"),
    "early refusal": (refuse_within_the_body, "AccessDenied"),
    "no echo": (taking(lambda line, body: line.answer(200, {"etag": '"e"'})), "Unproven"),
    "wrong echo": (taking(lambda line, body: line.answer(200, echo_of(body + b"."))), "Unproven"),
    "empty echo": (taking(lambda line, body: line.answer(200, {ECHO: ""})), "Unproven"),
    "bad digest": (taking(lambda line, body: line.refuse(400, "BadDigest")), "Unproven"),
    "503": (taking(lambda line, body: line.refuse(503, "SlowDown")), "Throttled"),
    "500": (taking(lambda line, body: line.refuse(500, "InternalError")), "TransferFault"),
    "no bucket": (taking(lambda line, body: line.refuse(404, "NoSuchBucket")), "Misconfigured"),
    "too large": (taking(lambda line, body: line.refuse(400, "EntityTooLarge")), "Refused"),
    "an answer of no meaning": (taking(lambda line, body: line.send(b"\x00\x01\x02" * 30)), "TransferFault"),
    "truncated body": (
        taking(lambda line, body: cut_off(line, b"HTTP/1.1 500 No\r\ncontent-length: 99\r\n\r\n<Er")),
        "TransferFault",
    ),
    "http/1.0": (
        taking(
            lambda line, body: line.send(
                f"HTTP/1.0 200 OK\r\n{ECHO}: {echo_of(body)[ECHO]}\r\ncontent-length: 0\r\n\r\n".encode()
            )
        ),
        "receipt",
    ),
}


@pytest.mark.parametrize("size", [0, 1000, 3 * MIB], ids=["empty", "small", "large"])
@pytest.mark.parametrize("name", ANSWERS)
def test_each_fault_on_the_line_ends_as_what_it_is(name: str, size: int, tmp_path: Path) -> None:
    script, expected = ANSWERS[name]
    if name in ("reset within the body", "stalls after the head") and size == 0:
        expected = "TransferFault"
    with ScriptedS3(script, certificate="localhost") as store:
        assert asyncio.run(outcome_of(store, new_file(tmp_path, size))) == expected


@pytest.mark.parametrize(
    ("certificate", "expected"),
    [
        ("expired", "Unreachable: has expired"),
        ("self-signed", "Misconfigured: self-signed"),
        ("elsewhere", "Misconfigured: for another name"),
    ],
)
def test_a_certificate_that_is_not_accepted_is_named_for_what_is_wrong_with_it(
    certificate: str, expected: str, tmp_path: Path
) -> None:
    async def deliver(store: ScriptedS3) -> None:
        async with transport_to(store) as transport:
            await transport.deliver(Courier("bucket").delivery(new_file(tmp_path, 10), "key"))

    kind, _, words = expected.partition(": ")
    with ScriptedS3(certificate=certificate) as store:
        with pytest.raises((Unreachable, Misconfigured), match=words) as caught:
            asyncio.run(deliver(store))
        assert type(caught.value).__name__ == kind
        assert not store.requests


def test_a_port_where_nobody_listens_is_unreachable(tmp_path: Path) -> None:
    with ScriptedS3() as store:
        pass  # and now it is gone

    async def deliver() -> None:
        async with transport_to(store) as transport:
            await transport.deliver(Courier("bucket").delivery(new_file(tmp_path, 10), "key"))

    with pytest.raises(Unreachable, match="cannot connect"):
        asyncio.run(deliver())
