from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

import pytest

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import OVERHEAD_BYTES
from stream_manager_local.store.edge import Edge
from support.local_store import KIB, MOST, OVERWRITE, Stage, defined, numbers, payloads, segment_files

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.store import Stream

_COUNT = 12  # messages of 1000 bytes, four in each of three segments
_RECORD = 1000 + OVERHEAD_BYTES


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """With a stream `s` of three segments, and one `other`; closed."""
    stage = Stage(tmp_path)
    store = stage.open()
    stream = store.create(defined())
    for number in range(_COUNT):
        stream.append(b"%04d" % number * 250)
    store.create(defined("other")).append(b"unharmed")
    store.close()
    return stage


def files(stage: Stage) -> list[Path]:
    return [path for path in segment_files(stage.root) if path.parent.name.startswith("s-")]


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def survey(stream: Stream) -> tuple[list[int], list[int]]:
    """(numbers that can be read, numbers that are answered with a read error), one read after the other."""
    good: list[int] = []
    bad: list[int] = []
    for number in range(stream.oldest, stream.newest + 1):
        (bad if is_damaged(stream, number) else good).append(number)
    return good, bad


def is_damaged(stream: Stream, number: int) -> bool:
    try:
        (message,) = stream.read(number, 1, most_bytes=MOST)
    except Refused as refused:
        if refused.status is not Status.MESSAGE_STORE_READ_ERROR:
            raise
        return True
    assert message.sequence_number == number
    assert message.payload == b"%04d" % number * 250
    return False


def check_others(stage: Stage, *, lost: list[int], is_open_report: bool) -> None:
    """Exactly these messages are lost, in whatever order one reads, and the stream and the others go on."""
    store = stage.open()
    assert bool(stage.reports) == is_open_report
    stream = store.get("s")
    assert survey(stream) == ([number for number in range(_COUNT) if number not in lost], lost)
    good: list[int] = []
    at = 0
    while (at := stream.next_readable(at)) <= stream.newest:
        batch = stream.read(at, 1000, most_bytes=MOST)
        good += [message.sequence_number for message in batch]
        at = good[-1] + 1
    assert good == [number for number in range(_COUNT) if number not in lost]
    assert stream.append(b"goes on") == _COUNT
    assert stream.read(_COUNT, 1, most_bytes=MOST)[0].payload == b"goes on"
    assert payloads(store.get("other")) == [b"unharmed"]
    assert any(f"messages {lost[0]} to " in line for line in stage.reports)
    store.close()


# -- the end


@pytest.mark.parametrize(
    "left", [0, 1, 4, OVERHEAD_BYTES - 1, OVERHEAD_BYTES, OVERHEAD_BYTES + 1, _RECORD - 1]
)
def test_a_message_that_was_not_written_to_its_end_is_cut_off(stage: Stage, left: int) -> None:
    last = files(stage)[-1]
    os.truncate(last, 3 * _RECORD + left)
    store = stage.open()
    stream = store.get("s")
    assert numbers(stream) == list(range(11))
    assert stream.total_bytes == 11 * _RECORD
    assert last.stat().st_size == 3 * _RECORD
    assert stream.append(b"again") == 11
    store = stage.reopen(store)
    assert store.get("s").read(11, 1, most_bytes=MOST)[0].payload == b"again"
    store.close()
    assert len(stage.reports) == (1 if left else 0)
    assert all(f"last {left} bytes" in line for line in stage.reports)


@pytest.mark.parametrize(
    "tail", [b"\0" * 5000, b"\xff" * 5000, os.urandom(5000)], ids=["zeros", "ones", "noise"]
)
def test_what_a_power_cut_left_behind_the_last_message_is_cut_off(stage: Stage, tail: bytes) -> None:
    with files(stage)[-1].open("ab") as file:
        file.write(tail)
    store = stage.open()
    assert survey(store.get("s")) == (list(range(_COUNT)), [])
    assert store.get("s").total_bytes == _COUNT * _RECORD
    store.close()
    assert ["last 5000 bytes" in line for line in stage.reports] == [True]


def test_a_stream_whose_last_segment_is_empty_goes_on_behind_the_one_before(stage: Stage) -> None:
    os.truncate(files(stage)[-1], 0)
    store = stage.open()
    assert store.get("s").newest == 7
    assert store.get("s").append(b"a") == 8
    store.close()


# -- the middle


@pytest.mark.parametrize("segment", [0, 1, 2])
@pytest.mark.parametrize("place", [0, 4, 8, 12, OVERHEAD_BYTES, _RECORD - 1])
def test_one_wrong_byte_costs_one_message(stage: Stage, segment: int, place: int) -> None:
    path = files(stage)[segment]
    offset = _RECORD + place
    overwrite(path, offset, bytes([path.read_bytes()[offset] ^ 0x10]))
    check_others(stage, lost=[4 * segment + 1], is_open_report=segment == 2)


@pytest.mark.parametrize("segment", [0, 1, 2])
def test_lost_pages_cost_the_messages_in_them(stage: Stage, segment: int) -> None:
    overwrite(files(stage)[segment], 512, b"\0" * 2048)
    check_others(stage, lost=[4 * segment, 4 * segment + 1, 4 * segment + 2], is_open_report=segment == 2)


@pytest.mark.parametrize("length", [0, 1, 999, 1001, 2**31, 2**32 - 1])
def test_a_wrong_length_costs_one_message(stage: Stage, length: int) -> None:
    overwrite(files(stage)[1], _RECORD + 4, struct.pack("<I", length))
    check_others(stage, lost=[5], is_open_report=False)


def test_a_segment_that_was_cut_costs_what_is_missing(stage: Stage) -> None:
    os.truncate(files(stage)[1], 2 * _RECORD + 7)
    check_others(stage, lost=[6, 7], is_open_report=False)


def test_a_segment_that_is_gone_costs_its_messages(stage: Stage) -> None:
    files(stage)[1].unlink()
    check_others(stage, lost=[4, 5, 6, 7], is_open_report=False)


def test_an_oldest_segment_that_is_gone_makes_the_next_one_the_oldest(stage: Stage) -> None:
    files(stage)[0].unlink()
    store = stage.open()
    assert numbers(store.get("s")) == list(range(4, _COUNT))
    store.close()


def test_segments_that_took_each_others_place_are_not_mistaken(stage: Stage) -> None:
    first, second, _ = files(stage)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    check_others(stage, lost=list(range(8)), is_open_report=False)


def test_damage_that_happens_meanwhile_is_noticed(stage: Stage) -> None:
    store = stage.open()
    stream = store.get("s")
    assert survey(stream)[1] == []
    overwrite(files(stage)[0], _RECORD + 100, b"damaged")
    assert survey(stream)[1] == [1]
    overwrite(files(stage)[2], 3 * _RECORD + 100, b"damaged")
    assert survey(stream)[1] == [1, 11]
    assert stream.append(b"goes on") == 12
    assert stream.read(12, 1, most_bytes=MOST)[0].payload == b"goes on"
    store.close()


def test_damage_is_said_once(stage: Stage) -> None:
    overwrite(files(stage)[0], _RECORD + 100, b"damaged")
    store = stage.open()
    for _ in range(3):
        assert survey(store.get("s"))[1] == [1]
    store.close()
    assert [line for line in stage.reports if "damaged" in line] == [
        "stream 's': messages 1 to 1 are damaged on the disk"
    ]


def test_the_answer_says_where_to_read_on(stage: Stage) -> None:
    os.truncate(files(stage)[1], 2 * _RECORD)
    store = stage.open()
    with pytest.raises(Refused, match="Read on from 8"):
        store.get("s").read(6, 5, most_bytes=MOST)
    store.close()


def test_a_batch_ends_before_damage(stage: Stage) -> None:
    overwrite(files(stage)[1], _RECORD + 100, b"damaged")
    store = stage.open()
    batch = store.get("s").read(2, 100, most_bytes=MOST)
    assert [message.sequence_number for message in batch] == [2, 3, 4]
    store.close()


def test_damaged_segments_are_overwritten_and_get_old_as_others_do(stage: Stage) -> None:
    for path in files(stage)[:2]:
        path.write_bytes(b"\0" * path.stat().st_size)
    store = stage.open()
    store.update(defined(strategy_on_full=OVERWRITE))
    stream = store.get("s")
    for _ in range(5):
        stream.append(b"x" * 1000)
    assert stream.oldest == 4
    store.update(defined(time_to_live_millis=60_000))
    stage.clock.wall += 60
    store.expire()
    assert stream.oldest == 12
    store.close()


def test_a_payload_that_looks_like_a_record_is_not_taken_for_one(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined("nested", max_size=64 * KIB, segment_size=16 * KIB))
    (inner,) = stage.root.glob("nested-*/*.segment")
    for _ in range(3):
        stream.append(b"y" * 50)
    stream.append(inner.read_bytes())
    stream.append(b"last")
    store.close()
    overwrite(inner, 3 * 70 + 4, b"\xff\xff")
    store = stage.open()
    stream = store.get("nested")
    assert [message.payload for message in stream.read(0, 3, most_bytes=MOST)] == [b"y" * 50] * 3
    assert stream.next_readable(3) == 4
    assert stream.read(4, 1, most_bytes=MOST)[0].payload == b"last"
    store.close()


# -- the disk


class _FailingEdge(Edge):
    is_failing = False

    def read(self, descriptor: int, count: int, offset: int) -> bytes:
        if self.is_failing:
            raise OSError(5, "Input/output error")
        return super().read(descriptor, count, offset)


def test_a_disk_that_does_not_read_is_a_read_error_and_no_crash(stage: Stage) -> None:
    stage.edge = edge = _FailingEdge()
    store = stage.open()
    edge.is_failing = True
    with pytest.raises(Refused, match="Input/output error") as refused:
        store.get("s").read(0, 1, most_bytes=MOST)
    assert refused.value.status is Status.MESSAGE_STORE_READ_ERROR
    edge.is_failing = False
    assert survey(store.get("s"))[1] == []
    store.close()


def test_a_stream_whose_disk_does_not_read_at_the_start_keeps_no_other_from_opening(stage: Stage) -> None:
    broken = str(files(stage)[0].parent)

    class OneBad(Edge):
        def read(self, descriptor: int, count: int, offset: int) -> bytes:
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(broken):
                raise OSError(5, "Input/output error")
            return super().read(descriptor, count, offset)

    stage.edge = OneBad()
    store = stage.open()
    assert store.names() == ["other"]
    assert "Input/output error" in stage.reports[0]
    stage.edge = Edge()
    store = stage.reopen(store)
    assert survey(store.get("s"))[1] == []
    store.close()


@pytest.mark.parametrize("size", [1, 19, 20, 21, 100])
def test_any_damage_is_survived(stage: Stage, size: int) -> None:
    """Every place of a small stream is overwritten: what is read is right, and the rest is an error."""
    store = stage.open()
    stream = store.create(defined("small", segment_size=KIB))
    sent: list[Any] = [b"%d" % number * (number % 5 + 1) for number in range(8)]
    for payload in sent:
        stream.append(payload)
    store.close()
    (path,) = stage.root.glob("small-*/*.segment")
    whole = path.read_bytes()
    for offset in range(0, len(whole), 3):
        path.write_bytes(whole[:offset] + b"\xaa" * size + whole[offset + size :])
        store = stage.open()
        stream = store.get("small")
        at = 0
        while (at := stream.next_readable(at)) <= stream.newest:
            for message in stream.read(at, 100, most_bytes=MOST):
                assert message.payload == sent[message.sequence_number]
                at = message.sequence_number + 1
        assert stream.append(b"next") == stream.newest
        store.close()
