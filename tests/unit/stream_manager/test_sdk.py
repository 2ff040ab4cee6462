"""AWS's client behind a line of ours: what it does badly by itself must not reach anybody."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import cbor2
import pytest
from stream_manager import StreamManagerClient
from stream_manager.data import AppendMessageRequest, MessageFrame, Operation
from stream_manager.utilinternal import UtilInternal

from s3_file_uploader.errors import KeyProblem
from s3_file_uploader.transport.stream_manager.sdk import Line, append_frame, task_payload
from s3_file_uploader.transport.stream_manager.values import (
    LineEnded,
    NoStream,
    Refusal,
    StreamPlan,
    Unauthorised,
)
from support.belongings import Belongings
from support.scripted_stream_manager import ScriptedStreamManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 10.0


@contextmanager
def server(converse: Callable[[socket.socket], None]) -> Iterator[int]:
    """One connection after the other, each handed to `converse`; its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    conversations: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            conversations.append(connection)
            with suppress(OSError):
                converse(connection)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(SECONDS)
        for connection in conversations:
            connection.close()


def receive(connection: socket.socket, count: int) -> bytes:
    said = b""
    while len(said) < count:
        piece = connection.recv(count - len(said))
        if not piece:
            raise ConnectionError
        said += piece
    return said


def request(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    length, operation = struct.unpack(">ib", receive(connection, 5))
    return operation, cbor2.loads(receive(connection, length - 1))


def frame(operation: int, body: dict[str, Any]) -> bytes:
    said = cbor2.dumps(body)
    return struct.pack(">ib", len(said) + 1, operation) + said


def welcome(connection: socket.socket, status: int = 0) -> None:
    assert receive(connection, 1) == b"\x01"
    _, asked = request(connection)
    answer = {"requestId": asked["requestId"], "status": status, "protocolVersion": "1.1.0"}
    connection.sendall(b"\x01" + frame(6, answer))


def line_to(port: int, **more: Any) -> Line:
    return Line("127.0.0.1", port, **{"connect_seconds": 2.0, "request_seconds": 5.0, **more})


def test_the_client_has_the_names_that_we_use_of_it() -> None:
    """They are not public: a newer client may not have them, and this says so before a device does."""
    with ScriptedStreamManager() as there:
        client = StreamManagerClient(port=there.port)
        try:
            for name in (
                "connect",
                "read_loop",
                "loop",
                "writer",
                "event_loop_thread",
                "requests",
            ):
                assert hasattr(client, f"_StreamManagerClient__{name}")
            for name in (
                "_read_messages",
                "_describe_message_stream",
                "_list_streams",
                "_create_message_stream",
                "_update_message_stream",
                "_delete_message_stream",
            ):
                assert callable(getattr(client, name))
        finally:
            client.close()


def test_an_append_is_written_as_the_client_writes_it() -> None:
    asked = AppendMessageRequest(request_id="append-1", name="s3fu-stream", payload=b"\x00{}\xff")
    written = MessageFrame(operation=Operation.AppendMessage, payload=cbor2.dumps(asked.as_dict()))
    assert append_frame("append-1", "s3fu-stream", b"\x00{}\xff") == b"".join(
        UtilInternal.encode_frame(written)
    )


def hang_up(connection: socket.socket) -> None:
    connection.shutdown(socket.SHUT_RDWR)
    connection.close()


def reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def half_a_header(connection: socket.socket) -> None:
    connection.sendall(b"\x00\x00")
    connection.shutdown(socket.SHUT_WR)


def garbage(connection: socket.socket) -> None:
    connection.sendall(b"\x00\x00\x00\x05\x09garb")


def status_out_of_the_table(connection: socket.socket) -> None:
    connection.sendall(frame(9, {"requestId": "x", "status": 99, "sequenceNumber": 1}))


def answer_to_nobody(connection: socket.socket) -> None:
    connection.sendall(frame(9, {"requestId": "nobody's", "status": 0, "sequenceNumber": 1}))


@pytest.mark.parametrize(
    "bad", [hang_up, reset, half_a_header, garbage, status_out_of_the_table, answer_to_nobody]
)
def test_requests_under_way_end_at_once_when_the_connection_or_the_client_breaks(
    bad: Callable[[socket.socket], None],
) -> None:
    def converse(connection: socket.socket) -> None:
        welcome(connection)
        for _ in range(3):
            request(connection)
        bad(connection)

    ended = threading.Event()
    with server(converse) as port:
        line = line_to(port, request_seconds=3600.0, on_end=ended.set)
        appended = line.append("s", [b"1", b"2"])
        described = line.describe("s")
        for outcome in (appended, described):
            with pytest.raises(LineEnded):
                outcome.result(SECONDS)
        assert ended.wait(SECONDS)
        line.hang_up()


@pytest.mark.parametrize("bad", [hang_up, reset])
def test_a_line_that_ends_while_idle_says_so_and_takes_no_more_requests(
    bad: Callable[[socket.socket], None],
) -> None:
    ended = threading.Event()

    def converse(connection: socket.socket) -> None:
        welcome(connection)
        bad(connection)

    with server(converse) as port:
        line = line_to(port, on_end=ended.set)
        assert ended.wait(SECONDS)
        with pytest.raises(LineEnded):
            line.names().result(SECONDS)
        line.hang_up()


def test_a_request_that_is_never_answered_ends_the_line_after_its_deadline() -> None:
    ended = threading.Event()

    def converse(connection: socket.socket) -> None:
        welcome(connection)
        receive(connection, 1 << 20)

    with server(converse) as port:
        line = line_to(port, request_seconds=0.3, on_end=ended.set)
        with pytest.raises(LineEnded, match="in time"):
            line.append("s", [b"1"]).result(SECONDS)
        assert ended.wait(SECONDS)
        line.hang_up()


def refuse(connection: socket.socket) -> None:
    welcome(connection, status=2)


def no_answer(connection: socket.socket) -> None:
    receive(connection, 1)


def other_protocol(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (refuse, Unauthorised),
        (no_answer, LineEnded),
        (other_protocol, Unauthorised),
        (hang_up, LineEnded),
        (reset, LineEnded),
    ],
)
def test_a_connection_that_fails_leaves_no_thread_and_no_descriptor_behind(
    bad: Callable[[socket.socket], None], expected: type[Exception]
) -> None:
    before = Belongings.now()
    with server(bad) as port:
        for _ in range(3):
            with pytest.raises(expected):
                line_to(port, request_seconds=0.1)
    for _ in range(10):  # and nobody listens there any more
        with pytest.raises(LineEnded):
            line_to(port)
    before.assert_nothing_added()


def test_a_line_that_is_hung_up_leaves_no_thread_and_no_descriptor_behind() -> None:
    with ScriptedStreamManager() as there:
        before = Belongings.now()
        for _ in range(5):
            line = line_to(there.port)
            assert line.names().result(SECONDS) == []
            line.hang_up()
            line.hang_up()
        before.assert_nothing_added()
        with pytest.raises(LineEnded):
            line.names().result(SECONDS)


def test_what_stream_manager_says_no_to_is_told_apart_and_ends_no_line() -> None:
    with ScriptedStreamManager() as there:
        there.outcome = lambda _task: None
        line = line_to(there.port)
        assert [type(answer) for answer in line.append("none", [b"1"]).result(SECONDS)] == [NoStream]
        with pytest.raises(NoStream):
            line.describe("none").result(SECONDS)
        plan = StreamPlan("mine", 1 << 20, 1 << 16, flush_on_write=True, status_stream="told")
        line.create(plan).result(SECONDS)
        with pytest.raises(Refusal, match="already exists"):
            line.create(plan).result(SECONDS)
        assert line.append("mine", [b"{}", b"{}"]).result(SECONDS) == [0, 1]
        assert line.read("mine", 5, 10, 0.0).result(SECONDS) == []
        assert [one.sequence for one in line.read("mine", 0, 10, 0.0).result(SECONDS)] == [0, 1]
        state = line.describe("mine").result(SECONDS)
        assert state.plan == plan
        assert (state.oldest, state.newest, state.total_bytes) == (0, 1, 4)
        line.hang_up()


def test_a_stream_that_gave_its_only_task_back_is_not_taken_for_one_that_never_had_any() -> None:
    with ScriptedStreamManager() as there:
        there.outcome = lambda _task: None
        line = line_to(there.port)
        plan = StreamPlan("mine", 1 << 20, 1 << 16, flush_on_write=True, status_stream="told")
        line.create(plan).result(SECONDS)
        assert line.describe("mine").result(SECONDS).newest == -1
        assert line.append("mine", [b"{}"]).result(SECONDS) == [0]
        there.do(lambda: setattr(there.streams["mine"], "oldest", 1))
        state = line.describe("mine").result(SECONDS)
        assert (state.oldest, state.newest, state.total_bytes) == (1, 0, 0)
        line.hang_up()


@pytest.mark.parametrize(
    "said",
    [{"lastExportedSequenceNumber": -1}, {"lastExportedSequenceNumber": 0, "exportedMessagesCount": 0}],
)
def test_a_first_task_that_is_still_to_be_done_is_not_taken_for_done(said: dict[str, int]) -> None:
    with ScriptedStreamManager() as there:
        there.nothing_exported = said
        there.outcome = lambda _task: None
        line = line_to(there.port)
        line.create(StreamPlan("mine", 1 << 20, 1 << 16, flush_on_write=True, status_stream="told")).result()
        assert line.append("mine", [b"{}"]).result(SECONDS) == [0]
        state = line.describe("mine").result(SECONDS)
        assert (state.exported, state.is_drained) == (-1, False)
        there.do(lambda: setattr(there, "outcome", lambda _task: []))
        state = line.describe("mine").result(SECONDS)
        assert (state.exported, state.is_drained) == (0, True)
        line.hang_up()


def test_a_task_is_what_the_sdk_makes_of_it_and_metadata_goes_with_it() -> None:
    said = task_payload("file:///a", "bucket", "key", {"made-by": "us"})
    assert said == (
        b'{"inputUrl": "file:///a", "bucket": "bucket", "key": "key", "userMetadata": {"made-by": "us"}}'
    )
    with pytest.raises(KeyProblem, match="a b"):
        task_payload("file:///a", "bucket", "a b", {})
