"""Writes the parts of the documentation that follow from the program: `make docs`.

    docs/reference/configuration.md   the table of settings
    docs/reference/command-line.md    commands, arguments and exit codes
    docs/*.md                         the lifecycle's diagram, between its two markers
    docs/guides/stores.md             what each store of the tests supports, between two markers
    recipe.yaml, for both variants    the defaults of the settings, between two markers

`--check` writes nothing and fails when something is out of date; the tests ask for it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
from typing import TYPE_CHECKING

import yaml

from s3_file_uploader import lifecycle
from s3_file_uploader.cli.commands import COMMANDS
from s3_file_uploader.cli.exit_codes import EXIT_CODE_TABLE
from s3_file_uploader.cli.parser import PROGRAM, command_parser
from s3_file_uploader.config import reference
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS
from s3_file_uploader.config.flags import FLAG_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_file_uploader.cli.commands import Command
    from s3_file_uploader.config.fields import Field

_DOCS = os.path.dirname(os.path.abspath(__file__))
_DIAGRAM = re.compile(r"(<!-- lifecycle: .*? -->\n).*?(<!-- /lifecycle -->)", re.DOTALL)
_STORES = re.compile(r"(<!-- stores: .*? -->\n).*?(<!-- /stores -->)", re.DOTALL)
_RECIPES = ("recipe.yaml", "packaging/component/direct/recipe.yaml")
_DEFAULTS = re.compile(r"(^ *# settings: [^\n]*\n).*?(^ *# /settings$)", re.DOTALL | re.MULTILINE)
# They stand in the recipe by hand: those of the 2024 sample, and what the two variants differ in.
_BY_HAND = frozenset({"PathName", "BucketName", "ObjectKeyPrefix", "Interval", "LogLevel", "Transport"})
# Others imply them (DoneMarker, Transport); a default that is said would be stronger than that.
_IMPLIED = frozenset({"ActiveFile", "KeyEscape"})
_SETTING_FLAGS = {each.flag for each in FLAG_FIELDS}

_COMMAND_LINE = """\
<!-- Written by `make docs` from cli/commands.py and the commands' arguments. -->

# Command line

`s3-file-uploader COMMAND --help` says the same in a terminal. Every setting is a flag too, of each command
that says "settings" below: [configuration](configuration.md) lists them.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the generated parts of the documentation.")
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when something is out of date"
    )
    check = parser.parse_args().check
    stale = [path for path, text in _pages() if _read(path) != text]
    for path, text in _pages():
        if path in stale and not check:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as page:
                page.write(text)
    for path in stale:
        print(f"{os.path.relpath(path, _DOCS)}: {'out of date; try `make docs`' if check else 'written'}")
    return 1 if stale and check else 0


def _pages() -> Iterator[tuple[str, str]]:
    """Path and text of everything that is generated."""
    yield os.path.join(_DOCS, "reference", "configuration.md"), reference.markdown()
    yield os.path.join(_DOCS, "reference", "command-line.md"), _command_line()
    guide, table = os.path.join(_DOCS, "guides", "stores.md"), _stores()
    yield guide, _STORES.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", _read(guide))
    for recipe in _RECIPES:
        path = os.path.join(os.path.dirname(_DOCS), recipe)
        yield path, _DEFAULTS.sub(lambda found: f"{found[1]}{_defaults()}{found[2]}", _read(path))
    for name in sorted(os.listdir(_DOCS)):
        path = os.path.join(_DOCS, name)
        if name.endswith(".md") and _DIAGRAM.search(_read(path)):
            yield path, _DIAGRAM.sub(_with_diagram, _read(path))


def _with_diagram(found: re.Match[str]) -> str:
    return f"{found[1]}```mermaid\n{lifecycle.mermaid()}```\n{found[2]}"


def _stores() -> str:
    """From the table that the tests hold against the stores."""
    sys.path.insert(0, os.path.join(os.path.dirname(_DOCS), "tests"))
    from support import stores  # noqa: PLC0415  # found only now

    return stores.markdown()


def _defaults() -> str:
    """What the component's configuration shows beside the sample's own keys: each constant default."""
    return "".join(
        f"    {each.key}: {_in_yaml(each)}\n"
        for each in (*RULE_FIELDS, *PROCESS_FIELDS)
        if _is_constant(each)
    )


def _is_constant(each: Field) -> bool:
    """Not what is derived, implied, or the environment's to say, which a default in the recipe would hide.

    Maps are left out too: what a deployment merges into them must not meet a value that is no map.
    """
    is_given = each.required or each.setting.derived or each.setting.environment
    return not (is_given or each.is_map or each.key in _BY_HAND | _IMPLIED)


def _in_yaml(each: Field) -> str:
    if isinstance(each.default, tuple):
        return json.dumps(list(each.default))
    if isinstance(each.default, bool):
        return json.dumps(each.default)
    text = each.write(each.default)
    is_number = isinstance(each.default, int) and text.isdigit()
    return text if is_number or yaml.safe_load(text or "~") == text else json.dumps(text)


def _command_line() -> str:
    codes = "".join(f"| {code:d} | {meaning} |\n" for code, meaning in EXIT_CODE_TABLE.items())
    sections = "".join(_section(command) for command in COMMANDS.values())
    return f"{_COMMAND_LINE}{sections}\n## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}"


def _section(command: Command) -> str:
    examples = "\n".join(f"{PROGRAM} {example}" for example in command.examples)
    usage = f"{PROGRAM} {command.name} {command.usage}".rstrip()
    arguments = "".join(_rows(command_parser(command), ""))
    return (
        f"\n## {command.name}\n\n`{usage}`\n\n{command.description}\n"
        + (f"\n{arguments}" if arguments else "")
        + f"\n```sh\n{examples}\n```\n"
    )


def _rows(parser: argparse.ArgumentParser, before: str) -> Iterator[str]:
    """One line for each argument; the flags of settings are one line together."""
    has_settings = False
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to be asked
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            for name, below in action.choices.items():
                yield from _rows(below, f"{before}{name} ")
        elif not _SETTING_FLAGS.isdisjoint(action.option_strings):
            has_settings = True
        elif action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction):  # noqa: SLF001
            yield f"- {before}`{_spelling(action)}`: {_help(action)}\n"
    if has_settings:
        yield f"- {before}settings: a flag for each, see [configuration](configuration.md)\n"


def _spelling(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    words = ", ".join(action.option_strings)
    if not words:
        return metavar
    return words if action.nargs == 0 else f"{words} {metavar}"


def _help(action: argparse.Action) -> str:
    return (action.help or "").replace("%%", "%").replace("%(default)s", str(action.default))


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as page:
            return page.read()
    except FileNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
