from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from stream_manager_local.protocol.codes import Persistence, Status
from stream_manager_local.protocol.definition import OtherExport, S3Export
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import Choices, Evicted, Updated
from support.local_store import (
    KIB,
    MEMORY,
    MOST,
    OVERWRITE,
    REJECT,
    Stage,
    defined,
    numbers,
    payloads,
    segment_files,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream_manager_local.store import Event, Store, Stream

_MINUTE = 60_000
_LARGE = b"x" * 1000  # four of them fill a segment, sixteen a stream


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def store(stage: Stage) -> Iterator[Store]:
    store = stage.open()
    yield store
    store.close()


@pytest.fixture(params=list(Persistence))
def persistence(request: pytest.FixtureRequest) -> Persistence:
    chosen: Persistence = request.param
    return chosen


def fill(stream: Stream) -> int:
    """Append until the stream rejects it; returns how many it took."""
    for count in range(1000):
        try:
            stream.append(_LARGE)
        except Refused:
            return count
    raise AssertionError("it is never full")


# -- full


def test_a_full_stream_rejects_new_data_and_can_be_read(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(persistence=persistence))
    assert fill(stream) == 16
    with pytest.raises(Refused, match="'s' is full") as refused:
        stream.append(_LARGE)
    assert refused.value.status is Status.INVALID_REQUEST
    assert numbers(stream) == list(range(16))
    assert stream.append(b"this one fits") == 16


def test_a_full_stream_answers_with_the_status_that_was_chosen(stage: Stage) -> None:
    stage.choices = Choices(full_status=Status.UNKNOWN_FAILURE)
    store = stage.open()
    stream = store.create(defined())
    fill(stream)
    with pytest.raises(Refused) as refused:
        stream.append(_LARGE)
    assert refused.value.status is Status.UNKNOWN_FAILURE
    store.close()


def test_a_full_stream_takes_data_again_once_it_was_deleted_and_made_anew(store: Store) -> None:
    fill(store.create(defined()))
    store.delete("s")
    assert fill(store.create(defined())) == 16


def test_a_full_stream_takes_data_again_once_it_was_enlarged(store: Store) -> None:
    stream = store.create(defined())
    fill(stream)
    store.update(defined(max_size=32 * KIB))
    assert fill(stream) == 16
    assert numbers(stream) == list(range(32))


def test_overwriting_drops_whole_segments_oldest_first(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(strategy_on_full=OVERWRITE, persistence=persistence))
    seen: set[int] = set()
    for number in range(100):
        assert stream.append(_LARGE) == number
        assert stream.total_bytes <= 16 * KIB
        assert numbers(stream) == list(range(stream.oldest, number + 1))
        seen.add(stream.oldest)
    assert seen == set(range(0, 88, 4))


def test_overwriting_gives_the_space_back_on_the_disk(stage: Stage, store: Store) -> None:
    stream = store.create(defined(strategy_on_full=OVERWRITE))
    for _ in range(100):
        stream.append(_LARGE)
    assert sum(file.stat().st_size for file in segment_files(stage.root)) == stream.total_bytes


def test_a_stream_of_one_segment_overwrites_all_of_it(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(strategy_on_full=OVERWRITE, max_size=4 * KIB, persistence=persistence))
    for _ in range(4):
        stream.append(_LARGE)
    assert stream.append(_LARGE) == 4
    assert numbers(stream) == [4]


def test_numbers_go_on_after_a_restart_when_everything_was_dropped(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined(time_to_live_millis=_MINUTE))
    for _ in range(6):
        stream.append(_LARGE)
    stage.clock.pass_seconds(60)
    store.expire()
    assert (stream.oldest, stream.newest, stream.total_bytes) == (6, 5, 0)
    store = stage.reopen(store)
    stream = store.get("s")
    assert (stream.oldest, stream.newest, stream.total_bytes) == (6, 5, 0)
    assert stream.append(b"a") == 6
    store.close()


def test_who_hears_of_dropped_messages_can_still_read_them(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(strategy_on_full=OVERWRITE, persistence=persistence))
    heard: list[tuple[int, int, int, list[int]]] = []

    def listen(event: Event) -> None:
        if isinstance(event, Evicted):
            dropped = [message.sequence_number for message in event.messages()]
            heard.append((event.first, event.last, stream.oldest, dropped))

    stream.watch(listen)
    for _ in range(21):
        stream.append(_LARGE)
    assert heard == [(0, 3, 4, [0, 1, 2, 3]), (4, 7, 8, [4, 5, 6, 7])]


def test_a_watcher_may_append_to_the_very_stream_that_drops(store: Store) -> None:
    stream = store.create(defined(strategy_on_full=OVERWRITE))

    def answer(event: Event) -> None:
        if isinstance(event, Evicted):
            stream.append(b"dropped %d" % event.first)

    stream.watch(answer)
    for _ in range(40):
        stream.append(_LARGE)
    assert numbers(stream) == list(range(stream.oldest, stream.newest + 1))
    assert stream.total_bytes <= 16 * KIB


# -- full, and exported


def exported(store: Store, *identifiers: str, **properties: Any) -> Stream:
    return store.create(defined(exports=tuple(map(S3Export, identifiers)), **properties))


def test_what_all_exports_have_passed_makes_room(store: Store, persistence: Persistence) -> None:
    stream = exported(store, "one", "two", persistence=persistence)
    fill(stream)
    stream.advance("one", 16, exported_bytes=0, at=1.0)
    assert fill(stream) == 0
    stream.advance("two", 7, exported_bytes=0, at=1.0)
    assert fill(stream) == 4
    assert stream.oldest == 4
    stream.advance("two", 16, exported_bytes=0, at=1.0)
    assert fill(stream) == 12
    assert numbers(stream) == list(range(16, 32))


def test_nothing_is_dropped_while_there_is_room(store: Store) -> None:
    stream = exported(store, "one")
    for number in range(16):
        stream.append(_LARGE)
        stream.advance("one", number + 1, exported_bytes=0, at=1.0)
    assert numbers(stream) == list(range(16))


def test_what_was_exported_stays_when_that_is_chosen(stage: Stage) -> None:
    stage.choices = Choices(free_exported=False)
    store = stage.open()
    stream = exported(store, "one")
    fill(stream)
    stream.advance("one", 16, exported_bytes=0, at=1.0)
    assert fill(stream) == 0
    store.close()


def test_an_export_that_sends_nothing_holds_what_it_has_not_sent(store: Store) -> None:
    other = OtherExport("kinesis", "other", {"identifier": "other", "kinesisStreamName": "k"})
    stream = store.create(defined(exports=(S3Export("one"), other)))
    fill(stream)
    stream.advance("one", 16, exported_bytes=0, at=1.0)
    assert fill(stream) == 0


# -- time to live


def test_segments_go_once_their_newest_message_is_too_old(
    stage: Stage, store: Store, persistence: Persistence
) -> None:
    stream = store.create(defined(time_to_live_millis=_MINUTE, persistence=persistence))
    for _ in range(8):
        stream.append(_LARGE)
        stage.clock.pass_seconds(10)
    assert store.expire() == 10
    assert stream.oldest == 0
    stage.clock.pass_seconds(10)
    assert store.expire() == 40
    assert numbers(stream) == [4, 5, 6, 7]
    stage.clock.pass_seconds(40)
    store.expire()
    assert (stream.oldest, stream.newest, stream.total_bytes) == (8, 7, 0)
    assert stream.append(b"a") == 8


def test_a_clock_that_is_set_makes_nothing_old(stage: Stage, store: Store) -> None:
    stream = store.create(defined(time_to_live_millis=_MINUTE))
    stage.clock.wall = 0.0
    stream.append(b"a")
    stage.clock.wall = 1_700_000_000.0
    store.expire()
    assert payloads(stream) == [b"a"]
    stage.clock.wall = 0.0
    stage.clock.pass_seconds(60)
    store.expire()
    assert payloads(stream) == []


def test_what_came_in_before_a_restart_gets_old_too(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined(time_to_live_millis=_MINUTE))
    for _ in range(8):
        stream.append(_LARGE)
        stage.clock.wall += 10
    store = stage.reopen(store)
    stream = store.get("s")
    assert store.expire() <= 60
    assert stream.oldest == 0
    stage.clock.wall += 20
    store.expire()
    assert numbers(stream) == [4, 5, 6, 7]
    stage.clock.wall += 40
    store.expire()
    assert numbers(stream) == []
    store.close()


def test_what_came_in_while_the_clock_was_ahead_gets_old_too(stage: Stage) -> None:
    stage.clock.wall += 1e9
    store = stage.open()
    store.create(defined(time_to_live_millis=_MINUTE)).append(b"a")
    stage.clock.wall -= 1e9
    store = stage.reopen(store)
    stage.clock.pass_seconds(59)
    store.expire()
    assert payloads(store.get("s")) == [b"a"]
    stage.clock.pass_seconds(1)
    store.expire()
    assert payloads(store.get("s")) == []
    store.close()


def test_without_a_time_to_live_nothing_goes(stage: Stage, store: Store) -> None:
    stream = store.create(defined())
    stream.append(b"a")
    stage.clock.pass_seconds(1e9)
    store.expire()
    assert payloads(stream) == [b"a"]


def test_the_next_look_is_never_busy_and_never_far(stage: Stage, store: Store) -> None:
    assert store.expire() == 60
    store.create(defined(time_to_live_millis=_MINUTE)).append(b"a")
    stage.clock.pass_seconds(59.999)
    assert store.expire() == 0.5


# -- updates


@pytest.mark.parametrize(
    ("properties", "status", "said"),
    [
        ({"persistence": MEMORY}, Status.UPDATE_NOT_ALLOWED, "persistence"),
        ({"max_size": 8 * KIB}, Status.UPDATE_FAILED, "maxSize"),
        ({"segment_size": 17 * KIB}, Status.INVALID_REQUEST, "streamSegmentSize"),
        (
            {"exports": (OtherExport("http", "e", {"identifier": "e", "startSequenceNumber": 99}),)},
            Status.INVALID_REQUEST,
            "startSequenceNumber",
        ),
    ],
)
def test_an_update_that_cannot_be_is_refused_and_changes_nothing(
    stage: Stage, properties: dict[str, Any], status: Status, said: str
) -> None:
    store = stage.open()
    stream = store.create(defined(exports=(S3Export("one"),)))
    fill(stream)
    stream.advance("one", 5, exported_bytes=0, at=1.0)
    heard: list[Event] = []
    store.watch(heard.append)
    with pytest.raises(Refused, match=said) as refused:
        store.update(dataclasses.replace(stream.definition, **properties))
    assert refused.value.status is status
    assert heard == []
    for _ in range(2):
        stream = store.get("s")
        assert stream.definition == defined(exports=(S3Export("one"),))
        assert stream.cursor("one") == 5
        assert numbers(stream) == list(range(16))
        store = stage.reopen(store)
    store.close()


def test_persistence_cannot_be_changed_in_either_direction(store: Store) -> None:
    store.create(defined(persistence=MEMORY))
    with pytest.raises(Refused, match="persistence") as refused:
        store.update(defined())
    assert refused.value.status is Status.UPDATE_NOT_ALLOWED


def test_an_update_is_there_after_a_restart(stage: Stage) -> None:
    store = stage.open()
    before = store.create(defined()).definition
    heard: list[Event] = []
    store.watch(heard.append)
    after = defined(strategy_on_full=OVERWRITE, time_to_live_millis=_MINUTE, exports=(S3Export("e"),))
    stream = store.update(after)
    assert stream.definition == after
    assert heard == [Updated(stream, before)]
    store = stage.reopen(store)
    assert store.get("s").definition == after
    store.close()


def test_a_new_segment_size_is_that_of_new_segments(stage: Stage, store: Store) -> None:
    stream = store.create(defined())
    stream.append(_LARGE)
    store.update(defined(segment_size=8 * KIB))
    for _ in range(9):
        stream.append(_LARGE)
    assert [int(file.stem) for file in segment_files(stage.root)] == [0, 4]
    assert stream.append(b"x" * 6000) == 10
    assert [int(file.stem) for file in segment_files(stage.root)] == [0, 4, 10]
    assert len(payloads(stream)) == 11


def test_an_empty_stream_takes_the_new_segment_size_at_once(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(persistence=persistence))
    store.update(defined(segment_size=8 * KIB, persistence=persistence))
    stream.append(b"x" * 8000)
    assert len(stream.read(0, 1, most_bytes=MOST)) == 1


def test_a_new_strategy_is_that_of_the_next_message(store: Store) -> None:
    stream = store.create(defined())
    fill(stream)
    store.update(defined(strategy_on_full=OVERWRITE))
    assert stream.append(_LARGE) == 16
    assert stream.oldest == 4
    store.update(defined(strategy_on_full=REJECT))
    assert fill(stream) == 3


def test_exports_are_replaced_by_their_identifiers(stage: Stage) -> None:
    store = stage.open()
    stream = exported(store, "stays", "goes")
    fill(stream)
    for identifier in ("stays", "goes"):
        stream.advance(identifier, 9, exported_bytes=1, at=1.0)
    store.update(defined(exports=(S3Export("stays", disabled=True), S3Export("comes"))))
    stream.advance("goes", 12, exported_bytes=1, at=1.0)
    store = stage.reopen(store)
    stream = store.get("s")
    assert [stream.cursor(identifier) for identifier in ("stays", "goes", "comes")] == [9, 0, 0]
    store.update(defined(exports=(S3Export("stays"), S3Export("goes"))))
    assert [stream.cursor(identifier) for identifier in ("stays", "goes")] == [9, 0]
    store.close()
