"""Which HTTP proxy leads to an endpoint, as the environment says, and what is said to it.

Pure: the environment is a parameter and no socket is opened. `https_proxy`, `http_proxy`, `all_proxy`
and `no_proxy` count, in lower case first; `HTTP_PROXY` in capitals does not, since a web server makes
it from a header that any client may send. It refuses proxies that it cannot speak to rather than going
round them: who names a proxy means it. This machine itself is never asked for through a proxy. No
message holds a user name or a password.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote_to_bytes, urlsplit

from s3_file_uploader import __version__
from s3_file_uploader.errors import ConfigurationError, DeliveryError, Misconfigured, Unreachable
from s3_file_uploader.transport.s3.http1 import request_head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.transport.s3.endpoint import Endpoint

__all__ = ["VARIABLES", "Proxies", "Proxy"]

# By the scheme of the endpoint; the first that is set decides, and an empty one means no proxy.
VARIABLES = {
    "https": ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    "http": ("http_proxy", "all_proxy", "ALL_PROXY"),
}
_NOT_THROUGH = ("no_proxy", "NO_PROXY")
_DEFAULT_PORT = 80
_HOST = re.compile(r"[A-Za-z0-9._-]+")
_LOOKS_LIKE = "A proxy looks like http://proxy.example.com:3128 or http://user:password@10.0.0.1:3128"
_FORBIDDEN, _LOGIN, _TIMEOUT, _TOO_MANY = 403, 407, 408, 429


@dataclass(frozen=True, slots=True)
class Proxy:
    """One proxy. `authorization` is the value of its header, empty without a login."""

    host: str
    port: int
    variable: str
    authorization: str = field(default="", repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def describe(self) -> str:
        """For logs and messages."""
        login = " with a login" if self.authorization else ""
        return f"http://{_authority(self.host, self.port)}{login} ({self.variable})"

    def connect_head(self, host: str, port: int) -> bytes:
        """What asks for a tunnel."""
        authority = _authority(host, port)
        fields = {"host": authority, "user-agent": _USER_AGENT, **self.login}
        return request_head("CONNECT", authority, fields)

    def forwarded(self, head: bytes, origin: str) -> bytes:
        """The head of a request to `origin` (`http://host:port`), as a proxy wants it. It is signed without."""
        method, _, rest = head.partition(b" ")
        line, _, fields = rest.partition(b"\r\n")
        login = "".join(f"{name}: {value}\r\n" for name, value in self.login.items())
        return b"".join(
            (method, b" ", origin.encode("ascii"), line, b"\r\n", login.encode("ascii"), fields),
        )

    @property
    def login(self) -> dict[str, str]:
        """The header that a proxy with a login wants, which is not signed."""
        return {"proxy-authorization": self.authorization} if self.authorization else {}

    def refusal(self, status: int, host: str, port: int) -> DeliveryError:
        """The error that a no to CONNECT stands for."""
        target, code = _authority(host, port), str(status)
        if status == _LOGIN:
            said = "does not accept the login" if self.authorization else "wants a login"
            return Misconfigured(
                f"the proxy {self.describe()} {said}: {status}",
                advice=f"Put user and password, percent-encoded, into {self.variable}:"
                " http://user:password@proxy:port. Only Basic authentication is known.",
                code=code,
            )
        is_no = 300 <= status < 500 and status not in (_TIMEOUT, _TOO_MANY)  # noqa: PLR2004  (HTTP's classes)
        if is_no:
            said = "forbids connecting" if status == _FORBIDDEN else "does not connect"
            return Misconfigured(
                f"the proxy {self.describe()} {said} to {target}: {status}",
                advice=f"Have the proxy allow CONNECT to {target}, correct {self.variable}, or name the"
                " store in NO_PROXY where it can be reached without.",
                code=code,
            )
        return Unreachable(
            f"the proxy {self.describe()} cannot reach {target}: {status}",
            advice="Look at the proxy and its own way to the store; uploads go on by themselves.",
            code=code,
        )


_USER_AGENT = f"s3-file-uploader/{__version__}"


class Proxies:
    """What the environment says of proxies, read once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = {
            name: environment[name]
            for name in (*_NOT_THROUGH, *(one for names in VARIABLES.values() for one in names))
            if name in environment
        }

    def to(self, endpoint: Endpoint) -> Proxy | None:
        """The proxy on the way to an endpoint; ConfigurationError for one that cannot be used."""
        variable = next((name for name in VARIABLES[endpoint.scheme] if name in self._environment), "")
        url = self._environment.get(variable, "").strip()
        if not url or endpoint.is_loopback or self._is_exempt(endpoint.host, endpoint.port):
            return None
        return _proxy(url, variable)

    def _is_exempt(self, host: str, port: int) -> bool:
        variable = next((name for name in _NOT_THROUGH if name in self._environment), "")
        entries = self._environment.get(variable, "").replace(",", " ").split()
        name = host.partition("%")[0].rstrip(".").lower()
        return any(_covers(entry.lower(), name, port) for entry in entries)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether one entry of NO_PROXY means this host: `*`, an address, a network, or a domain and all below."""
    if entry == "*":
        return True
    entry, entry_port = _without_port(entry)
    if entry_port not in ("", str(port)):
        return False
    try:
        address = ip_address(host)
    except ValueError:
        domain = entry.removeprefix("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return address in ip_network(entry, strict=False)
    except ValueError:
        return False


def _without_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        address, _, rest = entry[1:].partition("]")
        # Both [2001:db8::1]:443 and [2001:db8::]/32 are written.
        return (address + rest, "") if rest.startswith("/") else (address, rest.removeprefix(":"))
    if entry.count(":") == 1:
        host, _, port = entry.partition(":")
        return host, port
    return entry, ""


def _proxy(url: str, variable: str) -> Proxy:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        port = parts.port
    except ValueError:
        raise _refused(variable, "it is malformed") from None
    scheme = parts.scheme
    if scheme == "https":
        raise _refused(variable, "a proxy that is spoken to over TLS (https://) is not supported")
    if scheme != "http":
        named = f"{scheme}://" if scheme.isalnum() else "such"
        raise _refused(variable, f"{named} proxies are not supported")
    login = _login(parts)
    return Proxy(
        _host_of(parts, variable),
        port or _DEFAULT_PORT,
        variable,
        f"Basic {base64.b64encode(login).decode('ascii')}" if login else "",
        _secrets(login),
    )


def _host_of(parts: SplitResult, variable: str) -> str:
    host = parts.hostname or ""
    if ":" in host:  # urlsplit has taken the brackets away
        try:
            return str(ip_address(host))
        except ValueError:
            raise _refused(variable, "it names no host") from None
    try:
        host = host.encode("idna").decode("ascii")
    except UnicodeError:
        host = ""
    if not _HOST.fullmatch(host):
        raise _refused(variable, "it names no host")
    return host


def _login(parts: SplitResult) -> bytes:
    if "@" not in parts.netloc:
        return b""
    user, password = parts.username or "", parts.password or ""
    return unquote_to_bytes(user) + b":" + unquote_to_bytes(password)


def _secrets(login: bytes) -> tuple[str, ...]:
    """Each form of the password that a careless message could hold."""
    if not login:
        return ()
    password = login.partition(b":")[2].decode("utf-8", "replace")
    return tuple(one for one in (password, base64.b64encode(login).decode("ascii")) if one)


def _refused(variable: str, reason: str) -> ConfigurationError:
    # Its value may hold a password: it stays out of the message.
    return ConfigurationError(
        f"the proxy that {variable} names cannot be used: {reason}",
        advice=f"{_LOOKS_LIKE}, with special characters of user and password percent-encoded. NO_PROXY names"
        " what is reached without.",
    )


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
