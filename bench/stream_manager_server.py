"""How fast stream-manager-local is, and what it costs while nothing happens.

    python -m bench.stream_manager_server

Each figure is the best of five runs, as whatever else a machine does can only slow them down: appends per
second of AWS's SDK (one thread, one call after the other), of a client with Nagle's algorithm that waits for
each answer (as AWS's for JavaScript), and of a plain client that keeps 256 requests under way; messages
per second of reads of 1000; the CPU and memory of an idle server. Client and server share the machine. The
server's own CPU stands beside each rate: it is what stays the same on a busy machine.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import cbor2
from bench.machine import described
from stream_manager import (
    MessageStreamDefinition,
    Persistence,
    ReadMessagesOptions,
    StrategyOnFull,
    StreamManagerClient,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Work: TypeAlias = "Callable[[Server, Stopwatch], None]"

_RUNS = 5
_PAYLOAD = b'{"inputUrl":"file:///var/data/camera-1/2026-01-01T00-00-00.jpg","bucket":"bucket","key":"camera-1/1.jpg"}'
_SYNC_APPENDS = 2_000
_PIPELINED_APPENDS = 30_000
_DURABLE_APPENDS = 5_000
_WINDOW = 256
_READS = 100
_IDLE_SECONDS = 10.0
_IDLE_CLIENTS = 500
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


class Server:
    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process = process
        self.port = port

    def cpu_seconds(self) -> float:
        fields = (
            Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        )
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def resident_mib(self) -> float:
        pages = int(Path(f"/proc/{self._process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory() as folder:
        port_file = os.path.join(folder, "port")
        command = [sys.executable, "-m", "stream_manager_local", "--port", "0", "--port-file", port_file]
        command += ["--store-root-dir", os.path.join(folder, "store"), "--stop-with-stdin"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            for line in process.stderr:
                if b"RUNNING" in line:
                    break
            yield Server(process, int(Path(port_file).read_text(encoding="ascii")))
            process.terminate()


def main() -> None:
    print(described())
    print(f"messages of {len(_PAYLOAD)} bytes, the best of {_RUNS} runs\n")
    print(f"{'':44} {'per second':>10} {'server CPU':>14}")
    for name, persistence, flush in (
        ("Memory", Persistence.Memory, False),
        ("File", Persistence.File, False),
        ("File, flush on write", Persistence.File, True),
    ):
        _show(f"appends, SDK, one thread, {name}", _SYNC_APPENDS, _sync_appends(persistence, flush=flush))
        if not flush:
            _show(f"appends, Nagle's algorithm, {name}", _SYNC_APPENDS, _nagle_appends(persistence))
        count = _DURABLE_APPENDS if flush else _PIPELINED_APPENDS
        _show(
            f"appends, {_WINDOW} under way, {name}",
            count,
            _pipelined_appends(persistence, count, flush=flush),
        )
        if not flush:
            _show(f"messages, SDK, reads of 1000, {name}", _READS * 1000, _reads(persistence))
    _show_idle()


def _show(what: str, count: int, work: Work) -> None:
    rates, costs = [], []
    for _ in range(_RUNS):
        with server() as running:
            stopwatch = Stopwatch(running)
            work(running, stopwatch)
        rates.append(count / stopwatch.elapsed)
        costs.append(stopwatch.cpu / count * 1e6)
    print(f"{what:44} {max(rates):10,.0f} {min(costs):7.1f} us each", flush=True)


class Stopwatch:
    """What the part that counts took: each piece of work starts it when it has prepared."""

    def __init__(self, running: Server) -> None:
        self._running = running
        self.elapsed = self.cpu = 0.0

    def __enter__(self) -> None:
        self._cpu = self._running.cpu_seconds()
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.elapsed = time.perf_counter() - self._since
        self.cpu = self._running.cpu_seconds() - self._cpu


def _client(running: Server, persistence: Persistence, *, flush: bool = False) -> StreamManagerClient:
    client = StreamManagerClient(port=running.port)
    definition = MessageStreamDefinition(
        name="bench",
        strategy_on_full=StrategyOnFull.RejectNewData,
        persistence=persistence,
        flush_on_write=flush,
    )
    client.create_message_stream(definition)
    return client


def _sync_appends(persistence: Persistence, *, flush: bool) -> Work:
    def work(running: Server, stopwatch: Stopwatch) -> None:
        with _client(running, persistence, flush=flush) as client, stopwatch:
            for _ in range(_SYNC_APPENDS):
                client.append_message("bench", _PAYLOAD)

    return work


def _nagle_appends(persistence: Persistence) -> Work:
    """Head and body in two writes, the second of which the kernel holds back until the first is acknowledged."""

    def work(running: Server, stopwatch: Stopwatch) -> None:
        with (
            _client(running, persistence),
            socket.create_connection(("127.0.0.1", running.port)) as plain,
        ):
            plain.sendall(b"\x01" + _frame(1, {"requestId": "hello", "protocolVersion": "1.1.0"}))
            plain.recv(4096)
            asked = _frame(4, {"requestId": " ", "name": "bench", "payload": _PAYLOAD})
            with stopwatch:
                for _ in range(_SYNC_APPENDS):
                    plain.sendall(asked[:5])
                    plain.sendall(asked[5:])
                    plain.recv(4096)

    return work


def _pipelined_appends(persistence: Persistence, count: int, *, flush: bool) -> Work:
    def work(running: Server, stopwatch: Stopwatch) -> None:
        with (
            _client(running, persistence, flush=flush),
            socket.create_connection(("127.0.0.1", running.port)) as plain,
        ):
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.sendall(b"\x01" + _frame(1, {"requestId": "hello", "protocolVersion": "1.1.0"}))
            plain.recv(4096)
            with stopwatch:
                _append_all(plain, count)

    return work


def _append_all(plain: socket.socket, count: int) -> None:
    """Answers are only counted: decoding them would measure the client."""
    frames = [
        _frame(4, {"requestId": f"{each:036}", "name": "bench", "payload": _PAYLOAD}) for each in range(count)
    ]
    sent = received = 0
    rest = b""
    while received < count:
        more = frames[sent : received + _WINDOW]
        if more:
            plain.sendall(b"".join(more))
            sent += len(more)
        found, rest = _counted(rest + plain.recv(1 << 18))
        received += found


def _counted(data: bytes) -> tuple[int, bytes]:
    """How many whole frames there are, and what is left."""
    at = found = 0
    while len(data) - at >= 4:  # the length of the length
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        at = end
        found += 1
    return found, data[at:]


def _reads(persistence: Persistence) -> Work:
    def work(running: Server, stopwatch: Stopwatch) -> None:
        with (
            _client(running, persistence) as client,
            socket.create_connection(("127.0.0.1", running.port)) as plain,
        ):
            plain.sendall(b"\x01" + _frame(1, {"requestId": "hello", "protocolVersion": "1.1.0"}))
            plain.recv(4096)
            _append_all(plain, 1000)
            options = ReadMessagesOptions(min_message_count=1000, max_message_count=1000)
            with stopwatch:
                for _ in range(_READS):
                    client.read_messages("bench", options)

    return work


def _show_idle() -> None:
    with server() as running:
        clients = [socket.create_connection(("127.0.0.1", running.port)) for _ in range(_IDLE_CLIENTS)]
        before = running.resident_mib()
        for client in clients:
            client.sendall(b"\x01" + _frame(1, {"requestId": "hello", "protocolVersion": "1.1.0"}))
            client.recv(4096)
        cpu = running.cpu_seconds()
        time.sleep(_IDLE_SECONDS)
        cpu = running.cpu_seconds() - cpu
        print(
            f"\nidle: {before:.1f} MiB resident, with {_IDLE_CLIENTS} clients {running.resident_mib():.1f} MiB, ",
            end="",
        )
        print(f"{cpu / _IDLE_SECONDS:.2%} of one core")
        for client in clients:
            client.close()


def _frame(operation: int, values: dict[str, object]) -> bytes:
    payload = cbor2.dumps(values)
    return (len(payload) + 1).to_bytes(4, "big") + bytes([operation]) + payload


if __name__ == "__main__":
    main()
