"""`s3-file-uploader config show|schema`: what is in force and where it came from; the JSON Schema.

`show` also shows a configuration that could not deliver yet (no region, say), names what is missing and
exits with 2. A configuration that cannot be understood is a ConfigurationError, as everywhere.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, TextIO

from s3_file_uploader import config
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]

_IN_FORCE = 0
_CONFIGURATION_IS_WRONG = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`config show [SRC DST] [--config FILE] [flags]` and `config schema`."""
    actions = parser.add_subparsers(dest="config_action", required=True, metavar="ACTION")
    show = actions.add_parser("show", help="what is in force, and where each value came from")
    show.add_argument("source", nargs="?", metavar="SRC", help="a folder, or a pattern in quotes")
    show.add_argument("destination", nargs="?", metavar="DST", help="s3://bucket/prefix")
    show.add_argument("--config", metavar="FILE", help="a YAML or JSON file")
    show.add_argument("--json", action="store_true", help="for programs")
    config.add_flags(show)
    schema = actions.add_parser("schema", help="the JSON Schema of a configuration file")
    schema.add_argument("--json", action="store_true", help="the schema is JSON in any case")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """Print to `out`; the exit code."""
    if arguments.config_action == "schema":
        out.write(_json(config.schema()))
        return _IN_FORCE
    loaded = _load(arguments, reading=True)
    missing = _what_a_delivery_misses(arguments)
    if arguments.json:
        out.write(_json({**config.as_json(loaded), "problem": missing or None}))
    else:
        out.write(config.show(loaded))
        if missing:
            out.write("".join(f"# {line}\n" for line in f"Not ready to deliver: {missing}".splitlines()))
    return _CONFIGURATION_IS_WRONG if missing else _IN_FORCE


def _what_a_delivery_misses(arguments: argparse.Namespace) -> str:
    try:
        _load(arguments, reading=False)
    except ConfigurationError as error:
        return str(error)
    return ""


def _load(arguments: argparse.Namespace, *, reading: bool) -> config.Loaded:
    return config.load(
        flags=config.flags_given(arguments),
        file=arguments.config,
        source=arguments.source,
        destination=arguments.destination,
        environment=os.environ,
        reading=reading,
    )


def _json(document: object) -> str:
    return json.dumps(document, indent=2) + "\n"
