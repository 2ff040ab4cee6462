"""The life of one simulated process: it may die at any call, and others may act right before or after one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.source.edge import Edge
from support.edges import Crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CALLS", "Life", "MortalLedger", "Plan", "WatchedEdge"]

_OPENING = frozenset({"open_folder", "open_folder_at", "open_at"})
_EDGE_CALLS = tuple(name for name in vars(Edge) if not name.startswith("_"))
CALLS = (*_EDGE_CALLS, "commit", "carry")


@dataclass(slots=True)
class Plan:
    """Once `call` was passed `skip` times, before or after it: do something, or with None die."""

    call: str  # a method of Edge, "commit" of the ledger's, or "carry" of a delivery's next step
    skip: int
    is_after: bool
    act: Callable[[], None] | None


@dataclass(slots=True)
class Life:
    """From the start of a process to its death. `plans` outlive no process."""

    plans: list[Plan] = field(default_factory=list)
    opened: set[int] = field(default_factory=set)
    listing: Any = None  # the folder that was read last
    is_dead: bool = False
    intrusions: int = 0
    _is_busy: bool = False

    def passing(self, call: str, *, is_after: bool) -> None:
        """Something is about to happen, or just has."""
        if self.is_dead:
            raise Crash
        if self._is_busy:
            return
        for plan in [one for one in self.plans if one.call == call and one.is_after == is_after]:
            plan.skip -= 1
            if plan.skip < 0:
                self.plans.remove(plan)
                self._carry_out(plan)

    def _carry_out(self, plan: Plan) -> None:
        if plan.act is None:
            self.end()
            raise Crash
        self._is_busy = True
        self.intrusions += 1
        try:
            plan.act()
        finally:
            self._is_busy = False

    def end(self) -> None:
        """The kernel closes what the process had open; its leases are gone with that."""
        self.is_dead = True
        for descriptor in self.opened:
            with contextlib.suppress(OSError):
                os.close(descriptor)
        self.opened.clear()
        if self.listing is not None:
            self.listing.close()


class WatchedEdge(Edge):
    """Around a real edge: every call is an occasion to die or to be interrupted, and is told to `judge`."""

    def __init__(self, inner: Edge, life: Life, judge: Callable[[str, tuple[Any, ...]], Any]) -> None:
        self.inner = inner
        self.life = life
        self.judge = judge

    def __getattribute__(self, name: str) -> Any:
        if name not in _EDGE_CALLS:
            return object.__getattribute__(self, name)

        def call(*arguments: Any, **named: Any) -> Any:
            life = self.life
            life.passing(name, is_after=False)
            with self.judge(name, arguments):
                result = getattr(self.inner, name)(*arguments, **named)
            if name == "entries":
                life.listing = result
            if name in _OPENING:
                life.opened.add(result)
            elif name == "close":
                life.opened.discard(arguments[0])
            life.passing(name, is_after=True)
            return result

        return call


class MortalLedger(Ledger):
    """A real ledger whose process may die right before or right after any commit."""

    life: Life
    committed: Callable[[bool], None]

    @contextlib.contextmanager
    def transaction(self, *, durable: bool = False) -> Iterator[None]:
        if self.life.is_dead:
            raise Crash
        with super().transaction(durable=durable):
            yield
            self.life.passing("commit", is_after=False)
        self.committed(durable)
        self.life.passing("commit", is_after=True)
