"""When a candidate may go: pure decisions over facts that others observed. No clock, disk or ledger.

Three questions in this order, each of which can hold a file back:

1. Is it its turn? A file under a done marker goes when its marker says so; else the newest of its
   folder stays, as the active file, until ActiveFileTimeout.
2. Has it settled? No change was *observed* for SettleTime of our own running clock, counted anew
   after each start. A file's dates are never compared with the time of day here: devices without a
   clock battery jump by years.
3. May a process still have it open for writing? A granted lease or a watched close says no; without
   either, SettleTimeUnverified has to pass.

Ready(needs_proof=True) means: try, and let the claim itself ask for the lease. What the claim then
found comes back as `LastClaim`, so that nothing is tried over and over without a pause.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from s3_file_uploader.model import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ActiveFiles",
    "Decision",
    "Facts",
    "Hold",
    "LastClaim",
    "Marker",
    "Policy",
    "Ready",
    "Reason",
    "Wait",
    "active_files",
    "decide",
    "marker_state",
]

# How long until a file that a writer has open is asked for again: a quarter of the time it has been
# quiet, within these bounds. A watched close comes sooner, as an event.
_RECHECK_SHORTEST_SECONDS = 1.0
_RECHECK_LONGEST_SECONDS = 30.0


class Reason(Enum):
    """Why a file stays for now, as a sentence for people."""

    SETTLING = "changed a moment ago; goes once it is unchanged for SettleTime"
    UNVERIFIED = (
        "nothing tells whether a process still has it open for writing; "
        "goes once it is unchanged for SettleTimeUnverified"
    )
    WRITER = "a process has it open for writing; goes once it is closed"
    NOT_CLOSED = "its producer has not closed it since its last change; goes once it is closed"
    NEWEST = "newest in its folder; ActiveFileTimeout or --include-active sends it"
    NEWEST_IN_FUTURE = (
        "newest in its folder, dated in the future; ActiveFileTimeout or --include-active sends it"
    )
    MARKER_MISSING = "its done marker is not there yet"
    MARKER_OLDER = "its done marker is older than the file; goes once the marker is written again"


class Marker(Enum):
    """What a file's done marker says."""

    NOT_USED = "not used"
    MISSING = "missing"
    OLDER = "older"
    DONE = "done"


class LastClaim(Enum):
    """What the last claim of this content found; forget it whenever the file is observed anew."""

    NONE = "none"
    WRITER = "writer"  # FileBusy(writer_seen=True)
    NO_EVIDENCE = "no evidence"  # FileBusy(writer_seen=False)


@dataclass(frozen=True, slots=True)
class Policy:
    """A rule's settings that concern readiness."""

    settle_seconds: float = 1.0
    settle_unverified_seconds: float = 10.0
    active_file_stays: bool = True  # ActiveFile `newest`; False for `none`, --include-active, a done marker
    active_file_timeout_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one candidate. Times are in seconds of the ledger's running clock.

    `changed_at`: when a change of it was last observed. `session_start`: when this process began to
    look. `active_reason`: NEWEST or NEWEST_IN_FUTURE if it is an active file of its folder.
    """

    changed_at: float
    session_start: float
    evidence: Evidence = Evidence.NONE
    active_reason: Reason | None = None
    marker: Marker = Marker.NOT_USED
    last_claim: LastClaim = LastClaim.NONE
    last_claim_at: float = 0.0

    @property
    def quiet_since(self) -> float:
        return max(self.changed_at, self.session_start)


@dataclass(frozen=True, slots=True)
class Ready:
    """It may be claimed; with `needs_proof` the claim must be granted a lease."""

    needs_proof: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Decide again at `until`, or when the facts change."""

    until: float
    reason: Reason


@dataclass(frozen=True, slots=True)
class Hold:
    """Time alone changes nothing: decide again when the facts change."""

    reason: Reason


Decision = Ready | Wait | Hold
_READY, _READY_WITH_PROOF = Ready(needs_proof=False), Ready(needs_proof=True)


def decide(facts: Facts, policy: Policy, now: float) -> Decision:
    """May the file go now, and if not, when to ask again?"""
    held = _marker_hold(facts) or _active_hold(facts, policy, now)
    if held is not None:
        return held
    settled_at = facts.quiet_since + policy.settle_seconds
    if now < settled_at:
        return Wait(settled_at, Reason.SETTLING)
    return _closed_or_not(facts, policy, now)


def _marker_hold(facts: Facts) -> Hold | None:
    if facts.marker is Marker.MISSING:
        return Hold(Reason.MARKER_MISSING)
    if facts.marker is Marker.OLDER:
        return Hold(Reason.MARKER_OLDER)
    return None


def _active_hold(facts: Facts, policy: Policy, now: float) -> Decision | None:
    # A done marker implies ActiveFile none.
    if facts.active_reason is None or not policy.active_file_stays or facts.marker is Marker.DONE:
        return None
    if policy.active_file_timeout_seconds is None:
        return Hold(facts.active_reason)
    # Counted from the change itself, not from our start: a device that restarts each hour must still
    # let go of a file that is quiet for two. Settling anew after the start is asked for separately.
    goes_at = facts.changed_at + policy.active_file_timeout_seconds
    return Wait(goes_at, facts.active_reason) if now < goes_at else None


def _closed_or_not(facts: Facts, policy: Policy, now: float) -> Decision:
    """The file has settled; may some process still have it open for writing?"""
    if facts.last_claim is LastClaim.WRITER:
        recheck_at = facts.last_claim_at + _recheck_seconds(facts)
        if now < recheck_at:
            return Wait(recheck_at, Reason.WRITER)
    verified_at = facts.quiet_since + max(policy.settle_seconds, policy.settle_unverified_seconds)
    if facts.evidence is Evidence.CLOSED or (facts.evidence is Evidence.NONE and now >= verified_at):
        return _READY
    if facts.last_claim is not LastClaim.NO_EVIDENCE:
        return _READY_WITH_PROOF
    # The claim asked for a lease and had no answer: only a watched close, or time, can tell.
    if facts.evidence is Evidence.OPEN:
        return Hold(Reason.NOT_CLOSED)
    return Wait(verified_at, Reason.UNVERIFIED)


def _recheck_seconds(facts: Facts) -> float:
    quiet_seconds = facts.last_claim_at - facts.quiet_since
    return min(max(quiet_seconds / 4, _RECHECK_SHORTEST_SECONDS), _RECHECK_LONGEST_SECONDS)


def marker_state(file_mtime_ns: int, marker_mtime_ns: int | None) -> Marker:
    """What a marker says; `None` for one that does not exist. Equal times are done."""
    if marker_mtime_ns is None:
        return Marker.MISSING
    return Marker.DONE if marker_mtime_ns >= file_mtime_ns else Marker.OLDER


_Dated = tuple[int, bytes]  # mtime_ns and name: equal times are decided by name


@dataclass(frozen=True, slots=True)
class ActiveFiles:
    """The active files of one folder, by (mtime_ns, name).

    `newest` of all, and `newest_dated_now` of those not dated in the future: usually one and the
    same. A file dated in the future stays itself, and takes nobody else's place as the newest.
    """

    newest: _Dated | None = None
    newest_dated_now: _Dated | None = None

    def reason(self, mtime_ns: int, name: bytes) -> Reason | None:
        """Why this candidate is an active file, or None."""
        if (mtime_ns, name) == self.newest_dated_now:
            return Reason.NEWEST
        return Reason.NEWEST_IN_FUTURE if (mtime_ns, name) == self.newest else None

    def with_candidate(self, mtime_ns: int, name: bytes, now_ns: int) -> ActiveFiles:
        """After one more candidate of the folder was seen; `now_ns` is the time of day."""
        dated = (mtime_ns, name)
        newest = dated if self.newest is None or dated > self.newest else self.newest
        dated_now = self.newest_dated_now
        if mtime_ns <= now_ns and (dated_now is None or dated > dated_now):
            dated_now = dated
        return ActiveFiles(newest, dated_now)


def active_files(candidates: Iterable[_Dated], now_ns: int) -> ActiveFiles:
    """The active files among all (mtime_ns, name) of one folder: delivered, kept and parked ones too."""
    newest: _Dated | None = None
    dated_now: _Dated | None = None
    for dated in candidates:
        if newest is None or dated > newest:
            newest = dated
        if dated[0] <= now_ns and (dated_now is None or dated > dated_now):
            dated_now = dated
    return ActiveFiles(newest, dated_now)
