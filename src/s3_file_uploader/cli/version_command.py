"""`s3-file-uploader version`."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader import __version__

if TYPE_CHECKING:
    import argparse

__all__ = ["LIBRARIES", "add_arguments", "run"]

LIBRARIES = ("awscrt", "msgspec", "PyYAML", "tqdm")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON, with those of the libraries")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    if not arguments.json:
        out.write(f"s3-file-uploader {__version__} (Python {platform.python_version()})\n")
        return 0
    import json  # noqa: PLC0415  # only where it was asked for

    versions = {"s3-file-uploader": __version__, "python": platform.python_version(), "sqlite": _sqlite()}
    versions |= {name: library_version(name) for name in LIBRARIES}
    out.write(json.dumps({"format": 1, "versions": versions}, indent=2) + "\n")
    return 0


def library_version(name: str) -> str:
    from importlib import metadata  # noqa: PLC0415  # slow, for it reads and parses files

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _sqlite() -> str:
    import sqlite3  # noqa: PLC0415  # a shared library, loaded only for its number

    return sqlite3.sqlite_version
