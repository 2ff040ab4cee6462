"""What a person copies from the documentation works: settings load, command lines parse, events exist."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.cli.commands import COMMANDS
from s3_file_uploader.cli.parser import PROGRAM, command_parser
from s3_file_uploader.config import load
from s3_file_uploader.observe.log import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_PAGES = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")])
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_STANDS_FOR_SOMETHING = {"COMMAND", "SRC", "DST", "FILE"}
_ENVIRONMENT = {"AWS_REGION": "eu-central-1", "AWS_IOT_THING_NAME": "car7", "HOME": "/home/me"}


def _blocks(*languages: str) -> Iterator[tuple[str, str]]:
    for page in _PAGES:
        for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
            if found[1] in languages:
                line = page.read_text(encoding="utf-8")[: found.start()].count("\n") + 1
                yield f"{page.relative_to(_ROOT)}:{line}", found[2]


def _command_lines() -> Iterator[tuple[str, str]]:
    """Lines that begin with the program's name, behind a prompt or none; "NAME: ..." is what it answers."""
    for place, text in _blocks("console", "sh", "bash"):
        for line in text.replace("\\\n", " ").splitlines():
            typed = line.strip().removeprefix("$ ").removeprefix("sudo ").removeprefix(f"-u {PROGRAM} ")
            if typed.startswith(f"{PROGRAM} "):
                yield place, typed


_SETTINGS = list(_blocks("yaml"))
_COMMANDS = sorted(
    {typed: place for place, typed in _command_lines() if not _STANDS_FOR_SOMETHING & set(typed.split())}
)


@pytest.mark.parametrize("text", [text for _, text in _SETTINGS], ids=[place for place, _ in _SETTINGS])
def test_a_configuration_shown_in_the_documentation_is_one(text: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.yaml"
    file.write_text(text, encoding="utf-8")

    loaded = load(file=str(file), environment=_ENVIRONMENT)

    assert loaded.settings.rules


@pytest.mark.parametrize("typed", _COMMANDS)
def test_a_command_line_shown_in_the_documentation_parses(typed: str) -> None:
    words = shlex.split(typed, comments=True)[1:]
    end = next((number for number, word in enumerate(words) if word in {"|", ">", "&&", "&", ";"}), None)
    name, *arguments = words[:end]

    assert command_parser(COMMANDS[name]).parse_args(arguments)


def test_the_documentation_shows_settings_and_command_lines_at_all() -> None:
    assert len(_SETTINGS) > 5
    assert len(_COMMANDS) > 20


def _documented_events() -> set[str]:
    page = (_ROOT / "docs/guides/operating.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- events: .*? -->\n(.*?)<!-- /events -->", page, re.DOTALL)
    assert table is not None
    return set(re.findall(r"^\| `(\w+)` \|", table[1], re.MULTILINE))


def _written_events() -> set[str]:
    """Those that some line of the program logs: the first argument of a call on the log, or of `tell`."""
    events: set[str] = set()
    for path in _ROOT.glob("src/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
                name = (
                    node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                )
                if name in {"debug", "info", "warning", "error", "tell"} and node.args[0].value in EVENTS:
                    events.add(node.args[0].value)
    return events


def test_every_event_of_the_log_is_explained_and_no_other() -> None:
    assert _documented_events() == _written_events()
