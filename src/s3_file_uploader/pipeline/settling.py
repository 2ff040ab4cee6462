"""When settling files may go: gathers the facts, lets `source.readiness` decide, writes the answer down.

Runs in the ledger's thread, but for the done markers, which lie on the disk and are looked at in the
rule's own thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.ledger import Endings, Entry, Ledger, Newest, Queue, Settled, Waiting
from s3_file_uploader.ledger.endings import drop
from s3_file_uploader.lifecycle import Event
from s3_file_uploader.model import Evidence
from s3_file_uploader.source.readiness import (
    Facts,
    Hold,
    LastClaim,
    Marker,
    Policy,
    Ready,
    Reason,
    Wait,
    decide,
    marker_state,
)

if TYPE_CHECKING:
    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.rules import ActiveRule, Roster
    from s3_file_uploader.source.edge import Edge

__all__ = ["NOT_LOOKED_AT_YET", "ClaimFound", "ReadyFile", "Settling", "look_at_markers"]

NOT_LOOKED_AT_YET = "waits for the first look at the whole folder"
_NO_ANSWER = "the disk does not tell about its done marker"
_MARKERS_AGAIN_SECONDS = 1.0
_FUTURE_RECHECK_SECONDS = 60.0  # a file dated in the future becomes an ordinary one when its time comes
_LAST_CLAIMS = (LastClaim.NONE, LastClaim.WRITER, LastClaim.NO_EVIDENCE)


class ClaimFound:
    """The ledger's numbers for what a claim found (`claim_found`)."""

    WRITER = 1
    NO_EVIDENCE = 2


class ReadyFile(NamedTuple):
    """A file that may go now; with `needs_proof` only if a lease is granted."""

    entry: Entry
    needs_proof: bool


Markers = Mapping[int, Marker]  # by the number of the file's row


def look_at_markers(edge: Edge, rule: ActiveRule, entries: Iterable[Entry]) -> dict[int, Marker]:
    """What each file's done marker says. Blocks on the disk."""
    marker = rule.setting.done_marker.encode("utf-8", "surrogateescape")
    found: dict[int, Marker] = {}
    for entry in entries:
        try:
            folder = edge.open_folder(entry.folder, rule.base, rule.setting.follow_symlinks)
        except OSError:
            found[entry.id] = Marker.MISSING
            continue
        try:
            mtime_ns: int | None = edge.stat_at(folder, entry.name + marker).st_mtime_ns
        except OSError:
            mtime_ns = None
        finally:
            edge.close(folder)
        found[entry.id] = marker_state(entry.fingerprint.mtime_ns, mtime_ns)
    return found


class Settling:
    """Decides over one ledger. `include_active`: the newest of a folder goes too."""

    def __init__(self, ledger: Ledger, rules: Roster, clock: Clock, *, include_active: bool = False) -> None:
        self._ledger = ledger
        self._queue = Queue(ledger)
        self._endings = Endings(ledger, clock.wall)
        self._clock = clock
        self._rules = rules
        self._include_active = include_active

    def waiting(self, limit: int = 2000) -> list[Waiting]:
        """Settling files to decide on now; retries and delayed removals whose time has come are put back first."""
        now = self._clock.now()
        self._queue.wake_retries(now)
        found = self._queue.waiting(now, self._clock.wall_ns(), limit)
        for one in found:
            if self._rules.get(one.entry.rule) is None:  # somebody had it in hands when its rule left
                drop(self._ledger, one.entry)
        return [one for one in found if self._rules.get(one.entry.rule) is not None]

    def needs_markers(self, waiting: Iterable[Waiting]) -> dict[ActiveRule, list[Entry]]:
        """By rule, the files whose done marker must be looked at before `decide`."""
        wanted: dict[ActiveRule, list[Entry]] = {}
        for one in waiting:
            rule = self._rules.get(one.entry.rule)
            if rule is not None and rule.setting.done_marker:
                wanted.setdefault(rule, []).append(one.entry)
        return wanted

    def decide(self, waiting: Iterable[Waiting], markers: Markers | None = None) -> list[Settled]:
        """Decide, write it down, and return the decisions."""
        now = self._clock.now()
        found = (self._decide_one(one.entry, one.newest, markers or {}, now) for one in waiting)
        decisions = [one for one in found if one is not None]
        self._queue.settle(decisions)
        if any(decision.due_at is not None for decision in decisions):
            self._ledger.remember_clock(now)  # a crash must not make anyone wait longer
        return decisions

    def _decide_one(self, entry: Entry, newest: Newest, markers: Markers, now: float) -> Settled | None:
        rule = self._rules.get(entry.rule)
        if rule is None:
            return None
        if rule.looked_at is None:
            return Settled(entry, is_ready=False, due_at=None, reason=NOT_LOOKED_AT_YET)
        if rule.setting.done_marker and entry.id not in markers:
            return Settled(entry, is_ready=False, due_at=now + _MARKERS_AGAIN_SECONDS, reason=_NO_ANSWER)
        decision = decide(
            self._facts(entry, newest, rule, markers.get(entry.id, Marker.NOT_USED)),
            self._policy(rule),
            now,
        )
        if isinstance(decision, Ready):
            return Settled(entry, is_ready=True)
        if isinstance(decision, Wait):
            due_at: float | None = _waits_until(decision, newest, now)
        else:
            due_at = _held_until(decision, newest, now)
        return Settled(entry, is_ready=False, due_at=due_at, reason=decision.reason.value)

    def _facts(
        self, entry: Entry, newest: Newest, rule: ActiveRule, marker: Marker, *, with_claim: bool = True
    ) -> Facts:
        session_start = rule.looked_at if rule.looked_at is not None else self._clock.now()
        is_of_this_run = entry.changed_at >= rule.started_at
        return Facts(
            changed_at=entry.changed_at,
            # The first whole look of this run counts as the change for what an earlier run knew.
            session_start=rule.started_at if is_of_this_run else session_start,
            evidence=entry.evidence if is_of_this_run else Evidence.NONE,
            active_reason=_active_reason(entry, newest),
            marker=marker,
            # A claim of this run counts also for content of an earlier one: else it would be repeated at once.
            last_claim=_LAST_CLAIMS[entry.claim_found]
            if with_claim and entry.claimed_at >= rule.started_at
            else LastClaim.NONE,
            last_claim_at=entry.claimed_at,
        )

    def _policy(self, rule: ActiveRule) -> Policy:
        if rule.policy is None:
            rule.policy = _policy(rule, include_active=self._include_active)
        return rule.policy

    def second_look(self, rule: ActiveRule, entries: Sequence[Entry]) -> list[ReadyFile]:
        """Of a rule's files about to be claimed, those that still may go; the others settle again.

        What was ready before a restart, or when it was not the newest, may not be so now. A done
        marker was looked at when the file became ready, and is not looked at again here.
        """
        now, wall_ns = self._clock.now(), self._clock.wall_ns()
        newest: dict[tuple[int, bytes], Newest] = {}
        ready: list[ReadyFile] = []
        for entry in entries:
            place = (entry.rule, entry.folder)
            if place not in newest:
                newest[place] = self._queue.newest(entry.rule, entry.folder, wall_ns)
            looked = self._look_again(rule, entry, newest[place], now)
            if looked is not None:
                ready.append(looked)
        return ready

    def _look_again(self, rule: ActiveRule, entry: Entry, newest: Newest, now: float) -> ReadyFile | None:
        marker = Marker.DONE if rule.setting.done_marker else Marker.NOT_USED
        # An earlier claim found a writer or no evidence: that was weighed when the file became ready.
        facts = self._facts(entry, newest, rule, marker, with_claim=False)
        decision = decide(facts, self._policy(rule), now)
        if isinstance(decision, Ready) and rule.looked_at is not None:
            return ReadyFile(entry, decision.needs_proof)
        self._endings.postpone(
            entry,
            Event.UNSETTLED,
            reason=NOT_LOOKED_AT_YET if isinstance(decision, Ready) else decision.reason.value,
            due_at=now,
            attempts=entry.attempts,
        )
        return None


def _policy(rule: ActiveRule, *, include_active: bool) -> Policy:
    setting = rule.setting
    return Policy(
        settle_seconds=setting.settle_seconds,
        settle_unverified_seconds=setting.settle_unverified_seconds,
        active_file_stays=setting.active_file == "newest" and not setting.done_marker and not include_active,
        active_file_timeout_seconds=setting.active_file_timeout_seconds,
    )


def _active_reason(entry: Entry, newest: Newest) -> Reason | None:
    if entry.name == newest.not_in_future:
        return Reason.NEWEST
    return Reason.NEWEST_IN_FUTURE if entry.name == newest.overall else None


def _held_until(decision: Hold, newest: Newest, now: float) -> float | None:
    return now + _FUTURE_RECHECK_SECONDS if _is_active(decision) and newest.has_future else None


def _waits_until(decision: Wait, newest: Newest, now: float) -> float:
    if _is_active(decision) and newest.has_future:
        return min(decision.until, now + _FUTURE_RECHECK_SECONDS)
    return decision.until


def _is_active(decision: Hold | Wait) -> bool:
    return decision.reason in (Reason.NEWEST, Reason.NEWEST_IN_FUTURE)
