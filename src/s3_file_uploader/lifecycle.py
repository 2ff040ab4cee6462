"""The life of a file: the one place that decides what may follow what.

Rules, in prose:

1. A file is first seen `settling`. When it has settled it is `ready`; a claim makes it `sending`; a
   receipt makes it `delivered`; only then may it be `removed` or `retained` (kept or archived).
2. `removed` is reached from `delivered` and from nowhere else.
3. A change of its fingerprint sends a file back to `settling` from every state, and forgets receipt,
   attempts and checkpoint: they belong to the old content.
4. A retry is `ready` with a not-before time. What is refused for good is `parked`; `retry` by a
   person releases it.
5. A file that somebody else took away has `vanished`, from any state but the final ones.
6. A crash between claim and receipt is `interrupted`: back to `ready`, no attempt burned.

This module reads no clock, disk, socket or database. The diagram in docs/concepts.md is drawn from
TRANSITIONS.
"""

from __future__ import annotations

from enum import Enum

__all__ = ["FINAL", "TRANSITIONS", "Event", "IllegalTransition", "State", "follow", "mermaid"]


class State(Enum):
    """What users see; the value is also what the ledger stores."""

    SETTLING = "settling"
    READY = "ready"
    SENDING = "sending"
    DELIVERED = "delivered"
    REMOVED = "removed"
    RETAINED = "retained"
    PARKED = "parked"
    VANISHED = "vanished"


class Event(Enum):
    """What can happen to a file."""

    SETTLED = "settled"
    UNSETTLED = "unsettled"  # claimed, and somebody has it open for writing, or there is no evidence yet
    CHANGED = "changed"
    CLAIMED = "claimed"
    INTERRUPTED = "interrupted"  # the process or the destination failed, not the file
    FAILED = "failed"  # to be tried again, not before a time
    REFUSED = "refused"  # out of attempts, or refused for good
    PROVEN = "proven"  # the receipt is in the ledger
    REMOVED = "removed"
    RETAINED = "retained"
    GONE = "gone"
    RELEASED = "released"  # a person asked for another try


_ALL_ON_DISK = (
    State.SETTLING,
    State.READY,
    State.SENDING,
    State.DELIVERED,
    State.RETAINED,
    State.PARKED,
)

TRANSITIONS: dict[tuple[State, Event], State] = {
    (State.SETTLING, Event.SETTLED): State.READY,
    (State.SETTLING, Event.REFUSED): State.PARKED,
    (State.READY, Event.UNSETTLED): State.SETTLING,
    (State.READY, Event.CLAIMED): State.SENDING,
    (State.READY, Event.REFUSED): State.PARKED,
    (State.SENDING, Event.UNSETTLED): State.SETTLING,
    (State.SENDING, Event.INTERRUPTED): State.READY,
    (State.SENDING, Event.FAILED): State.READY,
    (State.SENDING, Event.REFUSED): State.PARKED,
    (State.SENDING, Event.PROVEN): State.DELIVERED,
    (State.DELIVERED, Event.REMOVED): State.REMOVED,
    (State.DELIVERED, Event.RETAINED): State.RETAINED,
    (State.PARKED, Event.RELEASED): State.SETTLING,
    **{(state, Event.CHANGED): State.SETTLING for state in _ALL_ON_DISK},
    **{(state, Event.GONE): State.VANISHED for state in _ALL_ON_DISK},
}

FINAL = frozenset({State.REMOVED, State.VANISHED})


class IllegalTransition(Exception):
    """A bug: the program asked for a step that the table does not have."""


def follow(state: State, event: Event) -> State:
    """The state that `event` leads to; `IllegalTransition` if the table has no such row."""
    try:
        return TRANSITIONS[state, event]
    except KeyError:
        raise IllegalTransition(f"{event.value} cannot happen to a file that is {state.value}") from None


def mermaid() -> str:
    """The table as a Mermaid state diagram, for the docs."""
    lines = ["stateDiagram-v2", "    [*] --> settling"]
    lines += [
        f"    {state.value} --> {after.value}: {event.value}"
        for (state, event), after in TRANSITIONS.items()
        if event not in (Event.CHANGED, Event.GONE)
    ]
    lines += ["    note right of settling: changed leads here from every state on disk"]
    lines += ["    note right of vanished: gone leads here from every state on disk"]
    lines += [f"    {state.value} --> [*]" for state in State if state in FINAL]
    return "\n".join(lines) + "\n"
