from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Persistence, Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import OVERHEAD_BYTES, Appended
from support.local_store import KIB, MOST, OVERWRITE, Stage, defined, numbers, payloads, segment_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream_manager_local.store import Event, Store, Stream


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def store(stage: Stage) -> Iterator[Store]:
    store = stage.open()
    yield store
    store.close()


@pytest.fixture(params=list(Persistence))
def stream(store: Store, request: pytest.FixtureRequest) -> Stream:
    return store.create(defined(persistence=request.param, max_size=1024 * KIB))


def test_messages_are_numbered_from_0_on_without_a_gap(stream: Stream) -> None:
    assert [stream.append(b"x" * 500) for _ in range(20)] == list(range(20))
    assert numbers(stream) == list(range(20))


def test_an_empty_stream_begins_at_0_and_ends_before_it(stream: Stream) -> None:
    assert (stream.oldest, stream.newest, stream.total_bytes) == (0, -1, 0)
    assert stream.read(0, 10, most_bytes=MOST) == []


def test_every_byte_of_a_payload_comes_back(stream: Stream) -> None:
    sent = [bytes(range(256)), b"\x00", b"\xff" * 3000, b"{}"]
    for payload in sent:
        stream.append(payload)
    assert payloads(stream) == sent


def test_a_read_before_the_oldest_begins_at_the_oldest(store: Store) -> None:
    stream = store.create(defined(strategy_on_full=OVERWRITE))
    for number in range(40):
        stream.append(b"%04d" % number * 250)
    assert stream.oldest > 0
    assert stream.read(0, 1, most_bytes=MOST)[0].sequence_number == stream.oldest


def test_a_read_behind_the_newest_brings_nothing(stream: Stream) -> None:
    stream.append(b"a")
    assert stream.read(1, 10, most_bytes=MOST) == []
    assert stream.read(1000, 10, most_bytes=MOST) == []


@pytest.mark.parametrize("most", [1, 3, 7, 2**31 - 1])
def test_a_read_brings_no_more_than_asked_for_over_all_segments(stream: Stream, most: int) -> None:
    for number in range(30):
        stream.append(b"%d" % number * 400)
    got: list[int] = []
    while len(got) < 30:
        batch = stream.read(len(got), most, most_bytes=MOST)
        assert 0 < len(batch) <= most
        got += [message.sequence_number for message in batch]
    assert got == list(range(30))


def test_a_read_stops_before_it_has_too_many_bytes_but_brings_one(stream: Stream) -> None:
    for _ in range(10):
        stream.append(b"x" * 1000)
    assert len(stream.read(0, 10, most_bytes=3500)) == 3
    assert len(stream.read(0, 10, most_bytes=1)) == 1


def test_readers_at_different_places_do_not_disturb_each_other(stream: Stream) -> None:
    for number in range(200):
        stream.append(b"%d" % number)
    for first, second in zip(range(100), reversed(range(200)), strict=False):
        assert stream.read(first, 1, most_bytes=MOST)[0].payload == b"%d" % first
        assert stream.read(second, 1, most_bytes=MOST)[0].payload == b"%d" % second


def test_messages_as_large_as_a_segment_are_taken_and_read(store: Store) -> None:
    size = 4096 * KIB
    stream = store.create(defined(segment_size=size, max_size=2 * size))
    largest = bytes(i % 251 for i in range(size - OVERHEAD_BYTES))
    stream.append(b"small")
    stream.append(largest)
    assert payloads(stream) == [b"small", largest]


def test_a_message_larger_than_a_segment_is_refused_as_too_large(stream: Stream) -> None:
    with pytest.raises(Refused, match="at most 4076") as refused:
        stream.append(b"x" * (4 * KIB - OVERHEAD_BYTES + 1))
    assert refused.value.status is Status.REQUEST_PAYLOAD_TOO_LARGE
    assert stream.newest == -1


def test_an_empty_message_is_refused(stream: Stream) -> None:
    with pytest.raises(Refused, match="empty") as refused:
        stream.append(b"")
    assert refused.value.status is Status.INVALID_REQUEST


def test_the_time_a_message_came_in_is_in_milliseconds_and_never_goes_back(
    stage: Stage, stream: Stream
) -> None:
    stage.clock.wall = 1_700_000_000.1234
    stream.append(b"a")
    stage.clock.wall -= 1e9
    stream.append(b"b")
    stage.clock.wall += 2e9
    stream.append(b"c")
    times = [message.ingest_time_millis for message in stream.read(0, 3, most_bytes=MOST)]
    assert times == [1_700_000_000_123, 1_700_000_000_123, 2_700_000_000_123]


def test_times_do_not_go_back_over_a_restart_either(stage: Stage) -> None:
    store = stage.open()
    store.create(defined()).append(b"a")
    stage.clock.wall -= 1e9
    store = stage.reopen(store)
    store.get("s").append(b"b")
    times = [message.ingest_time_millis for message in store.get("s").read(0, 2, most_bytes=MOST)]
    store.close()
    assert times == sorted(times)


def test_total_bytes_are_payloads_and_20_bytes_for_each_message(stream: Stream) -> None:
    for size in (1, 100, 2000, 3000):
        stream.append(b"x" * size)
    assert stream.total_bytes == 1 + 100 + 2000 + 3000 + 4 * 20


def test_total_bytes_are_what_the_segments_take_on_the_disk(stage: Stage, store: Store) -> None:
    stream = store.create(defined())
    for _ in range(12):
        stream.append(b"x" * 1000)
    files = segment_files(stage.root)
    assert len(files) == 3
    assert sum(file.stat().st_size for file in files) == stream.total_bytes


def test_a_segment_is_never_larger_than_its_limit(stage: Stage, store: Store) -> None:
    stream = store.create(defined(max_size=1024 * KIB))
    for size in range(1, 400):
        stream.append(b"x" * (size * 7 % 3000 + 1))
    assert all(0 < file.stat().st_size <= 4 * KIB for file in segment_files(stage.root))


def test_everything_is_there_after_a_restart(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined(max_size=1024 * KIB))
    sent = [b"%d" % number * 100 for number in range(100)]
    for payload in sent:
        stream.append(payload)
    before = (stream.oldest, stream.newest, stream.total_bytes)
    store = stage.reopen(store)
    stream = store.get("s")
    assert (stream.oldest, stream.newest, stream.total_bytes) == before
    assert payloads(stream) == sent
    assert stream.append(b"next") == 100
    store.close()
    assert stage.reports == []


def test_whoever_watches_a_stream_hears_of_its_messages_only(store: Store) -> None:
    heard: list[Event] = []
    here, there = store.create(defined("here")), store.create(defined("there"))
    unwatch = here.watch(heard.append)
    here.append(b"a")
    there.append(b"b")
    unwatch()
    here.append(b"c")
    assert heard == [Appended(here, 0)]


def test_whoever_watches_the_store_hears_of_all_messages(store: Store) -> None:
    here, there = store.create(defined("here")), store.create(defined("there"))
    heard: list[Event] = []
    store.watch(heard.append)
    here.append(b"a")
    there.append(b"b")
    assert heard == [Appended(here, 0), Appended(there, 0)]


def test_a_watcher_may_append_and_stop_watching_meanwhile(store: Store) -> None:
    here, there = store.create(defined("here")), store.create(defined("there"))

    def copy(event: Event) -> None:
        unwatch()
        there.append(b"copy")

    unwatch = here.watch(copy)
    here.append(b"a")
    here.append(b"b")
    assert payloads(there) == [b"copy"]


def test_segments_are_named_by_their_first_sequence_number(stage: Stage, store: Store) -> None:
    stream = store.create(defined())
    for _ in range(12):
        stream.append(b"x" * 1000)
    assert [int(file.stem) for file in segment_files(stage.root)] == [0, 4, 8]


def test_a_restart_goes_on_in_the_last_segment(stage: Stage) -> None:
    store = stage.open()
    store.create(defined()).append(b"a")
    store = stage.reopen(store)
    store.get("s").append(b"b")
    store.close()
    assert len(segment_files(stage.root)) == 1
