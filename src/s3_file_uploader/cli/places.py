"""Which settings and which ledger a command is about.

`run` and `drain` need complete settings. Commands that ask need only to find the ledger: by the same
SRC, DST, --config or --name, or, with none of them, the one ledger that lies in the state directory.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from s3_file_uploader.cli.parser import PROGRAM
from s3_file_uploader.cli.remembered import recall
from s3_file_uploader.config import Loaded, Settings, add_flags, flags_given, load
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.ledger.reader import Reader, ledgers_below

if TYPE_CHECKING:
    import argparse

__all__ = ["Place", "add_place_arguments", "find_place", "load_settings", "open_reader"]


@dataclass(frozen=True, slots=True)
class Place:
    """A ledger's folder; `settings` may have no rules where only the ledger is known."""

    folder: str
    settings: Settings

    @property
    def name(self) -> str:
        return self.settings.name


def add_place_arguments(parser: argparse.ArgumentParser, *, positional: bool = True) -> None:
    if positional:
        parser.add_argument(
            "source", metavar="SRC", nargs="?", help="a folder, or a pattern in quotes: '/data/*.csv'"
        )
        parser.add_argument("destination", metavar="DST", nargs="?", help="s3://bucket/prefix")
    parser.add_argument("--config", metavar="FILE", help="settings from a YAML or JSON file")
    add_flags(parser)


def load_settings(arguments: argparse.Namespace, *, reading: bool = False) -> Loaded:
    """What is in force for SRC, DST, --config and the flags; ConfigurationError with everything wrong."""
    return load(
        flags=flags_given(arguments),
        file=arguments.config,
        source=getattr(arguments, "source", None),
        destination=getattr(arguments, "destination", None),
        environment=os.environ,
        reading=reading,
        command=getattr(arguments, "lists_settings", "run"),
    )


def find_place(arguments: argparse.Namespace) -> Place:
    """The ledger that a question is about. It need not exist where it was named."""
    flags = flags_given(arguments)
    is_named = (
        "Name" in flags or "PathName" in flags or arguments.config or getattr(arguments, "source", None)
    )
    if is_named:
        settings = load_settings(arguments, reading=True).settings
        return Place(os.path.join(settings.state_directory, settings.name), settings)
    loaded = load(flags={**flags, "Name": "any"}, environment=os.environ, reading=True).settings
    name = _the_only_ledger(loaded.state_directory)
    return Place(os.path.join(loaded.state_directory, name), replace(loaded, name=name, rules=()))


def _the_only_ledger(state_directory: str) -> str:
    names = ledgers_below(state_directory)
    if not names:
        raise ConfigurationError(
            f"there is no ledger in {state_directory}",
            advice=f"`{PROGRAM} run SRC DST` makes one; name another place by --state-directory.",
        )
    if len(names) > 1:
        raise ConfigurationError(
            f"there are {len(names)} ledgers in {state_directory}: {', '.join(names)}",
            advice=f"Say which one: --name {names[0]}, or SRC and DST, or --config.",
        )
    return names[0]


def open_reader(place: Place) -> tuple[Reader | None, Place]:
    """The ledger, None where nothing was written yet; and the place with the rules of its last run."""
    reader = Reader.open(place.folder)
    if reader is None or place.settings.rules:
        return reader, place
    known = recall(reader)
    return reader, replace(place, settings=known) if known is not None else place
