"""`make bench` too: what the running daemon takes. Memory on a large file, CPU when idle, a long backlog.

    python -m bench.daemon                    all of it
    python -m bench.daemon --only memory      peak of `drain` and of `run` on one file of 2 GiB
    python -m bench.daemon --only idle        CPU of `run` on an empty folder, over a minute
    python -m bench.daemon --only backlog --files 1000000
    python -m bench.daemon --only latency     from the close of a new file to its object, folder watched

The far side is the TLS sink. Each measurement is of a process of its own, as the kernel accounts it.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

from bench import machine
from bench.contenders import CONTENDERS, OURS, Work
from bench.measuring import Running, cpu_seconds_of, measure, peak_of, spawn
from bench.scenarios import SCENARIOS, Scenario
from bench.sinks import BUCKET, build, sink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "out")
_LARGE = SCENARIOS[-1]
_IDLE_SECONDS = 60.0
_LOOK_SECONDS = 0.01


def main() -> None:
    options = _options()
    os.makedirs(OUT, exist_ok=True)
    program = build(OUT)
    lines = [machine.described(), ""]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        for name, part in _PARTS.items():
            if not options.only or name in options.only:
                with _work(options, program, folder) as work:
                    lines += part(options, work)
                sys.stderr.write(f"{lines[-1]}\n")
    report = "\n".join(lines) + "\n"
    sys.stdout.write("\n" + report)
    with open(os.path.join(OUT, "daemon.md"), "w", encoding="utf-8") as file:
        file.write(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", choices=list(_PARTS))
    parser.add_argument("--files", type=int, default=300_000, help="the length of the backlog")
    parser.add_argument(
        "--ours", default=os.path.dirname(sys.executable), help="the folder of s3-file-uploader"
    )
    parser.add_argument(
        "--folder", default="/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()
    )
    return parser.parse_args()


@contextlib.contextmanager
def _work(options: argparse.Namespace, program: str, folder: str) -> Iterator[Work]:
    """An empty folder, an empty ledger and a new sink."""
    files = os.path.join(folder, "files")
    state = tempfile.mkdtemp(prefix="state-", dir=OUT)
    try:
        with sink(program, tls=True) as far_side:
            yield Work(files, state, far_side, _LARGE, {OURS: options.ours})
    finally:
        # By another process: the measuring one must stay small, and a list of a million names is not.
        subprocess.run(["rm", "-rf", files, state], check=True)


def _run_command(work: Work, *more: str) -> list[str]:
    command = [os.path.join(work.programs[OURS], OURS), "run", work.folder, f"s3://{BUCKET}/ours"]
    return [*command, "--endpoint-url", work.far_side.url, "--state-directory", work.state_folder, *more]


def _log(name: str) -> str:
    return os.path.join(OUT, f"{name}.log")


def _memory(_options: argparse.Namespace, work: Work) -> list[str]:
    _LARGE.make(work.folder)
    drain = measure(CONTENDERS[0].command(work), work.environment, _log("drain"))
    shutil.rmtree(work.folder)
    _LARGE.make(work.folder)
    command = _run_command(work, "--settle-time", "0.1", "--active-file", "none")
    run = measure(command, work.environment, _log("run"), until=lambda: not os.listdir(work.folder))
    assert drain.exit_code == run.exit_code == 0, "see the logs"
    return [
        f"peak memory of `drain` on {_LARGE.title}: {drain.peak_bytes / 1e6:.1f} MB",
        f"peak memory of `run` on {_LARGE.title}: {run.peak_bytes / 1e6:.1f} MB",
    ]


def _idle(_options: argparse.Namespace, work: Work) -> list[str]:
    os.makedirs(work.folder)
    with _running(work) as running:
        time.sleep(5)  # what a start takes is not what idling takes
        before = cpu_seconds_of(running.process.pid)
        time.sleep(_IDLE_SECONDS)
        used = cpu_seconds_of(running.process.pid) - before
        memory = peak_of(running.process.pid)
    share = used / _IDLE_SECONDS
    return [
        f"idle on an empty folder: {share:.3%} of a core (the kernel counts in 10 ms), {memory / 1e6:.1f} MB"
    ]


def _backlog(options: argparse.Namespace, work: Work) -> list[str]:
    """All files are held back by SettleTime: what is measured is to find and to queue them."""
    Scenario("backlog", options.files, 0).make(work.folder)
    began = time.monotonic()
    with _running(work, "--settle-time", "1h", "--interval", "1h") as running:
        while (found := _rows(work.state_folder)) < options.files:
            time.sleep(0.05)
        seconds = time.monotonic() - began
        used, memory = cpu_seconds_of(running.process.pid), peak_of(running.process.pid)
    return [
        f"{found:_} files found and queued in {seconds:.1f} s: {found / seconds:.0f} files/s with the start,"
        f" {used / found * 1e6:.1f} µs of CPU each, peak {memory / 1e6:.1f} MB".replace("_", " ")
    ]


def _rows(state_folder: str) -> int:
    """How many files the ledger knows by now."""
    import sqlite3  # noqa: PLC0415  # the measuring process must be small when it starts others

    for ledger in os.listdir(state_folder):
        path = os.path.join(state_folder, ledger, "ledger.db")
        if os.path.exists(path):
            with (
                contextlib.suppress(sqlite3.OperationalError),
                contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection,
            ):
                return int(connection.execute("SELECT coalesce(max(id), 0) FROM file").fetchone()[0])
    return 0


def _latency(_options: argparse.Namespace, work: Work) -> list[str]:
    """SettleTime 1 s, a folder at rest: how much later than that a new file is gone."""
    os.makedirs(work.folder)
    beyond = []
    with _running(work, "--active-file", "none", "--interval", "1h"):
        time.sleep(3)
        for number in range(5):
            path = os.path.join(work.folder, f"new-{number}.csv")
            with open(path, "wb") as file:
                file.write(os.urandom(1024))
            closed = time.monotonic()
            while os.path.exists(path):
                time.sleep(_LOOK_SECONDS)
            beyond.append(time.monotonic() - closed - 1.0)
    return [
        f"from a file's last close until it is proven and gone: {max(beyond):.2f} s beyond SettleTime (worst of 5)"
    ]


@contextlib.contextmanager
def _running(work: Work, *more: str) -> Iterator[Running]:
    running = spawn(_run_command(work, *more), work.environment, _log("run"))
    try:
        yield running
    finally:
        running.process.terminate()
        running.end()


_PARTS: dict[str, Callable[[argparse.Namespace, Work], list[str]]] = {
    "memory": _memory,
    "idle": _idle,
    "latency": _latency,
    "backlog": _backlog,
}


if __name__ == "__main__":
    main()
