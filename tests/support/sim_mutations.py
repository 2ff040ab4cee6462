"""The uploader without one of its safety checks: each mutation takes one out, and what it leads to must show.

A mutation names what the machine should do to come upon the loss sooner, and one word of what it
then says. Where two checks guard the same thing, both are out: one alone would not be missed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from s3_file_uploader.ledger import Endings, Entry, Intent, Queue, Sightings, Sightseen
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.pipeline import feed, recovery, settling, threads
from s3_file_uploader.source import claim, hiding, lease, marker, readiness, removal
from s3_file_uploader.source import recovery as hidden_files
from s3_file_uploader.source.edge import FILE_FLAGS
from s3_file_uploader.source.lease import LeaseResult
from s3_file_uploader.transport.fake import Fault
from support.sim_machine import Focus
from support.sim_world import LEDGER_LOST, POWER_FAILED, PROCESS_DIED, Variant, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from s3_file_uploader.lifecycle import State
    from s3_file_uploader.source.intent import Prepared

__all__ = ["MUTATIONS", "Mutation"]

_HALF = ("was delivered half-written",)
_OPEN_AT_CLAIM = ("was claimed while a producer had it open", *_HALF)
_UNSETTLED = ("was claimed before it had settled",)
_ACTIVE = ("was the newest and did not stay",)
_LOST = ("was removed and its content was never acknowledged", "was removed while a producer had it open")
_RENAMED = ("though a ledger knew it",)
_STUCK = ("stuck",)

# A file appears, is delivered and removed, again and again: what else happens is the mutation's own.
_ONE_FILE = Focus(
    variants=(Variant(),),
    operations=("replace",),
    in_between=(),
    calls=("rename_noreplace",),
    deaths=(),
    faults=(),
    names=(b"a",),
    seconds=(6.0,),
    skips=0,
    rules=(),
)
_MARKED = replace(
    _ONE_FILE, variants=(Variant(marker=True),), operations=("write", "mark"), seconds=(0.06, 6.0)
)
_make_feed = feed.Feed.__init__
_note_end = feed.Feed._note_end
_observe = Sightings.observe
_intend_all = Endings.intend_all
_drop_rule = Sightings.drop_rule
_REMOVAL_CALLS = ("rename_noreplace", "get_lease", "fstat", "stat_at", "unlink")


@dataclass(frozen=True, slots=True)
class Mutation:
    """`patches` are the checks that are out; `says` are words of which one must be found. A
    `scenario` stands where it would take the machine long to come upon what has to happen together."""

    name: str
    patches: tuple[tuple[Any, str, Any], ...]
    says: tuple[str, ...]
    focus: Focus | None = None
    scenario: Callable[[World], None] | None = None
    variant: Variant = Variant()  # noqa: RUF009  # of the scenario's world; it is frozen

    @contextmanager
    def in_force(self) -> Iterator[None]:
        with ExitStack() as stack:
            for target, attribute, value in self.patches:
                stack.enter_context(patch.object(target, attribute, value))
            yield


def _nothing(*_: Any, **__: Any) -> None: ...


# -- claiming


def _probe_nothing(edge: Any, descriptor: int) -> LeaseResult:
    return LeaseResult.GRANTED


# -- readiness


def _policy(**values: Any) -> Callable[..., readiness.Policy]:
    original = settling._policy

    def changed(rule: Any, *, include_active: bool) -> readiness.Policy:
        return replace(original(rule, include_active=include_active), **values)

    return changed


def _no_second_look(self: settling.Settling, rule: Any, entries: Sequence[Entry]) -> list[settling.ReadyFile]:
    return [settling.ReadyFile(entry, needs_proof=False) for entry in entries]


def _always_done(_file_mtime_ns: int, _marker_mtime_ns: int | None) -> readiness.Marker:
    return readiness.Marker.DONE


def _done_once(_file_mtime_ns: int, marker_mtime_ns: int | None) -> readiness.Marker:
    return readiness.Marker.MISSING if marker_mtime_ns is None else readiness.Marker.DONE


def _observe_settled(self: Sightings, *arguments: Any, **named: Any) -> Sightseen:
    return _observe(self, *arguments, **{**named, "settle_seconds": 0.0})


# -- fingerprints


def _equal_but_for_ctime(one: Fingerprint, other: object) -> bool:
    return isinstance(other, Fingerprint) and one[:4] == other[:4]


def _unequal_but_for_ctime(one: Fingerprint, other: object) -> bool:
    return not _equal_but_for_ctime(one, other)


# -- scenarios


def _becomes_the_newest(world: World) -> None:
    """While a ready file waits for its destination, the one newer file goes away."""
    world.far_side.faults.extend([Fault.UNREACHABLE] * 100)
    world.producers.replace(b"a", 10)
    world.advance(1.0)
    world.producers.replace(b"b", 10)
    world.advance(8.0)
    world.producers.delete(b"b")
    world.advance(6.0)


def _changed_after_its_receipt(world: World) -> None:
    """The scan sees new content after the receipt for the old one came, and before that is written down."""
    world.held_at = 4
    world.producers.replace(b"a", 10)
    world.advance(8.0)
    world.stall(6.0)
    world.carry(0)
    world.producers.replace(b"a", 11)
    world.advance(0.1)


def _replaced_while_it_is_sent(world: World) -> None:
    """The old content arrives after the new one."""
    world.held_at = 3
    world.producers.replace(b"a", 10)
    world.advance(8.0)
    world.producers.replace(b"a", 11)
    world.advance(8.0)
    for _ in range(2):
        world.carry(1)
    world.settle()
    world.carry(0)
    world.settle()


def _killed_when_its_name_was_used_again(world: World) -> None:
    """Newer content takes the name of a hidden file that nothing vouches for; then the process dies."""
    world.plan("rename_noreplace", 0, is_after=True, act=lambda: world.producers.replace(b"a", 11))
    world.plan("rename_noreplace", 0, is_after=True, act=None)
    world.producers.replace(b"a", 10)
    world.advance(20.0)


class _ForgetfulDict(dict[Any, Any]):
    """Does not know what it has."""

    def __contains__(self, key: object) -> bool:
        return False

    def __delitem__(self, key: object) -> None:
        self.pop(key, None)


def _feed_that_forgets(self: feed.Feed, *arguments: Any) -> None:
    _make_feed(self, *arguments)
    self._running = _ForgetfulDict()


# -- receipts and intents


def _all_current(_: Endings, entries: Sequence[Entry], _state: State) -> set[tuple[int, int]]:
    return {(entry.id, entry.generation) for entry in entries}


def _intend_nothing(self: Endings, *arguments: Any) -> list[Intent]:
    intents = _intend_all(self, *arguments)
    self.drop_intents([intent.id for intent in intents])
    return intents


def _commit_without_fsync(
    self: threads.LedgerThread, jobs: list[Callable[[], Any]], *, durable: bool
) -> list[Any]:
    with self._ledger.transaction(durable=False):
        return [job() for job in jobs]


# -- removal


def _open_without_asking(prepared: Prepared) -> None:
    prepared.descriptor = prepared.edge.open_at(
        prepared.folder_fd, prepared.target.name, FILE_FLAGS | os.O_NOFOLLOW
    )
    prepared.leased = lease.take(prepared.edge, prepared.descriptor) is LeaseResult.GRANTED


def _first_look_at_nothing(prepared: Prepared) -> None:
    entry = prepared.edge.fstat(prepared.descriptor)
    prepared.entry = (entry.st_dev, entry.st_ino)


def _doubt_only_writers(prepared: Prepared, _now: Fingerprint) -> str | None:
    return removal._writer_waits(prepared)


def _check_without(*left_out: str) -> Callable[[Prepared, bytes], None]:
    """The last look, without some of its questions."""

    def check(prepared: Prepared, hidden: bytes) -> None:
        entry = hiding.status_at(prepared.edge, prepared.folder_fd, hidden)
        if "identity" not in left_out and (entry is None or (entry.st_dev, entry.st_ino) != prepared.entry):
            raise removal._UncertainError("another file")
        now = Fingerprint.of(prepared.edge.fstat(prepared.descriptor))
        if "content" not in left_out and not now.same_but_for_ctime(prepared.target.fingerprint):
            raise removal._UncertainError("changed")
        if "lease" not in left_out and removal._writer_waits(prepared) is not None:
            raise removal._UncertainError("a writer")

    return check


def _put_back_over_anything(edge: Any, folder_fd: int, hidden: bytes, name: bytes) -> None:
    edge.rename(folder_fd, hidden, folder_fd, name)


def _move_over_anything(edge: Any, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
    edge.rename(from_fd, old, to_fd, new)


# -- recovery


def _forget_intents(self: recovery.Recovery, select: Any = None) -> list[Any]:
    self._writes.write(
        lambda: self._endings.drop_intents([one.id for one in self._endings.intents()])
    ).result()
    return []


def _reopen_without_asking(prepared: Prepared, intent: Any) -> bool:
    prepared.descriptor = prepared.edge.open_at(prepared.folder_fd, intent.hidden, FILE_FLAGS)
    return True


def _interrupt_nothing(_queue: Queue) -> int:
    return 0


# -- another configuration


def _drop_nothing(_: Sightings, _name: str, *, but_not: Any = ()) -> int:
    return 0


def _drop_intents_too(self: Sightings, name: str, *, but_not: Any = ()) -> int:
    self._ledger.connection.execute("DELETE FROM intent WHERE rule = ?", (name,))
    return _drop_rule(self, name, but_not=but_not)


def _note_end_of_those_in_force(self: feed.Feed, claim: Any, future: Any) -> None:
    if claim.rule.is_leaving:
        del self._running[claim.rule.store, claim.key]
        del claim.rule.deliveries[future]
    else:
        _note_end(self, claim, future)


def _another_name_while_it_waits(world: World) -> None:
    """The rule gets another name while its destination is away, and its own again."""
    world.far_side.faults.extend([Fault.UNREACHABLE] * 100)
    world.producers.replace(b"a", 10)
    world.advance(5.0)
    world.reconfigure("other name")
    world.advance(10.0)


def _another_name_before_it_has_recovered(world: World) -> None:
    """It dies with a file hidden; after its start the rule is gone before anybody has looked at the file."""
    world.plan("rename_noreplace", 0, is_after=True, act=None)
    world.held_at = 4
    world.producers.replace(b"a", 10)
    world.advance(3.0)
    world.carry(0)
    while world.is_running:
        world.work(1, 0)
        world.stall(0.01)
    world.reconfigure("other name")
    world.advance(15.0)


def _cut_off_while_its_file_hangs(world: World) -> None:
    """A delivery does not end; its rule changes."""
    world.held_at = 3
    world.producers.replace(b"a", 10)
    world.advance(3.0)
    world.reconfigure("other interval")
    world.advance(10.0)


MUTATIONS = (
    Mutation(
        "a file is claimed without asking whether somebody writes",
        ((lease, "probe", _probe_nothing),),
        _OPEN_AT_CLAIM,
        replace(_ONE_FILE, operations=("write",)),
    ),
    Mutation(
        "a receipt is believed without looking at the file again",
        ((claim.OpenedFile, "check_unchanged", _nothing),),
        _HALF,
        replace(_ONE_FILE, in_between=("rewrite",), calls=("carry",), skips=2),
    ),
    Mutation(
        "files do not settle",
        (
            (settling, "_policy", _policy(settle_seconds=0.0, settle_unverified_seconds=0.0)),
            (Sightings, "observe", _observe_settled),
        ),
        _UNSETTLED,
        replace(_ONE_FILE, seconds=(0.6, 3.0)),
    ),
    Mutation(
        "where nothing tells of writers, nothing is waited for",
        ((settling, "_policy", _policy(settle_unverified_seconds=0.0)),),
        _OPEN_AT_CLAIM,
        replace(_ONE_FILE, variants=(Variant(leases=False),), operations=("write",)),
    ),
    Mutation(
        "the newest file goes too",
        ((settling, "_policy", _policy(active_file_stays=False)),),
        _ACTIVE,
        replace(_ONE_FILE, variants=(Variant(active_file="newest"),), seconds=(0.6, 6.0)),
    ),
    Mutation(
        "whether a file has become the newest is not asked again when it is claimed",
        ((settling.Settling, "second_look", _no_second_look),),
        _ACTIVE,
        scenario=_becomes_the_newest,
        variant=Variant(active_file="newest"),
    ),
    Mutation(
        "a done marker is not waited for",
        ((settling, "marker_state", _always_done),),
        _HALF,
        _MARKED,
    ),
    Mutation(
        "a done marker counts for what was written after it",
        ((settling, "marker_state", _done_once),),
        _HALF,
        _MARKED,
    ),
    Mutation(
        "the time of a file's last change of any kind is not part of its identity",
        ((Fingerprint, "__eq__", _equal_but_for_ctime), (Fingerprint, "__ne__", _unequal_but_for_ctime)),
        _LOST,
        replace(_ONE_FILE, in_between=("rewrite_and_restore",), calls=("open_at",), skips=1),
    ),
    Mutation(
        "a receipt for older content is taken for the new one's",
        ((Endings, "_current", _all_current),),
        _LOST,
        scenario=_changed_after_its_receipt,
    ),
    Mutation(
        "a file that was replaced is sent while its older content still is",
        ((feed.Feed, "__init__", _feed_that_forgets),),
        ("an older delivery overwrote what was removed", *_LOST),
        scenario=_replaced_while_it_is_sent,
    ),
    Mutation(
        "a file is removed without looking whether it changed since its delivery",
        (
            (removal, "_first_look", _first_look_at_nothing),
            (removal, "_doubt_before_hiding", _doubt_only_writers),
        ),
        _LOST,
        replace(_ONE_FILE, in_between=("rewrite_and_restore",), calls=("open_at",), skips=1),
    ),
    Mutation(
        "a file is removed without asking whether somebody writes",
        ((removal, "_open_file", _open_without_asking),),
        _LOST,
        replace(_ONE_FILE, in_between=("open_quietly",), calls=("open_at",), skips=1),
    ),
    Mutation(
        "a file is removed although its lease was broken",
        ((removal, "_writer_waits", _nothing),),
        _LOST,
        replace(_ONE_FILE, in_between=("write", "open_quietly")),
    ),
    Mutation(
        "what was hidden is not looked at again: whether it is the same file",
        ((removal, "_check", _check_without("identity")),),
        _LOST,
        replace(_ONE_FILE, in_between=("replace",)),
    ),
    Mutation(
        "what was hidden is not looked at again: whether it has changed",
        ((removal, "_check", _check_without("content")),),
        _LOST,
        replace(_ONE_FILE, variants=(Variant(leases=False),), in_between=("write",), seconds=(11.0,)),
    ),
    Mutation(
        "a hidden file gets its name back over a newer file",
        ((removal, "put_back", _put_back_over_anything), (marker, "put_back", _put_back_over_anything)),
        _LOST,
        replace(_ONE_FILE, in_between=("write",)),
    ),
    Mutation(
        "a file is hidden without an intent in the ledger",
        ((Endings, "intend_all", _intend_nothing),),
        _RENAMED,
        replace(_ONE_FILE, deaths=(PROCESS_DIED,)),
    ),
    Mutation(
        "receipts and intents are committed without waiting for the disk",
        ((threads.LedgerThread, "_commit", _commit_without_fsync),),
        _RENAMED,
        replace(_ONE_FILE, deaths=(POWER_FAILED,)),
    ),
    Mutation(
        "a hidden file gets its name back after newer content had it",
        ((removal, "NAME_TAKEN", ""), (Endings, "supersede", _nothing)),
        ("older content was sent after newer content",),
        scenario=_killed_when_its_name_was_used_again,
        variant=Variant(leases=False),
    ),
    Mutation(
        "removals that were cut short are forgotten at start",
        ((recovery.Recovery, "conclude_intents", _forget_intents),),
        _RENAMED,
        replace(_ONE_FILE, deaths=(PROCESS_DIED,)),
    ),
    Mutation(
        "removals that were cut short are finished without asking whether somebody writes",
        ((hidden_files, "_reopen", _reopen_without_asking),),
        _LOST,
        replace(_ONE_FILE, in_between=("open_quietly",), deaths=(PROCESS_DIED,)),
    ),
    Mutation(
        "hidden files that no ledger knows stay hidden",
        ((recovery.Recovery, "adopt", lambda *_: []),),
        _STUCK,
        replace(_ONE_FILE, deaths=(LEDGER_LOST,)),
    ),
    Mutation(
        "what a dead process was sending stays so",
        ((Queue, "interrupt_all", _interrupt_nothing),),
        _STUCK,
        replace(_ONE_FILE, calls=("carry",), deaths=(PROCESS_DIED,)),
    ),
    Mutation(
        "the rows of a removed rule stay",
        ((Sightings, "drop_rule", _drop_nothing),),
        _STUCK,
        scenario=_another_name_while_it_waits,
    ),
    Mutation(
        "the removals of a removed rule are forgotten with it",
        ((Sightings, "drop_rule", _drop_intents_too),),
        _RENAMED,
        scenario=_another_name_before_it_has_recovered,
    ),
    Mutation(
        "how the deliveries of a rule that left ended is not written down",
        ((feed.Feed, "_note_end", _note_end_of_those_in_force),),
        _STUCK,
        scenario=_cut_off_while_its_file_hangs,
    ),
)
