"""The guide names what there is, and nothing that is not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stream_manager_local import faults
from stream_manager_local.settings import OPTIONS, Option

if TYPE_CHECKING:
    from support.local_stream_manager import LocalStreamManager

_GUIDES = Path(__file__).parents[2] / "docs" / "guides"
_GUIDE = (_GUIDES / "local-stream-manager.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.flag)
def test_each_setting_has_a_row(option: Option) -> None:
    row = next(line for line in _GUIDE.splitlines() if line.startswith("|") and f"`{option.flag}`" in line)

    assert all(f"`{variable}`" in row for variable in option.variables)


@pytest.mark.parametrize(
    "page", sorted(_GUIDES.glob("local-stream-manager*.md")), ids=lambda page: str(page.name)
)
def test_no_guide_names_a_flag_that_does_not_exist(page: Path) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))

    assert named <= {option.flag for option in OPTIONS}


def test_the_guide_and_the_help_have_the_same_faults() -> None:
    in_guide = re.findall(r"^\| `([a-z-]+=[^`]+)` \|", _GUIDE, re.MULTILINE)
    in_help = re.findall(r"^    ([a-z-]+=\S+)", faults.__doc__ or "", re.MULTILINE)

    assert in_guide == in_help


def test_the_program_of_the_guide_runs(
    server: LocalStreamManager, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STREAM_MANAGER_SERVER_PORT", str(server.port))
    program = re.search(r"```python\n(.*?)```", _GUIDE, re.DOTALL)
    assert program is not None

    exec(compile(program[1], "guide", "exec"), {})

    assert "21.5" in capsys.readouterr().out
