"""A rule's folders: may we read and remove there, and what tells that nobody writes a file?

Leases and rights are tried on files that are there already. No file is ever made in a user's folder.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from s3_file_uploader.cli.doctor.finding import Finding, fail, ok, warn
from s3_file_uploader.cli.matching import selection_of
from s3_file_uploader.model import printable
from s3_file_uploader.source import inotify, lease
from s3_file_uploader.source.edge import FILE_FLAGS, Edge
from s3_file_uploader.source.lease import LeaseResult
from s3_file_uploader.source.scan import Batch, Trouble, scan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_file_uploader.config import Rule
    from s3_file_uploader.model import Candidate

__all__ = ["Sample", "examine_folders", "sample_of"]

_MOST_FOLDERS = 20
_MOST_FILES = 20  # tried for leases and read permission
_LOOKED_AT = 1000  # what a scan may show before this stops looking


@dataclass(slots=True)
class Sample:
    """A part of what the rule takes: enough to tell, however large the folder is."""

    folders: dict[bytes, None] = field(default_factory=dict)
    candidates: list[Candidate] = field(default_factory=list)
    troubles: list[Trouble] = field(default_factory=list)


def examine_folders(rule: Rule) -> Iterator[Finding]:
    """All findings on one rule's side of the disk."""
    area = f"folder ({rule.name})"
    base = selection_of(rule).pattern.base
    if not os.path.isdir(base):
        yield warn(
            area,
            f"{printable(base)} does not exist",
            "Nothing to do if it is made later: it is waited for. Else look at PathName.",
        )
        return
    sample = sample_of(rule)
    for trouble in sample.troubles[:_MOST_FOLDERS]:
        yield fail(
            area,
            f"{printable(trouble.folder)} cannot be looked at: {trouble.reason}",
            "Give the user that runs s3-file-uploader the right to read and enter the folder.",
        )
    for folder in list(sample.folders)[:_MOST_FOLDERS] or [base]:
        yield _rights(rule, area, folder)
    yield from _unreadable(area, sample.candidates)
    yield _evidence(rule, sample.candidates)
    yield _watch(rule, next(iter(sample.folders), base))


def sample_of(rule: Rule) -> Sample:
    sample = Sample()
    seen = scan(selection_of(rule), follow_symlinks=rule.follow_symlinks)
    for one in islice(seen, _LOOKED_AT):
        if isinstance(one, Trouble):
            sample.troubles.append(one)
        elif isinstance(one, Batch):
            sample.folders[one.folder] = None
            sample.candidates += one.candidates[: _MOST_FILES - len(sample.candidates)]
        if len(sample.candidates) >= _MOST_FILES:
            break
    return sample


def _rights(rule: Rule, area: str, folder: bytes) -> Finding:
    shown = printable(folder)
    removes = rule.after_upload != "keep"
    if removes and os.statvfs(folder).f_flag & os.ST_RDONLY:  # first: it shows as a missing right, too
        return fail(area, f"{shown} is mounted read-only", "Mount it writable, or set AfterUpload to keep.")
    wanted = os.R_OK | os.X_OK | (os.W_OK if removes else 0)
    if not os.access(folder, wanted, effective_ids=True):
        missing = [
            word
            for word, right in (("read", os.R_OK), ("write", os.W_OK), ("enter", os.X_OK))
            if wanted & right and not os.access(folder, right, effective_ids=True)
        ]
        return fail(
            area,
            f"no right to {', '.join(missing)} {shown}"
            + (" (removing a file writes its folder)" if removes else ""),
            "Give the user that runs s3-file-uploader that right, or set AfterUpload to keep.",
        )
    status = os.stat(folder)
    if removes and status.st_mode & stat.S_ISVTX and os.geteuid() not in (0, status.st_uid):
        return warn(
            area,
            f"{shown} has the sticky bit: only a file's owner can remove it",
            "Run as the files' owner, or take the bit away (chmod -t), or set AfterUpload to keep.",
        )
    return ok(area, f"{shown}: may be read{' and files removed' if removes else ''}")


def _unreadable(area: str, candidates: list[Candidate]) -> Iterator[Finding]:
    for one in candidates:
        if not os.access(one.path, os.R_OK, effective_ids=True):
            yield fail(
                area,
                f"{printable(one.path)} cannot be read",
                "Give the user that runs s3-file-uploader read permission on the files (a common group, an ACL).",
            )
            return


def _evidence(rule: Rule, candidates: list[Candidate]) -> Finding:
    """What tells that no process has a file open for writing, tried on files that are there."""
    area = f"writers ({rule.name})"
    if rule.done_marker:
        return ok(area, f"the producer says so itself (DoneMarker {rule.done_marker})")
    results = {result for one in candidates if (result := _lease(one)) is not None}
    if not results:
        return ok(area, "unknown: there is no file yet to try a read lease on")
    if LeaseResult.NO_EVIDENCE not in results:
        return ok(area, "read leases tell whether a process has a file open for writing")
    how = "closes watched by inotify" if rule.watch else "time"
    return warn(
        area,
        f"read leases are refused (another owner's files, or a file system without them); {how} "
        f"and SettleTimeUnverified ({rule.settle_unverified_seconds:g} s) are used instead",
        "Nothing to do if producers never pause longer than that in the middle of a file. "
        "Else run as the files' owner or with CAP_LEASE, or use DoneMarker.",
    )


def _lease(one: Candidate) -> LeaseResult | None:
    try:
        descriptor = os.open(one.path, FILE_FLAGS if one.is_symlink else FILE_FLAGS | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return lease.probe(Edge(), descriptor)
    finally:
        os.close(descriptor)


def _watch(rule: Rule, folder: bytes) -> Finding:
    area = f"inotify ({rule.name})"
    only_scans = f"files are found by scans alone, every {rule.interval_seconds:g} s"
    if not rule.watch:
        return ok(area, f"Watch is off: {only_scans}")
    try:
        instance = inotify.Inotify()
    except OSError as error:
        advice = "Raise fs.inotify.max_user_instances (sysctl), or set Watch to off."
        return warn(area, f"no inotify instance: {error.strerror}; {only_scans}", advice)
    try:
        kind = instance.network_file_system(folder)
        if kind is not None:
            return warn(area, f"{printable(folder)} lies on {kind}: {only_scans}", "Nothing to do.")
        instance.add(folder, inotify.CLOSE_WRITE)
    except OSError as error:
        advice = "Raise fs.inotify.max_user_watches (sysctl), or set Watch to off."
        return warn(area, f"{printable(folder)} cannot be watched: {error.strerror}; {only_scans}", advice)
    finally:
        instance.close()
    return ok(area, f"{printable(folder)} can be watched")
