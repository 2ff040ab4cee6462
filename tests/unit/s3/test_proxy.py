"""Which proxy the environment means, for which endpoint; and that its password is shown to nobody."""

from __future__ import annotations

import base64

import pytest

from s3_file_uploader.errors import ConfigurationError, Misconfigured, Unreachable
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.proxy import Proxies, Proxy

TLS, PLAIN = "https://s3.example.com", "http://s3.example.com:9000"
LOGIN = "http://me:s%40c%3Aret@proxy.example.com:3128"


def to(url: str, **environment: str) -> Proxy | None:
    return Proxies(environment).to(Endpoint.of("bucket", "eu-test-1", url))


@pytest.mark.parametrize(
    ("url", "environment", "expected"),
    [
        (TLS, {}, None),
        (TLS, {"https_proxy": "http://p:1"}, "http://p:1 (https_proxy)"),
        (TLS, {"HTTPS_PROXY": "http://p:1"}, "http://p:1 (HTTPS_PROXY)"),
        (TLS, {"HTTPS_PROXY": "http://p:1", "https_proxy": "http://q:2"}, "http://q:2 (https_proxy)"),
        (TLS, {"HTTPS_PROXY": "http://p:1", "https_proxy": ""}, None),
        (TLS, {"http_proxy": "http://p:1"}, None),
        (TLS, {"ALL_PROXY": "http://p:1"}, "http://p:1 (ALL_PROXY)"),
        (TLS, {"ALL_PROXY": "http://p:1", "all_proxy": "http://q:2"}, "http://q:2 (all_proxy)"),
        (PLAIN, {"http_proxy": "http://p:1"}, "http://p:1 (http_proxy)"),
        (PLAIN, {"HTTP_PROXY": "http://p:1"}, None),
        (PLAIN, {"HTTPS_PROXY": "http://p:1"}, None),
        (PLAIN, {"ALL_PROXY": "http://p:1"}, "http://p:1 (ALL_PROXY)"),
        (TLS, {"HTTPS_PROXY": "p.example.com"}, "http://p.example.com:80 (HTTPS_PROXY)"),
        (TLS, {"HTTPS_PROXY": "p:3128/"}, "http://p:3128 (HTTPS_PROXY)"),
        (TLS, {"HTTPS_PROXY": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128 (HTTPS_PROXY)"),
        (TLS, {"HTTPS_PROXY": LOGIN}, "http://proxy.example.com:3128 with a login (HTTPS_PROXY)"),
        ("https://127.0.0.1:1", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://[::1]:1", {"HTTPS_PROXY": "http://p:1"}, None),
        ("https://localhost:1", {"HTTPS_PROXY": "http://p:1"}, None),
    ],
)
def test_the_environment_names_the_proxy(url: str, environment: dict[str, str], expected: str | None) -> None:
    found = to(url, **environment)
    assert (found and found.describe()) == expected


@pytest.mark.parametrize(
    ("no_proxy", "url", "is_exempt"),
    [
        ("*", TLS, True),
        ("s3.example.com", TLS, True),
        ("S3.Example.COM", TLS, True),
        ("example.com", TLS, True),
        (".example.com", TLS, True),
        ("*.example.com", TLS, True),
        ("ample.com", TLS, False),
        ("other.com, example.com", TLS, True),
        ("other.com example.com", TLS, True),
        ("other.com,,", TLS, False),
        (".", TLS, False),
        ("example.com:443", TLS, True),
        ("example.com:9000", TLS, False),
        ("example.com:9000", PLAIN, True),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:8443", "https://10.1.2.3", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/16", "https://10.1.2.3", False),
        ("10.0.0.0/8", TLS, False),
        ("10.0.0.0/8", "https://[2001:db8::1]", False),
        ("2001:db8::/32", "https://[2001:db8::1]", True),
        ("[2001:db8::1]", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:443", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:80", "https://[2001:db8::1]", False),
        ("[2001:db8::]/32", "https://[2001:db8::1]", True),
        ("nonsense/::", "https://10.1.2.3", False),
    ],
)
def test_no_proxy_names_what_is_reached_without(no_proxy: str, url: str, is_exempt: bool) -> None:
    proxies = {"https_proxy": "http://p:1", "http_proxy": "http://p:1"}
    assert (to(url, **proxies, no_proxy=no_proxy) is None) == is_exempt
    assert (to(url, **proxies, NO_PROXY=no_proxy) is None) == is_exempt
    assert to(url, **proxies, NO_PROXY=no_proxy, no_proxy="") is not None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("https://me:geheim@p:1", "over TLS"),
        ("socks5://me:geheim@p:1", "socks5:// proxies are not supported"),
        ("http://me:geheim@", "names no host"),
        ("http://me:geheim@p:port", "malformed"),
        ("http://me:ge/heim@p:1", "malformed"),
        ("http://me:geheim@[p", "malformed"),
        ("http://me:geheim@p q:1", "names no host"),
        ("http://me:geheim@" + "x" * 70 + ":1", "names no host"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_without_its_password(value: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        to(TLS, HTTPS_PROXY=value)
    assert "HTTPS_PROXY" in str(caught.value)
    assert "heim" not in str(caught.value) + caught.value.advice
    assert to(TLS, HTTPS_PROXY=value, NO_PROXY="*") is None


def test_a_login_is_percent_decoded_sent_and_never_shown() -> None:
    proxy = to(TLS, HTTPS_PROXY=LOGIN)
    assert proxy is not None
    encoded = base64.b64encode(b"me:s@c:ret").decode()
    assert proxy.connect_head("s3.example.com", 443) == (
        b"CONNECT s3.example.com:443 HTTP/1.1\r\nhost: s3.example.com:443\r\nuser-agent: "
        + proxy.connect_head("s3.example.com", 443).split(b"user-agent: ")[1].split(b"\r\n")[0]
        + b"\r\nproxy-authorization: Basic "
        + encoded.encode()
        + b"\r\n\r\n"
    )
    assert set(proxy.secrets) == {"s@c:ret", encoded}
    refusal = proxy.refusal(407, "s3.example.com", 443)
    shown = f"{proxy!r} {proxy.describe()} {refusal} {refusal.advice}"
    assert not [one for one in (*proxy.secrets, "s%40c") if one in shown]


def test_a_request_that_a_proxy_forwards_names_where_it_goes_and_brings_the_login() -> None:
    head = b"PUT /bucket/a?x=y HTTP/1.1\r\nhost: h:9000\r\n\r\n"
    assert Proxy("p", 1, "http_proxy").forwarded(head, "http://h:9000") == (
        b"PUT http://h:9000/bucket/a?x=y HTTP/1.1\r\nhost: h:9000\r\n\r\n"
    )
    assert Proxy("p", 1, "http_proxy", "Basic eA==").forwarded(head, "http://h:9000") == (
        b"PUT http://h:9000/bucket/a?x=y HTTP/1.1\r\nproxy-authorization: Basic eA==\r\nhost: h:9000\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (407, Misconfigured, "wants a login"),
        (403, Misconfigured, "forbids connecting to s3.example.com:443: 403"),
        (405, Misconfigured, "does not connect"),
        (302, Misconfigured, "does not connect"),
        (429, Unreachable, "cannot reach"),
        (502, Unreachable, "cannot reach s3.example.com:443: 502"),
        (504, Unreachable, "cannot reach"),
    ],
)
def test_the_no_of_a_proxy_is_named_as_the_proxys(status: int, kind: type, said: str) -> None:
    error = Proxy("p", 1, "HTTPS_PROXY").refusal(status, "s3.example.com", 443)
    assert type(error) is kind
    assert said in str(error)
    assert "the proxy http://p:1 (HTTPS_PROXY)" in str(error)
    assert error.code == str(status)


def test_a_login_that_is_not_accepted_is_told_from_one_that_is_missing() -> None:
    error = Proxy("p", 1, "HTTPS_PROXY", "Basic eA==").refusal(407, "h", 443)
    assert "does not accept the login" in str(error)
    assert "HTTPS_PROXY" in error.advice
