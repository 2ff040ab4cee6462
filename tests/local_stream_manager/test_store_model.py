"""A stream beside a list: whatever is done to both, they say the same."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stream_manager_local.protocol.codes import Persistence, StrategyOnFull
from stream_manager_local.protocol.definition import S3Export, StreamDefinition
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import OVERHEAD_BYTES, Evicted, Store, Stream
from support.local_store import KIB, MEMORY, Stage, defined

_SIZES = st.sampled_from([KIB, 2 * KIB, 3 * KIB])
_MINUTE = 60_000


class Machine(RuleBasedStateMachine):
    """`self.model` holds the payloads of `self.first` on; what the stream drops, it says."""

    store: Store
    stream: Stream

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.mkdtemp()
        self.stage = Stage(Path(self.folder))
        self.model: list[bytes] = []
        self.first = 0
        self.cursor = 0

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    @initialize(
        persistence=st.sampled_from(Persistence), strategy=st.sampled_from(StrategyOnFull), segment=_SIZES
    )
    def make(self, persistence: Persistence, strategy: StrategyOnFull, segment: int) -> None:
        self.store = self.stage.open()
        self.create(
            defined(
                persistence=persistence,
                strategy_on_full=strategy,
                segment_size=segment,
                max_size=6 * KIB,
                exports=(S3Export("e"),),
            )
        )

    def create(self, definition: StreamDefinition) -> None:
        self.stream = self.store.create(definition)
        self.watch()

    def watch(self) -> None:
        def evict(event: object) -> None:
            if isinstance(event, Evicted):
                count = event.last - event.first + 1
                assert event.first == self.first
                assert [message.payload for message in event.messages()] == self.model[:count]
                del self.model[:count]
                self.first = event.last + 1

        self.stream.watch(evict)

    @rule(size=st.integers(1, 1100), byte=st.integers(0, 255))
    def append(self, size: int, byte: int) -> None:
        payload = bytes([byte]) * size
        end = self.first + len(self.model)
        is_rejecting = self.stream.definition.strategy_on_full is StrategyOnFull.REJECT_NEW_DATA
        is_larger = size + OVERHEAD_BYTES > self.stream.definition.segment_size
        is_full = self.taken() + size + OVERHEAD_BYTES > self.stream.definition.max_size
        try:
            sequence = self.stream.append(payload)
        except Refused:
            assert is_larger or (is_rejecting and is_full)
        else:
            assert not is_larger
            assert sequence == end
            self.model.append(payload)

    @rule(back=st.integers(-2, 40), most=st.integers(1, 10), most_bytes=st.integers(0, 4000))
    def read(self, back: int, most: int, most_bytes: int) -> None:
        end = self.first + len(self.model)
        messages = self.stream.read(end - back, most, most_bytes=most_bytes)
        place = max(end - back - self.first, 0)
        expected = self.model[place : place + most]
        while len(expected) > 1 and sum(map(len, expected)) > most_bytes:
            expected.pop()
        assert [message.payload for message in messages] == expected
        assert [message.sequence_number - self.first for message in messages] == list(
            range(place, place + len(expected))
        )

    @rule(count=st.integers(0, 5))
    def export(self, count: int) -> None:
        self.cursor = min(max(self.cursor, self.first) + count, self.first + len(self.model))
        self.stream.advance("e", self.cursor, exported_bytes=count, at=self.stage.clock.wall)

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def let_time_pass(self, seconds: int) -> None:
        before = list(self.model)
        self.stage.clock.pass_seconds(seconds)
        assert 0.5 <= self.store.expire() <= 60
        if self.stream.definition.time_to_live_millis is None:
            assert self.model == before
        elif seconds > 60:
            assert self.model == []

    @rule(
        strategy=st.sampled_from(StrategyOnFull),
        segment=_SIZES,
        size=st.sampled_from([3 * KIB, 6 * KIB, 9 * KIB]),
        ttl=st.sampled_from([None, _MINUTE]),
        persistence=st.sampled_from([None, None, *Persistence]),
    )
    def update(
        self,
        strategy: StrategyOnFull,
        segment: int,
        size: int,
        ttl: int | None,
        persistence: Persistence | None,
    ) -> None:
        before = self.stream.definition
        after = defined(
            strategy_on_full=strategy,
            segment_size=segment,
            max_size=size,
            time_to_live_millis=ttl,
            persistence=before.persistence if persistence is None else persistence,
            exports=before.exports,
        )
        try:
            self.store.update(after)
        except Refused:
            assert after.persistence != before.persistence or size < self.taken()
            assert self.stream.definition == before
        else:
            assert size >= self.taken()
            assert self.stream.definition == after

    @precondition(lambda self: self.stream.definition.persistence is not MEMORY)
    @rule()
    def restart(self) -> None:
        self.store = self.stage.reopen(self.store)
        self.stream = self.store.get("s")
        self.watch()

    @rule()
    def delete(self) -> None:
        definition = self.stream.definition
        self.store.delete("s")
        self.model.clear()
        self.first = self.cursor = 0
        self.create(definition)

    def taken(self) -> int:
        return sum(len(payload) + OVERHEAD_BYTES for payload in self.model)

    @invariant()
    def they_are_the_same(self) -> None:
        stream = self.stream
        assert stream.oldest == self.first
        assert stream.newest == self.first + len(self.model) - 1
        assert stream.total_bytes == self.taken() <= stream.definition.max_size
        assert stream.cursor("e") == max(self.cursor, self.first)
        assert self.stage.reports == []


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=40, stateful_step_count=40)
