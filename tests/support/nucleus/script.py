"""A script of a component as a real process, in a group of its own, with its output in files.

Lite's components are systemd units, whose signals go to all their processes; the classic nucleus looks for
the descendants itself. Both come to the same: the whole group is told.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

__all__ = ["Script"]

_STOP_SECONDS = 15.0  # what a component gets at least between SIGTERM and SIGKILL


class Script:
    """Running once it is made. Leaving its block kills what is left of it."""

    def __init__(self, command: list[str], work: str, environment: Mapping[str, str], log: str) -> None:
        """`log` is a path without its ending: standard output goes to `.out`, standard error to `.err`."""
        self._log = log
        with open(log + ".out", "wb") as out, open(log + ".err", "wb") as err:
            self._process = subprocess.Popen(
                command,
                cwd=work,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def pid(self) -> int:
        """Of the shell, and of the process group."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return self._read(".out")

    @property
    def errors(self) -> str:
        return self._read(".err")

    def wait(self, seconds: float = 60.0) -> int:
        """Its exit status; negative is the signal that ended it. TimeoutError with what it wrote."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {seconds} s: {self.errors[-2000:]}") from None

    def terminate(self) -> None:
        self.signal(signal.SIGTERM)

    def stop(self, seconds: float = _STOP_SECONDS) -> int:
        """SIGTERM, and its exit status; TimeoutError where a nucleus would send SIGKILL."""
        self.terminate()
        return self.wait(seconds)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _read(self, ending: str) -> str:
        with open(self._log + ending, encoding="utf-8", errors="replace") as file:
            return file.read()
