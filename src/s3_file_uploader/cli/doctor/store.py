"""The store: credentials, whether the bucket answers, the clock; and a probe where asked for.

The ordinary question is one cheap signed listing of nothing. Uploads do not need the right to list,
so a plain 403 says "cannot tell", not "wrong". The probe is a real delivery by the real transport,
then questions about what else the store supports. No secret is ever put into a finding.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from s3_file_uploader.cli.doctor.finding import Finding, fail, ok, warn
from s3_file_uploader.cli.doctor.interruption import HeldInterruption
from s3_file_uploader.cli.doctor.probe import CONTENT, Probe
from s3_file_uploader.cli.doctor.support import findings_of
from s3_file_uploader.cli.presentation import duration
from s3_file_uploader.config import Settings
from s3_file_uploader.errors import (
    AccessDenied,
    Concern,
    ConfigurationError,
    DeliveryError,
    Unproven,
    Unreachable,
)
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.transport.contract import Delivery
from s3_file_uploader.transport.registry import opener
from s3_file_uploader.transport.s3.attributes import attributes_of
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.faults import server_seconds
from s3_file_uploader.transport.s3.inquiry import Inquiry, Routed
from s3_file_uploader.transport.s3.proxy import Proxies
from s3_file_uploader.transport.s3.rule_lanes import variant_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3_file_uploader.config import Rule
    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.s3.credentials import Credentials

__all__ = ["examine_store"]

_CREDENTIALS_SECONDS = 30.0
_ANSWER_SECONDS = 15.0
_PROBE_SECONDS = 60.0
_SKEW_SECONDS = 300.0  # S3 refuses what is signed 15 minutes off
_SOON_SECONDS = 60.0
_NOT_ALLOWED = ("AccessDenied", "403")
_LOOK_SECONDS = 0.1
_ALLOW = "Allow s3:PutObject on the bucket and prefix for these credentials."


def examine_store(rule: Rule, *, probe: bool) -> Iterator[Finding]:
    """All findings on one rule's destination; KeyboardInterrupt after them, if one came meanwhile."""
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
        proxy = Proxies(os.environ).to(endpoint)
        transport = _transport(rule)
    except ConfigurationError as wrong:
        yield fail(area, str(wrong), wrong.advice)
        return
    if proxy is not None:
        yield ok(f"proxy ({rule.name})", f"uploads go through {proxy.describe()}")
    try:
        yield from _examine(area, rule, endpoint, transport, probe=probe)
    finally:
        asyncio.run(transport.close())


def _examine(
    area: str, rule: Rule, endpoint: Endpoint, transport: Routed, *, probe: bool
) -> Iterator[Finding]:
    with closing(CredentialSource(rule.profile)) as source:
        credentials = source.wait(_CREDENTIALS_SECONDS)
        if credentials is None:
            error = source.failure()
            yield fail(f"credentials ({rule.name})", str(error), error.advice, of_destination=True)
            return
    yield _credentials(rule, credentials, os.environ, time.time())
    with closing(Inquiry(transport, answer_seconds=_ANSWER_SECONDS)) as inquiry:
        yield from _bucket(area, endpoint, inquiry)
        if probe:
            with HeldInterruption() as held:
                findings = _probed(area, rule, inquiry, held)
            yield from findings
            held.pass_on()


def _transport(rule: Rule) -> Routed:
    """As an upload of this rule would have it."""
    transport = opener(Settings("check", "", (rule,)))(rule)
    assert isinstance(transport, Routed)
    return transport


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


def _bucket(area: str, endpoint: Endpoint, inquiry: Inquiry) -> Iterator[Finding]:
    where = endpoint.describe()
    problem: DeliveryError | None = None
    try:
        inquiry.ask("ListObjectsV2", "GET", query=(("list-type", "2"), ("max-keys", "0")))
    except DeliveryError as error:
        problem = error
    yield from _clock(inquiry.last_headers)
    if problem is None:
        yield ok(area, f"{where} answers, and the credentials may list it")
    # A refused signature is an AccessDenied too: only the plain one is about what may be listed.
    elif isinstance(problem, AccessDenied) and problem.code in _NOT_ALLOWED:
        yield ok(area, f"{where} answers; whether uploads are allowed cannot be told without --probe")
    else:
        yield fail(area, str(problem), problem.advice, of_destination=True)


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


def _probed(area: str, rule: Rule, inquiry: Inquiry, held: HeldInterruption) -> list[Finding]:
    """A real delivery, then questions. Whatever happens, what was made is removed, or named."""
    # Placeholders in the prefix stand for what only a file has: the part before them is tried.
    prefix = rule.object_key_prefix.partition("!{")[0].strip("/")
    key = "/".join(part for part in (prefix, f".s3fu-probe-{secrets.token_hex(8)}") if part)
    probe = Probe(
        inquiry, held, bucket=rule.bucket_name, key=f"{key}-asked", headers=attributes_of(rule).headers
    )
    probe.will_make(key)
    findings: list[Finding] = []
    try:
        problem = asyncio.run(_deliver_probe(rule, key, held))
        findings.append(_delivered(area, problem))
        if problem is None or problem.concern is Concern.FILE:
            findings += _answers(area, rule, probe)
    except KeyboardInterrupt:
        findings.append(
            warn(area, "the probe was interrupted", "Ask again: what is missing here was not asked.")
        )
    return [*findings, *probe.clean_up(area)]


def _delivered(area: str, problem: DeliveryError | None) -> Finding:
    if problem is None:
        return ok(area, "a probe object arrived and was proven")
    if isinstance(problem, Unproven):
        text = f"a probe object arrived and was not proven: {problem}"
        return fail(area, text, "See what the store proves instead, below.", of_destination=True)
    text = f"a probe object is refused: {problem}"
    return fail(area, text, problem.advice or _ALLOW, of_destination=True)


def _answers(area: str, rule: Rule, probe: Probe) -> Iterator[Finding]:
    """What the store supports, as far as it could be found out."""
    trouble: DeliveryError | None = None
    try:
        probe.ask_all()
    except DeliveryError as error:
        trouble = error
    yield from findings_of(
        probe.support,
        area=area,
        checksum=rule.checksum_algorithm,
        on_existing=rule.on_existing,
    )
    if trouble is not None:
        text = f"not all that the store supports could be found out: {trouble}"
        yield warn(area, text, trouble.advice or "Ask again.")


async def _deliver_probe(rule: Rule, key: str, held: HeldInterruption) -> DeliveryError | None:
    """By the rule's own settings; what it failed of, if it did.

    But for OnExisting: nothing has its name, and what the store makes of conditions is asked afterwards.
    """
    transport = _transport(replace(rule, on_existing="overwrite"))
    try:
        with _probe_file() as source:
            delivery = Delivery(1, source, rule.bucket_name, key, _keep_nothing)
            outcome = asyncio.ensure_future(transport.deliver(delivery))
            until = time.monotonic() + _PROBE_SECONDS
            while not outcome.done() and not held.number and time.monotonic() < until:
                await asyncio.wait([outcome], timeout=_LOOK_SECONDS)
            if outcome.done():
                await outcome
                return None
            outcome.cancel()
            held.check()
            return Unreachable(f"a small object did not arrive within {_PROBE_SECONDS:g} s")
    except DeliveryError as error:
        return error
    finally:
        await transport.close()


async def _keep_nothing(_checkpoint: Checkpoint | None) -> None:
    """A probe is never continued."""


class _ProbeFile:
    """A small file in memory, as a source and as the open file."""

    path = b""

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
        os.write(descriptor, CONTENT)
        yield _ProbeFile(descriptor)
    finally:
        os.close(descriptor)
