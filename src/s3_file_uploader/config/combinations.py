"""Settings that are fine one by one and wrong together, within a rule and between rules.

Two rules never claim one file, and nothing we write is ever scanned: both are refused here, before the
first scan. Folders are compared as written and again where their links lead.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from s3_file_uploader.config.attribute_combinations import check_attributes
from s3_file_uploader.config.carriage import check_carriage, check_effect, needs_store
from s3_file_uploader.config.notation import BUCKET
from s3_file_uploader.config.problems import shown
from s3_file_uploader.keys import prefix_problem
from s3_file_uploader.placeholders import names_used
from s3_file_uploader.source.pattern import Pattern
from s3_file_uploader.source.segment import escape
from s3_file_uploader.source.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from s3_file_uploader.config.problems import Problems
    from s3_file_uploader.config.settings import Rule

__all__ = ["check_deliverable", "check_rule", "check_rules", "check_state_directory"]

_AWS_BUCKET = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
_ARCHIVE_KEYS = (
    ("ArchiveDirectory", "archive_directory"),
    ("ArchiveMaxBytes", "archive_max_bytes"),
    ("ArchiveMaxAge", "archive_max_age_seconds"),
)


def check_rule(rule: Rule, origins: Mapping[tuple[str, str], str], problems: Problems) -> None:
    """What can be said of one rule whatever it is loaded for."""
    where = f"rule {rule.name}"
    is_strict = rule.key_escape == "strict" or rule.transport == "stream-manager"
    reason = prefix_problem(rule.object_key_prefix, strict=is_strict)
    if reason:
        origin = origins[rule.name, "ObjectKeyPrefix"]
        problems.add(f"{origin}: ObjectKeyPrefix is {shown(rule.object_key_prefix)}: {reason}")
    is_arn = rule.bucket_name.startswith("arn:")  # the transport says which of these can be used
    if not rule.endpoint_url and not is_arn and not re.fullmatch(_AWS_BUCKET, rule.bucket_name):
        problems.add(
            f"{origins[rule.name, 'BucketName']}: BucketName is {shown(rule.bucket_name)}, which AWS does not "
            f"know; allowed: {BUCKET.allowed}"
        )
    if rule.done_marker and rule.active_file != "none":
        problems.add(f"{where}: DoneMarker says when a file is finished: ActiveFile can only be none")
    if rule.after_upload == "archive" and not rule.archive_directory:
        problems.add(f"{where}: AfterUpload is archive: ArchiveDirectory must say where to")
    if rule.retry_backoff_max_seconds < rule.retry_backoff_seconds:
        problems.add(f"{where}: RetryBackoffMax is shorter than RetryBackoff")
    check_attributes(rule, problems)
    check_carriage(rule, origins, problems)


def check_deliverable(
    rule: Rule, origins: Mapping[tuple[str, str], str], environment: Mapping[str, str], problems: Problems
) -> None:
    """What only a command that delivers needs."""
    where = f"rule {rule.name}"
    if needs_store(rule) and not rule.region:
        problems.add(
            f"{where}: Region is missing: give --region, Region in the configuration, AWS_REGION, "
            "or a region in the profile"
        )
    if "thingName" in names_used(rule.object_key_prefix) and not environment.get("AWS_IOT_THING_NAME"):
        problems.add(f"{where}: ObjectKeyPrefix has !{{thingName}}, and AWS_IOT_THING_NAME is not set")
    if not rule.path_name.endswith("/") and os.path.isdir(_bytes(rule.path_name)):
        problems.add(
            f"{origins[rule.name, 'PathName']}: PathName is {shown(rule.path_name)}, a folder; for "
            "everything in it write "
            f"{shown(rule.path_name + '/*')}"
        )


def check_rules(rules: Sequence[Rule], origins: Mapping[tuple[str, str], str], problems: Problems) -> None:
    """What the rules say of each other."""
    selections = [(rule, _ways(rule)) for rule in rules]
    for (one, its), (other, others) in combinations(selections, 2):
        if one.name == other.name:
            problems.add(f"two rules are called {one.name}: each needs a Name of its own")
        if any(mine.overlaps(theirs) for mine in its for theirs in others):
            problems.add(
                f"rules {one.name} and {other.name} would claim the same files: {shown(one.path_name)} and "
                f"{shown(other.path_name)}; keep them apart by PathName or Exclude"
            )
    for rule in rules:
        _check_archive(rule, rules, origins, problems)
        check_effect(rule, rules, origins, problems)
        if rule.after_upload == "archive" and rule.archive_directory:
            _check_not_scanned(rule, selections, problems)


def _check_archive(
    rule: Rule, rules: Iterable[Rule], origins: Mapping[tuple[str, str], str], problems: Problems
) -> None:
    """Archive settings need a rule that archives; a default for all may leave out some rules."""
    if rule.after_upload == "archive":
        return
    for key, attribute in _ARCHIVE_KEYS:
        origin = origins[rule.name, key]
        is_shared = any(
            each.after_upload == "archive" and origins[each.name, key] == origin for each in rules
        )
        if getattr(rule, attribute) and not is_shared:
            problems.add(f"{origin}: {key} has no effect: AfterUpload is {rule.after_upload}, not archive")


def _check_not_scanned(
    archiving: Rule, selections: Iterable[tuple[Rule, list[Selection]]], problems: Problems
) -> None:
    folders = _as_written_and_real(_bytes(archiving.archive_directory))
    own = Pattern.parse(archiving.path_name)
    for rule, ways in selections:
        if any(
            way.pattern.could_contain_folder(folder) or way.pattern.overlaps(own.rebased(folder))
            for way in ways
            for folder in folders
        ):
            problems.add(
                f"rule {archiving.name}: ArchiveDirectory is {shown(archiving.archive_directory)}, which "
                f"rule {rule.name} scans: archived files would be sent again"
            )


def check_state_directory(state_directory: str, rules: Iterable[Rule], problems: Problems) -> None:
    """The ledger must not ship itself."""
    folders = _as_written_and_real(_bytes(state_directory))
    below = [Pattern.parse(escape(folder).rstrip("/") + "/**") for folder in folders]
    for rule in rules:
        patterns = [way.pattern for way in _ways(rule)]
        scanned = any(pattern.could_contain_folder(folder) for pattern in patterns for folder in folders)
        if scanned or any(pattern.overlaps(own) for pattern in patterns for own in below):
            problems.add(
                f"StateDirectory is {shown(state_directory)}, which rule {rule.name} scans: "
                "give it another place"
            )


def _ways(rule: Rule) -> list[Selection]:
    """What the rule selects, by its folder as written and by where its links lead."""
    selection = Selection.parse(
        rule.path_name, include=rule.include, exclude=rule.exclude, done_marker=rule.done_marker
    )
    bases = _as_written_and_real(selection.pattern.base)
    return [replace(selection, pattern=selection.pattern.rebased(base)) for base in bases]


def _as_written_and_real(folder: bytes) -> list[bytes]:
    folder = b"/" + b"/".join(part for part in folder.split(b"/") if part not in (b"", b"."))
    real = os.path.realpath(folder)
    return [folder] if real == folder else [folder, real]


def _bytes(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape")
