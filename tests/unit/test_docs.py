"""The documentation says what the program does: links lead somewhere, commands and settings exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader import __version__
from s3_file_uploader.cli.commands import COMMANDS
from s3_file_uploader.cli.parser import PROGRAM, command_parser
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_ROOT = Path(__file__).parents[2]
_PAGES = sorted([*_ROOT.glob("*.md"), *_ROOT.glob("docs/**/*.md")])
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_ELSEWHERE = ("http://", "https://", "mailto:")


def _name(page: Path) -> str:
    return str(page.relative_to(_ROOT))


def _prose(page: Path) -> str:
    return _BLOCK.sub("", page.read_text(encoding="utf-8"))


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made by the usual renderers."""
    headings = re.findall(r"^#+ +(.+?)\s*$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for found in _LINK.finditer(_INLINE.sub("", _prose(page))):
        target = found[1] or found[2]
        if target.startswith(_ELSEWHERE):
            continue
        path, _, anchor = target.partition("#")
        leads_to = (page.parent / path).resolve() if path else page
        if not leads_to.exists() or (anchor and anchor not in _anchors(leads_to)):
            broken.append(target)

    assert broken == []


def test_the_generated_parts_are_up_to_date() -> None:
    outcome = subprocess.run(
        [sys.executable, str(_ROOT / "docs" / "generate.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (outcome.returncode, outcome.stdout, outcome.stderr) == (0, "", "")


def test_every_setting_is_documented() -> None:
    page = (_ROOT / "docs/reference/configuration.md").read_text(encoding="utf-8")

    missing = [each.key for each in (*RULE_FIELDS, *PROCESS_FIELDS) if f"### {each.key}" not in page]

    assert missing == []


def test_every_command_is_documented() -> None:
    page = (_ROOT / "docs/reference/command-line.md").read_text(encoding="utf-8")

    assert [name for name in COMMANDS if f"## {name}\n" not in page] == []


def _commands_in(page: Path) -> Iterator[str]:
    """What a page tells a person to type: lines of code blocks, and code within sentences."""
    text = page.read_text(encoding="utf-8")
    for block in _BLOCK.finditer(text):
        for line in block[2].replace("\\\n", " ").splitlines():
            yield line.strip().removeprefix("$ ").removeprefix("sudo ")
    yield from _INLINE.findall(_BLOCK.sub("", text))


def _typed(page: Path, program: str) -> Iterator[list[str]]:
    for line in _commands_in(page):
        if line.startswith(f"{program} "):
            words = shlex.split(line.replace("…", "..."), comments=True)
            end = next(
                (index for index, word in enumerate(words) if word in {"|", ">", "&&", "&", ";"}), None
            )
            yield words[1:end]


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_command_that_a_page_mentions_exists(page: Path) -> None:
    wrong = []
    for words in _typed(page, PROGRAM):
        if words[0] in {"COMMAND", "--help", "--version", "help"}:
            continue
        if words[0] not in COMMANDS:
            wrong.append(words[0])
            continue
        known = set(_flags(command_parser(COMMANDS[words[0]])))
        flags = [word.partition("=")[0].rstrip(".,;:]").lstrip("[") for word in words if "--" in word[:3]]
        wrong += [f"{words[0]} {flag}" for flag in flags if flag not in known]

    assert wrong == []


def _flags(parser: argparse.ArgumentParser) -> Iterator[str]:
    import argparse

    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _flags(below)


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_every_make_target_that_a_page_mentions_exists(page: Path) -> None:
    makefile = (_ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))

    mentioned = {words[0] for words in _typed(page, "make") if words and re.fullmatch("[a-z-]+", words[0])}

    assert mentioned - targets == set()


def test_every_make_target_is_explained() -> None:
    makefile = (_ROOT / "Makefile").read_text(encoding="utf-8")
    declared = re.findall(r"^\.PHONY: (.+)$", makefile, re.MULTILINE)

    explained = re.findall(r"^([a-z-]+):.*## \S", makefile, re.MULTILINE)

    assert sorted(explained) == sorted(" ".join(declared).split())


def test_the_changelog_has_a_place_for_what_is_next_or_this_very_version() -> None:
    changelog = (_ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changelog, re.MULTILINE)

    assert headings[0] == "Unreleased" or headings[0].startswith(__version__)


def test_no_file_names_a_download_host_or_a_path_of_one_machine() -> None:
    """Packages come from the index that a machine is set up with, and only from there."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=_ROOT,
        capture_output=True,
        check=True,
    ).stdout
    names = [os.fsdecode(name) for name in tracked.split(b"\0") if name]
    hosts = re.compile(r"[p]ypi\.org|[p]ythonhosted|(?<!\w)/([r]oot|[w]ork|[o]pt/pypi)/")

    assert [name for name in names if (_ROOT / name).is_file() and hosts.search(_text(_ROOT / name))] == []


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")
