"""argparse with our words: one parser for the overview, and one for the command that was typed.

Only the typed command's arguments are built: its module and its forty flags cost time that `version`
on a small device does not have.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from s3_file_uploader import __version__
from s3_file_uploader.cli.commands import COMMANDS
from s3_file_uploader.cli.exit_codes import EXIT_CODE_TABLE, ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from s3_file_uploader.cli.commands import Command

__all__ = ["PROGRAM", "Parser", "command_parser", "overview_parser"]

PROGRAM = "s3-file-uploader"


class Parser(argparse.ArgumentParser):
    """Every error ends with what to try, and exits with USAGE."""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Unknown flags are refused with the one that was probably meant."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown and not unknown[0].startswith("-"):
            self.error(
                f"one argument too many: {unknown[0]}. A pattern must stand in quotes, '/data/*.csv', or the"
                " shell replaces it by the names of files"
            )
        if unknown:
            flag = unknown[0].partition("=")[0]
            self.error(f"unknown argument {flag}{_near(flag, self._option_string_actions)}")
        return parsed

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"{self.prog}: {message}\nTry: `{self.prog} --help`\n")
        sys.exit(ExitCode.USAGE)


def overview_parser() -> Parser:
    """What `--help` without a command shows."""
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {command.name:{width}}{command.summary}" for command in COMMANDS.values())
    parser = Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND ...",
        description="Empties folders into S3: every finished file arrives, proven, and only then leaves the device."
        f"\n\ncommands:\n{commands}",
        epilog=f"`{PROGRAM} COMMAND --help` says more.\n\n{_exit_codes()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    return parser


def unknown_command(name: str) -> str:
    return f"{name!r} is not a command{_near(name, COMMANDS)}"


def _near(said: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415  # only for a mistake

    near = get_close_matches(said, known, 1)
    return f"; did you mean {near[0]}?" if near else ""


def command_parser(command: Command) -> Parser:
    examples = "\n".join(f"  {PROGRAM} {example}" for example in command.examples)
    parser = Parser(
        prog=f"{PROGRAM} {command.name}",
        description=_folded(command.description),
        epilog=f"{_ALL_FLAGS if command.shows_few_settings else ''}examples:\n{examples}\n\n{_exit_codes()}",
        formatter_class=_FewSettings if command.shows_few_settings else _HelpFormatter,
        allow_abbrev=False,  # a flag that a later version adds must not change what a script means
    )
    command.module().add_arguments(parser)
    is_whole = command.usage.lstrip("[").startswith("SRC DST") and not command.shows_few_settings
    parser.set_defaults(lists_settings=command.name if is_whole else "run")
    # Afterwards, since argparse makes the names of parsers below this one out of its usage.
    parser.usage = f"{PROGRAM} {command.name} {command.usage}".rstrip()
    return parser


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32)


class _FewSettings(_HelpFormatter):
    """For commands that only ask: of all settings, those that find a ledger."""

    def add_argument(self, action: argparse.Action) -> None:
        if not action.dest.startswith("setting_") or action.option_strings[0] in _SHOWN:
            super().add_argument(action)


_SHOWN = ("--name", "--state-directory", "--path-name", "--bucket-name", "--object-key-prefix")
_ALL_FLAGS = "The other flags of `run` are taken too, so that its line can be used again.\n\n"


def _folded(text: str) -> str:
    import textwrap  # noqa: PLC0415  # only for help

    return textwrap.fill(text, 98)


def _exit_codes() -> str:
    lines = [f"  {code:3d}  {meaning}" for code, meaning in EXIT_CODE_TABLE.items()]
    return "exit codes:\n" + "\n".join(lines)


def parse(arguments: Sequence[str]) -> tuple[Command | None, argparse.Namespace]:
    """The command that was typed and its arguments. Exits by itself on --help, --version and bad usage."""
    overview = overview_parser()
    if not arguments:
        overview.print_help()
        return None, argparse.Namespace()
    name = arguments[0]
    if name == "help" and len(arguments) > 1:
        return parse([arguments[1], "--help"])
    if name == "help":
        return parse(["--help"])
    command = COMMANDS.get(name)
    if command is None:
        if name.startswith("-"):
            overview.parse_args(arguments)
        overview.error(unknown_command(name))
    return command, command_parser(command).parse_args(arguments[1:])
