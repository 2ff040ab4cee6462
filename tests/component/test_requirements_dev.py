"""`pip3 install -r requirements_dev.txt` and then `pytest tests`: nothing else is needed."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

_ROOT = Path(__file__).parents[2]


def test_pip_takes_it_with_hashes_and_it_is_what_the_tests_have() -> None:
    asked = ["install", "--dry-run", "--disable-pip-version-check", "--require-hashes", "-r"]

    done = subprocess.run(
        [sys.executable, "-m", "pip", *asked, str(_ROOT / "requirements_dev.txt")],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert "Would install" not in done.stdout


def test_the_tests_and_what_they_start_need_no_installed_package(tmp_path: Path) -> None:
    """In an environment that has the requirements, and not the package itself."""
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    [packages] = (tmp_path / "venv" / "lib").glob("*/site-packages")
    _lend_requirements(packages)
    assert _run([python, "-I", "-c", "import s3_file_uploader"]).returncode == 1

    # The first runs in the tests' process, the second starts the program.
    done = _run([python, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/test_turns.py"])
    assert done.returncode == 0, done.stdout
    started = "tests/unit/cli/test_cli_program.py::test_a_reader_that_has_seen_enough_is_no_error"
    done = _run([python, "-I", "-m", "pytest", "-q", "-p", "no:cacheprovider", started])
    assert done.returncode == 0, done.stdout


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": os.environ["HOME"]}
    return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)


def _lend_requirements(packages: Path) -> None:
    """All that this environment has, but for the package that is developed in it."""
    for lent in Path(pytest.__file__).parents[1].iterdir():
        if "s3_file_uploader" not in lent.name and lent.suffix != ".pth":
            (packages / lent.name).symlink_to(lent)
