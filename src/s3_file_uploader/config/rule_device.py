"""The table of settings, what concerns the device: which files, when they are ready, what becomes of them, retries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from s3_file_uploader.config import notation
from s3_file_uploader.config.declaration import Group, Setting

__all__ = ["DeviceSide"]

_TEN_YEARS_IN_SECONDS = 315_360_000.0

# The annotations below are read at run time, by get_type_hints: hence names that only they use.
_Seconds = Annotated[float, Meta(ge=0.0, le=_TEN_YEARS_IN_SECONDS)]
_IntervalSeconds = Annotated[float, Meta(ge=0.1, le=_TEN_YEARS_IN_SECONDS)]
_BackoffSeconds = Annotated[float, Meta(ge=0.01, le=_TEN_YEARS_IN_SECONDS)]
_OneOrMore = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class DeviceSide:
    """A rule's settings up to the delivery."""

    name: Annotated[
        str,
        Setting(Group.FILES, notation.LABEL, "The rule's name, in logs and on the command line."),
    ]
    path_name: Annotated[
        str,
        Setting(
            Group.FILES,
            notation.PATH_NAME,
            "Which files: a path with wildcards as in Python's glob (`*` matches no dotfiles, `**` any "
            "depth), or a folder with a slash at its end: everything in it.",
        ),
    ]
    bucket_name: Annotated[str, Setting(Group.FILES, notation.BUCKET, "The bucket they go to.")]
    object_key_prefix: Annotated[
        str,
        Setting(
            Group.FILES,
            notation.TEXT,
            "What object names begin with: `<ObjectKeyPrefix>/<file name>`. May hold !{thingName}, "
            "!{hostname} and !{timestamp:yyyy/MM/dd}, the file's own modification time in UTC.",
        ),
    ] = ""
    include: Annotated[
        tuple[str, ...],
        Setting(Group.FILES, notation.PATTERNS, "Only files that match one of these patterns too."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Setting(Group.FILES, notation.PATTERNS, "Not files that match one of these patterns, like `*.tmp`."),
    ] = ()
    follow_symlinks: Annotated[
        bool,
        Setting(
            Group.FILES,
            notation.YES_NO,
            "Also send what symbolic links point to; then the link is removed, never its target.",
        ),
    ] = False
    key_escape: Annotated[
        Literal["auto", "strict", "off"],
        Setting(
            Group.FILES,
            notation.WORD,
            "How names that an object name cannot carry are written: `auto` escapes those only, `strict` all "
            "that Stream Manager would refuse too, `off` parks such files.",
        ),
    ] = "auto"
    interval_seconds: Annotated[
        _IntervalSeconds, Setting(Group.READINESS, notation.DURATION, "Time between scans of the folder.")
    ] = 10.0
    watch: Annotated[
        bool,
        Setting(
            Group.READINESS,
            notation.YES_NO,
            "Be woken by inotify between scans. Scans alone find everything too, only later.",
        ),
    ] = True
    settle_seconds: Annotated[
        _Seconds,
        Setting(
            Group.READINESS,
            notation.DURATION,
            "A file waits until it has not changed for this long.",
            key="SettleTime",
        ),
    ] = 1.0
    settle_unverified_seconds: Annotated[
        _Seconds,
        Setting(
            Group.READINESS,
            notation.DURATION,
            "The same, where nothing can tell whether some process still has the file open for writing.",
            key="SettleTimeUnverified",
        ),
    ] = 10.0
    active_file: Annotated[
        Literal["newest", "none"],
        Setting(
            Group.READINESS,
            notation.WORD,
            "`newest`: the newest file of each folder stays, as its producer may still be writing; `none`: "
            "it goes too.",
        ),
    ] = "newest"
    active_file_timeout_seconds: Annotated[
        _Seconds | None,
        Setting(
            Group.READINESS,
            notation.DURATION,
            "The newest file goes too once it has not changed for this long and nobody has it open.",
            none="never",
        ),
    ] = None
    done_marker: Annotated[
        str,
        Setting(
            Group.READINESS,
            notation.SUFFIX,
            "A file goes only when `<name><DoneMarker>` exists and is not older than it; implies ActiveFile "
            "`none`.",
        ),
    ] = ""
    after_upload: Annotated[
        Literal["delete", "archive", "keep"],
        Setting(
            Group.AFTER_UPLOAD,
            notation.WORD,
            "What happens to a file once its upload is proven: `delete` it, move it to ArchiveDirectory "
            "(`archive`), or `keep` it where it is.",
        ),
    ] = "delete"
    archive_directory: Annotated[
        str, Setting(Group.AFTER_UPLOAD, notation.FOLDER, "Where AfterUpload `archive` moves files.")
    ] = ""
    archive_max_bytes: Annotated[
        _OneOrMore | None,
        Setting(
            Group.AFTER_UPLOAD,
            notation.SIZE,
            "The oldest archived files are removed beyond this size.",
            none="unlimited",
        ),
    ] = None
    archive_max_age_seconds: Annotated[
        _Seconds | None,
        Setting(
            Group.AFTER_UPLOAD,
            notation.DURATION,
            "Archived files are removed after this time.",
            none="never",
        ),
    ] = None
    transport: Annotated[
        Literal["s3", "stream-manager"],
        Setting(
            Group.DELIVERY,
            notation.WORD,
            "What carries the files: straight to S3 (`s3`), or Greengrass Stream Manager (`stream-manager`).",
        ),
    ] = "s3"
    max_attempts: Annotated[
        _OneOrMore | None,
        Setting(
            Group.DELIVERY,
            notation.NUMBER,
            "Attempts before a file is parked; `auto`: without end for what is transient, 5 for what is "
            "refused.",
            none="auto",
        ),
    ] = None
    retry_backoff_seconds: Annotated[
        _BackoffSeconds,
        Setting(
            Group.DELIVERY, notation.DURATION, "Longest wait before the second attempt; doubles each time."
        ),
    ] = 1.0
    retry_backoff_max_seconds: Annotated[
        _BackoffSeconds,
        Setting(Group.DELIVERY, notation.DURATION, "Longest wait between two attempts."),
    ] = 300.0
