"""The real `stream-manager-local`, as a process of its own on a free port."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["LocalStreamManager", "start_local_stream_manager"]

_START_SECONDS = 60.0
_STOP_SECONDS = 30.0
_RUNNING = "Stream Manager reporting the state: RUNNING"
# What a developer's shell may have set for the real component.
_FOREIGN = ("STREAM_MANAGER_", "AWS_", "LOG_LEVEL", "XDG_STATE_HOME")


@contextmanager
def start_local_stream_manager(
    folder: Path, *flags: str, environment: Mapping[str, str] | None = None
) -> Iterator[LocalStreamManager]:
    """Serving when the block begins, gone when it ends. Its store is `folder`/store.

    `flags` are those of the command; `environment` holds variables to add, such as credentials.
    """
    server = LocalStreamManager(folder, *flags, environment=environment)
    server.start()
    try:
        yield server
    finally:
        server.end()


class LocalStreamManager:
    """One server, which may die and come back: its port and its store stay the same.

    Should the tests be killed it goes with them: it stops when its standard input ends.
    """

    def __init__(self, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.root = folder / "store"
        self.flags = flags
        self.port = 0
        self._port_file = folder / "stream-manager.port"
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)},
            **(environment or {}),
        }
        self._process: subprocess.Popen[str] | None = None
        self._log: list[str] = []
        self._news = threading.Condition()
        self._is_log_over = False
        self._reader: threading.Thread | None = None

    @property
    def pid(self) -> int:
        return self._running.pid

    @property
    def log(self) -> list[str]:
        """What it has written so far, over all its lives."""
        with self._news:
            return list(self._log)

    def start(self) -> None:
        """Returns when clients are served. `flags` may have been changed since the last time."""
        assert self._process is None
        self._is_log_over = False
        known = len(self._log)
        command = [sys.executable, "-m", "stream_manager_local", "--stop-with-stdin"]
        command += ["--port", str(self.port), "--port-file", str(self._port_file)]
        command += ["--store-root-dir", str(self.root), *self.flags]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self._environment
        )
        self._reader = threading.Thread(target=self._read_log, args=(self._process,), daemon=True)
        self._reader.start()
        self.wait_for(_RUNNING, since=known)
        self.port = int(self._port_file.read_text(encoding="ascii"))

    def kill(self) -> None:
        """As a power cut has it, as far as a process can tell."""
        self._running.send_signal(signal.SIGKILL)
        self._gone()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Politely; the exit code."""
        self._running.send_signal(number)
        return self._gone()

    def signal_twice(self, number: int, between: str, *, since: int) -> int:
        """The second one once this text is in the log from line `since` on; the exit code."""
        self._running.send_signal(number)
        self.wait_for(between, since=since)
        self._running.send_signal(number)
        return self._gone()

    def close_stdin(self) -> None:
        """As when whoever started it has died."""
        assert self._running.stdin is not None
        self._running.stdin.close()

    def end(self) -> None:
        """However it is."""
        if self._process is not None:
            self._process.kill()
            self._gone()

    def died(self) -> int:
        """Wait until it has ended by itself; the exit code."""
        return self._gone()

    def wait_for(self, text: str, *, since: int = 0) -> str:
        """The first line of the log from line `since` on that has this text in it; fails after a minute."""

        def found() -> str | None:
            return next((line for line in self._log[since:] if text in line), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._is_log_over, _START_SECONDS)
            line = found()
        assert line, f"it never said {text!r}, but:\n" + "\n".join(self._log[since:])
        return line

    @property
    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None, "it is not running"
        return self._process

    def _gone(self) -> int:
        process, self._process = self._running, None
        code = process.wait(_STOP_SECONDS)
        assert self._reader is not None
        self._reader.join(_STOP_SECONDS)
        for pipe in (process.stdin, process.stderr):
            if pipe is not None:
                pipe.close()
        return code

    def _read_log(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            with self._news:
                self._log.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._is_log_over = True
            self._news.notify_all()
