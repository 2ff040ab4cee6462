"""The state machine: what producers, time, the far side and death may do to the uploader, in any order."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from s3_file_uploader.transport.fake import Fault
from support.sim_ending import finish
from support.sim_life import CALLS
from support.sim_world import CHANGES, LEDGER_LOST, POWER_FAILED, PROCESS_DIED, Variant, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

__all__ = ["Focus", "machine"]

_Operation = tuple[str, tuple[Any, ...]]  # a method of Producers and its arguments

_SIZE = st.integers(0, 40)
_WHICH = st.integers(0, 3)
_NAME: st.SearchStrategy[Any] = st.none()  # stands for the names of the focus

_OPERATIONS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "write": (_NAME, _SIZE, st.booleans()),
    "open_quietly": (_NAME,),
    "rewrite": (_NAME,),
    "rewrite_and_restore": (_NAME,),
    "truncate": (_NAME,),
    "more": (_WHICH, _SIZE),
    "map_more": (_WHICH,),
    "finish": (_WHICH,),
    "replace": (_NAME, _SIZE),
    "rename": (_NAME, _NAME),
    "link": (_NAME, _NAME),
    "delete": (_NAME,),
    "restore_times": (_NAME, st.sampled_from([-1_000_000, 0, 1_000_000])),
    "mark": (_NAME,),
}

# A marker is compared with its file by their times, so there no producer puts times back. And
# where no lease can be had, what leaves no trace in a file's times and no event cannot be seen by
# anybody, nor can what puts a file's times back within the microseconds of a removal.
_ONLY_WITH_LEASES = frozenset({"open_quietly", "map_more"})
_RESTORING = frozenset({"restore_times", "rewrite_and_restore"})


@dataclass(frozen=True, slots=True)
class Focus:
    """What a machine does: everything, or just what leads to one kind of trouble sooner.

    `skips`: how many passings of a call may be let go by before something happens in between.
    """

    variants: tuple[Variant, ...] = (
        Variant(),
        Variant(watch=True),
        Variant(active_file="newest"),
        Variant(marker=True),
        Variant(leases=False),
        Variant(leases=False, watch=True),
        Variant(active_file="newest", watch=True),
    )
    operations: tuple[str, ...] = tuple(_OPERATIONS)
    in_between: tuple[str, ...] = tuple(_OPERATIONS)
    calls: tuple[str, ...] = CALLS
    deaths: tuple[str, ...] = (PROCESS_DIED, POWER_FAILED, LEDGER_LOST)
    faults: tuple[Fault, ...] = tuple(Fault)
    names: tuple[bytes, ...] = (b"a", b"b", b"c")
    seconds: tuple[float, ...] = (0.06, 0.6, 1.1, 3.0, 6.0, 11.0)
    skips: int = 4
    changes: tuple[str, ...] = CHANGES
    rules: tuple[str, ...] = (
        *("produce", "wait", "work", "stall", "hold", "carry", "jump", "die", "stop"),
        "reconfigure",
    )


def machine(
    focus: Focus, enter: Callable[[], AbstractContextManager[None]] | None = None
) -> type[RuleBasedStateMachine]:
    """A machine class for that focus. All of it happens in the context that `enter` makes: a mutation."""
    a_rule: Any = rule  # it is typed for strategies that are written out
    seconds = st.sampled_from(focus.seconds)
    planned = {
        "call": st.sampled_from(focus.calls),
        "skip": st.integers(0, focus.skips),
        "is_after": st.booleans(),
    }
    strategies: dict[str, dict[str, st.SearchStrategy[Any]]] = {
        "produce": {"data": st.data()},
        "wait": {"seconds": seconds},
        "stall": {"seconds": seconds},
        "work": {"steps": st.integers(1, 60), "seed": st.integers(0, 99)},
        "hold": {"phase": st.sampled_from([None, 0, 1, 2, 3, 4])},
        "carry": {"which": _WHICH, "steps": st.integers(1, 5)},
        "jump": {"years": st.sampled_from([-20, -1, 1, 20])},
        "die": {"left": st.sampled_from(focus.deaths), "reboot": st.booleans()} if focus.deaths else {},
        "stop": {},
        "reconfigure": {"change": st.sampled_from(focus.changes)},
    }
    members: dict[str, Any] = {"focus": focus, "enter": staticmethod(enter) if enter else None}
    for name in focus.rules:
        members[name] = a_rule(**strategies[name])(getattr(_Machine, name))
    members["produce_and_wait"] = a_rule(data=st.data(), seconds=seconds)(_Machine.produce_and_wait)
    if focus.in_between:
        members["produce_in_between"] = a_rule(data=st.data(), **planned)(_Machine.produce_in_between)
    if focus.deaths:
        members["die_in_between"] = a_rule(left=st.sampled_from(focus.deaths), **planned)(
            _Machine.die_in_between
        )
    if focus.faults:
        faults = st.lists(st.sampled_from(focus.faults), min_size=1, max_size=3)
        members["fail"] = a_rule(faults=faults)(_Machine.fail)
    members["begin"] = initialize(variant=st.sampled_from(focus.variants))(_Machine.begin)
    return type("Machine", (_Machine,), members)


class _Machine(RuleBasedStateMachine):
    """One run: a world, and at its end the question whether everything that could go has gone."""

    focus: ClassVar[Focus]
    enter: ClassVar[Any]  # a function, or None
    world: World

    def __init__(self) -> None:
        super().__init__()
        self.exit = ExitStack()
        if self.enter is not None:
            self.exit.enter_context(self.enter())

    def teardown(self) -> None:
        with self.exit:
            if hasattr(self, "world") and not self.world.judge.violations:
                finish(self.world)

    def draw(self, data: st.DataObject, of: tuple[str, ...], *, in_between: bool) -> _Operation | None:
        """One of these operations, if one makes sense here, with its arguments."""
        variant = self.world.variant
        excluded = _RESTORING if variant.marker else frozenset({"mark"})
        if not variant.leases:
            excluded |= _ONLY_WITH_LEASES | (_RESTORING if in_between else frozenset())
        allowed = [name for name in of if name not in excluded]
        if not allowed:
            return None
        name = data.draw(st.sampled_from(allowed))
        names = st.sampled_from(self.focus.names)
        return name, tuple(data.draw(names if one is _NAME else one) for one in _OPERATIONS[name])

    def perform(self, chosen: _Operation) -> None:
        name, arguments = chosen
        getattr(self.world.producers, name)(*arguments)

    # The moves. Which of them a machine makes is its focus's to say.

    def begin(self, variant: Variant) -> None:
        self.world = World(variant)
        self.exit.callback(self.world.close)

    def produce(self, data: st.DataObject) -> None:
        chosen = self.draw(data, self.focus.operations, in_between=False)
        if chosen is not None:
            self.perform(chosen)
        self.world.judge.check()

    def produce_and_wait(self, data: st.DataObject, seconds: float) -> None:
        self.produce(data)
        self.wait(seconds)

    def produce_in_between(self, data: st.DataObject, call: str, skip: int, is_after: bool) -> None:
        chosen = self.draw(data, self.focus.in_between, in_between=True)
        if chosen is not None:
            self.world.plan(call, skip, is_after, partial(self.perform, chosen))

    def wait(self, seconds: float) -> None:
        self.world.advance(seconds)
        self.world.judge.check()

    def stall(self, seconds: float) -> None:
        self.world.stall(seconds)

    def work(self, steps: int, seed: int) -> None:
        self.world.work(steps, seed)
        self.world.judge.check()

    def hold(self, phase: int | None) -> None:
        self.world.held_at = phase

    def carry(self, which: int, steps: int) -> None:
        for _ in range(steps):
            self.world.carry(which)
        self.world.judge.check()

    def fail(self, faults: list[Fault]) -> None:
        self.world.far_side.faults.extend(faults)

    def jump(self, years: int) -> None:
        """The device's clock is set. Where its times say what is done, it may only go forward."""
        if years > 0 or not self.world.variant.marker:
            self.world.time.jump(years)

    def die(self, left: str, reboot: bool) -> None:
        self.world.die(left, reboot=reboot)
        self.world.judge.check()

    def die_in_between(self, call: str, skip: int, is_after: bool, left: str) -> None:
        self.world.left_by_next_death = left
        self.world.plan(call, skip, is_after, None)

    def reconfigure(self, change: str) -> None:
        self.world.reconfigure(change)

    def stop(self) -> None:
        self.world.stop()
        self.world.judge.check()
