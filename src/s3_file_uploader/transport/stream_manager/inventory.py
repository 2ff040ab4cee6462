"""The streams that lie in Stream Manager, whose each of them is, and which may go.

A rule that is removed leaves its streams, since nothing is deleted at start: what is removed by mistake
comes back with its statuses. They go when somebody asks for it. A stream that a rule or a file of the
ledger still needs is never deleted, one that has tasks to do only by force, and one that another
ledger made only where it is named besides.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from s3_file_uploader.transport.stream_manager.streams import StreamName, rule_digest
from s3_file_uploader.transport.stream_manager.values import NoStream, Refusal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from s3_file_uploader.transport.stream_manager.link import Link
    from s3_file_uploader.transport.stream_manager.values import StreamState

__all__ = ["Held", "Owned", "Whose", "look", "prune", "reason_to_keep"]


class Whose(Enum):
    """What a stream is to this ledger."""

    IN_USE = "in use"
    LEFTOVER = "leftover"
    OTHERS = "another's"


@dataclass(frozen=True, slots=True)
class Owned:
    """What is ours: the ledger's mark, its rules by digest, and the streams that its files wait for."""

    owner: str
    rules: Mapping[str, str] = field(default_factory=dict)
    awaited: frozenset[str] = frozenset()

    @classmethod
    def of(cls, owner: str, rules: Iterable[tuple[str, str]], awaited: Iterable[str] = ()) -> Owned:
        """`rules`: names and buckets; `awaited`: names of streams."""
        known = {rule_digest(name, bucket): name for name, bucket in rules}
        return cls(owner, known, frozenset(awaited))

    def whose(self, name: StreamName) -> Whose:
        if str(name) in self.awaited:
            return Whose.IN_USE
        if not self.owner or name.owner != self.owner:
            return Whose.OTHERS
        return Whose.IN_USE if name.digest in self.rules else Whose.LEFTOVER

    def rule_of(self, name: StreamName) -> str:
        """The rule's name; of one that is gone, what is left of it in the stream's."""
        known = self.rules.get(name.digest) if name.owner == self.owner else None
        return name.slug if known is None else known


@dataclass(frozen=True, slots=True)
class Held:
    """One stream with what it holds."""

    name: StreamName
    whose: Whose
    rule: str
    state: StreamState

    @property
    def waiting(self) -> int:
        """Tasks that are still to be done; of statuses none ever is."""
        if self.name.is_status or self.state.is_drained:
            return 0
        done = -1 if self.state.exported is None else self.state.exported
        return self.state.newest - max(done, self.state.oldest - 1)


async def look(link: Link, owned: Owned) -> list[Held]:
    """All streams that this program made, by name. Unreachable or Misconfigured where that cannot be told."""
    names = [name for name in map(StreamName.parse, await link.names()) if name is not None]
    states = await asyncio.gather(*(_described(link, name) for name in names))
    return sorted(
        (
            Held(name, owned.whose(name), owned.rule_of(name), state)
            for name, state in zip(names, states, strict=True)
            if state is not None
        ),
        key=lambda held: (list(Whose).index(held.whose), held.rule, str(held.name)),
    )


async def _described(link: Link, name: StreamName) -> StreamState | None:
    try:
        return await link.describe(str(name))
    except NoStream:  # it went meanwhile
        return None


def reason_to_keep(held: Held, others: Iterable[Held], *, named: Collection[str], force: bool) -> str:
    """Why a stream is not to be deleted; "" where it may be. `named`: those that somebody asked for by name."""
    if held.whose is Whose.IN_USE:
        return "in use"
    if held.whose is Whose.OTHERS and not (force and str(held.name) in named):
        return "another ledger's: name it and add --force if that ledger is gone"
    if force:
        return ""
    if held.waiting:
        return f"{held.waiting} tasks are still to be done: --force deletes it with them"
    if held.name.is_status and any(_writes_to(other, held) for other in others):
        return "a stream with tasks to do tells its statuses there"
    return ""


def _writes_to(other: Held, statuses: Held) -> bool:
    return bool(other.waiting) and other.state.plan.status_stream == str(statuses.name)


async def prune(link: Link, doomed: Iterable[Held]) -> dict[str, str]:
    """Delete them, tasks before statuses. The errors of those that stayed, by name; one that is gone is none."""
    failed = {}
    for held in sorted(doomed, key=lambda held: held.name.is_status):
        try:
            await link.delete(str(held.name))
        except NoStream:
            continue
        except Refusal as error:
            failed[str(held.name)] = str(error)
    return failed
