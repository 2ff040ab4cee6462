"""`install` and `run` out of the built artifact, by real Pythons, in nothing but what a nucleus gives them."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import pytest

from component.devices import MACHINE, NEW, OLD, TELLS, Device, cut_down, tree_of, unpacked

if TYPE_CHECKING:
    from pathlib import Path

    from component.gdk import Built

pytestmark = pytest.mark.slow

_READY = re.compile(r"s3-file-uploader: [0-9.]+ is ready in (\S+)/environments/[0-9a-f]{16}\n")


# ---- the whole thing -----------------------------------------------------------------------------


@pytest.mark.parametrize("version", NEW)
def test_it_is_installed_without_a_network_and_runs(device: Device, bundled: Path, version: str) -> None:
    device.python = NEW[version]

    done = device.install(bundled)

    assert (done.returncode, done.stderr) == (0, "")
    first, last = done.stdout.splitlines(keepends=True)
    assert first.endswith(f"for linux/{MACHINE} py{version}; this takes minutes on a small device\n")
    assert _READY.fullmatch(last.replace(str(device.work), "/work"))
    assert f"(Python {version}." in device.typed("version")
    assert "crc64nvme" in device.typed("config", "schema")  # awscrt and msgspec are there
    assert re.search("PathName|configuration", device.run(bundled).stderr)  # it is the program that speaks


def test_a_second_installation_changes_nothing_and_says_one_line(device: Device, small: Path) -> None:
    device.install(small)
    before = tree_of(device.work)

    done = device.install(small)

    assert (done.returncode, done.stderr) == (0, "")
    assert _READY.fullmatch(done.stdout.replace(str(device.work), "/work"))
    assert tree_of(device.work) == before


def test_run_becomes_the_program_in_its_environment_with_its_folder(device: Device, small: Path) -> None:
    device.more = {"PYTHONPATH": "/elsewhere", "STATE_DIRECTORY": "/elsewhere"}

    done = device.run(small)  # nothing is installed yet

    assert (done.returncode, done.stderr) == (0, "")
    *_, said, last = done.stdout.splitlines()
    [name] = device.environments
    prefix = str(device.work / "environments" / name)
    assert {**json.loads(said), "file": None} == {
        "arguments": ["run"],
        "isolated": 1,
        "prefix": prefix,
        "file": None,
        "environment": {"STATE_DIRECTORY": str(device.work), "PYTHONUNBUFFERED": "1", "PYTHONPATH": None},
    }
    assert json.loads(said)["file"].startswith(prefix)
    assert last == "still here"


def test_a_start_after_an_installation_adds_no_line(device: Device, small: Path) -> None:
    device.install(small)

    assert len(device.run(small).stdout.splitlines()) == 2  # both the program's


def test_it_needs_no_ensurepip(device: Device, small: Path) -> None:
    done = device.install_without_ensurepip(small)

    assert (done.returncode, done.stderr) == (0, "")
    assert len(device.environments) == 1


def test_an_unpacked_artifact_that_can_only_be_read_does_as_well(
    device: Device, small: Path, tmp_path: Path
) -> None:
    folder = unpacked(small, tmp_path / "unpacked")
    before = tree_of(folder)

    assert device.install(folder).returncode == 0
    assert len(device.environments) == 1
    assert tree_of(folder) == before


def test_the_surroundings_of_others_change_nothing(device: Device, small: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('not the standard library')", encoding="utf-8")
    device.more = {
        "PYTHONPATH": str(tmp_path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONHOME": "/elsewhere",
        "PIP_USER": "1",
        "PIP_TARGET": str(tmp_path / "target"),
        "PIP_NO_BINARY": ":all:",
        "PIP_REQUIRE_HASHES": "0",
    }
    before = os.umask(0o000)
    try:
        assert device.install(small).returncode == 0
    finally:
        os.umask(before)

    [name] = device.environments
    environment = device.work / "environments" / name
    packages = next(environment.glob("lib/*/site-packages"))
    assert list(packages.glob("s3_file_uploader/__pycache__/__main__.*.pyc"))
    assert list(packages.glob("tqdm/__pycache__/std.*.pyc"))
    assert not [
        path for path in environment.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022
    ]
    assert not (tmp_path / "target").exists()


def test_no_shell_script_and_no_command_of_a_package_is_left_in_it(device: Device, small: Path) -> None:
    device.install(small)

    [name] = device.environments
    assert all(
        path.name.startswith("python") for path in (device.work / "environments" / name / "bin").iterdir()
    )


# ---- from an index -------------------------------------------------------------------------------


def _company_index(bundled: Path, folder: Path) -> str:
    """A pip.conf that names a folder of wheels, and asks for what must not happen."""
    wheels = unpacked(bundled, folder / "index") / "wheels"
    configuration = folder / "pip.conf"
    configuration.write_text(
        f"[global]\nno-index = true\nfind-links = {wheels}\nuser = true\n", encoding="utf-8"
    )
    return str(configuration)


@pytest.mark.parametrize("version", NEW)
def test_the_index_of_a_pip_conf_is_asked_where_no_wheels_came_along(
    device: Device, plain: Built, bundled: Path, tmp_path: Path, version: str
) -> None:
    device.python = NEW[version]
    device.more = {"PIP_CONFIG_FILE": _company_index(bundled, tmp_path)}

    done = device.install(plain.artifact)

    assert (done.returncode, done.stderr) == (0, "")
    assert f"(Python {version}." in device.typed("version")


def test_it_is_asked_too_where_the_wheels_do_not_fit(device: Device, bundled: Path, tmp_path: Path) -> None:
    device.more = {"PIP_CONFIG_FILE": _company_index(bundled, tmp_path)}
    artifact = cut_down(bundled, tmp_path / "a.zip", build_id="without", program=TELLS, has_wheels=False)

    done = device.install(artifact)

    assert (done.returncode, done.stderr) == (0, "")
    assert (
        "the wheels that the artifact brings do not fit this device; asking the package index\n"
        in done.stdout
    )


def test_without_a_network_and_without_wheels_one_line_says_what_to_do(device: Device, plain: Built) -> None:
    done = device.install(plain.artifact)

    assert done.returncode == 1
    assert re.fullmatch(
        r"s3-file-uploader: s3-file-uploader [0-9.]+ cannot be installed: no package index can be reached, and the "
        r'artifact brings no wheels for this device \((.*)\)\. Try: build the component with WHEELS="\1", or let the '
        r"device reach an index, then deploy again or restart the component\.\n",
        done.stderr,
    )
    assert "s3-file-uploader: pip: ERROR: No matching distribution found for " in done.stdout
    assert (device.environments, device.leftovers) == ([], [])
    assert not (device.work / "s3-file-uploader").exists()


def test_a_start_that_cannot_install_fails_in_the_same_way(device: Device, plain: Built) -> None:
    done = device.run(plain.artifact)

    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def test_a_work_folder_that_cannot_be_written_is_said_in_one_line(device: Device, small: Path) -> None:
    device.work.rmdir()
    device.work.write_text("a file", encoding="utf-8")

    done = device.install(small)

    assert done.returncode == 1
    assert re.fullmatch(r"s3-file-uploader: \S+/a component\S*: .*\. Try: .*\.\n", done.stderr)


@pytest.mark.parametrize("version", OLD)
def test_an_old_python_says_one_line(device: Device, small: Path, version: str) -> None:
    device.python = OLD[version]
    process = device.start_plainly(small, "install")

    out, err = process.communicate()

    assert (process.returncode, out) == (1, "")
    assert re.fullmatch(
        rf"s3-file-uploader needs Python 3\.10 or newer, and \S+ is Python {re.escape(version)}\. Try: .*\n",
        err,
    )
