"""The way to the store: proxies, IPv6, names with several addresses, name servers that fail or change their mind."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.cli.doctor.store import examine_store
from s3_file_uploader.config import Rule
from s3_file_uploader.errors import ConfigurationError, DeliveryError, Interrupted, Misconfigured, Unreachable
from s3_file_uploader.transport.s3.connection import LONGEST_LIFE_SECONDS
from s3_file_uploader.transport.s3.proxy import Proxies
from s3_file_uploader.transport.s3.resolver import Resolver
from s3_file_uploader.transport.s3.transport import open_s3_transport
from support.deliveries import Courier
from support.s3_transports import MIB, PATIENT, looking_up, new_file, transport_to
from support.scripted_s3 import TLS_FOLDER, Line, ScriptedS3, echo_of, honest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from s3_file_uploader.model import Receipt

ELSEWHERE = "elsewhere.example"  # what a certificate of the tests is for


def deliver(store: ScriptedS3, *paths: str, **settings: Any) -> list[Receipt]:
    """One after the other over one transport."""
    settings = {"deadlines": PATIENT, **settings}

    async def run() -> list[Receipt]:
        async with transport_to(store, **settings) as transport:
            return [await transport.deliver(Courier("bucket").delivery(path, "key")) for path in paths]

    return asyncio.run(run())


def dead_port() -> int:
    """Where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
    return port


# -- proxies


def proxied(proxy: ScriptedS3, login: str = "", **more: str) -> Proxies:
    url = f"http://{login}127.0.0.1:{proxy.port}"
    return Proxies({"https_proxy": url, "http_proxy": url, **more})


def tunnel_to(store: ScriptedS3, version: bytes = b"1.1") -> ScriptedS3:
    def script(line: Line) -> None:
        assert line.request() is not None
        line.send(b"HTTP/" + version + b" 200 Connection established\r\n\r\n")
        line.tunnel(store.port)

    return ScriptedS3(script)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_a_store_over_tls_is_reached_through_a_tunnel_of_the_proxy(version: bytes, tmp_path: Path) -> None:
    files = [new_file(tmp_path, size, f"f{size}") for size in (10, 20 * MIB)]
    with ScriptedS3(certificate="elsewhere") as store, tunnel_to(store, version) as proxy:
        proxies = proxied(proxy, "me:s%40cret@")
        receipts = deliver(store, *files, url=f"https://{ELSEWHERE}", proxies=proxies, concurrency=1)
    assert [receipt.size for receipt in receipts] == [10, 20 * MIB]
    assert [request.method for request in proxy.requests] == ["CONNECT"]
    assert proxy.requests[0].target == f"{ELSEWHERE}:443"
    login = base64.b64encode(b"me:s@cret").decode()
    assert proxy.requests[0].headers["proxy-authorization"] == f"Basic {login}"
    assert not [request for request in store.requests if "proxy-authorization" in request.headers]


def test_a_store_over_plain_http_is_asked_through_the_proxy_by_whole_addresses(tmp_path: Path) -> None:
    with ScriptedS3(honest) as proxy:
        url = f"http://{ELSEWHERE}:9000"
        deliver(
            proxy, new_file(tmp_path, 10), new_file(tmp_path, 10), url=url, proxies=proxied(proxy, "a:b@")
        )
    assert [request.target for request in proxy.requests] == [f"http://{ELSEWHERE}:9000/bucket/key"] * 2
    assert {request.headers["host"] for request in proxy.requests} == {f"{ELSEWHERE}:9000"}
    assert {request.headers["proxy-authorization"] for request in proxy.requests} == {"Basic YTpi"}
    assert "proxy-authorization" not in proxy.requests[0].headers["authorization"]
    assert proxy.connections == 1


def test_what_no_proxy_names_is_reached_directly(tmp_path: Path) -> None:
    with ScriptedS3(certificate="elsewhere") as store, ScriptedS3() as proxy:
        resolver = looking_up([("127.0.0.1", store.port)])
        proxies = proxied(proxy, no_proxy=f".{ELSEWHERE}")
        deliver(store, new_file(tmp_path, 10), url=f"https://{ELSEWHERE}", proxies=proxies, resolver=resolver)
        assert len(store.requests) == 1
    assert not proxy.connections


def answering(answer: bytes) -> Callable[[Line], None]:
    def script(line: Line) -> None:
        assert line.request() is not None
        line.send(answer)
        line.close()

    return script


EMPTY = b"Content-Length: 0\r\n\r\n"
REFUSALS: dict[str, tuple[Callable[[Line], None], type[DeliveryError], str]] = {
    "no login": (answering(b"HTTP/1.1 407 Auth\r\n" + EMPTY), Misconfigured, "wants a login: 407"),
    "forbidden": (
        answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\n\r\n" + b"x" * 99),
        Misconfigured,
        "forbids connecting to elsewhere.example:443: 403",
    ),
    "not a proxy": (answering(b"HTTP/1.0 405 No\r\n\r\nonly GET"), Misconfigured, "does not connect"),
    "cannot reach": (answering(b"HTTP/1.1 502 Bad\r\n" + EMPTY), Unreachable, "cannot reach .*: 502"),
    "busy": (answering(b"HTTP/1.1 503 Busy\r\n" + EMPTY), Unreachable, "cannot reach .*: 503"),
    "no HTTP": (answering(b"SSH-2.0-OpenSSH\r\n"), Misconfigured, "does not speak HTTP"),
    "hangs up": (Line.close, Unreachable, "hung up"),
    "resets": (Line.reset, Unreachable, "hung up|reset"),
    "hangs up within": (answering(b"HTTP/1.1 200 Conn"), Unreachable, "hung up"),
    "says nothing": (Line.stall, Unreachable, "does not say within"),
    "answers for the store": (
        answering(b"HTTP/1.1 200 OK\r\n\r\n<html>log in here</html>"),
        Misconfigured,
        "does not speak TLS|no TLS",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_proxy_that_lets_nobody_through_is_named_for_it(name: str, tmp_path: Path) -> None:
    script, kind, said = REFUSALS[name]

    async def run(proxy: ScriptedS3) -> None:
        deadlines = type(PATIENT)(tunnel=0.3, tls=2)
        url = f"https://{ELSEWHERE}"
        proxies = proxied(proxy, "me:geheim@")
        async with transport_to(proxy, url=url, proxies=proxies, deadlines=deadlines) as transport:
            await transport.deliver(Courier("bucket").delivery(new_file(tmp_path, 10), "key"))

    if name == "no login":
        said = "does not accept the login"
    with ScriptedS3(script) as proxy, pytest.raises((Misconfigured, Unreachable), match=said) as caught:
        asyncio.run(run(proxy))
    if name != "answers for the store":
        assert type(caught.value) is kind
        assert "the proxy http://127.0.0.1" in str(caught.value)
    assert "geheim" not in str(caught.value) + caught.value.advice


def test_a_login_that_a_forwarding_proxy_wants_is_named_as_the_proxys(tmp_path: Path) -> None:
    def script(line: Line) -> None:
        request = line.request()
        assert request is not None
        line.body(request.size)
        line.answer(407, {"proxy-authenticate": "Basic"})

    with ScriptedS3(script) as proxy, pytest.raises(Misconfigured, match="407") as caught:
        deliver(proxy, new_file(tmp_path, 10), url=f"http://{ELSEWHERE}:9000", proxies=proxied(proxy))
    assert "proxy" in caught.value.advice


@pytest.mark.parametrize(
    ("resolver", "said"),
    [
        (lambda: looking_up([("127.0.0.1", dead_port())]), "cannot connect to the proxy .* refused"),
        (lambda: looking_up(socket.gaierror(-2, "Name not known")), "proxy.example of the proxy .* resolved"),
    ],
    ids=["refuses", "has no name"],
)
def test_a_proxy_that_is_not_there_is_named(
    resolver: Callable[[], Resolver], said: str, tmp_path: Path
) -> None:
    way = {"proxies": Proxies({"https_proxy": "http://proxy.example:3128"}), "resolver": resolver()}
    with ScriptedS3() as store, pytest.raises(Unreachable, match=said):
        deliver(store, new_file(tmp_path, 10), url=f"https://{ELSEWHERE}", **way)


def test_a_proxy_that_cannot_be_used_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(ConfigurationError, match="ALL_PROXY"):
        open_s3_transport(bucket="bucket", region="eu-west-1")


def test_the_password_of_a_proxy_is_kept_out_of_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:very-secret@127.0.0.1:3128")
    concealed: list[str] = []
    transport = open_s3_transport(
        bucket="b-1", region="eu-west-1", conceal=lambda *told: concealed.extend(told)
    )
    asyncio.run(transport.close())
    assert "very-secret" in concealed


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_check_goes_through_the_proxy_too_and_names_it(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    rule = Rule(
        "default",
        "/d/*",
        "bucket",
        region="eu-test-1",
        endpoint_url=f"{scheme}://{ELSEWHERE}",
        ca_bundle=os.path.join(TLS_FOLDER, "authority.pem"),
    )

    def listing(line: Line) -> None:
        assert line.request() is not None
        line.answer(200)

    store = ScriptedS3(listing, certificate="elsewhere")
    with store, ScriptedS3(listing) if scheme == "http" else tunnel_to(store) as proxy:
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:geheim@127.0.0.1:{proxy.port}")
        findings = [finding.text for finding in examine_store(rule, probe=False)]
    assert f"uploads go through http://127.0.0.1:{proxy.port} with a login ({scheme}_proxy)" in findings
    assert f"{scheme}://{ELSEWHERE}/bucket" in findings[-1]
    assert "answers, and the credentials may list it" in findings[-1]
    assert proxy.requests[0].headers["proxy-authorization"] == "Basic bWU6Z2VoZWlt"


def test_check_names_the_no_of_a_proxy_as_the_proxys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    rule = Rule("default", "/d/*", "bucket", region="eu-test-1", endpoint_url=f"https://{ELSEWHERE}")
    with ScriptedS3(answering(b"HTTP/1.1 407 Auth\r\n" + EMPTY)) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
        finding = list(examine_store(rule, probe=False))[-1]
    assert "wants a login: 407" in finding.text


# -- addresses


def test_a_store_on_ipv6_is_reached_by_its_address(tmp_path: Path) -> None:
    with ScriptedS3(host="::1") as store:
        deliver(store, new_file(tmp_path, 10), url=f"http://[::1]:{store.port}")
    assert store.requests[0].headers["host"] == f"[::1]:{store.port}"


def test_the_next_address_is_tried_when_one_refuses(tmp_path: Path) -> None:
    with ScriptedS3() as store:
        addresses = [("::1", dead_port()), ("127.0.0.1", dead_port()), ("127.0.0.1", store.port)]
        url = f"http://{ELSEWHERE}:{store.port}"
        deliver(store, new_file(tmp_path, 10), url=url, resolver=looking_up(addresses))
    assert store.connections == 1


def full_port() -> tuple[list[socket.socket], int]:
    """A port that takes no connection and refuses none: those who queue there wait."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    port: int = listening.getsockname()[1]
    held = [listening]
    for _ in range(4):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(("127.0.0.1", port))
        held.append(waiting)
    return held, port


def test_the_next_address_is_tried_beside_one_that_is_slow(tmp_path: Path) -> None:
    held, slow_port = full_port()
    with ScriptedS3() as store:
        resolver = looking_up([("127.0.0.1", slow_port), ("127.0.0.1", store.port)])
        # A minute for each address: only who tries the second beside the first gets there.
        deadlines = type(PATIENT)(connect=3600, head_start=0.05)
        url = f"http://{ELSEWHERE}:{store.port}"
        files = [new_file(tmp_path, 10, "a"), new_file(tmp_path, 10, "b")]
        deliver(store, *files, url=url, resolver=resolver, deadlines=deadlines)
    for one in held:
        one.close()
    assert store.connections == 1


def test_who_stops_while_addresses_are_tried_leaves_none_of_them_open(tmp_path: Path) -> None:
    held, slow_port = full_port()
    asked = threading.Event()

    def look_up(host: str, port: int, **more: Any) -> list[Any]:
        asked.set()
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{last}", slow_port)) for last in (1, 2)
        ]

    async def run(store: ScriptedS3) -> BaseException | None:
        deadlines = type(PATIENT)(connect=3600, head_start=0.01)
        settings: dict[str, Any] = {"resolver": Resolver(look_up=look_up), "deadlines": deadlines}
        async with transport_to(store, url=f"http://{ELSEWHERE}", **settings) as transport:
            outcome = transport.deliver(Courier("bucket").delivery(new_file(tmp_path, 10), "key"))
            await asyncio.to_thread(asked.wait)
            await transport.close()
            return outcome.exception()

    with ScriptedS3() as store:
        assert isinstance(asyncio.run(run(store)), Interrupted)
    for one in held:
        one.close()


def test_an_address_that_connects_and_breaks_in_the_handshake_is_not_the_last(tmp_path: Path) -> None:
    with ScriptedS3(Line.reset) as broken, ScriptedS3(certificate="elsewhere") as store:
        resolver = looking_up([("127.0.0.1", broken.port), ("127.0.0.1", store.port)])
        deliver(store, new_file(tmp_path, 10), url=f"https://{ELSEWHERE}", resolver=resolver)
    assert broken.connections == 1


def test_when_no_address_answers_the_last_trouble_is_told(tmp_path: Path) -> None:
    addresses = [("127.0.0.1", dead_port()), ("127.0.0.2", dead_port())]
    with ScriptedS3() as store, pytest.raises(Unreachable, match=r"127\.0\.0\.2: Connection refused"):
        deliver(store, new_file(tmp_path, 10), url=f"http://{ELSEWHERE}", resolver=looking_up(addresses))


# -- names


def test_a_name_that_cannot_be_resolved_is_named_and_tried_anew(tmp_path: Path) -> None:
    path = new_file(tmp_path, 10)

    async def run(store: ScriptedS3) -> None:
        resolver = looking_up(
            socket.gaierror(-3, "Temporary failure in name resolution"), [("127.0.0.1", store.port)]
        )
        url = f"http://{ELSEWHERE}:{store.port}"
        async with transport_to(store, url=url, resolver=resolver) as transport:
            with pytest.raises(Unreachable, match=r"name elsewhere\.example cannot be resolved: Temporary"):
                await transport.deliver(Courier("bucket").delivery(path, "key"))
            await transport.deliver(Courier("bucket").delivery(path, "key"))

    with ScriptedS3() as store:
        asyncio.run(run(store))


def test_a_name_that_leads_elsewhere_is_followed_in_the_same_delivery(tmp_path: Path) -> None:
    """The old address was learnt less than a minute ago, so only its refusal tells."""
    path = new_file(tmp_path, 10)

    def one_answer(line: Line) -> None:
        request = line.request()
        assert request is not None
        line.server.scripts = (Line.reset,)
        line.answer(200, {**echo_of(line.body(request.size)), "connection": "close"})

    async def run(old_store: ScriptedS3, new_store: ScriptedS3) -> None:
        resolver = looking_up([("127.0.0.1", old_store.port)], [("127.0.0.1", new_store.port)])
        async with transport_to(old_store, url=f"http://{ELSEWHERE}", resolver=resolver) as transport:
            await transport.deliver(Courier("bucket").delivery(path, "key"))
            old_store.stop_listening()
            await transport.deliver(Courier("bucket").delivery(path, "key"))

    with ScriptedS3(one_answer) as old_store, ScriptedS3() as new_store:
        asyncio.run(run(old_store, new_store))
    assert len(new_store.requests) == 1


def test_a_connection_is_kept_for_minutes_only_so_that_a_store_that_moves_is_followed(tmp_path: Path) -> None:
    ahead = [0.0]
    path = new_file(tmp_path, 10)

    async def run(old_store: ScriptedS3, new_store: ScriptedS3) -> None:
        addresses = [[("127.0.0.1", store.port)] for store in (old_store, new_store)]
        resolver = looking_up(*addresses, monotonic=monotonic)
        settings: dict[str, Any] = {"resolver": resolver, "monotonic": monotonic, "deadlines": PATIENT}
        async with transport_to(old_store, url=f"http://{ELSEWHERE}", **settings) as transport:
            for _ in range(3):
                await transport.deliver(Courier("bucket").delivery(path, "key"))
            ahead[0] = LONGEST_LIFE_SECONDS + 1
            for _ in range(3):
                await transport.deliver(Courier("bucket").delivery(path, "key"))

    def monotonic() -> float:
        return time.monotonic() + ahead[0]

    with ScriptedS3() as old_store, ScriptedS3() as new_store:
        asyncio.run(run(old_store, new_store))
    assert old_store.connections == new_store.connections == 1
    assert len(new_store.requests) >= 2
