"""Runs one command for as long as whoever asked for it lives, then cleans up after both.

A demo or a test run may be killed at any moment, and must leave no server and no temporary folder
behind. So a small process of its own stands between: it holds one end of a pipe, and when a word comes
through it, or its other end closes because the holder is gone, it ends the command and removes what it
was told to remove. The command is in a session of its own: Ctrl-C at a terminal reaches whoever asked, not it.

This file is also the program of that process. It is run by its path, without the package, so it
imports nothing but the standard library.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["end_kept", "main", "remove", "start_kept"]

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PR_SET_PDEATHSIG = 1
_LOOK_FOR_STARTER_SECONDS = 1.0
_REMOVAL_SECONDS = 20.0


def start_kept(
    command: Sequence[str],
    *,
    grace_seconds: float = 0.0,
    afterwards_remove: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    folder: str | None = None,
    output: int | None = None,
) -> subprocess.Popen[bytes]:
    """Start `command` under a keeper; the returned process is the keeper, with the command's exit code.

    To end it, the command gets SIGTERM and `grace_seconds` to react, then SIGKILL; without grace,
    SIGKILL at once. The paths in `afterwards_remove` go last. `output` is a file descriptor for
    the command's standard output and error.
    """
    keeper = [sys.executable, "-I", "-S", __file__, "--grace-seconds", str(grace_seconds)]
    keeper += [word for path in afterwards_remove for word in ("--remove", path)]
    return subprocess.Popen(
        [*keeper, "--", *command],
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
        env=None if environment is None else dict(environment),
        cwd=folder,
        start_new_session=True,
    )


def end_kept(process: subprocess.Popen[bytes], *, grace_seconds: float = 0.0) -> int:
    """End what `start_kept` started, wait until all is gone, and return the command's exit code."""
    if process.stdin is not None:
        # A word, not only the end of the pipe: a process forked from ours may hold a copy of it. And no
        # signal: it would kill a keeper that has not begun to listen, and nobody would clean up.
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(b".")
    return process.wait(timeout=grace_seconds + _REMOVAL_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="keeper")
    parser.add_argument("--grace-seconds", type=float, default=0.0)
    parser.add_argument("--remove", action="append", default=[])
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args(arguments)

    starter = os.getppid()
    wake = _wake_on_signals()
    try:
        child = subprocess.Popen(
            asked.command,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_keeper,  # noqa: PLW1509 - a keeper has one thread
        )
        _wait(child, wake, starter)
        _end(child, asked.grace_seconds)
    finally:
        for path in asked.remove:
            remove(path)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _wake_on_signals() -> int:
    """A descriptor on which the number of each signal that arrives can be read."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in (*_STOPPING, signal.SIGCHLD):
        signal.signal(number, _be_woken)
    return reading


def _be_woken(number: int, frame: object) -> None:
    """Nothing to do here: the number is in the pipe by now."""
    del number, frame


def _die_with_keeper() -> None:
    """In the command, before it starts: when the keeper itself is killed, so is the command."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait(child: subprocess.Popen[bytes], wake: int, starter: int) -> None:
    """Return when the command has ended, when we are told to stop, or when nobody needs it any more."""
    starter_pipe = 0
    while child.poll() is None and os.getppid() == starter:
        readable, _, _ = select.select([starter_pipe, wake], [], [], _LOOK_FOR_STARTER_SECONDS)
        if starter_pipe in readable:
            return
        if wake in readable and not set(_STOPPING).isdisjoint(os.read(wake, 64)):
            return


def _end(child: subprocess.Popen[bytes], grace_seconds: float) -> None:
    if grace_seconds > 0 and child.poll() is None:
        child.terminate()
        with suppress(subprocess.TimeoutExpired):
            child.wait(timeout=grace_seconds)
    if child.poll() is None:
        child.kill()
        child.wait()


def remove(path: str) -> None:
    """Remove a file or a whole folder; what cannot be removed stays."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            os.unlink(path)


if __name__ == "__main__":
    sys.exit(main())
