"""`s3-file-uploader ledger`: where it lies, and the way out when it cannot be used."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader.cli.parser import PROGRAM
from s3_file_uploader.cli.places import add_place_arguments, find_place
from s3_file_uploader.ledger.database import Lock, set_aside

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("path", "set-aside"), metavar="path|set-aside", help="what to do")
    add_place_arguments(parser)


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    folder = find_place(arguments).folder
    if arguments.action == "path":
        out.write(f"{folder}\n")
        return 0
    kept = _set_aside(folder) if os.path.isdir(folder) else None
    if kept is None:
        out.write(f"There is no ledger in {folder}: nothing to set aside.\n")
    else:
        out.write(f"The ledger is now {kept}; the next start begins anew.\nTry: `{PROGRAM} run` as before.\n")
    return 0


def _set_aside(folder: str) -> str | None:
    lock = Lock(folder)
    lock.take()
    try:
        return set_aside(folder)
    finally:
        lock.release()
