"""What the transport puts right on the spot: another region, a token that expires; and TLS named for what it is."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import DeliveryError, Misconfigured, Unreachable
from s3_file_uploader.transport.s3.credentials import CredentialSource, Patience
from support.deliveries import Courier
from support.s3_transports import MIB, PATIENT, looking_up, new_file, transport_to
from support.scripted_s3 import Line, ScriptedS3, echo_of, serve

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.model import Receipt


def deliver(store: ScriptedS3, *paths: str, **settings: Any) -> list[Receipt]:
    """All at once over one transport."""
    settings = {"deadlines": PATIENT, **settings}

    async def run() -> list[Receipt]:
        async with transport_to(store, **settings) as transport:
            courier = Courier("bucket")
            jobs = [transport.deliver(courier.delivery(path, f"key{n}")) for n, path in enumerate(paths)]
            return list(await asyncio.gather(*jobs))

    return asyncio.run(run())


# -- regions. All of AWS is one port of this machine here.

HOME = "eu-west-1"


def of_aws(refuse: Callable[[Line], None], home: str = HOME) -> Callable[[Line], None]:
    """Serves what is signed for `home` and sent to its address; everything else gets the answer."""

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            if "expect" in request.headers:
                line.proceed()
            body = line.body(request.size)
            is_signed = f"/{home}/s3/" in request.headers["authorization"]
            if is_signed and f".{home}." in request.headers["host"]:
                serve(line, request, body)
            else:
                refuse(line)

    return script


def told(status: int, code: str, inner: str = "", **headers: str) -> Callable[[Line], None]:
    body = f"<Error><Code>{code}</Code><Message>elsewhere</Message>{inner}</Error>".encode()
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda line: line.answer(status, fields, body)


WAYS_TO_SAY_IT = {
    "301 with a header": told(301, "PermanentRedirect", x_amz_bucket_region=HOME),
    "307 with a header": told(307, "TemporaryRedirect", x_amz_bucket_region=HOME),
    "400 with a region": told(400, "AuthorizationHeaderMalformed", f"<Region>{HOME}</Region>"),
    "400 of a location": told(400, "IllegalLocationConstraintException", x_amz_bucket_region=HOME),
    "301 without words": lambda line: line.answer(301, {"x-amz-bucket-region": HOME}),
}


def aws(
    store: ScriptedS3, region: str = "us-east-1", host: str = "s3.us-east-1.amazonaws.com"
) -> dict[str, Any]:
    return {
        "url": f"http://{host}:{store.port}",
        "region": region,
        "resolver": looking_up([("127.0.0.1", store.port)]),
    }


@pytest.mark.parametrize("way", WAYS_TO_SAY_IT)
def test_a_bucket_in_another_region_of_aws_is_followed_there_once_for_all(
    way: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = [new_file(tmp_path, 10, "a"), new_file(tmp_path, 2 * MIB, "b"), new_file(tmp_path, 20 * MIB, "c")]

    async def run(store: ScriptedS3) -> None:
        async with transport_to(store, deadlines=PATIENT, **aws(store)) as transport:
            courier = Courier("bucket")
            for number, path in enumerate(files):
                await transport.deliver(courier.delivery(path, f"key{number}"))

    with caplog.at_level(logging.WARNING), ScriptedS3(of_aws(WAYS_TO_SAY_IT[way])) as store:
        asyncio.run(run(store))
    assert sorted(store.objects) == ["/key0", "/key1", "/key2"]
    hosts = [request.headers["host"].partition(":")[0] for request in store.requests]
    assert hosts[0] == "bucket.s3.us-east-1.amazonaws.com"
    assert set(hosts[1:]) == {f"bucket.s3.{HOME}.amazonaws.com"}
    [line] = [record for record in caplog.records if record.message == "redirected"]
    assert line.__dict__["fields"]["try"] == f"Set Region to {HOME}."


def test_many_files_that_find_out_at_once_all_arrive(tmp_path: Path) -> None:
    files = [new_file(tmp_path, 10, f"f{number}") for number in range(40)]
    with ScriptedS3(of_aws(WAYS_TO_SAY_IT["301 with a header"])) as store:
        assert len(deliver(store, *files, **aws(store))) == 40
    assert len(store.objects) == 40


@pytest.mark.parametrize(
    ("named", "host"),
    [
        (
            "cn-north-1",
            "s3.us-east-1.amazonaws.com",
        ),  # another partition: the bucket of that name is another's
        ("evil.example/", "s3.us-east-1.amazonaws.com"),
        ("EU", "s3.us-east-1.amazonaws.com"),
        (HOME, "vpce-1a2b.s3.us-east-1.vpce.amazonaws.com"),
        (HOME, "s3.example.com"),
        (HOME, "amazonaws.com.example.com"),
    ],
)
def test_where_it_is_not_certain_to_be_the_same_bucket_the_region_is_only_named(
    named: str, host: str, tmp_path: Path
) -> None:
    script = of_aws(told(301, "PermanentRedirect", x_amz_bucket_region=named))
    with ScriptedS3(script) as store, pytest.raises(Misconfigured, match="301 PermanentRedirect") as caught:
        deliver(store, new_file(tmp_path, 10), **aws(store, host=host))
    assert caught.value.advice == f"Set Region to {named}."
    assert len(store.requests) == 1


def test_a_store_that_sends_round_in_circles_is_followed_once(tmp_path: Path) -> None:
    places = itertools.cycle([HOME, "us-east-1"])

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            line.body(request.size)
            line.answer(301, {"x-amz-bucket-region": next(places)})

    with ScriptedS3(script) as store, pytest.raises(Misconfigured):
        deliver(store, new_file(tmp_path, 10), **aws(store))
    assert len(store.requests) == 2


def test_a_region_that_is_right_is_not_blamed_for_a_redirection(tmp_path: Path) -> None:
    script = of_aws(WAYS_TO_SAY_IT["301 with a header"], home="no-where-1")
    with ScriptedS3(script) as store, pytest.raises(Misconfigured) as caught:
        deliver(store, new_file(tmp_path, 10), **aws(store, region=HOME, host=f"s3.{HOME}.amazonaws.com"))
    assert "EndpointUrl" in caught.value.advice


# -- credentials


@pytest.mark.parametrize("good_for", [30, 12])
def test_tokens_that_rotate_under_load_cost_no_file_an_attempt(good_for: int, tmp_path: Path) -> None:
    """Each token is good for so many requests, and then expired; a hundred files are on their way."""
    lock, served = threading.Lock(), itertools.count(1)
    valid = ["token-0"]

    def fetch(profile: str, seconds: float) -> tuple[str, str, str | None, float | None]:
        return "id", "secret", valid[0], None

    def script(line: Line) -> None:
        while (request := line.request()) is not None:
            body = line.body(request.size)
            with lock:
                is_valid = request.headers["x-amz-security-token"] == valid[0]
                if is_valid and next(served) % good_for == 0:
                    valid[0] = f"token-{next(served)}"
            if is_valid:
                line.server.objects[request.path] = body
                line.answer(200, echo_of(body))
            else:
                line.refuse(400, "ExpiredToken")

    quick = Patience(first_retry=0.01, last_retry=0.05, between_renewals=0.01)
    source = CredentialSource(fetch=fetch, patience=quick)
    path = new_file(tmp_path, 10)
    with ScriptedS3(script) as store:
        assert len(deliver(store, *[path] * 100, credentials=source, concurrency=8)) == 100
    assert len(store.objects) == 100
    assert len({request.headers["x-amz-security-token"] for request in store.requests}) >= 4


# -- TLS


def alert(number: int) -> Callable[[Line], None]:
    """What a server says that cannot agree on how to speak: a fatal alert of TLS."""

    def script(line: Line) -> None:
        line.body(5)
        line.send(bytes([0x15, 3, 3, 0, 2, 2, number]))
        line.linger()

    return script


def hangs_up(line: Line) -> None:
    line.body(5)
    line.close()


def greets(line: Line) -> None:
    line.send(b"220 mail.example ESMTP\r\n")
    line.linger()


def speaks_http(line: Line) -> None:
    line.body(5)
    line.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    line.linger()


TLS_FAULTS: dict[str, tuple[Callable[[Line], None], type[DeliveryError], str]] = {
    "only an old version": (alert(70), Misconfigured, "no version of TLS, or no cipher, in common"),
    "no cipher in common": (alert(40), Misconfigured, "no version of TLS, or no cipher, in common"),
    "an internal error": (alert(80), Unreachable, "no TLS connection"),
    "plain HTTP": (speaks_http, Misconfigured, "does not speak TLS on that port"),
    "another protocol": (greets, Misconfigured, "does not speak TLS on that port"),
    "hangs up in the handshake": (hangs_up, Unreachable, "no TLS connection|cannot connect"),
    "resets in the handshake": (Line.reset, Unreachable, "no TLS connection|cannot connect"),
    "stalls in the handshake": (Line.stall, Unreachable, "no answer in time"),
}


@pytest.mark.parametrize("name", TLS_FAULTS)
def test_tls_that_fails_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    script, kind, said = TLS_FAULTS[name]
    deadlines = type(PATIENT)(tls=0.5) if "stalls" in name else PATIENT
    with ScriptedS3(script) as store, pytest.raises((Misconfigured, Unreachable), match=said) as caught:
        deliver(store, new_file(tmp_path, 10), url=f"https://localhost:{store.port}", deadlines=deadlines)
    assert isinstance(caught.value, kind)
    assert caught.value.advice


def test_a_certificate_of_an_authority_that_is_not_known_is_named_with_its_cure(tmp_path: Path) -> None:
    """Without a CaBundle the system's authorities count, and that of the tests is none of them."""
    said = "authority that is not trusted here"
    with ScriptedS3(certificate="localhost") as store, pytest.raises(Misconfigured, match=said) as caught:
        deliver(store, new_file(tmp_path, 10), ca_bundle="")
    assert "CaBundle" in caught.value.advice
