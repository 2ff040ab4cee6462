"""Makes one environment: a virtual environment with the pinned packages and the program in it.

It is built under a name of its own and renamed when all of it has reached the disk. Killed at any moment, or
cut off from power, it leaves nothing that looks complete.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

from component_install.artifact import PACKAGE
from component_install.packages import install_packages
from component_install.place import COMPLETE, IN_USE
from component_install.refusal import Refusal, Say

if TYPE_CHECKING:
    from component_install.artifact import Artifact
    from component_install.place import Place

__all__ = ["make_environment"]

_SCRATCH = ".scratch"


def make_environment(artifact: Artifact, place: Place, name: str, say: Say) -> None:
    """Whoever calls holds the lock. Refusal or OSError where it cannot be made; then nothing is left of it."""
    place.remove_leftovers()
    folder = tempfile.mkdtemp(prefix=".new-", dir=place.environments)
    try:
        os.chmod(folder, 0o755)  # noqa: S103  # for people who look, under another name
        _make_virtual(folder)
        scratch = os.path.join(folder, _SCRATCH)
        os.mkdir(scratch)
        install_packages(artifact, os.path.join(folder, "bin", "python"), scratch, say)
        shutil.rmtree(scratch)
        _fill(artifact, folder)
        _finish(folder, artifact.build_id, place.environment(name))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _make_virtual(folder: str) -> None:
    try:
        import venv  # noqa: PLC0415  # some systems split it off
    except ImportError:
        raise Refusal(
            f"{sys.executable} has no module venv",
            "install the rest of Python's standard library (Debian, Ubuntu: sudo apt install python3-venv), then "
            "deploy again",
        ) from None

    class Bare(venv.EnvBuilder):
        def setup_scripts(self, context: object) -> None:
            """No `activate`: nothing here is for a shell, and it would name the folder's first name."""

    # Without pip, which needs ensurepip, which Debian and Ubuntu split off: the artifact brings its own.
    Bare(with_pip=False, symlinks=True).create(folder)


def _fill(artifact: Artifact, folder: str) -> None:
    packages = _site_packages(folder)
    for name in artifact.below(PACKAGE):
        artifact.copy(name, os.path.join(packages, *name.split("/")))
    compileall.compile_dir(packages, quiet=2)
    scripts = os.path.join(folder, "bin")
    for name in os.listdir(
        scripts
    ):  # commands of packages: nobody calls them, and they name the first folder
        if not name.startswith("python"):
            os.unlink(os.path.join(scripts, name))


def _site_packages(folder: str) -> str:
    return os.path.join(folder, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages")


def _finish(folder: str, build_id: str, target: str) -> None:
    os.close(os.open(os.path.join(folder, IN_USE), os.O_CREAT | os.O_WRONLY, 0o644))
    os.sync()  # once for thousands of files: to sync each takes minutes on a memory card
    with open(os.path.join(folder, COMPLETE), "w", encoding="utf-8") as stamp:
        stamp.write(f"{build_id}\n")
        stamp.flush()
        os.fsync(stamp.fileno())
    shutil.rmtree(target, ignore_errors=True)  # one whose Python went away
    os.rename(folder, target)
    _sync_folder(os.path.dirname(target))


def _sync_folder(path: str) -> None:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
