"""A clone of the repository in a folder of another name, and what is built in it; once for each pytest process."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from component.devices import CURRENT, MACHINE, NEW, TELLS, Device, cut_down
from component.gdk import Built, build

_ROOT = Path(__file__).parents[2]
_NOT_CLONED = (
    ".git",
    ".venv*",
    ".*_cache",
    ".hypothesis",
    "__pycache__",
    "build",
    "dist",
    "greengrass-build",
    "out",
)


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What was downloaded once stays in the repository's own build/, for this run and the next."""
    clone = tmp_path_factory.mktemp("component") / "another name"
    shutil.copytree(_ROOT, clone, ignore=shutil.ignore_patterns(*_NOT_CLONED))
    kept = _ROOT / "build" / "component"
    kept.mkdir(parents=True, exist_ok=True)
    (clone / "build").mkdir()
    (clone / "build" / "component").symlink_to(kept)
    # What a clone that is worked in has lying about.
    for stray in (
        "src/s3_file_uploader/__pycache__/x.cpython-311.pyc",
        "src/s3_file_uploader/.x.py.swp",
        "data.csv",
    ):
        (clone / stray).parent.mkdir(exist_ok=True)
        (clone / stray).write_bytes(b"stray")
    return clone


@pytest.fixture(scope="session")
def plain(clone: Path) -> Built:
    """Through Stream Manager, as it is built by default."""
    return _good(build(clone))


@pytest.fixture(scope="session")
def direct(clone: Path) -> Built:
    return _good(build(clone / "packaging" / "component" / "direct"))


@pytest.fixture(scope="session")
def bundled(plain: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact with all wheels for this machine and the Pythons on it."""
    return _with_wheels(plain, list(NEW), tmp_path_factory)


@pytest.fixture(scope="session")
def bundled_direct(direct: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _with_wheels(
        direct, [version for version, path in NEW.items() if path == CURRENT], tmp_path_factory
    )


def _with_wheels(built: Built, versions: list[str], temporary: pytest.TempPathFactory) -> Path:
    """Built beside the one without, which stays in its place."""
    kept = temporary.mktemp("kept") / "greengrass-build"
    shutil.copytree(built.folder / "greengrass-build", kept)
    pythons = " ".join(f"py{version}" for version in versions)
    with_wheels = _good(build(built.folder, WHEELS=f"linux/{MACHINE} {pythons}"))
    artifact = Path(shutil.copy(with_wheels.artifact, temporary.mktemp("bundled") / "s3-file-uploader.zip"))
    shutil.rmtree(built.folder / "greengrass-build")
    shutil.copytree(kept, built.folder / "greengrass-build")
    return artifact


def _good(built: Built) -> Built:
    assert built.code == 0, built.err
    return built


@pytest.fixture
def device(tmp_path: Path) -> Device:
    work = tmp_path / "work" / "a component"
    work.mkdir(parents=True)
    return Device(work)


@pytest.fixture
def small(bundled: Path, tmp_path: Path) -> Path:
    """An artifact that is installed in a second."""
    return cut_down(bundled, tmp_path / "small.zip", build_id="small", program=TELLS)
