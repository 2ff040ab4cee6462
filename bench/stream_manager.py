"""How fast files go through Stream Manager, and what that costs: `python -m bench.stream_manager`.

    python -m bench.stream_manager                      10 000 files of 1 KiB, Success reported at once
    python -m bench.stream_manager --files 100000 --runs 1
    python -m bench.stream_manager --streams 8 --no-flush

The server is stream-manager-local with `--success-without-upload`: it answers each task with Success and
sends nothing, so that what is measured is handing over, waiting and removing, not an upload. It shares
the machine's cores with us; its own CPU is told apart. Files and ledger are where --folder and bench/out
are; the server's streams are on the disk beside the ledger.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from bench import machine
from bench.measuring import Cost, Running, cpu_seconds_of, measure, peak_of, spawn
from bench.scenarios import Scenario

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "out")
_START_SECONDS = 20.0
_LOOK_SECONDS = 0.05


def main() -> None:
    options = _options()
    os.makedirs(OUT, exist_ok=True)
    scenario = Scenario("stream-manager", options.files, options.size)
    rows = [_row(scenario, *_run(options, scenario)) for _ in range(options.runs)]
    middle = statistics.median(row[0] for row in rows)
    lines = [
        machine.described(),
        "",
        "| files/s | CPU s for 1 000 files | peak | its server's CPU, peak |",
        "|---|---|---|---|",
    ]
    lines += [row[1] for row in rows]
    lines.append(
        f"\n{scenario.title} through Stream Manager: {middle:.0f} files/s, the middle of {len(rows)} runs"
    )
    report = "\n".join(lines) + "\n"
    sys.stdout.write(report)
    with open(os.path.join(OUT, "stream_manager.md"), "w", encoding="utf-8") as file:
        file.write(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=1024, help="of each, in bytes")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--streams", type=int, default=4)
    parser.add_argument("--no-flush", action="store_true", help="StreamFlushOnWrite false")
    parser.add_argument(
        "--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    )
    return parser.parse_args()


def _row(scenario: Scenario, cost: Cost, server_cpu: float, server_peak: int) -> tuple[float, str]:
    rate = scenario.rate(cost.seconds)
    cpu, its_cpu = scenario.cost(cost.cpu_seconds), scenario.cost(server_cpu)
    memory = f"{cost.peak_bytes / 1e6:.0f} MB"
    return rate, f"| {rate:.0f} | {cpu:.2f} | {memory} | {its_cpu:.2f}, {server_peak / 1e6:.0f} MB |"


def _run(options: argparse.Namespace, scenario: Scenario) -> tuple[Cost, float, int]:
    """One drain; what the server took meanwhile; and the server's peak memory."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder,
        tempfile.TemporaryDirectory(prefix="state-", dir=OUT) as state,
        _server(os.path.join(state, "streams")) as (server, port),
    ):
        files = os.path.join(folder, "files")
        scenario.make(files)
        before = cpu_seconds_of(server.process.pid)
        cost = measure(_command(options, files, state, port), _environment(), _log("stream_manager_drain"))
        assert cost.exit_code == 0, f"see {_log('stream_manager_drain')}"
        assert not os.listdir(files)
        used = cpu_seconds_of(server.process.pid) - before
        return cost, used, peak_of(server.process.pid)


def _command(options: argparse.Namespace, files: str, state: str, port: int) -> list[str]:
    flush = ["--no-stream-flush-on-write"] if options.no_flush else []
    command = [
        sys.executable,
        "-m",
        "s3_file_uploader",
        "drain",
        files,
        "s3://bench/ours",
        "--include-active",
    ]
    command += ["--transport", "stream-manager", "--stream-manager-port", str(port)]
    command += ["--streams", str(options.streams), *flush]
    return [*command, "--settle-time", "0", "--settle-time-unverified", "0", "--state-directory", state]


@contextlib.contextmanager
def _server(root: str) -> Iterator[tuple[Running, int]]:
    """A local Stream Manager that says Success to everything, and its port."""
    port_file = f"{root}.port"
    command = [sys.executable, "-m", "stream_manager_local", "--success-without-upload"]
    command += ["--port", "0", "--port-file", port_file, "--store-root-dir", root]
    running = spawn(command, _environment(), _log("stream_manager_server"))
    try:
        yield running, _port_in(port_file, running)
    finally:
        running.process.terminate()
        running.process.wait()


def _port_in(port_file: str, running: Running) -> int:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and running.process.poll() is None:
        with contextlib.suppress(FileNotFoundError, ValueError), open(port_file, encoding="ascii") as file:
            return int(file.read())
        time.sleep(_LOOK_SECONDS)
    sys.exit(f"bench: stream-manager-local did not start.\nTry: see {_log('stream_manager_server')}")


def _environment() -> dict[str, str]:
    foreign = ("AWS_", "STREAM_MANAGER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def _log(name: str) -> str:
    return os.path.join(OUT, f"{name}.log")


if __name__ == "__main__":
    main()
