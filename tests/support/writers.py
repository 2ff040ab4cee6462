"""A real second process that holds files open for writing."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Writer", "writer_process"]

_PROGRAM = """
import mmap, os, sys
held = {}
for line in sys.stdin:
    verb, _, argument = line.rstrip("\\n").partition(" ")
    if verb == "open":
        held["fd"] = os.open(argument, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    elif verb == "write":
        os.write(held["fd"], argument.encode())
    elif verb == "map":
        held["map"] = mmap.mmap(held["fd"], 0)
    elif verb == "unmap":
        held.pop("map").close()
    elif verb == "close":
        os.close(held.pop("fd"))
    print("done", flush=True)
"""


class Writer:
    def __init__(self, process: subprocess.Popen[str], to: IO[str], back: IO[str]) -> None:
        self.process = process
        self._to = to
        self._back = back

    def do(self, verb: str, argument: str = "") -> None:
        self.start(verb, argument)
        self.wait()

    def start(self, verb: str, argument: str = "") -> None:
        """Without waiting: the call may block in the kernel."""
        self._to.write(f"{verb} {argument}\n")
        self._to.flush()

    def wait(self) -> None:
        assert self._back.readline() == "done\n"


@contextmanager
def writer_process() -> Iterator[Writer]:
    command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Writer(process, process.stdin, process.stdout)
        finally:
            process.kill()
