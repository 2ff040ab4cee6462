"""Installations that are killed, that meet another, or that a version runs beside."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from component.devices import CURRENT, NEW, TELLS, Device, cut_down, tree_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(
    ("event", "ending"),
    [
        ("os.mkdir", ".scratch"),  # the environment is half made
        ("subprocess.Popen", "/bin/python"),  # before pip
        ("shutil.rmtree", ".scratch"),  # after pip
        ("open", "lifecycle.py"),  # half of the program is copied
        ("open", ".complete"),
        ("os.rename", ""),  # complete, under its first name
        ("os.chmod", ""),
    ],
    ids=lambda value: value.strip("./") or "first",
)
def test_an_installation_that_is_killed_is_made_anew(
    device: Device, small: Path, event: str, ending: str
) -> None:
    assert device.install_killed_at(small, event, ending) == -signal.SIGKILL
    assert device.environments == []

    done = device.install(small)

    assert (done.returncode, done.stderr) == (0, "")
    assert (len(device.environments), device.leftovers) == (1, [])
    assert json.loads(device.run(small).stdout.splitlines()[0])["arguments"] == ["run"]


def test_an_installation_that_takes_too_long_ends_with_all_it_started(device: Device, small: Path) -> None:
    process = device.start(small, "install")
    assert process.stdout is not None
    process.stdout.readline()  # it is at work

    process.terminate()
    _, err = process.communicate(timeout=60)

    assert (process.returncode, err) in [(128 + signal.SIGTERM, ""), (0, "")]
    assert device.leftovers == []


def test_two_installations_at_once_make_one_environment(device: Device, small: Path) -> None:
    both = [device.start(small, "install") for _ in range(2)]

    said = [process.communicate(timeout=100) for process in both]

    assert [process.returncode for process in both] == [0, 0], said
    assert sum("installing" in out for out, _ in said) == 1
    assert (len(device.environments), device.leftovers) == (1, [])


def _next(bundled: Path, folder: Path, number: int) -> Path:
    return cut_down(bundled, folder / f"{number}.zip", build_id=f"next {number}", program=TELLS)


def test_a_version_that_runs_is_not_disturbed_by_the_next_one(
    device: Device, small: Path, bundled: Path, tmp_path: Path
) -> None:
    running = device.start(small, "run")
    assert running.stdout is not None
    while not (line := running.stdout.readline()).startswith("{"):
        assert line
    [old] = device.environments
    before = tree_of(device.work / "environments" / old)

    for number in range(2):  # the second start would remove what is neither its own nor the one before
        device.install(_next(bundled, tmp_path, number))
        assert device.run(_next(bundled, tmp_path, number)).returncode == 0

    assert tree_of(device.work / "environments" / old) == before
    assert running.communicate("\n", timeout=60)[0] == "still here\n"
    assert running.returncode == 0
    device.run(_next(bundled, tmp_path, 1))
    assert len(device.environments) == 2
    assert old not in device.environments


def test_the_command_for_people_leads_to_the_version_that_started_last(
    device: Device, small: Path, bundled: Path, tmp_path: Path
) -> None:
    device.install(small)
    launcher = device.work / "s3-file-uploader"
    first = launcher.read_text(encoding="utf-8")
    device.install(_next(bundled, tmp_path, 1))
    assert launcher.read_text(encoding="utf-8") != first

    device.run(small)  # a rollback

    assert launcher.read_text(encoding="utf-8") == first
    assert os.access(launcher, os.X_OK)


def test_another_python_gets_an_environment_of_its_own(device: Device, small: Path) -> None:
    others = [path for path in NEW.values() if path != CURRENT]
    device.install(small)
    for device.python in others[:1]:
        assert device.install(small).returncode == 0

    assert len(device.environments) == 1 + len(others[:1])
