"""What would leave AWS's clients dead for good, and never comes from this server."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import struct
import threading
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from stream_manager import (
    MessageStreamDefinition,
    NotEnoughMessagesException,
    ReadMessagesOptions,
    StrategyOnFull,
    StreamManagerClient,
)

from stream_manager_local.faults import Faults
from stream_manager_local.server.mischief import Ends
from stream_manager_local.server.outbox import FULL_BYTES, Outbox
from stream_manager_local.server.process import make_listener
from stream_manager_local.settings import Settings
from stream_manager_local.store import Store
from support.stream_manager_client import PlainClient, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream_manager_local.server.listener import Listener
    from support.local_stream_manager import LocalStreamManager

APPEND, READ, LIST = 4, 5, 11

_SILENT = logging.getLogger("what the SDK says while a server is away")
_SILENT.setLevel(logging.CRITICAL)

# The SDK leaves a stream behind at each reconnection.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in. <function StreamWriter.__del__"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _collected() -> Iterator[None]:
    """What it left behind is collected here, where it fails no other test."""
    yield
    gc.collect()


def _create(client: StreamManagerClient, name: str) -> None:
    client.create_message_stream(
        MessageStreamDefinition(name=name, strategy_on_full=StrategyOnFull.OverwriteOldestData)
    )


class _Transport(asyncio.WriteTransport):
    """Takes writes, and after each a little of it only, as a socket does whose client is slow."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.outbox: Outbox | None = None

    def write(self, data: Any) -> None:
        self.writes.append(bytes(data))
        assert self.outbox is not None
        self.outbox.block()

    def get_write_buffer_size(self) -> int:
        return len(self.writes[-1])


def test_a_write_holds_whole_frames_and_begins_when_all_earlier_ones_are_gone() -> None:
    transport = _Transport()
    outbox = transport.outbox = Outbox(transport)
    frames = [
        struct.pack(">ib", size, 4) + bytes(size - 1) for size in (10, 20, 300_000, 5, 8_000, 8_000, 1, 1)
    ]
    for frame in frames:
        outbox.put(frame)

    outbox.flush()
    outbox.flush()
    assert len(transport.writes) == 1  # the second flush waits for the socket

    while not outbox.is_empty:
        outbox.unblock()
        outbox.flush()
        if transport.writes[-1] == b"":
            break
    assert b"".join(transport.writes) == b"".join(frames)
    starts = {sum(len(each) for each in frames[:count]) for count in range(len(frames))}
    at = 0
    for write in transport.writes:
        assert at in starts
        at += len(write)
    assert len(transport.writes) < len(frames)


def test_an_outbox_is_full_with_what_the_socket_has_not_taken() -> None:
    transport = _Transport()
    outbox = transport.outbox = Outbox(transport)
    outbox.put(bytes(FULL_BYTES + 1))

    assert outbox.is_full
    outbox.flush()
    assert outbox.is_full
    outbox.unblock()
    assert not outbox.is_full


def test_a_stop_ends_connections_with_fin_also_where_requests_are_unread(
    own_server: LocalStreamManager,
) -> None:
    own_server.start()
    with PlainClient(own_server.port) as quiet, PlainClient(own_server.port) as busy:
        busy.create("s")
        flood = request(APPEND, name="s", payload=bytes(1000)) * 100
        stopped = threading.Event()

        def write_on() -> None:
            try:
                while not stopped.is_set():
                    busy.write(flood)
            except OSError:
                pass  # the server is gone

        writer = threading.Thread(target=write_on)
        reader = threading.Thread(target=_read_to_the_end, args=(busy,))
        writer.start()
        reader.start()
        assert quiet.ask(LIST).status == 0

        assert own_server.stop() == 0
        stopped.set()
        assert quiet.is_hung_up_on()
        writer.join()
        reader.join()


def _read_to_the_end(client: PlainClient) -> None:
    try:
        while client.socket.recv(1 << 18):
            pass
    except OSError:
        pass  # it still wrote when the server was gone


def test_those_who_wait_are_answered_before_the_server_stops(own_server: LocalStreamManager) -> None:
    own_server.start()
    with PlainClient(own_server.port) as client:
        client.create("s")
        client.send(READ, streamName="s", readMessagesOptions={"readTimeoutMillis": 50_000})
        assert client.ask(LIST).status == 0

        assert own_server.stop(signal.SIGINT) == 130
        answer = client.receive()
        assert (answer.operation, answer.status) == (10, 13)
        assert client.is_hung_up_on()


def test_the_port_is_free_at_once_after_a_stop(own_server: LocalStreamManager) -> None:
    own_server.start()
    with PlainClient(own_server.port):
        own_server.stop()
        own_server.start()
    with PlainClient(own_server.port) as client:
        assert client.ask(LIST).status == 0


def test_an_idle_sdk_client_survives_a_hundred_restarts(tmp_path: Path) -> None:
    server = _InThread(tmp_path)
    server.start()
    with StreamManagerClient(port=server.port, logger=_SILENT) as client:
        _create(client, "s")
        for life in range(100):
            assert client.append_message("s", b"x") == life
            server.stop()
            _wait_until(lambda: not client.connected)
            server.start()

        assert len(client.read_messages("s", ReadMessagesOptions(max_message_count=999))) == 100
    server.stop()
    server.end()


def test_an_sdk_client_survives_a_server_that_is_killed(own_server: LocalStreamManager) -> None:
    own_server.start()
    with StreamManagerClient(port=own_server.port, logger=_SILENT) as client:
        _create(client, "s")
        assert client.append_message("s", b"x") == 0
        own_server.kill()
        _wait_until(lambda: not client.connected)
        own_server.start()

        assert client.append_message("s", b"x") == 1


class _InThread:
    """The real server on the real port, in a thread of this process: it restarts in a millisecond."""

    def __init__(self, root: Path) -> None:
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._root = root
        self._store: Store | None = None
        self._listener: Listener | None = None

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(30)

    def stop(self) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(30)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def _start(self) -> None:
        self._store = Store.open(self._root, report=print)
        ends = Ends(crash=lambda: None, restart=lambda: None)
        self._listener = make_listener(Settings(), self._store, Faults(chance=Random(1)), ends, "0")
        self.port = await self._listener.start("127.0.0.1", self.port)

    async def _stop(self) -> None:
        assert self._listener is not None
        assert self._store is not None
        await self._listener.stop()
        self._store.close()


def _wait_until(condition: Any) -> None:
    """The SDK tells nobody when it has seen the connection end: it can only be asked."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)


def test_the_sdk_survives_a_storm_of_reads_that_time_out_beside_appends(
    server: LocalStreamManager, stream_name: str
) -> None:
    failures: list[BaseException] = []
    with StreamManagerClient(port=server.port) as client:
        _create(client, stream_name)

        def storm(seed: int) -> None:
            try:
                for count in range(15):
                    client.append_message(stream_name, bytes(1 + (seed * 7919 + count * 104729) % 40_000))
                    with pytest.raises(NotEnoughMessagesException):
                        client.read_messages(
                            stream_name,
                            ReadMessagesOptions(
                                desired_start_sequence_number=10**9, read_timeout_millis=count % 3
                            ),
                        )
                    client.read_messages(stream_name, ReadMessagesOptions(max_message_count=20))
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=storm, args=(seed,)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert client.append_message(stream_name, b"alive") == 120


def test_a_client_that_leaves_nagles_algorithm_on_is_not_slowed_down(
    server: LocalStreamManager, stream_name: str
) -> None:
    """As AWS's client for JavaScript: header and body in two writes, the next request after the answer.

    Without quick acknowledgements each takes 40 ms, and all of them longer than a test may run.
    """
    with PlainClient(server.port) as client:
        client.create(stream_name)
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 0)
        whole = request(APPEND, requestId=" ", name=stream_name, payload=b"x" * 100)
        for _ in range(3500):
            client.write(whole[:5])
            client.write(whole[5:])
            assert client.receive().status == 0
