"""`drain --dry-run`: what would go and to which key, what stays and why. Changes nothing, sends nothing.

Two scans: the first finds the newest of each folder, the second says what becomes of each file. That
files have settled is taken for granted, since a drain waits for it; whether somebody has a file open
for writing is asked now.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader.cli.matching import selection_of
from s3_file_uploader.cli.presentation import files, size
from s3_file_uploader.errors import KeyProblem
from s3_file_uploader.keys import object_key
from s3_file_uploader.ledger.reader import Reader
from s3_file_uploader.lifecycle import State
from s3_file_uploader.model import printable
from s3_file_uploader.observe.snapshot import path_fields
from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import FILE_FLAGS, Edge
from s3_file_uploader.source.lease import LeaseResult
from s3_file_uploader.source.readiness import (
    ActiveFiles,
    Facts,
    LastClaim,
    Marker,
    Policy,
    Ready,
    decide,
    marker_state,
)
from s3_file_uploader.source.scan import Batch, Trouble, scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.model import Candidate

__all__ = ["Plan", "plans", "run"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What would become of one file: it goes to `key`, or stays for `reason`."""

    rule: Rule
    path: bytes
    size_bytes: int
    key: str = ""
    reason: str = ""


def run(settings: Settings, out: TextIO, *, include_active: bool, as_json: bool, now_ns: int) -> int:
    """Always DONE: nothing was to be delivered."""
    reader = Reader.open(os.path.join(settings.state_directory, settings.name))
    going = staying = going_bytes = 0
    for rule in settings.rules:
        for plan in plans(rule, reader, include_active=include_active, now_ns=now_ns):
            going, staying = going + bool(plan.key), staying + (not plan.key)
            going_bytes += plan.size_bytes if plan.key else 0
            out.write(_json_line(plan) if as_json else _line(plan))
    if not as_json:
        stay = f"{files(staying)} {'stays' if staying == 1 else 'stay'}"
        out.write(f"{files(going)} would go, {size(going_bytes)}; {stay}\n")
    if reader is not None:
        reader.close()
    return 0


def plans(rule: Rule, reader: Reader | None, *, include_active: bool, now_ns: int) -> Iterator[Plan]:
    """One for each candidate of the rule, in the order of the scan; and one for each folder in trouble."""
    selection, edge = selection_of(rule), Edge()
    active: dict[bytes, ActiveFiles] = {}
    for seen in scan(selection, follow_symlinks=rule.follow_symlinks, edge=edge):
        if isinstance(seen, Batch):
            of_folder = active.get(seen.folder, ActiveFiles())
            for one in seen.candidates:
                of_folder = of_folder.with_candidate(one.fingerprint.mtime_ns, one.name, now_ns)
            active[seen.folder] = of_folder
    policy = _policy(rule, include_active=include_active)
    hostname = socket.gethostname()
    for seen in scan(selection, follow_symlinks=rule.follow_symlinks, edge=edge):
        if isinstance(seen, Trouble):
            yield Plan(rule, seen.folder, 0, reason=seen.reason)
        elif isinstance(seen, Batch):
            for one in seen.candidates:
                reason = _known_reason(reader, one) or _reason(rule, policy, one, active, edge)
                yield _plan(rule, one, reason, os.environ, hostname)


def _policy(rule: Rule, *, include_active: bool) -> Policy:
    return Policy(
        settle_seconds=rule.settle_seconds,
        settle_unverified_seconds=rule.settle_unverified_seconds,
        active_file_stays=rule.active_file == "newest" and not include_active,
        active_file_timeout_seconds=rule.active_file_timeout_seconds,
    )


def _known_reason(reader: Reader | None, one: Candidate) -> str:
    """What the ledger says against sending this very content."""
    for entry in reader.find(one.path) if reader is not None else ():
        if entry.fingerprint != one.fingerprint:
            continue
        if entry.state is State.PARKED:
            return f"parked: {entry.reason}"
        if entry.state is State.DELIVERED:
            return "delivered already; only its removal is left"
        if entry.state is State.RETAINED:
            return "delivered already, and kept"
    return ""


def _reason(
    rule: Rule, policy: Policy, one: Candidate, active: Mapping[bytes, ActiveFiles], edge: Edge
) -> str:
    """Why the file would stay; "" where it would go."""
    seen = one.fingerprint
    has_writer = _lease(one, edge) is LeaseResult.WRITER
    later = max(policy.settle_seconds, policy.settle_unverified_seconds)
    facts = Facts(
        changed_at=0.0,
        session_start=0.0,
        active_reason=active.get(one.folder, ActiveFiles()).reason(seen.mtime_ns, one.name),
        marker=_marker(rule, one),
        last_claim=LastClaim.WRITER if has_writer else LastClaim.NONE,
        last_claim_at=later,
    )
    decision = decide(facts, policy, later)
    return "" if isinstance(decision, Ready) else decision.reason.value


def _lease(one: Candidate, edge: Edge) -> LeaseResult:
    flags = FILE_FLAGS if one.is_symlink else FILE_FLAGS | os.O_NOFOLLOW
    try:
        descriptor = os.open(one.path, flags)
    except OSError:
        return LeaseResult.NO_EVIDENCE
    try:
        return lease.probe(edge, descriptor)
    finally:
        os.close(descriptor)


def _marker(rule: Rule, one: Candidate) -> Marker:
    if not rule.done_marker:
        return Marker.NOT_USED
    try:
        status = os.stat(one.path + rule.done_marker.encode("utf-8", "surrogateescape"))
    except OSError:
        return Marker.MISSING
    return marker_state(one.fingerprint.mtime_ns, status.st_mtime_ns)


def _plan(rule: Rule, one: Candidate, reason: str, environment: Mapping[str, str], hostname: str) -> Plan:
    key = ""
    if not reason:
        try:
            key = object_key(
                rule,
                relative=one.relative,
                name=one.name,
                mtime_ns=one.fingerprint.mtime_ns,
                environment=environment,
                hostname=hostname,
            )
        except KeyProblem as problem:
            reason = str(problem)
    return Plan(rule, one.path, one.fingerprint.size, key, reason)


def _line(plan: Plan) -> str:
    path = printable(plan.path)
    if plan.key:
        key = printable(plan.key.encode())  # what moves a cursor or turns the writing round is shown as bytes
        return f"goes   {size(plan.size_bytes):>8}  {path} → s3://{plan.rule.bucket_name}/{key}\n"
    return f"stays  {size(plan.size_bytes):>8}  {path}: {printable(plan.reason.encode())}\n"


def _json_line(plan: Plan) -> str:
    value: dict[str, Any] = {
        **path_fields(plan.path),
        "rule": plan.rule.name,
        "goes": bool(plan.key),
        "size": plan.size_bytes,
        "bucket": plan.rule.bucket_name if plan.key else None,
        "key": plan.key or None,
        "reason": plan.reason or None,
    }
    return json.dumps(value) + "\n"
