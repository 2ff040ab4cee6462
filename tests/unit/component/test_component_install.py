"""The device's side: what is its own, what pip may see, what errors mean. No environment is built here."""

from __future__ import annotations

import ast
import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from component_install import device, packages
from component_install.artifact import open_artifact
from component_install.command import main
from component_install.environment import _make_virtual
from component_install.launcher import surroundings, write_launcher
from component_install.place import Place
from component_install.refusal import Refusal, refusal_of

if TYPE_CHECKING:
    from collections.abc import Callable

_TARGET = device.target()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "work"))
    place.prepare()
    return place


# ---- which environment is whose ------------------------------------------------------------------


def test_another_build_or_another_place_of_python_is_another_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name = device.environment_name("one")
    assert name == device.environment_name("one")
    assert name != device.environment_name("two")

    monkeypatch.setattr(sys, "_base_executable", "/opt/other/bin/python3")
    assert name != device.environment_name("one")


def test_the_python_of_an_environment_is_the_one_below_it() -> None:
    assert device.base_python() == os.path.realpath(sys._base_executable)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("wheel", "is_fitting"),
    [
        ("tqdm-4-py3-none-any.whl", True),
        ("stream_manager-1-py2.py3-none-any.whl", True),
        ("awscrt-0-cp39-abi3-manylinux_2_17_{machine}.whl", True),
        ("msgspec-0-{ours}-{ours}-manylinux2014_{machine}.manylinux_2_17_{machine}.whl", True),
        ("msgspec-0-cp39-cp39-manylinux2014_{machine}.whl", False),
        ("msgspec-0-{ours}-{ours}-manylinux2014_other.whl", False),
    ],
)
def test_only_wheels_of_this_device_are_unpacked(wheel: str, is_fitting: bool) -> None:
    machine, ours = os.uname().machine, f"cp3{sys.version_info[1]}"

    assert device.fits(f"wheels/{wheel.format(machine=machine, ours=ours)}") == is_fitting


# ---- what pip may see ----------------------------------------------------------------------------

_FOREIGN = {
    "PATH": "/bin",
    "PIP_INDEX_URL": "file:///company",
    "PIP_CONFIG_FILE": "/etc/company.conf",
    "PIP_USER": "1",
    "PIP_TARGET": "/elsewhere",
    "PIP_NO_BINARY": ":all:",
    "PYTHONPATH": "/elsewhere",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def test_from_an_index_pip_sees_where_packages_are_and_not_how_to_install_them() -> None:
    assert packages.pip_environment(_FOREIGN, "/scratch", is_bundled=False) == {
        "PATH": "/bin",
        "PIP_INDEX_URL": "file:///company",
        "PIP_CONFIG_FILE": "/etc/company.conf",
        "PIP_USER": "0",
        "TMPDIR": "/scratch",
    }


def test_from_the_bundled_wheels_pip_sees_no_configuration_at_all() -> None:
    assert packages.pip_environment(_FOREIGN, "/scratch", is_bundled=True) == {
        "PATH": "/bin",
        "PIP_CONFIG_FILE": os.devnull,
        "TMPDIR": "/scratch",
    }


# ---- what errors mean ----------------------------------------------------------------------------

_NOT_FOUND = "ERROR: No matching distribution found for awscrt==0.36.1\n"


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (
            f"WARNING: Retrying (Retry(total=0)) after connection broken\n{_NOT_FOUND}",
            (
                "s3-file-uploader 1.2.3 cannot be installed: no package index can be reached, and the artifact brings no "
                f'wheels for this device ({_TARGET}). Try: build the component with WHEELS="{_TARGET}", or let the device '
                "reach an index, then deploy again or restart the component."
            ),
        ),
        (
            _NOT_FOUND,
            (
                "s3-file-uploader 1.2.3 cannot be installed: the package index has no wheel of awscrt==0.36.1 for this "
                f"device ({_TARGET}). Try: a Python from 3.10 to 3.13 on x86_64 or aarch64, or an index that has it."
            ),
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.\n",
            (
                "s3-file-uploader 1.2.3 cannot be installed: a package is not the one that was pinned (its hash differs). "
                "Try: an index that serves the packages unchanged, then deploy again or restart the component."
            ),
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device\n",
            (
                "s3-file-uploader 1.2.3 cannot be installed: the disk is full. Try: make room for 60 MB, then deploy "
                "again or restart the component."
            ),
        ),
        (
            "ERROR: something else\n",
            (
                "s3-file-uploader 1.2.3 cannot be installed: ERROR: something else. Try: what pip says above, then deploy "
                "again or restart the component."
            ),
        ),
    ],
    ids=["no network", "no wheel", "other bytes", "full", "else"],
)
def test_what_pip_says_becomes_one_line_after_its_own_words(written: str, line: str) -> None:
    said: list[str] = []

    refusal = packages.refusal_of_pip(written, "1.2.3", has_wheels=False, say=said.append)

    assert str(refusal) == line
    assert said == [f"pip: {each}" for each in written.splitlines()]


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (
            errno.ENOSPC,
            "the disk of /gg/work is full (/gg/work/x cannot be written). Try: make room for 60 MB",
        ),
        (
            errno.EROFS,
            "/gg/work/x cannot be written: Read-only file system. Try: let the component's user write below",
        ),
        (
            errno.EACCES,
            "/gg/work/x cannot be written: Permission denied. Try: let the component's user write below",
        ),
        (
            errno.EIO,
            "/gg/work/x: Input/output error. Try: the same again; if it stays, look at the disk of /gg/work",
        ),
    ],
)
def test_what_the_disk_refuses_becomes_one_line(number: int, line: str) -> None:
    refusal = str(refusal_of(OSError(number, os.strerror(number), "/gg/work/x"), "/gg/work"))

    assert refusal.startswith(line)
    assert "\n" not in refusal


@pytest.mark.parametrize(
    "make", [lambda path: path.write_bytes(b"PK\3\4 and so on"), Path.mkdir], ids=["zip", "folder"]
)
def test_a_damaged_artifact_is_refused_in_one_line(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "artifact"
    make(path)

    with (
        pytest.raises(
            Refusal, match=r"is damaged or incomplete .* Try: build and deploy the component again"
        ),
        open_artifact(str(path)),
    ):
        pass


def test_an_artifact_that_cannot_be_read_is_no_matter_of_the_work_folder() -> None:
    refusal = str(refusal_of(PermissionError(errno.EACCES, "Permission denied", "/gg/a.zip"), "/gg/work"))

    assert refusal == "/gg/a.zip cannot be read: Permission denied. Try: let the component's user read it."


def test_a_python_without_its_module_venv_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "venv", None)

    with pytest.raises(
        Refusal, match=r"has no module venv\. Try: install .* python3-venv\), then deploy again\."
    ):
        _make_virtual(str(tmp_path))


def test_other_words_than_the_two_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remove", "/gg/work"], "/artifact") == 2
    assert "Try: the recipe's scripts." in capsys.readouterr().err


# ---- the start -----------------------------------------------------------------------------------


def test_the_program_gets_its_folder_and_nothing_of_a_foreign_python(place: Place) -> None:
    assert surroundings(place, {"PYTHONPATH": "/x", "SVCUID": "token", "STATE_DIRECTORY": "/x"}) == {
        "SVCUID": "token",
        "STATE_DIRECTORY": place.work,
        "PYTHONUNBUFFERED": "1",
    }


def test_the_launcher_carries_any_folders_name(tmp_path: Path) -> None:
    place = Place(str(tmp_path / 'it\'s $HOME "and" so on'))
    place.prepare()
    os.makedirs(os.path.dirname(place.python("a")))
    Path(place.python("a")).write_text('#!/bin/sh\necho "$STATE_DIRECTORY" "$@"\n', encoding="utf-8")
    os.chmod(place.python("a"), 0o755)

    write_launcher(place, "a")

    with os.popen(f"'{tmp_path!s}'/*/s3-file-uploader status --json") as answer:
        assert answer.read() == f"{place.work} -I -m s3_file_uploader status --json\n"


def test_the_first_file_is_old_python_too(request: pytest.FixtureRequest) -> None:
    """No annotation, no f-string, nothing but names and calls. Real old Pythons read it in the slow tests."""
    source = Path(request.config.rootpath, "packaging", "component", "bootstrap.py").read_text(
        encoding="utf-8"
    )
    tree = ast.parse(source)

    newer = (
        ast.AnnAssign,
        ast.JoinedStr,
        ast.NamedExpr,
        ast.AsyncFunctionDef,
        ast.Nonlocal,
        ast.Match,
        ast.Starred,
    )
    assert not [node for node in ast.walk(tree) if isinstance(node, newer)]
    assert not [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and (node.returns or node.args.kwonlyargs)
    ]
    assert source.isascii()


def test_an_unpacked_artifact_is_read_like_the_archive(tmp_path: Path) -> None:
    for name, content in {
        "build.json": json.dumps({"version": "1", "build_id": "x", "bundled": []}),
        "installer/pip.whl": "pip",
        "s3_file_uploader/a/b.py": "code",
        "s3_file_uploader/__pycache__/c.pyc": "left",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content, encoding="utf-8")

    with open_artifact(str(tmp_path)) as artifact:
        assert artifact.below("s3_file_uploader/") == ["s3_file_uploader/a/b.py"]
        assert artifact.installer == "installer/pip.whl"
