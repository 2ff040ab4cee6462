"""The store: credentials, whether the bucket answers, the clock; and a probe object where asked for.

The ordinary question is one cheap signed listing of nothing. Uploads do not need the right to list,
so a plain 403 says "cannot tell", not "wrong". The probe is a real delivery by the real transport,
of one small object that is removed again. No secret is ever put into a finding.
"""

from __future__ import annotations

import asyncio
import http.client
import os
import re
import secrets
import socket
import ssl
import time
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from s3_file_uploader.cli.doctor.finding import Finding, fail, ok, warn
from s3_file_uploader.cli.presentation import duration
from s3_file_uploader.errors import AccessDenied, ConfigurationError, DeliveryError, Unreachable
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.transport.contract import Delivery
from s3_file_uploader.transport.s3 import open_s3_transport
from s3_file_uploader.transport.s3.attributes import attributes_of, bucket_headers
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.dialling import unresolved
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.faults import delivery_error, server_seconds
from s3_file_uploader.transport.s3.proxy import Proxies
from s3_file_uploader.transport.s3.rule_lanes import variant_of
from s3_file_uploader.transport.s3.sigv4 import EMPTY_SHA256, Signer, canonical_query
from s3_file_uploader.transport.s3.tls import said, tls_context, tls_fault
from s3_file_uploader.transport.s3.xml import error_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3_file_uploader.config import Rule
    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.s3.credentials import Credentials
    from s3_file_uploader.transport.s3.proxy import Proxy

__all__ = ["examine_store"]

_CREDENTIALS_SECONDS = 30.0
_ANSWER_SECONDS = 15.0
_PROBE_SECONDS = 60.0
_SKEW_SECONDS = 300.0  # S3 refuses what is signed 15 minutes off
_SOON_SECONDS = 60.0
_NOT_ALLOWED = ("AccessDenied", "403")
_OK, _NO_CONTENT, _NOT_FOUND = 200, 204, 404
# What the standard library says of a proxy's no to CONNECT, which has no type of its own there.
_TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: ([0-9]{3})")
_ALLOW = "Allow s3:PutObject on the bucket and prefix for these credentials."


def examine_store(rule: Rule, *, probe: bool) -> Iterator[Finding]:
    """All findings on one rule's destination."""
    area = f"store ({rule.name})"
    try:
        endpoint = Endpoint.of(
            rule.bucket_name,
            rule.region,
            rule.endpoint_url,
            rule.path_style,
            rule.ca_bundle,
            variant=variant_of(rule),
        )
        context = tls_context(rule.ca_bundle) if endpoint.tls else None
        proxy = Proxies(os.environ).to(endpoint)
    except ConfigurationError as wrong:
        yield fail(area, str(wrong), wrong.advice)
        return
    if proxy is not None:
        yield ok(f"proxy ({rule.name})", f"uploads go through {proxy.describe()}")
    with closing(CredentialSource(rule.profile)) as source:
        credentials = source.wait(_CREDENTIALS_SECONDS)
        if credentials is None:
            error = source.failure()
            yield fail(f"credentials ({rule.name})", str(error), error.advice, of_destination=True)
            return
    yield _credentials(rule, credentials, os.environ, time.time())
    asker = _Asker(endpoint, credentials, context, proxy, bucket_headers(rule))
    yield from _bucket(area, asker)
    if probe:
        yield _probe(area, rule, asker)


def _credentials(rule: Rule, credentials: Credentials, environment: Mapping[str, str], now: float) -> Finding:
    area = f"credentials ({rule.name})"
    text = f"from {_provider(rule, credentials, environment)}"
    if credentials.expires_at is None:
        return ok(area, f"{text}; they do not expire")
    left = credentials.expires_at - now
    if left < _SOON_SECONDS:
        return warn(
            area,
            f"{text}; they expire {'now' if left > 0 else 'in the past'}",
            "If uploads fail, look at the provider of the credentials and at this machine's clock.",
        )
    return ok(area, f"{text}; they expire in {duration(left)} and are renewed before")


def _provider(rule: Rule, credentials: Credentials, environment: Mapping[str, str]) -> str:
    """Which provider of the chain they came from, as far as can be told from outside."""
    if rule.profile:
        return f"profile {rule.profile}"
    if environment.get("AWS_ACCESS_KEY_ID") == credentials.access_key_id:
        return "the environment (AWS_ACCESS_KEY_ID)"
    for variable, provider in _PROVIDERS:
        if environment.get(variable):
            return f"{provider} ({variable})"
    return "the default profile, or the instance's metadata"


_PROVIDERS = (
    ("AWS_WEB_IDENTITY_TOKEN_FILE", "the web identity"),
    ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "the container"),
    ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "the container or nucleus"),
)


class _Asker:
    """One signed request at a time, each on a connection of its own."""

    def __init__(
        self,
        endpoint: Endpoint,
        credentials: Credentials,
        context: ssl.SSLContext | None,
        proxy: Proxy | None,
        headers: dict[str, str],
    ) -> None:
        self.endpoint = endpoint
        self.proxy = proxy
        self._credentials = credentials
        self._context = context
        self._headers = headers
        self._signer = Signer(endpoint.region)

    def ask(
        self, method: str, key: str = "", query: tuple[tuple[str, str], ...] = ()
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers with lower-case names, body. OSError or HTTPException where nothing answers."""
        path, text = self.endpoint.target(key), canonical_query(query)
        headers = self._signer.sign(
            method,
            self.endpoint.host_header,
            path,
            text,
            self._headers,
            credentials=self._credentials,
            payload_hash=EMPTY_SHA256,
            now=time.time(),
        )
        target = f"{path}?{text}" if text else path
        proxy, login = self.proxy, {}
        if proxy is not None and self._context is None:
            target, login = f"{self.endpoint.scheme}://{self.endpoint.host_header}{target}", proxy.login
        with closing(self._connection()) as connection:
            connection.request(method, target, headers={**headers, **login})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = (self.proxy.host, self.proxy.port) if self.proxy is not None else self.endpoint.address
        if self._context is None:
            return http.client.HTTPConnection(host, port, timeout=_ANSWER_SECONDS)
        connection = http.client.HTTPSConnection(host, port, timeout=_ANSWER_SECONDS, context=self._context)
        if self.proxy is not None:
            connection.set_tunnel(*self.endpoint.address, headers=self.proxy.login)
        return connection


def _bucket(area: str, asker: _Asker) -> Iterator[Finding]:
    where = asker.endpoint.describe()
    try:
        status, headers, body = asker.ask("GET", query=(("list-type", "2"), ("max-keys", "0")))
    except (OSError, http.client.HTTPException) as error:
        silent = _no_answer(error, where, asker)
        yield fail(area, str(silent), silent.advice, of_destination=True)
        return
    yield from _clock(headers)
    if status == _OK:
        yield ok(area, f"{where} answers, and the credentials may list it")
        return
    problem = delivery_error(
        status,
        error_of(body),
        operation="ListObjectsV2",
        bucket=asker.endpoint.bucket,
        key="",
        headers=headers,
        now=time.time(),
    )
    # A refused signature is an AccessDenied too: only the plain one is about what may be listed.
    if isinstance(problem, AccessDenied) and problem.code in _NOT_ALLOWED:
        yield ok(area, f"{where} answers; whether uploads are allowed cannot be told without --probe")
    else:
        yield fail(area, str(problem), problem.advice, of_destination=True)


def _no_answer(error: Exception, where: str, asker: _Asker) -> DeliveryError:
    """As the transport would say it."""
    host, proxy = asker.endpoint.host, asker.proxy
    refused = _TUNNEL_REFUSED.search(str(error)) if proxy is not None else None
    if proxy is not None and refused is not None:
        return proxy.refusal(int(refused[1]), *asker.endpoint.address)
    if proxy is not None:
        host, where = proxy.host, f"{where} through the proxy {proxy.describe()}"
    if isinstance(error, ssl.SSLError):
        return tls_fault(error, where)
    if isinstance(error, socket.gaierror):
        return unresolved(host, said(error), proxy)
    trouble = f" within {_ANSWER_SECONDS:g} s" if isinstance(error, TimeoutError) else f": {said(error)}"
    return Unreachable(f"{where} does not answer{trouble}")


def _clock(headers: Mapping[str, str]) -> Iterator[Finding]:
    there = server_seconds(headers)
    if there is None:
        return
    offset = time.time() - there
    if abs(offset) < _SKEW_SECONDS:
        # The store tells whole seconds only.
        yield ok("clock", f"within {max(2, round(abs(offset)) + 1)} s of the store's")
    else:
        direction = "ahead of" if offset > 0 else "behind"
        yield warn(
            "clock",
            f"{duration(abs(offset))} {direction} the store's; uploads are signed with the store's time",
            "Set the clock (NTP): object names with !{timestamp} and logs are wrong meanwhile.",
        )


def _probe(area: str, rule: Rule, asker: _Asker) -> Finding:
    # Placeholders in the prefix stand for what only a file has: the part before them is tried.
    prefix = rule.object_key_prefix.partition("!{")[0].strip("/")
    key = "/".join(part for part in (prefix, f".s3fu-probe-{secrets.token_hex(8)}") if part)
    try:
        asyncio.run(_deliver_probe(rule, key))
    except DeliveryError as error:
        return fail(area, f"a probe object is refused: {error}", error.advice or _ALLOW, of_destination=True)
    except asyncio.TimeoutError:
        return fail(area, "a probe object does not arrive", "Look at the network.", of_destination=True)
    return _remove_probe(area, asker, key)


def _remove_probe(area: str, asker: _Asker, key: str) -> Finding:
    text = "a probe object arrived and was proven"
    try:
        status, _, _ = asker.ask("DELETE", key)
    except (OSError, http.client.HTTPException):
        status = 0
    if status in (_OK, _NO_CONTENT, _NOT_FOUND):
        return ok(area, f"{text}, and was removed")
    return warn(
        area, f"{text}, and could not be removed", f"Remove s3://{asker.endpoint.bucket}/{key} by hand."
    )


async def _deliver_probe(rule: Rule, key: str) -> None:
    transport = open_s3_transport(
        bucket=rule.bucket_name,
        region=rule.region,
        endpoint_url=rule.endpoint_url,
        path_style=rule.path_style,
        ca_bundle=rule.ca_bundle,
        profile=rule.profile,
        variant=variant_of(rule),
        attributes=attributes_of(rule),
        headers=bucket_headers(rule),
        always_signs_payload=rule.sign_payload == "always",
    )
    try:
        with _probe_file() as source:
            delivery = Delivery(1, source, rule.bucket_name, key, _keep_nothing)
            await asyncio.wait_for(transport.deliver(delivery), _PROBE_SECONDS)
    finally:
        await transport.close()


async def _keep_nothing(_checkpoint: Checkpoint | None) -> None:
    """A probe is never continued."""


class _ProbeFile:
    """A small file in memory, as a source and as the open file."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.fingerprint = Fingerprint.of(os.fstat(descriptor))

    def open(self) -> _ProbeFile:
        return self

    def fileno(self) -> int:
        return self._descriptor

    @property
    def size(self) -> int:
        return self.fingerprint.size

    def check_unchanged(self) -> None:
        """Nobody else can write it."""

    def close(self) -> None:
        """Closed by whoever made it."""


@contextmanager
def _probe_file() -> Iterator[_ProbeFile]:
    descriptor = os.memfd_create("probe", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, b"A probe of s3-file-uploader check; it may be removed.\n")
        yield _ProbeFile(descriptor)
    finally:
        os.close(descriptor)
