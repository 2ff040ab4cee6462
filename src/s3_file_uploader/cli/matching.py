"""Why a rule does not take a file, in words; for `explain`. Asks the disk only what kind of thing it is."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from s3_file_uploader.model import printable
from s3_file_uploader.source.hidden import is_hidden
from s3_file_uploader.source.selection import Filter, Selection

if TYPE_CHECKING:
    from s3_file_uploader.config import Rule

__all__ = ["selection_of", "why_not"]


def selection_of(rule: Rule) -> Selection:
    return Selection.parse(
        rule.path_name, include=rule.include, exclude=rule.exclude, done_marker=rule.done_marker
    )


def why_not(rule: Rule, path: bytes) -> str:
    """The first reason why the rule does not take this absolute path; "" where it does."""
    selection = selection_of(rule)
    folder, name = os.path.split(path)
    return (
        _kind_reason(rule, path)
        or _folder_reason(selection, folder)
        or _name_reason(rule, selection, folder, name)
    )


def _folder_reason(selection: Selection, folder: bytes) -> str:
    pattern = selection.pattern
    if pattern.holds_files(pattern.places(folder)):
        return ""
    base = printable(pattern.base)
    if folder != pattern.base and not folder.startswith(pattern.base.rstrip(b"/") + b"/"):
        return f"it does not lie in {base}"
    if not pattern.folder_has_wildcard:
        return f"it lies deeper than {base}: `**` in a pattern reaches into folders"
    return f"its folder does not match {pattern.text}"


def _name_reason(rule: Rule, selection: Selection, folder: bytes, name: bytes) -> str:
    pattern = selection.pattern
    last = pattern.segments[-1].text
    if is_hidden(name):
        return "it has the name of a file that is being removed"
    if not pattern.matches_name(name):
        hint = ": wildcards do not match a leading dot" if name.startswith(b".") else ""
        return f"its name does not match {last}{hint}"
    if selection.marked(name) is not None:
        return f"it is a done marker ({rule.done_marker})"
    relative = pattern.relative_folder(folder)
    if selection.include and not any(wanted.chooser(relative)(name) for wanted in selection.include):
        return f"no pattern of Include matches it ({', '.join(rule.include)})"
    for text in rule.exclude:
        if Filter.parse(text).chooser(relative)(name):
            return f"Exclude {text} matches it"
    return ""


def _kind_reason(rule: Rule, path: bytes) -> str:
    try:
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            if not rule.follow_symlinks:
                return "it is a symbolic link, and FollowSymlinks is off"
            status = os.stat(path)
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"
    return "" if stat.S_ISREG(status.st_mode) else "it is not a regular file"
