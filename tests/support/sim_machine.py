"""The state machine: what producers, time, the far side and death may do to the uploader, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from support.sim_life import CALLS
from support.sim_world import LEDGER_LOST, POWER_FAILED, PROCESS_DIED, Variant, World

from s3_file_uploader.transport.fake import Fault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Focus", "machine"]

Operation = tuple[str, tuple[Any, ...]]  # a method of Producers and its arguments

_SIZES = st.integers(0, 40)
_WHICH = st.integers(0, 3)
_NAME: st.SearchStrategy[Any] = st.none()  # stands for the names of the focus

_OPERATIONS: dict[str, tuple[st.SearchStrategy[Any], ...]] = {
    "write": (_NAME, _SIZES, st.booleans()),
    "open_quietly": (_NAME,),
    "rewrite": (_NAME, st.booleans()),
    "truncate": (_NAME,),
    "more": (_WHICH, _SIZES),
    "map_more": (_WHICH,),
    "finish": (_WHICH,),
    "replace": (_NAME, _SIZES),
    "rename": (_NAME, _NAME),
    "link": (_NAME, _NAME),
    "delete": (_NAME,),
    "restore_times": (_NAME, st.sampled_from([-1_000_000, 0, 1_000_000])),
    "mark": (_NAME,),
}

# Where no lease can be had, what happens within microseconds of a removal, or leaves no trace in a
# file's times and no event, cannot be seen by anybody: such things are not asked for then.
_ONLY_WITH_LEASES = frozenset({"open_quietly", "map_more"})
_NEVER_IN_BETWEEN_WITHOUT = frozenset({"restore_times", "map_more", "open_quietly"})


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
    rules: tuple[str, ...] = ("work", "hold", "carry", "jump")


def machine(focus: Focus, enter: Callable[[], Any] | None = None) -> type[RuleBasedStateMachine]:
    """A machine class for that focus. `enter` makes a context in which all of it happens: a mutation."""
    operation = st.data()
    calls = st.sampled_from(focus.calls)
    skips = st.integers(0, focus.skips)
    seconds = st.sampled_from(focus.seconds)
    names = st.sampled_from(focus.names)

    class Machine(RuleBasedStateMachine):
        world: World

        @initialize(variant=st.sampled_from(focus.variants))
        def begin(self, variant: Variant) -> None:
            self.mutation = enter() if enter else None
            if self.mutation is not None:
                self.mutation.__enter__()
            self.world = World(variant)

        def teardown(self) -> None:
            try:
                if hasattr(self, "world"):
                    try:
                        if not self.world.violations:
                            self.world.finish()
                    finally:
                        self.world.close()
            finally:
                if getattr(self, "mutation", None) is not None:
                    self.mutation.__exit__(None, None, None)

        def _draw(self, data: st.DataObject, of: tuple[str, ...], *, in_between: bool) -> Operation | None:
            variant = self.world.variant
            excluded: frozenset[str] = frozenset()
            if not variant.leases:
                excluded = _ONLY_WITH_LEASES | (_NEVER_IN_BETWEEN_WITHOUT if in_between else frozenset())
            if variant.marker:
                excluded |= {"restore_times"}
            else:
                excluded |= {"mark"}
            allowed = [name for name in of if name not in excluded]
            if not allowed:
                return None
            name = data.draw(st.sampled_from(allowed))
            arguments = tuple(
                data.draw(names if strategy is _NAME else strategy) for strategy in _OPERATIONS[name]
            )
            if name == "rewrite" and not variant.leases and in_between:
                arguments = (arguments[0], False)
            return name, arguments

        def _perform(self, chosen: Operation) -> None:
            name, arguments = chosen
            getattr(self.world.producers, name)(*arguments)

        @rule(data=operation)
        def produce(self, data: st.DataObject) -> None:
            chosen = self._draw(data, focus.operations, in_between=False)
            if chosen is not None:
                self._perform(chosen)
            self.world.check()

        @rule(data=operation, seconds=seconds)
        def produce_and_wait(self, data: st.DataObject, seconds: float) -> None:
            self.produce(data)
            self.wait(seconds)

        @rule(data=operation, call=calls, skip=skips, is_after=st.booleans())
        def produce_in_between(self, data: st.DataObject, call: str, skip: int, is_after: bool) -> None:
            chosen = self._draw(data, focus.in_between, in_between=True)
            if chosen is not None:
                self.world.plan(call, skip, is_after, partial(self._perform, chosen))

        @rule(seconds=seconds)
        def wait(self, seconds: float) -> None:
            self.world.advance(seconds)
            self.world.check()

        if "work" in focus.rules:

            @rule(steps=st.integers(1, 60), seed=st.integers(0, 99))
            def work(self, steps: int, seed: int) -> None:
                self.world.work(steps, seed)
                self.world.check()

        if "hold" in focus.rules:

            @rule(phase=st.sampled_from([None, 0, 1, 2, 3, 4]))
            def hold_deliveries(self, phase: int | None) -> None:
                """Each delivery goes no farther than that, until it is carried on or all are let go."""
                self.world.held_at = phase

        if "carry" in focus.rules:

            @rule(which=_WHICH, steps=st.integers(1, 5))
            def carry(self, which: int, steps: int) -> None:
                for _ in range(steps):
                    self.world.carry(which)
                self.world.check()

        if "jump" in focus.rules:

            @rule(years=st.sampled_from([-20, -1, 1, 20]))
            def jump(self, years: int) -> None:
                if not self.world.variant.marker:
                    self.world.time.wall += years * 31_557_600.0

        if focus.faults:

            @rule(faults=st.lists(st.sampled_from(focus.faults), min_size=1, max_size=3))
            def fail(self, faults: list[Fault]) -> None:
                self.world.far_side.faults.extend(faults)

        if focus.deaths:

            @rule(left=st.sampled_from(focus.deaths), reboot=st.booleans())
            def die(self, left: str, reboot: bool) -> None:
                self.world.die(left, reboot=reboot)
                self.world.check()

            @rule(call=calls, skip=skips, is_after=st.booleans(), left=st.sampled_from(focus.deaths))
            def die_in_between(self, call: str, skip: int, is_after: bool, left: str) -> None:
                self.world.left_by_next_death = left
                self.world.plan(call, skip, is_after, None)

            @rule()
            def stop(self) -> None:
                self.world.stop()
                self.world.check()

    return Machine
