"""The whole program as a user who owns a folder but not the files in it: as the component is deployed.

As root that is a real other user without any capability; the files belong to root. Anybody else cannot
give files away: then the same command runs with leases refused as the kernel would refuse them. So the
tests say the same either way, and are never skipped.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import s3_file_uploader
from s3_file_uploader.ledger import Ledger
from support.other_owner import OTHER_UID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.seaweed import SeaweedFS

__all__ = ["Owner", "Running", "folder_owner"]

_LEDGER = "owned"
_PROGRAM = """
import encodings.ascii, encodings.idna, encodings.latin_1, importlib, os, pkgutil, sys
import awscrt.auth, awscrt.checksums, awscrt.io, msgspec, tqdm, yaml
import s3_file_uploader
from s3_file_uploader.cli import main
# All of it now: the interpreter's own files may be closed to the other user.
for module in pkgutil.walk_packages(s3_file_uploader.__path__, "s3_file_uploader."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
from s3_file_uploader.source.edge import Edge
user = sys.argv.pop(1)
if user == "same":
    def refused(self, descriptor, kind):
        raise PermissionError(13, "refused")
    Edge.set_lease = refused
else:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))  # which drops all capabilities
sys.exit(main(sys.argv[1:]))
"""


@dataclass(frozen=True)
class Running:
    """A `run` at work."""

    process: subprocess.Popen[bytes]
    log: Path

    def until(self, condition: Callable[[], bool]) -> None:
        """The test's own timeout is the bound."""
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.05)

    def lines(self, event: str) -> int:
        return sum(f" {event} " in line for line in self.log.read_text().splitlines())

    def stop(self) -> str:
        """Its log."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait() == 0, self.log.read_text()
        return self.log.read_text()


@dataclass(frozen=True)
class Owner:
    """`folder` belongs to the owner; what a test writes into it belongs to whoever runs the tests."""

    home: Path
    server: SeaweedFS
    bucket: str

    @property
    def folder(self) -> Path:
        return self.home / "data"

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            **self.server.environment,
            "HOME": str(self.home),
            "PYTHONPATH": str(Path(s3_file_uploader.__file__).parents[1]),
        }

    def command(self, *arguments: str) -> list[str]:
        user = str(OTHER_UID) if os.geteuid() == 0 else "same"
        place = ("--state-directory", str(self.home / "state"), "--name", _LEDGER)
        return [sys.executable, "-c", _PROGRAM, user, *arguments, *place]

    def moving(self, verb: str, *more: str) -> list[str]:
        """`run` or `drain` on the folder."""
        return self.command(verb, f"{self.folder}/", f"s3://{self.bucket}", *more)

    def type(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, env=self.environment, cwd=self.home, capture_output=True, text=True, check=False
        )

    @contextmanager
    def running(self, *more: str) -> Iterator[Running]:
        log = self.home / "run.log"
        with (
            open(log, "ab") as errors,
            subprocess.Popen(
                self.moving("run", *more), env=self.environment, cwd=self.home, stderr=errors
            ) as process,
        ):
            try:
                yield Running(process, log)
            finally:
                process.kill()

    def give(self, path: Path) -> None:
        """To the owner."""
        if os.geteuid() == 0:
            os.chown(path, OTHER_UID, OTHER_UID)


@contextmanager
def folder_owner(server: SeaweedFS, bucket: str) -> Iterator[Owner]:
    home = Path(tempfile.mkdtemp(prefix="owner-"))
    try:
        owner = Owner(home, server, bucket)
        owner.folder.mkdir()
        # Made here, as the file of its schema may be closed to the other user.
        Ledger.open(str(home / "state"), _LEDGER).close()
        for path in (home, owner.folder, home / "state", home / "state" / _LEDGER):
            owner.give(path)
        for path in (home / "state" / _LEDGER).iterdir():
            owner.give(path)
        yield owner
    finally:
        shutil.rmtree(home)
