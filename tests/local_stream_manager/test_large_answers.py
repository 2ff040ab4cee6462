"""Answers to reads that ask for more than an answer can hold; with limits that a test can reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Persistence, Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.protocol.requests import ReadRequest
from stream_manager_local.protocol.responses import messages_read
from stream_manager_local.server import reading
from stream_manager_local.store import Store
from support.exports import definition

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream_manager_local.store import Stream

LONGEST_NAME = "n" * 255


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[Stream]:
    store = Store.open(tmp_path, report=print)
    yield store.create(definition(LONGEST_NAME, persistence=Persistence.MEMORY))
    store.close()


def asked(least: int, most: int) -> ReadRequest:
    return ReadRequest(LONGEST_NAME, 0, least, most, 0.0)


@pytest.mark.parametrize(("name", "limit"), [("_LAST_BYTES", 100_000), ("_LAST_MESSAGES", 90)])
def test_a_read_whose_least_fits_into_no_answer_is_told_so_and_gets_less_when_it_asks_for_less(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, name: str, limit: int
) -> None:
    monkeypatch.setattr(reading, name, limit)
    monkeypatch.setattr(reading, "MOST_BYTES", 10_000)
    for _ in range(100):
        stream.append(bytes(1000))

    with pytest.raises(Refused, match="minMessageCount is 100: so many messages do not fit") as refused:
        reading.read_now(stream, asked(100, 100))
    assert refused.value.status is Status.RESPONSE_PAYLOAD_TOO_LARGE
    assert len(reading.read_now(stream, asked(50, 100)) or ()) == 50
    assert 1 <= len(reading.read_now(stream, asked(1, 100)) or ()) < 50


@pytest.mark.parametrize("payload_bytes", [1, 23, 24, 255, 256, 70_000])
def test_an_answer_is_never_larger_than_it_was_counted(stream: Stream, payload_bytes: int) -> None:
    for _ in range(30):
        stream.append(bytes(payload_bytes))
    messages = [message._replace(sequence_number=2**62) for message in stream.read(0, 30, most_bytes=1 << 24)]

    answer = messages_read("id", LONGEST_NAME, messages)

    assert len(answer) - len(messages_read("id", LONGEST_NAME, [])) <= reading.answer_bytes(stream, messages)
