"""The recipe's own scripts, filled in and run as both nuclei do it, with the artifact where they put it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from component.devices import MACHINE, NEW, cut_down
from component.gdk import Built, publish
from support.nucleus import CLASSIC, LITE, Installed

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.slow

_TELLS = "import json, os, sys; print(json.dumps([sys.argv[1:], os.environ['STATE_DIRECTORY'], os.getcwd(), os.getpid()]))"
_NO_NETWORK = {
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
    "PIP_RETRIES": "0",
}
# A folder whose name a shell would take apart. No nucleus escapes paths, so what ends a quoted word is not in it.
_ROOT = "it's a $ROOT; with & in it"


@pytest.fixture
def path_with(tmp_path: Path) -> Callable[[str, str], dict[str, str]]:
    """A PATH on which `name` is this Python, and no other is there."""

    def made(name: str, python: str) -> dict[str, str]:
        folder = tmp_path / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).symlink_to(python)
        return {"PATH": str(folder), **_NO_NETWORK}

    return made


@pytest.fixture
def small(bundled: Path, tmp_path: Path) -> Path:
    (tmp_path / "built").mkdir()
    return cut_down(bundled, tmp_path / "built" / "s3-file-uploader.zip", build_id="small", program=_TELLS)


def _published(built: Built) -> dict[str, Any]:
    return publish(built, "bucket", built.version)


@pytest.mark.parametrize(("kind", "is_local"), [(LITE, True), (LITE, False), (CLASSIC, False)])
def test_install_and_run_work_with_what_the_nucleus_gives_them(
    plain: Built,
    small: Path,
    tmp_path: Path,
    path_with: Callable[[str, str], dict[str, str]],
    kind: str,
    is_local: bool,
) -> None:
    root = tmp_path / _ROOT.replace("$ROOT; ", "")
    installed = Installed(_published(plain), [small], root, kind=kind, is_local=is_local)
    environment = path_with("python3", sys.executable)

    with installed.start("install", environment) as install:
        assert (install.wait(100), install.errors) == (0, "")
    with installed.start("run", environment) as run:
        assert (run.wait(60), run.errors) == (0, "")

    assert "is ready in" in install.output
    assert json.loads(run.output) == [
        ["run"],
        installed.work,
        installed.work,
        run.pid,
    ]  # the shell's own process


def test_the_artifact_is_found_where_it_was_unpacked_too(
    direct: Built, small: Path, tmp_path: Path, path_with: Callable[[str, str], dict[str, str]]
) -> None:
    installed = Installed(_published(direct), [small], tmp_path / "root", kind=CLASSIC)
    Path(installed.artifacts, small.name).unlink()

    with installed.start("run", path_with("python3", sys.executable)) as run:
        assert (run.wait(100), run.errors) == (0, "")

    assert run.output.splitlines()[-1].startswith('[["run"]')


@pytest.mark.parametrize("kind", [LITE, CLASSIC])
def test_a_python_that_is_not_called_python3_is_found(
    plain: Built, small: Path, tmp_path: Path, path_with: Callable[[str, str], dict[str, str]], kind: str
) -> None:
    installed = Installed(_published(plain), [small], tmp_path / "root", kind=kind)
    version, python = list(NEW.items())[-1]
    environment = path_with(f"python{version}", python)
    old = tmp_path / "bin" / "python3"
    old.write_text("#!/bin/sh\necho 'Python 3.6.9'\n[ \"$1\" = --version ]\n", encoding="utf-8")
    old.chmod(0o755)

    with installed.start("install", environment) as install:
        assert (install.wait(100), install.errors) == (0, "")

    assert f"for linux/{MACHINE} py{version};" in install.output


@pytest.mark.parametrize("kind", [LITE, CLASSIC])
@pytest.mark.parametrize("phase", ["install", "run"])
@pytest.mark.parametrize("has_old", [True, False], ids=["old", "none"])
def test_without_a_python_that_is_new_enough_one_line_says_so(
    plain: Built, small: Path, tmp_path: Path, kind: str, phase: str, has_old: bool
) -> None:
    installed = Installed(_published(plain), [small], tmp_path / "root", kind=kind)
    (tmp_path / "bin").mkdir()
    if has_old:
        old = tmp_path / "bin" / "python3"
        old.write_text("#!/bin/sh\necho 'Python 3.6.9'\n[ \"$1\" = --version ]\n", encoding="utf-8")
        old.chmod(0o755)

    with installed.start(phase, {"PATH": str(tmp_path / "bin")}) as script:
        assert (script.wait(20), script.output) == (1, "")

    found = "Python 3.6.9" if has_old else "no python3"
    assert re.fullmatch(
        rf"s3-file-uploader needs Python 3\.10 or newer; found: {re.escape(found)}\. Try: install it .*\.\n",
        script.errors,
    )


@pytest.mark.parametrize("kind", [LITE, CLASSIC])
def test_nothing_in_the_configuration_reaches_the_shell(
    plain: Built, small: Path, tmp_path: Path, kind: str
) -> None:
    recipe = _published(plain)
    evil = {
        "PathName": f'$(touch {tmp_path}/a)`touch {tmp_path}/b`"; touch {tmp_path}/c; "',
        "BucketName": "{x}",
    }
    plainly = Installed(recipe, [small], tmp_path / "root", kind=kind)
    configured = Installed(recipe, [small], tmp_path / "root", kind=kind, configuration=evil)

    assert yaml.safe_dump(configured.configuration) != yaml.safe_dump(plainly.configuration)
    for phase in ("install", "run"):
        assert configured.script(phase) == plainly.script(phase)
