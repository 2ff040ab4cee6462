"""The machine: ledger, free space, limits of the system, versions."""

from __future__ import annotations

import contextlib
import os
import resource
import sqlite3
import sys
from typing import TYPE_CHECKING

from s3_file_uploader import __version__
from s3_file_uploader.cli.doctor.finding import Finding, fail, ok, warn
from s3_file_uploader.cli.presentation import size
from s3_file_uploader.cli.version_command import LIBRARIES, library_version
from s3_file_uploader.errors import LedgerError
from s3_file_uploader.ledger.database import Lock
from s3_file_uploader.ledger.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["examine_disk", "examine_ledger", "examine_limits", "examine_versions"]

_LITTLE_SPACE_BYTES = 100 * 1000 * 1000
_LITTLE_INODES = 1000
_FEW_FILES = 512
_OLDEST_SQLITE = (3, 34, 0)


def examine_ledger(folder: str) -> Iterator[Finding]:
    area = "ledger"
    if not os.path.isdir(folder):
        yield _can_be_made(area, folder)
        return
    try:
        reader = Reader.open(folder)
        if reader is None:
            yield ok(area, f"{folder}: nothing written yet")
        else:
            with reader:
                yield _soundness(area, folder, reader)
    except LedgerError as error:
        yield fail(area, str(error), error.advice)
    lock = Lock(folder)
    with contextlib.suppress(LedgerError):  # no right to look: said above
        yield ok("daemon", f"{lock.holder()} runs" if lock.is_held() else "none runs")


def _soundness(area: str, folder: str, reader: Reader) -> Finding:
    if reader.is_sound():
        return ok(area, f"{folder}: sound")
    return fail(area, f"{folder}: damaged", "Stop the daemon, then `s3-file-uploader ledger set-aside`.")


def _can_be_made(area: str, folder: str) -> Finding:
    above = folder
    while not os.path.isdir(above):
        above = os.path.dirname(above)
    if os.access(above, os.W_OK | os.X_OK, effective_ids=True):
        return ok(area, f"{folder}: will be made")
    return fail(
        area,
        f"{folder} cannot be made: no right to write {above}",
        "Set StateDirectory to a folder of the user that runs s3-file-uploader.",
    )


def examine_disk(folders: Iterable[str]) -> Iterator[Finding]:
    """Free space, once for each file system."""
    seen: set[int] = set()
    for folder in folders:
        there = folder
        while not os.path.isdir(there):
            there = os.path.dirname(there)
        device = os.stat(there).st_dev
        if device not in seen:
            seen.add(device)
            yield _space(there)


def _space(folder: str) -> Finding:
    status = os.statvfs(folder)
    free_bytes, free_inodes = status.f_bavail * status.f_frsize, status.f_favail
    if free_bytes < _LITTLE_SPACE_BYTES:
        return warn(
            "disk",
            f"{folder}: only {size(free_bytes)} free",
            "Make room: the ledger needs a little to go on.",
        )
    if status.f_files and free_inodes < _LITTLE_INODES:
        return warn("disk", f"{folder}: only {free_inodes} inodes free", "Remove files that nobody needs.")
    return ok("disk", f"{folder}: {size(free_bytes)} free")


def examine_limits() -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEW_FILES:
        yield warn(
            "limits",
            f"only {soft} open files allowed",
            "Raise it (ulimit -n, LimitNOFILE) or lower Concurrency.",
        )
    else:
        yield ok("limits", f"{soft} open files allowed")
    watches, instances = _limit("max_user_watches"), _limit("max_user_instances")
    if watches:
        yield ok("inotify", f"{watches} watches and {instances} instances allowed for each user")
    else:
        yield warn("inotify", "this system has none: files are found by scans alone", "Nothing to do.")


def _limit(name: str) -> str:
    try:
        with open(f"/proc/sys/fs/inotify/{name}", encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def examine_versions() -> Iterator[Finding]:
    python = ".".join(map(str, sys.version_info[:3]))
    versions = {name: library_version(name) for name in LIBRARIES}
    missing = [name for name, version in versions.items() if version == "missing"]
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    text = f"s3-file-uploader {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}, {listed}"
    if missing:
        yield fail("versions", text, f"Install what is missing: pip install {' '.join(missing)}")
    elif sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        yield fail("versions", text, "SQLite 3.34 or newer is needed: use a newer Python or system.")
    else:
        yield ok("versions", text)
