"""A device without its nucleus: its Pythons, what the artifact is given there, and artifacts cut down for tests."""

from __future__ import annotations

import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["CURRENT", "MACHINE", "NEW", "OLD", "TELLS", "Device", "cut_down", "tree_of", "unpacked"]

MACHINE = os.uname().machine
_SECONDS = 100.0


def _found(versions: list[str]) -> dict[str, str]:
    """Those that really run: version managers leave names that do not. By version, with every link followed."""
    home = pwd.getpwuid(os.getuid()).pw_dir  # HOME is the test's own
    managed = os.path.join(os.environ.get("PYENV_ROOT", os.path.join(home, ".pyenv")), "versions")
    paths: dict[str, str] = {}
    for version in versions:
        for candidate in (
            f"python{version}",
            *sorted(glob.glob(f"{managed}/{version}.*/bin/python{version}")),
        ):
            asked = [candidate, "-c", "import sys; sys.stdout.write(sys.executable)"]
            try:
                said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
            except (OSError, subprocess.CalledProcessError):
                continue
            paths.setdefault(version, os.path.realpath(said))
    return paths


def _new() -> dict[str, str]:
    """With the one that runs the tests, whatever it is called."""
    own = f"{sys.version_info[0]}.{sys.version_info[1]}"
    tested = ["3.10", "3.11", "3.12", "3.13"]
    base = {own: os.path.realpath(sys._base_executable)}  # type: ignore[attr-defined]
    return dict(sorted({**_found(tested), **(base if own in tested else {})}.items()))


OLD = _found(["2.7", "3.6", "3.7", "3.8", "3.9"])
NEW = _new()
CURRENT = NEW.get(f"{sys.version_info[0]}.{sys.version_info[1]}", list(NEW.values())[-1])
# A Python that runs the artifact and is killed, with all that it started, at the given audit event.
_KILLED_AT = """
import os, runpy, signal, sys
event, ending, *sys.argv = sys.argv[1:]
def watch(name, arguments):
    if name == event and any(isinstance(each, str) and each.endswith(ending) for each in arguments):
        os.killpg(0, signal.SIGKILL)
sys.path.insert(0, sys.argv[0])
sys.addaudithook(watch)
runpy.run_path(sys.argv[0], run_name="__main__")
"""
_WITHOUT_ENSUREPIP = """
import runpy, sys
sys.argv = sys.argv[1:]
sys.modules["ensurepip"] = None
sys.path.insert(0, sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


# What runs instead of the program: tells how it was started, waits for a line, imports what it has not yet.
TELLS = """
import json, os, sys
names = ("STATE_DIRECTORY", "PYTHONUNBUFFERED", "PYTHONPATH")
print(json.dumps({
    "arguments": sys.argv[1:], "isolated": sys.flags.isolated, "prefix": sys.prefix,
    "file": __file__, "environment": {name: os.environ.get(name) for name in names},
}), flush=True)
sys.stdin.readline()
from s3_file_uploader import lifecycle
print("still here")
"""


@dataclass
class Device:
    """`work` is the component's work folder. The environment is what a nucleus gives, and no index can be reached."""

    work: Path
    python: str = CURRENT
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        unreachable = {
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
            "PIP_RETRIES": "0",
        }
        return {"PATH": "/usr/bin:/bin", "HOME": str(self.work), **unreachable, **self.more}

    @property
    def environments(self) -> list[str]:
        """Complete ones by name; what is hidden beside them is no business of a test."""
        return sorted(name for name in os.listdir(self.work / "environments") if not name.startswith("."))

    @property
    def leftovers(self) -> list[str]:
        return sorted(
            name for name in os.listdir(self.work / "environments") if name.startswith((".new", ".old"))
        )

    def install(self, artifact: Path) -> subprocess.CompletedProcess[str]:
        return self._done(self.start(artifact, "install"))

    def run(self, artifact: Path) -> subprocess.CompletedProcess[str]:
        return self._done(self.start(artifact, "run"))

    def start(self, artifact: Path, command: str) -> subprocess.Popen[str]:
        return self._start([self.python, "-I", "-B", str(artifact), command, str(self.work)])

    def start_plainly(self, artifact: Path, command: str) -> subprocess.Popen[str]:
        """Without -I, which old Pythons do not know."""
        return self._start([self.python, str(artifact), command, str(self.work)])

    def install_killed_at(self, artifact: Path, event: str, ending: str) -> int:
        program = [
            self.python,
            "-I",
            "-c",
            _KILLED_AT,
            event,
            ending,
            str(artifact),
            "install",
            str(self.work),
        ]
        return self._done(self._start(program)).returncode

    def install_without_ensurepip(self, artifact: Path) -> subprocess.CompletedProcess[str]:
        program = [
            self.python,
            "-I",
            "-B",
            "-c",
            _WITHOUT_ENSUREPIP,
            str(artifact),
            "install",
            str(self.work),
        ]
        return self._done(self._start(program))

    def typed(self, *arguments: str) -> str:
        """The small command for people, with nothing in its environment."""
        launcher = str(self.work / "s3-file-uploader")
        return subprocess.run(
            [launcher, *arguments], env={}, capture_output=True, text=True, check=True
        ).stdout

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _done(self, process: subprocess.Popen[str]) -> subprocess.CompletedProcess[str]:
        try:
            out, err = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def cut_down(
    artifact: Path, target: Path, *, build_id: str, program: str | None = None, has_wheels: bool = True
) -> Path:
    """An artifact with one requirement, which is installed in a second; `program` is run instead of the real one."""
    with zipfile.ZipFile(artifact) as source, zipfile.ZipFile(target, "w") as cut:
        for name in source.namelist():
            content = source.read(name)
            if name == "build.json":
                content = json.dumps({**json.loads(content), "build_id": build_id}).encode()
            elif name == "requirements.txt":
                content = _only(content.decode(), "tqdm").encode()
            elif name == "s3_file_uploader/__main__.py" and program is not None:
                content = program.encode()
            if _stays(name, is_whole=program is None, has_wheels=has_wheels):
                cut.writestr(name, content)
    return target


def _stays(name: str, *, is_whole: bool, has_wheels: bool) -> bool:
    """Without wheels but one, and without most of a program that does not run."""
    if name.startswith("wheels/"):
        return has_wheels and "/tqdm-" in name
    return is_whole or not name.startswith("s3_file_uploader/") or name.count("/") == 1


def _only(requirements: str, name: str) -> str:
    blocks = requirements.replace("\\\n", "\0").splitlines()
    [block] = [block for block in blocks if block.startswith(f"{name}==")]
    return block.replace("\0", "\\\n") + "\n"


def unpacked(artifact: Path, folder: Path) -> Path:
    """As a nucleus unpacks: files that can only be read."""
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(artifact) as archive:
        archive.extractall(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(0o440)
    return folder


def tree_of(folder: Path) -> Mapping[str, tuple[int, int]]:
    """Every file with its size and the time of its last change."""
    stats = {str(path.relative_to(folder)): path.lstat() for path in folder.rglob("*")}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}
