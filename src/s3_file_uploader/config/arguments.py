"""SRC and DST of the command line, as the settings they stand for.

SRC is a folder (everything in it), a file, or a quoted pattern; DST is `s3://bucket/prefix`. On a
command line a relative path begins at the current folder and `~` is the home folder, as in any shell.
"""

from __future__ import annotations

import glob
import os
import re

from s3_file_uploader.errors import ConfigurationError

__all__ = ["absolute", "destination_settings", "path_name_of"]

_SCHEME = "s3://"


def absolute(path: str) -> str:
    """The path from the root, without `.`, `..` and doubled slashes; a slash at its end stays."""
    if not path:
        return path
    whole = os.path.abspath(os.path.expanduser(path))
    return whole + "/" if path.endswith("/") and not whole.endswith("/") else whole


def path_name_of(source: str) -> str:
    """The PathName that SRC means. What exists under exactly that name is meant literally."""
    if not source:
        raise ConfigurationError("argument SRC is empty", advice=_SOURCE_ADVICE)
    if source.startswith(_SCHEME):
        raise ConfigurationError(
            f"argument SRC is {source!r}: files go from this machine to S3, never back", advice=_SOURCE_ADVICE
        )
    path = absolute(source)
    if path.endswith("/") or os.path.isdir(path):
        exact = os.path.isdir(path) or not glob.has_magic(path)
        folder = path.rstrip("/")
        return (glob.escape(folder) if exact else folder) + "/*"
    if os.path.lexists(path):
        return glob.escape(path)
    if not glob.has_magic(path):
        raise ConfigurationError(
            f"argument SRC: {path} does not exist",
            advice=f"For a folder that is to come, write {path}/ with a slash at its end. {_SOURCE_ADVICE}",
        )
    return path


def destination_settings(destination: str) -> dict[str, str]:
    """BucketName, and ObjectKeyPrefix where there is one, from `s3://bucket/prefix`."""
    rest = destination[len(_SCHEME) :]
    # An ARN may hold one slash of its own: arn:aws:s3:eu-west-1:123456789012:accesspoint/cars
    arn = re.match(r"arn:[^/]*accesspoint/[^/]+", rest)
    bucket, prefix = (arn[0], rest[arn.end() + 1 :]) if arn else rest.partition("/")[::2]
    if not destination.startswith(_SCHEME) or not bucket:
        raise ConfigurationError(
            f"argument DST is {destination!r}; allowed: s3://bucket or s3://bucket/prefix",
            advice="Write the destination as s3://bucket/prefix; a store's address goes to --endpoint-url.",
        )
    return {"BucketName": bucket, "ObjectKeyPrefix": prefix} if prefix else {"BucketName": bucket}


_SOURCE_ADVICE = "SRC is a folder, or a pattern in quotes: '/data/*.csv'."
