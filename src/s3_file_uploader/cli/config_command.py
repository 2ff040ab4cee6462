"""`s3-file-uploader config show|schema`: what is in force and where it came from; the JSON Schema.

`show` also shows a configuration that could not deliver yet (no region, say), names what is missing and
exits with USAGE. A configuration that cannot be understood is a ConfigurationError, as everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from s3_file_uploader import config
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, load_settings
from s3_file_uploader.cli.presentation import write_json
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    import argparse

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`config show [SRC DST] [--config FILE] [flags]` and `config schema`."""
    actions = parser.add_subparsers(dest="config_action", required=True, metavar="show|schema")
    show = actions.add_parser(
        "show", help="what is in force, and where each value came from", allow_abbrev=False
    )
    add_place_arguments(show)
    show.add_argument("--json", action="store_true", help="as JSON, a stable contract")
    schema = actions.add_parser("schema", help="the JSON Schema of a configuration file", allow_abbrev=False)
    schema.add_argument("--json", action="store_true", help="changes nothing: the schema is JSON")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    """Print to `out`; the exit code."""
    if arguments.config_action == "schema":
        write_json(config.schema(), out)
        return ExitCode.DONE
    loaded = load_settings(arguments, reading=True)
    missing = _what_a_delivery_misses(arguments)
    if arguments.json:
        write_json({**config.as_json(loaded), "problem": missing or None}, out)
    else:
        out.write(config.show(loaded))
        out.writelines(f"# {line}\n" for line in missing.splitlines())
    return ExitCode.USAGE if missing else ExitCode.DONE


def _what_a_delivery_misses(arguments: argparse.Namespace) -> str:
    try:
        load_settings(arguments)
    except ConfigurationError as error:
        return f"Not ready to deliver: {error}"
    return ""
