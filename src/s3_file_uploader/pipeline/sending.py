"""Claiming ready files and judging how their deliveries ended. Runs in the ledger's thread; no disk, no network."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from s3_file_uploader.errors import (
    AccessDenied,
    AlreadyExists,
    DeliveryError,
    FileBusy,
    FileUnreadable,
    Interrupted,
)
from s3_file_uploader.keys import KeyProblem, is_carried, next_key, object_key
from s3_file_uploader.ledger import Endings, Entry, Ledger, Queue, UnderWay, Uploads
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Checkpoint, printable
from s3_file_uploader.pipeline.backoff import backoff_seconds
from s3_file_uploader.pipeline.gate import DENIED_ALONE, Verdict
from s3_file_uploader.pipeline.settling import ClaimFound, Settling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.rules import ActiveRule, Roster

__all__ = ["REFUSED_ATTEMPTS", "Claim", "Ended", "Sending"]

REFUSED_ATTEMPTS = 5  # tries of what is refused, unless MaxAttempts says otherwise
_SHORTEST_SETTLE_SECONDS = (
    0.2  # with SettleTime 0 too: what changed or is still being sent is not asked for at once
)
_STOPPED_SECONDS = 1.0
_UNREADABLE_FACTOR = 10.0  # a permission or a disk does not mend itself in a second


class Claim(NamedTuple):
    """A file to be sent now: its row is `sending`."""

    rule: ActiveRule
    entry: Entry
    key: str
    needs_proof: bool
    checkpoint: Checkpoint | None


class Ended(NamedTuple):
    """A delivery that ended without a receipt, and what came of it (filled in by `judge`)."""

    rule: ActiveRule  # under which it was claimed
    entry: Entry
    verdict: Verdict
    error: DeliveryError
    not_before: float = 0.0  # on the running clock: its destination takes nothing earlier
    state: State | None = None  # None: the file changed meanwhile and the answer was void
    retry_at: float | None = None
    new_key: str | None = None  # another object has its name: this one was written down instead


class Sending:
    """Claims and judgements over one ledger. `environment` and `hostname` fill the placeholders of keys."""

    def __init__(
        self,
        ledger: Ledger,
        rules: Roster,
        settling: Settling,
        clock: Clock,
        *,
        random: Callable[[], float],
        environment: Mapping[str, str],
        hostname: str,
    ) -> None:
        self._ledger = ledger
        self._queue = Queue(ledger)
        self._endings = Endings(ledger, clock.wall)
        self._uploads = Uploads(ledger, clock.wall)
        self._rules = rules
        self._settling = settling
        self._clock = clock
        self._random = random
        self._environment = environment
        self._hostname = hostname

    def claim(self, rule: ActiveRule, limit: int, *, but_not: Sequence[int] = ()) -> list[Claim]:
        """At most `limit` of the rule's oldest ready files. What turns out not to be ready settles or parks."""
        claims: list[Claim] = []
        if rule.is_leaving:
            return claims
        taken: set[str] = set()
        # One rule's files have names of their own; only rules that share a bucket can want one object name.
        sharers = [one.id for one in self._rules if one.store == rule.store]
        oldest = self._queue.peek(rule.id, limit, but_not=but_not)
        begun = self._uploads.saved([entry.id for entry in oldest])
        for ready in self._settling.second_look(rule, oldest):
            key = self._key(rule, ready.entry, taken, sharers)
            if key is None:
                continue
            taken.add(key)
            sending = ready.entry._replace(state=State.SENDING, key=key)
            checkpoint = self._checkpoint(rule, sending, begun)
            claims.append(Claim(rule, sending, key, ready.needs_proof, checkpoint))
        self._queue.claim([(claim.entry, claim.key) for claim in claims])
        return claims

    def _checkpoint(self, rule: ActiveRule, entry: Entry, begun: Mapping[int, UnderWay]) -> Checkpoint | None:
        """What to go on from; an upload that leads to another object than the file's is given up."""
        upload = begun.get(entry.id)
        if upload is None:
            return None
        if (upload.bucket, upload.key) == (rule.setting.bucket_name, entry.key):
            return upload.data
        self._uploads.give_up([entry.id], "its file goes elsewhere now")
        return None

    def _key(self, rule: ActiveRule, entry: Entry, taken: set[str], sharers: Sequence[int]) -> str | None:
        """The file's object name; None when it cannot have one and was parked with the reason."""
        key = entry.key
        if key is None or not is_carried(rule.setting, key):  # the rule may have had another transport
            try:
                key = object_key(
                    rule.setting,
                    relative=entry.relative,
                    name=entry.name,
                    mtime_ns=entry.fingerprint.mtime_ns,
                    environment=self._environment,
                    hostname=self._hostname,
                )
            except KeyProblem as problem:
                self._endings.park([entry], str(problem))
                return None
        if len(sharers) > 1:
            other = self._queue.holder_of_key(sharers, key, but_not=entry.id)
            if key in taken or other is not None:
                whose = printable(other.path) if other else "another file"
                self._endings.park([entry], f"{whose} waits for the same object name {key}")
                return None
        return key

    def judge(self, ended: Sequence[Ended]) -> list[Ended]:
        """Write down how deliveries ended without a receipt; returns them with what came of each."""
        # Whoever waits for a time must not wait longer after a crash: the clock goes on from here.
        self._ledger.remember_clock(self._clock.now())
        return [self._judge_one(one) for one in ended]

    def _judge_one(self, one: Ended) -> Ended:
        entry, now = one.entry, self._clock.now()
        if one.verdict in (Verdict.RESETTLE, Verdict.GONE):
            # What it is now, or that it is gone, comes with the look at its path that follows.
            if isinstance(one.error, FileBusy):
                found = ClaimFound.WRITER if one.error.writer_seen else ClaimFound.NO_EVIDENCE
                self._endings.note_claim(entry, found=found, now=now)
                return self._postpone(one, Event.UNSETTLED, now)
            settle_seconds = one.rule.setting.settle_seconds
            return self._postpone(one, Event.UNSETTLED, now + max(settle_seconds, _SHORTEST_SETTLE_SECONDS))
        if one.verdict is Verdict.RETURN:
            # Whatever stopped it may last: without a pause it would be claimed again at once, over and over.
            was_stopped = isinstance(one.error, Interrupted)
            return self._postpone(one, Event.INTERRUPTED, now + _STOPPED_SECONDS if was_stopped else None)
        if one.verdict is Verdict.SUSPECT:
            due_at = now + self._wait(one, entry.attempts + 1)
            return self._postpone(one, Event.FAILED, max(due_at, one.not_before))
        if one.verdict is Verdict.GUILTY:
            return self._postpone(one._replace(error=_denied_alone(one.error)), Event.REFUSED, None)
        return self._name_anew(one, now) if isinstance(one.error, AlreadyExists) else self._count(one, now)

    def _count(self, one: Ended, now: float) -> Ended:
        """A failure of this file: tried again, or parked after so many."""
        entry = one.entry
        attempts = entry.attempts + 1
        most = one.rule.setting.max_attempts
        if most is None and not one.error.retryable:
            most = REFUSED_ATTEMPTS
        if most is not None and attempts >= most:
            return self._postpone(one, Event.REFUSED, None, attempts)
        return self._postpone(one, Event.FAILED, now + self._wait(one, attempts), attempts)

    def _name_anew(self, one: Ended, now: float) -> Ended:
        """Another object has its name: parked, or given a name that is written down before it is sent."""
        entry = one.entry
        if one.rule.setting.on_existing == "rename":
            try:
                key = next_key(entry.key or "", entry.fingerprint.mtime_ns)
            except KeyProblem as problem:
                return self._postpone(one._replace(error=problem), Event.REFUSED, None)
            self._endings.rename(entry, key)
            return self._postpone(one._replace(new_key=key), Event.FAILED, now)
        return self._postpone(one, Event.REFUSED, None, entry.attempts + 1)

    def _postpone(self, one: Ended, event: Event, due_at: float | None, attempts: int | None = None) -> Ended:
        reason = "" if one.verdict is Verdict.RETURN else str(one.error)
        done = self._endings.postpone(
            one.entry,
            event,
            reason=reason,
            due_at=due_at,
            attempts=one.entry.attempts if attempts is None else attempts,
        )
        state = _AFTER[event] if done else None
        return one._replace(state=state, retry_at=due_at)

    def _wait(self, one: Ended, failures: int) -> float:
        setting, error = one.rule.setting, one.error
        factor = _UNREADABLE_FACTOR if isinstance(error, FileUnreadable) else 1.0
        wait = backoff_seconds(
            failures,
            first_seconds=setting.retry_backoff_seconds * factor,
            longest_seconds=setting.retry_backoff_max_seconds * factor,
            random=self._random,
        )
        return max(wait, error.retry_after_seconds)


def _denied_alone(error: DeliveryError) -> DeliveryError:
    return AccessDenied(f"{DENIED_ALONE}: {error}", advice=error.advice, code=error.code)


_AFTER = {
    Event.UNSETTLED: State.SETTLING,
    Event.INTERRUPTED: State.READY,
    Event.FAILED: State.READY,
    Event.REFUSED: State.PARKED,
}
