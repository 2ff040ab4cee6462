"""Many requests at a time: pipelined, waiting, from many clients, and from clients that do not read."""

from __future__ import annotations

import os
import resource
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from stream_manager import (
    MessageStreamDefinition,
    NotEnoughMessagesException,
    Persistence,
    ReadMessagesOptions,
    StrategyOnFull,
    StreamManagerClient,
)

from support.local_stream_manager import LocalStreamManager, start_local_stream_manager
from support.stream_manager_client import PlainClient, request

if TYPE_CHECKING:
    from pathlib import Path

CREATE, DELETE, APPEND, READ, LIST, DESCRIBE = 2, 3, 4, 5, 11, 13


def test_thousands_of_appends_under_way_are_numbered_in_their_order(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)
        frames = [
            request(APPEND, requestId=str(each), name=stream_name, payload=b"x") for each in range(4096)
        ]
        writer = threading.Thread(target=client.write, args=(b"".join(frames),))
        writer.start()
        answers = [client.receive().values for _ in range(4096)]
        writer.join()

    assert [(each["requestId"], each["sequenceNumber"]) for each in answers] == [
        (str(n), n) for n in range(4096)
    ]


def test_thousands_of_durable_appends_under_way_are_all_answered(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name, persistence=0, flushOnWrite=True)
        frames = [
            request(APPEND, requestId=str(each), name=stream_name, payload=b"x") for each in range(4096)
        ]
        writer = threading.Thread(target=client.write, args=(b"".join(frames),))
        writer.start()
        answers = [client.receive().values for _ in range(4096)]
        writer.join()

    assert sorted(each["sequenceNumber"] for each in answers) == list(range(4096))
    assert all(int(each["requestId"]) == each["sequenceNumber"] for each in answers)


def test_a_read_that_waits_holds_nothing_up_and_is_woken_by_an_append(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)
        options = {"minMessageCount": 3, "maxMessageCount": 10, "readTimeoutMillis": 50_000}
        waiting = client.send(READ, streamName=stream_name, readMessagesOptions=options)
        assert client.ask(LIST).status == 0
        assert client.append(stream_name) == 0
        assert len(client.ask(READ, streamName=stream_name).values["messages"]) == 1
        assert client.append(stream_name) == 1
        last = client.send(APPEND, name=stream_name, payload=b"x")
        answers = {answer.values["requestId"]: answer for answer in (client.receive(), client.receive())}

    assert answers[last].values["sequenceNumber"] == 2
    assert [each["sequenceNumber"] for each in answers[waiting].values["messages"]] == [0, 1, 2]


def test_what_one_client_appends_in_one_go_reaches_a_waiting_reader_in_one_answer(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as reader, PlainClient(server.port) as writer:
        writer.create(stream_name)
        options = {"maxMessageCount": 100, "readTimeoutMillis": 50_000}
        _wait_for_messages(reader, stream_name, options)
        writer.write(b"".join(request(APPEND, name=stream_name, payload=b"x") for _ in range(50)))
        for _ in range(50):
            writer.receive()

        assert len(reader.receive().values["messages"]) == 50


def test_readers_that_wait_for_different_messages_are_each_woken_in_time(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)
        waiting = [
            client.send(
                READ,
                streamName=stream_name,
                readMessagesOptions={"desiredStartSequenceNumber": start, "readTimeoutMillis": 50_000},
            )
            for start in (5, 0, 3)
        ]
        client.write(
            b"".join(request(APPEND, requestId="a", name=stream_name, payload=b"x") for _ in range(6))
        )
        answers = [client.receive() for _ in range(9)]

    read = {each.values["requestId"]: each.values["messages"] for each in answers if each.operation == 10}
    assert [read[each][0]["sequenceNumber"] for each in waiting] == [5, 0, 3]


def test_whoever_waits_for_a_stream_that_is_deleted_is_told(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as reader, PlainClient(server.port) as other:
        other.create(stream_name)
        _wait_for_messages(reader, stream_name, {"readTimeoutMillis": 50_000})
        assert other.ask(DELETE, name=stream_name).status == 0
        answer = reader.receive()

    assert (answer.operation, answer.status) == (10, 5)


def test_threads_that_share_one_client_of_the_sdk_each_see_their_numbers_grow(
    server: LocalStreamManager, stream_name: str
) -> None:
    numbers: list[list[int]] = [[] for _ in range(32)]

    with StreamManagerClient(port=server.port) as client:
        client.create_message_stream(
            MessageStreamDefinition(
                name=stream_name,
                strategy_on_full=StrategyOnFull.RejectNewData,
                persistence=Persistence.Memory,
            )
        )

        def append(mine: list[int]) -> None:
            mine.extend(client.append_message(stream_name, b"x") for _ in range(25))

        threads = [threading.Thread(target=append, args=(mine,)) for mine in numbers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert all(mine == sorted(mine) for mine in numbers)
    assert sorted(number for mine in numbers for number in mine) == list(range(800))


def test_hundreds_of_idle_connections_cost_little(server: LocalStreamManager) -> None:
    before = _resident_bytes(server.pid)
    clients = [PlainClient(server.port) for _ in range(500)]
    grown = _resident_bytes(server.pid) - before
    for client in clients:
        client.socket.close()

    assert grown < 10 << 20


def test_reads_whose_clients_have_left_leave_nothing_behind(tmp_path: Path) -> None:
    with start_local_stream_manager(tmp_path) as server, PlainClient(server.port) as witness:
        witness.create("s")
        waiting = request(READ, streamName="s", readMessagesOptions={"readTimeoutMillis": 50_000})

        def leave_many() -> int:
            for _ in range(5):
                with PlainClient(server.port) as client:
                    client.write(waiting * 1000)
                    client.write(request(LIST, requestId="last"))
                    assert client.receive().values["requestId"] == "last"
            witness.ask(LIST)
            return _resident_bytes(server.pid)

        once = leave_many()
        twice = leave_many()
        descriptors = len(os.listdir(f"/proc/{server.pid}/fd"))

    assert twice - once < 2 << 20
    assert descriptors < 30


def test_a_client_that_does_not_read_is_not_read_from_and_costs_a_bounded_amount(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port, receive_buffer=4096) as slow, PlainClient(server.port) as quick:
        quick.create(stream_name)
        for _ in range(8):
            quick.append(stream_name, bytes(1 << 20))
        before = _resident_bytes(server.pid)
        slow.socket.settimeout(1.0)
        asked = 0
        read = request(READ, streamName=stream_name, readMessagesOptions={"maxMessageCount": 8})
        try:
            while asked < 100_000:
                slow.write(read * 100)
                asked += 100
        except TimeoutError:
            pass  # it is not read from any more
        grown = _resident_bytes(server.pid) - before

        assert quick.ask(LIST).status == 0
    assert asked < 100_000
    assert grown < 48 << 20


def test_it_is_read_from_again_once_it_takes_its_answers(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port, receive_buffer=32768) as slow:
        slow.create(stream_name)
        slow.append(stream_name, bytes(300_000))
        read = request(READ, requestId="big", streamName=stream_name)
        slow.write(read * 50 + request(LIST, requestId="last"))
        sizes = [len(slow.receive().values["messages"][0]["payload"]) for _ in range(50)]

        assert slow.receive().values["requestId"] == "last"
    assert sizes == [300_000] * 50


def test_reads_that_wait_for_a_client_that_does_not_read_are_answered_when_it_does(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port, receive_buffer=32768) as slow, PlainClient(server.port) as writer:
        writer.create(stream_name)
        options = {"readTimeoutMillis": 50_000, "desiredStartSequenceNumber": 0}
        slow.write(request(READ, streamName=stream_name, readMessagesOptions=options) * 20)
        slow.write(request(LIST, requestId="all of them wait"))
        assert slow.receive().values["requestId"] == "all of them wait"
        writer.append(stream_name, bytes(300_000))
        assert writer.ask(LIST).status == 0

        sizes = [len(slow.receive().values["messages"][0]["payload"]) for _ in range(20)]
    assert sizes == [300_000] * 20


def test_a_client_that_ends_its_side_still_gets_all_its_answers(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name, persistence=0, flushOnWrite=True)
        client.write(
            b"".join(request(APPEND, requestId=str(n), name=stream_name, payload=b"x") for n in range(500))
        )
        client.write(request(READ, streamName=stream_name, requestId="poll", readMessagesOptions={
            "desiredStartSequenceNumber": 9999, "readTimeoutMillis": 50_000}))  # fmt: skip
        client.socket.shutdown(socket.SHUT_WR)
        answers = [client.receive() for _ in range(501)]

        assert client.is_hung_up_on()
    assert sum(answer.status == 0 for answer in answers) == 500
    assert [answer.status for answer in answers if answer.values["requestId"] == "poll"] == [13]


def test_the_sdk_waits_for_messages_while_it_appends(server: LocalStreamManager, stream_name: str) -> None:
    found = []
    with StreamManagerClient(port=server.port) as client:
        client.create_message_stream(
            MessageStreamDefinition(name=stream_name, strategy_on_full=StrategyOnFull.RejectNewData)
        )

        def read() -> None:
            options = ReadMessagesOptions(
                min_message_count=2, max_message_count=2, read_timeout_millis=50_000
            )
            found.extend(client.read_messages(stream_name, options))

        reader = threading.Thread(target=read)
        reader.start()
        client.append_message(stream_name, b"one")
        client.append_message(stream_name, b"two")
        reader.join()
        behind = ReadMessagesOptions(desired_start_sequence_number=2, read_timeout_millis=10)
        with pytest.raises(NotEnoughMessagesException, match="up to 1"):
            client.read_messages(stream_name, behind)

    assert [each.payload for each in found] == [b"one", b"two"]


def _wait_for_messages(client: PlainClient, stream_name: str, options: dict[str, int]) -> None:
    """Returns when the server knows of the read: what comes behind it has been answered."""
    client.send(READ, streamName=stream_name, readMessagesOptions=options)
    assert client.ask(LIST).status == 0


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
