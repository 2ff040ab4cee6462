"""Disposing of delivered files in four steps, each in its own thread, so that one commit serves many files.

    prepare   (the rule's disposing thread)  open, lease, is it still what was delivered?
    commit    (the ledger's, durable)        the receipts, and an intent for each file to be moved
    finish    (the rule's disposing thread)  hide, look again, remove or archive
    record    (the ledger's)                 what came of each

A crash between any two steps is put right by `Recovery` at the next start.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from s3_file_uploader.errors import (
    DeliveryError,
    FileBusy,
    FileChanged,
    FileVanished,
    RemovalFailed,
    UploaderError,
)
from s3_file_uploader.ledger import Endings, Entry, Intent, Ledger
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Receipt, printable
from s3_file_uploader.pipeline.aside import name_for, put_aside
from s3_file_uploader.pipeline.backoff import backoff_seconds
from s3_file_uploader.pipeline.targets import details_of, target_of
from s3_file_uploader.source import archive, removal
from s3_file_uploader.source.hidden import hidden_name
from s3_file_uploader.source.hiding import NAME_TAKEN
from s3_file_uploader.source.removal import Conclusion, Outcome, Prepared
from s3_file_uploader.turns import TURNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.rules import ActiveRule, Roster
    from s3_file_uploader.source.edge import Edge

__all__ = ["Disposal", "Disposed", "Taken"]

_FIRST_DELAY_SECONDS = 30.0  # a removal that failed is tried again slowly
_LONGEST_DELAY_SECONDS = 3600.0
_FIRST_BUSY_SECONDS = 1.0  # one that a producer opened again is no failure: it changes, or is closed soon
_LONGEST_BUSY_SECONDS = 60.0
_ADVICE_HIDDEN = "It gets its name back by itself once the folder allows it."
_ADVICE_SUPERSEDED = "Rename the hidden file, and it is sent under that name; or delete it by hand."
_PLAINLY_REMOVED = Outcome(Conclusion.REMOVED)  # how nearly all end


@dataclass(slots=True, eq=False)
class Taken:
    """A delivered file on its way out, in the hands of one step at a time, which fills in what it found.

    `refusal` says why it was not even prepared.
    """

    rule: ActiveRule  # under which it was delivered
    entry: Entry
    receipt: Receipt | None = None  # None: it is in the ledger already
    prepared: Prepared | None = None
    refusal: UploaderError | None = None
    intent: Intent | None = None
    copied_to: bytes | None = None  # in the archive, on another file system


class Disposed(NamedTuple):
    """What came of one file: its state now, and for people why."""

    entry: Entry
    state: State
    reason: str = ""
    advice: str = ""
    look_again: bool = False
    is_busy: bool = False  # a producer has it open again: not a failure
    left_hidden: int | None = None  # the intent of a file that could not get its name back


class Disposal:
    """The steps, over one ledger."""

    def __init__(
        self,
        ledger: Ledger,
        rules: Roster,
        edge: Edge,
        clock: Clock,
        random: Callable[[], float],
    ) -> None:
        self._tag = ledger.tag
        self._ledger = ledger
        self._endings = Endings(ledger, clock.wall)
        self._rules = rules
        self._put_aside: deque[tuple[ActiveRule, bytes, bytes]] = deque()
        self.has_leftovers = False  # files may be hidden that an earlier removal left
        self._edge = edge
        self._clock = clock
        self._random = random

    def prepare(self, taken: Iterable[Taken]) -> list[Taken]:
        """Open what is to be removed. A file that cannot be is handed on with its refusal."""
        return [self._prepare_one(one) for one in TURNS.over(taken)]

    def _prepare_one(self, one: Taken) -> Taken:
        rule = one.rule
        if rule.setting.after_upload == "keep":
            return one
        target = target_of(rule, one.entry)
        try:
            if target.place is not None:
                # Across file systems the archive gets a copy first, while the file still has its name.
                hidden = hidden_name(self._tag, one.entry.id)
                target, one.copied_to = archive.copy_ahead(self._edge, target, hidden)
            one.prepared = removal.prepare(self._edge, target)
        except UploaderError as refusal:
            one.refusal = refusal
        return one

    def commit(self, taken: Sequence[Taken]) -> list[Taken]:
        """Receipts, and the intents of what was prepared. Files that changed meanwhile drop out. Commit durably."""
        new = [(one.entry, one.receipt) for one in taken if one.receipt is not None]
        proven = {entry.id: entry for entry in self._endings.prove(new)}
        committed = [one for one in taken if one.receipt is None or one.entry.id in proven]
        for one in committed:
            one.entry = proven.get(one.entry.id, one.entry)
        moved = [one for one in committed if one.prepared is not None]
        for one, intent in zip(moved, self._endings.intend_all(list(map(self._removal, moved))), strict=True):
            one.intent = intent
        if self.has_leftovers:
            self._endings.supersede([one.intent for one in moved if one.intent is not None])
        return committed

    def _removal(self, one: Taken) -> tuple[Entry, str, bool, dict[str, Any]]:
        assert one.prepared is not None
        rule, target = one.rule, one.prepared.target
        if target.marker is not None or target.place is not None:
            details = details_of(one.prepared.intent(b""))
        else:  # nothing in it is the file's own
            if rule.plain_details is None:
                rule.plain_details = details_of(one.prepared.intent(b""))
            details = rule.plain_details
        return one.entry, rule.name, one.prepared.leased, details

    def finish(self, taken: Iterable[Taken]) -> list[tuple[Taken, Outcome | UploaderError | None]]:
        """Hide, look again, remove or archive."""
        return [(one, self._finish_one(one)) for one in TURNS.over(taken)]

    def _finish_one(self, one: Taken) -> Outcome | UploaderError | None:
        if one.prepared is None or one.intent is None:
            return one.refusal
        try:
            outcome = removal.finish(one.prepared, hidden_name(self._tag, one.intent.id))
        except UploaderError as refusal:
            return refusal
        return self.set_aside(one.intent, outcome) if outcome.superseded else outcome

    def set_aside(self, intent: Intent, outcome: Outcome) -> Outcome:
        """Give superseded content a name of its own, where the rule's pattern has room for one."""
        rule, hidden = self._rules.named(intent.rule), hidden_name(self._tag, intent.id)
        if rule is None or not rule.looks_into(intent.folder):
            return outcome  # nobody would find it under another name
        if name_for(rule, intent.folder, hidden) == intent.name:
            return outcome
        name = put_aside(self._edge, rule, intent.folder, hidden)
        if name is None:
            return outcome
        self._put_aside.append((rule, intent.folder, name))
        return Outcome(Conclusion.UNDONE, f"{NAME_TAKEN}: its older content is {printable(name)} now")

    def take_put_aside(self) -> list[tuple[ActiveRule, bytes, bytes]]:
        """(rule, folder, new name) of what got a name of its own since the last call."""
        return [self._put_aside.popleft() for _ in range(len(self._put_aside))]

    def record(self, finished: Iterable[tuple[Taken, Outcome | UploaderError | None]]) -> list[Disposed]:
        """Write down what came of each."""
        removed: list[Taken] = []
        disposed: list[Disposed] = []
        for one, outcome in finished:
            if isinstance(outcome, Outcome) and outcome == _PLAINLY_REMOVED and one.copied_to is None:
                removed.append(one)
            else:
                disposed.append(self._record_one(one, outcome))
        self._endings.drop_intents([one.intent.id for one in removed if one.intent is not None])
        self._endings.finish_all([(one.entry, Event.REMOVED, "") for one in removed])
        return disposed + [Disposed(one.entry, State.REMOVED) for one in removed]

    def _record_one(self, one: Taken, outcome: Outcome | UploaderError | None) -> Disposed:
        entry = one.entry
        if outcome is None:
            self._endings.retain(entry)
            return Disposed(entry, State.RETAINED, "kept by AfterUpload")
        if isinstance(outcome, Outcome):
            if one.copied_to is not None and outcome.conclusion is Conclusion.REMOVED:
                outcome = replace(outcome, kept_as=one.copied_to)
            return self.conclude(entry, one.intent, outcome)
        if one.intent is not None:
            self._endings.drop_intents([one.intent.id])
        return self._refused(entry, outcome)

    def conclude(self, entry: Entry, intent: Intent | None, outcome: Outcome) -> Disposed:
        """Write down how a removal ended, by now or by a recovery."""
        if outcome.conclusion is Conclusion.LEFT_HIDDEN:
            self.has_leftovers = True
            if outcome.superseded and intent is not None:
                self._endings.mark_superseded([intent.id])
            return Disposed(
                entry,
                State.DELIVERED,
                outcome.reason,
                _ADVICE_SUPERSEDED if outcome.superseded else _ADVICE_HIDDEN,
                left_hidden=None if intent is None else intent.id,
            )
        if intent is not None:
            self._endings.drop_intents([intent.id])
        if outcome.conclusion is Conclusion.UNDONE:
            self._endings.unsettle(entry, now=self._clock.now())
            return Disposed(entry, State.SETTLING, outcome.reason, look_again=True)
        is_archived = outcome.kept_as is not None
        event = Event.RETAINED if is_archived else Event.REMOVED
        reason = (
            f"archived as {printable(outcome.kept_as)}" if outcome.kept_as is not None else outcome.reason
        )
        self._endings.finish(entry, event, reason)
        return Disposed(entry, State.RETAINED if is_archived else State.REMOVED, reason)

    def _refused(self, entry: Entry, refusal: UploaderError) -> Disposed:
        """It was not moved: changed or gone shows at the next look, the rest is tried again slowly."""
        # A disk that was numbered anew: the look that follows has the file hashed again, not sent again.
        is_renumbered = isinstance(refusal, FileChanged) and refusal.only_device
        if (
            isinstance(refusal, DeliveryError)
            and not isinstance(refusal, (FileBusy, FileVanished))
            and not is_renumbered
        ):
            self._endings.unsettle(entry, now=self._clock.now())
            return Disposed(entry, State.SETTLING, str(refusal), look_again=True)
        if isinstance(refusal, RemovalFailed) and refusal.fingerprint is not None:
            self._endings.touch(entry, refusal.fingerprint.ctime_ns)
        is_busy = isinstance(refusal, FileBusy)
        # One that is gone waits as well: where its whole folder is missing, no look can write it off.
        is_gone = isinstance(refusal, FileVanished) or is_renumbered
        wait = backoff_seconds(
            entry.attempts + 1,
            first_seconds=_FIRST_BUSY_SECONDS if is_busy or is_gone else _FIRST_DELAY_SECONDS,
            longest_seconds=_LONGEST_BUSY_SECONDS if is_busy or is_gone else _LONGEST_DELAY_SECONDS,
            random=lambda: 0.5 + self._random() / 2,
        )
        self._ledger.remember_clock(self._clock.now())  # a crash must not make it wait longer
        self._endings.delay_removal(entry, reason=str(refusal), due_at=self._clock.now() + wait)
        return Disposed(
            entry, State.DELIVERED, str(refusal), refusal.advice, look_again=is_gone, is_busy=is_busy
        )
