"""Runs a piece of code as a user who owns a folder but not the files in it.

As root that is a real other user: the files belong to root, the folder and the process to another
uid. Any other user cannot give files away; then the same code runs against an edge that refuses
leases as the kernel would, so that the test says the same either way and is never skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import s3_file_uploader

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OTHER_UID", "owned_folder", "run_as_folder_owner"]

OTHER_UID = 65534

_PROLOGUE = """
import json, os, sys
from dataclasses import asdict
from s3_file_uploader.errors import *
from s3_file_uploader.ledger.database import Lock, open_reading
from s3_file_uploader.ledger.reader import ledgers_below
from s3_file_uploader.model import *
from s3_file_uploader.source import lease
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.claim import ClaimedSource
from s3_file_uploader.source.removal import *
from s3_file_uploader.source.recovery import *
folder = os.fsencode(sys.argv[1])
class Refusing(Edge):
    def set_lease(self, descriptor, kind):
        raise PermissionError(13, "refused")
edge = Refusing()
if sys.argv[2] == "other user":
    # Only now: the interpreter's own files may be closed to that user. This drops all capabilities.
    os.setgroups([])
    os.setgid(int(sys.argv[3]))
    os.setuid(int(sys.argv[3]))
    edge = Edge()
def fingerprint(name):
    return Fingerprint.of(os.lstat(os.path.join(folder, name)))
def answer(**values):
    print(json.dumps(values))
"""


@contextmanager
def owned_folder() -> Iterator[Path]:
    """A folder of the other user's, outside of pytest's own, which only its user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="owned-"))
    try:
        if os.geteuid() == 0:
            os.chown(folder, OTHER_UID, OTHER_UID)
        yield folder
    finally:
        shutil.rmtree(folder)


def run_as_folder_owner(folder: Path, program: str) -> dict[str, Any]:
    """The values that `program` passes to `answer`."""
    which = "other user" if os.geteuid() == 0 else "same user"
    finished = subprocess.run(
        [sys.executable, "-c", _PROLOGUE + program, str(folder), which, str(OTHER_UID)],
        env={"PYTHONPATH": str(Path(s3_file_uploader.__file__).parents[1])},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    answered: dict[str, Any] = json.loads(finished.stdout)
    return answered
