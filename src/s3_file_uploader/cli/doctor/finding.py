"""One line of `check`: what was looked at, how it is, and what to try."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Finding", "Level", "fail", "ok", "warn"]


class Level(Enum):
    OK = "ok"
    WARN = "warn"  # works, with a drawback that somebody should know of
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """`area` is what was looked at; `advice` is empty where there is nothing to do.

    `settings` are those that would fit what was found, by their names in a configuration.
    """

    level: Level
    area: str
    text: str
    advice: str = ""
    of_destination: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)


def ok(area: str, text: str) -> Finding:
    return Finding(Level.OK, area, text)


def warn(area: str, text: str, advice: str) -> Finding:
    return Finding(Level.WARN, area, text, advice)


def fail(area: str, text: str, advice: str, *, of_destination: bool = False) -> Finding:
    return Finding(Level.FAIL, area, text, advice, of_destination)
