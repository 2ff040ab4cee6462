"""What a finished process cost: its time, its CPU with that of its children, and its peak memory.

The kernel's own account of a finished process is used (wait4), so nothing is sampled and nothing is
missed. One thing is to be known of it: the peak memory it tells is at least that of whoever started
the process. This program stays far below what it measures, and `spawn` says so if it does not.
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Cost", "Running", "cpu_seconds_of", "measure", "peak_of", "spawn"]

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one process and its children. `peak_bytes` is of the process itself."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    exit_code: int


@dataclass(frozen=True, slots=True)
class Running:
    """A process on its way."""

    process: subprocess.Popen[bytes]
    began: float

    def end(self) -> Cost:
        """Wait for it, and tell what it cost."""
        _, status, used = os.wait4(self.process.pid, 0)
        seconds = time.monotonic() - self.began
        self.process.returncode = os.waitstatus_to_exitcode(status)  # wait4 took the exit status away
        return Cost(
            seconds,
            used.ru_utime + used.ru_stime,
            used.ru_maxrss * 1024,
            self.process.returncode,
        )


def spawn(command: Sequence[str], environment: Mapping[str, str], log: str) -> Running:
    """Start a process whose output goes to the file `log`."""
    own_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert own_peak < 25_000_000, f"the measuring process itself takes {own_peak} bytes"
    with open(log, "wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    return Running(process, began)


def measure(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: str,
    *,
    until: Callable[[], bool] | None = None,
) -> Cost:
    """Run a command to its end; with `until`, ask a daemon to stop (SIGTERM) once that is true."""
    running = spawn(command, environment, log)
    while until is not None and not until():
        if running.process.poll() is not None:
            raise RuntimeError(f"{command[0]} ended too early: see {log}")
        time.sleep(0.05)
    if until is not None:
        running.process.terminate()
    return running.end()


def cpu_seconds_of(pid: int) -> float:
    """What a running process has used so far."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def peak_of(pid: int) -> int:
    """The peak memory (VmHWM) of a running process, in bytes."""
    with open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel tells no VmHWM")
