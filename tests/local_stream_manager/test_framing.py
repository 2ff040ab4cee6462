"""Bytes that arrive in odd pieces, and bytes that are no frames."""

from __future__ import annotations

import resource
import struct
from typing import TYPE_CHECKING

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_manager_local.protocol.errors import Undecodable
from stream_manager_local.protocol.frames import Frame, FrameSplitter, encode_frame
from support.stream_manager_client import PlainClient, frame, request

if TYPE_CHECKING:
    from support.local_stream_manager import LocalStreamManager


@given(
    payloads=st.lists(st.binary(max_size=300), max_size=12),
    cuts=st.lists(st.integers(min_value=1, max_value=90), min_size=1, max_size=30),
)
def test_frames_come_out_whole_however_the_bytes_were_cut(payloads: list[bytes], cuts: list[int]) -> None:
    splitter = FrameSplitter(most_bytes=200)
    data = b"".join(encode_frame(4, payload) for payload in payloads)
    found = []

    at = 0
    while at < len(data):
        count = cuts[at % len(cuts)]
        splitter.feed(data[at : at + count])
        at += count
        while (each := splitter.next()) is not None:
            found.append(each)

    assert found == [Frame(4, payload, is_cut=len(payload) > 200) for payload in payloads]


def test_of_a_frame_that_is_too_large_only_the_head_is_kept() -> None:
    splitter = FrameSplitter(most_bytes=10_000)
    splitter.feed(struct.pack(">ib", 1_000_001, 4))
    for _ in range(9):
        splitter.feed(b"x" * 100_000)
        assert splitter.next() is None
    splitter.feed(b"x" * 100_000 + encode_frame(5, b"next"))

    assert splitter.next() == Frame(4, b"x" * 4096, is_cut=True)
    assert splitter.next() == Frame(5, b"next")


@pytest.mark.parametrize("length", [0, -1, -(2**31), 2**30 + 1, 2**31 - 1])
def test_a_length_that_no_client_may_send_is_undecodable(length: int) -> None:
    splitter = FrameSplitter(most_bytes=100)
    splitter.feed(struct.pack(">ib", length, 4))

    with pytest.raises(Undecodable, match="at least 1 and at most 1073741824"):
        splitter.next()


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">ib", 0, 4),
        struct.pack(">ib", -5, 4),
        struct.pack(">ib", 2**30 + 1, 4),
        frame(4, b""),
        frame(4, b"\xff\xff\xff"),
        frame(4, cbor2.dumps([1, 2, 3])),
        frame(4, cbor2.dumps("requestId")),
        frame(4, b"\xa1" * 5000),
        frame(4, bytes.fromhex("bf")),
        frame(4, bytes.fromhex("9b00ffffffffffffff")),
        frame(4, bytes.fromhex("5b000000ffffffffff")),
        frame(11, cbor2.dumps({})),
        frame(11, cbor2.dumps({"requestId": 7})),
        frame(11, cbor2.dumps({"requestId": ""})),
        frame(99, cbor2.dumps({"name": "no id"})),
    ],
)
def test_what_cannot_be_answered_ends_its_connection_and_no_other(
    server: LocalStreamManager, data: bytes
) -> None:
    with PlainClient(server.port) as neighbour, PlainClient(server.port) as client:
        client.write(data)

        assert client.is_hung_up_on()
        assert neighbour.ask(11).status == 0


def test_requests_before_the_garbage_are_answered(server: LocalStreamManager) -> None:
    with PlainClient(server.port) as client:
        client.write(request(11, requestId="good") + frame(4, b"\xff"))

        assert client.receive().values["requestId"] == "good"
        assert client.is_hung_up_on()


def test_a_payload_that_is_a_text_ends_the_connection(server: LocalStreamManager, stream_name: str) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)
        client.send(4, name=stream_name, payload="a text")

        assert client.is_hung_up_on()
    with PlainClient(server.port) as client:
        assert client.append(stream_name) == 0


def test_a_request_may_arrive_byte_by_byte(server: LocalStreamManager, stream_name: str) -> None:
    with PlainClient(server.port, connect=False) as client:
        definition = {"name": stream_name, "strategyOnFull": 0, "persistence": 1}
        hello = b"\x01" + request(1, protocolVersion="1.1.0") + request(2, definition=definition)
        for byte in hello:
            client.write(bytes([byte]))

        assert client.read(1) == b"\x01"
        assert client.receive().status == 0
        assert client.receive().status == 0


def test_many_requests_in_one_piece_are_answered_in_order(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)
        client.write(
            b"".join(request(4, requestId=str(each), name=stream_name, payload=b"x") for each in range(1000))
        )
        answers = [client.receive() for _ in range(1000)]

    assert [each.values["requestId"] for each in answers] == [str(each) for each in range(1000)]
    assert [each.values["sequenceNumber"] for each in answers] == list(range(1000))


def test_indefinite_maps_texts_and_byte_strings_are_understood(
    server: LocalStreamManager, stream_name: str
) -> None:
    def chunked(kind: int, *pieces: bytes) -> bytes:
        return (
            bytes([kind])
            + b"".join(cbor2.dumps(each if kind == 0x5F else each.decode()) for each in pieces)
            + b"\xff"
        )

    with PlainClient(server.port) as client:
        client.create(stream_name)
        values = cbor2.dumps("requestId") + chunked(0x7F, b"in ", b"two")
        values += cbor2.dumps("name") + cbor2.dumps(stream_name)
        values += cbor2.dumps("payload") + chunked(0x5F, b"ab", b"cd")
        client.write(frame(4, b"\xbf" + values + b"\xff"))
        answer = client.receive()
        read = client.ask(5, streamName=stream_name)

    assert answer.values == {"requestId": "in two", "status": 0, "sequenceNumber": 0}
    assert read.values["messages"][0]["payload"] == b"abcd"


def test_null_counts_as_absent_and_unknown_keys_are_passed_over(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        definition = {
            "name": stream_name, "strategyOnFull": 1, "persistence": 1, "maxSize": None, "timeToLiveMillis": None,
            "exportDefinition": {"kinesis": None, "s3TaskExecutor": [], "carrierPigeon": [{"loft": 1}]},
            "colour": "blue",
        }  # fmt: skip
        assert client.ask(2, definition=definition, mood=None).status == 0
        options = {"minMessageCount": None, "readTimeoutMillis": None, "inReverse": True}
        assert client.ask(5, streamName=stream_name, readMessagesOptions=options).status == 13
        assert client.ask(5, streamName=stream_name, readMessagesOptions=None).status == 13
        info = client.ask(13, name=stream_name).values["messageStreamInfo"]

    assert info["definition"]["maxSize"] == 256 << 20
    assert "exportDefinition" not in info["definition"]


def test_a_number_without_a_fraction_may_come_as_a_float(
    server: LocalStreamManager, stream_name: str
) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name, maxSize=2048.0, streamSegmentSize=1024.0)

        refused = client.ask(15, definition={"name": stream_name, "strategyOnFull": 0.5})
    assert (refused.status, "definition.strategyOnFull is 0.5" in refused.text) == (3, True)


@pytest.mark.parametrize("operation", [0, 6, 9, 17, 18, 99, 127, -1, -128])
def test_an_unknown_operation_is_answered_and_the_connection_goes_on(
    server: LocalStreamManager, operation: int
) -> None:
    with PlainClient(server.port) as client:
        answer = client.ask(operation, anything=[1])

        assert (answer.operation, answer.status) == (17, 18)
        assert client.ask(11).status == 0


@pytest.mark.parametrize("request_id", [" ", "x" * 255, "x" * 256, "x" * 70_000, " a ", "ö" * 130, "\x00"])
def test_ids_are_echoed_as_they_are(server: LocalStreamManager, stream_name: str, request_id: str) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)

        assert client.ask(11, requestId=request_id).values["requestId"] == request_id
        appended = client.ask(4, requestId=request_id, name=stream_name, payload=b"x")
        assert appended.values == {"requestId": request_id, "status": 0, "sequenceNumber": 0}


def test_requests_of_one_id_are_each_answered(server: LocalStreamManager, stream_name: str) -> None:
    with PlainClient(server.port) as client:
        client.create(stream_name)
        for _ in range(50):
            client.send(4, requestId=" ", name=stream_name, payload=b"x")
        answers = [client.receive().values for _ in range(50)]

    assert [each["sequenceNumber"] for each in answers] == list(range(50))
    assert {each["requestId"] for each in answers} == {" "}


def test_a_length_alone_costs_no_memory(server: LocalStreamManager) -> None:
    before = _resident_bytes(server.pid)
    clients = [PlainClient(server.port) for _ in range(20)]
    for client in clients:
        client.write(struct.pack(">ib", 60 << 20, 4) + b"\xa3")
    with PlainClient(server.port) as witness:
        assert witness.ask(11).status == 0
    grown = _resident_bytes(server.pid) - before
    for client in clients:
        client.socket.close()

    assert grown < 8 << 20


def test_a_message_above_the_most_is_too_large_and_costs_no_memory(
    server: LocalStreamManager, stream_name: str
) -> None:
    before = _resident_bytes(server.pid)
    with PlainClient(server.port) as client:
        client.create(stream_name)
        head = cbor2.dumps({"requestId": "big", "name": stream_name})
        head = b"\xa3" + head[1:] + cbor2.dumps("payload") + b"\x5a" + struct.pack(">I", 200 << 20)
        client.write(struct.pack(">ib", len(head) + (200 << 20) + 1, 4) + head)
        for _ in range(200):
            client.write(b"\x00" * (1 << 20))
        answer = client.receive()

        assert (answer.operation, answer.status, answer.values["requestId"]) == (9, 4, "big")
        assert client.append(stream_name) == 0
    assert _resident_bytes(server.pid) - before < 16 << 20


def _resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm", encoding="ascii") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()
