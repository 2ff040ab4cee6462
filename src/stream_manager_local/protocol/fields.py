"""Reads the properties of a request one at a time, and names the one that is wrong.

A property that is null counts as absent, and properties that nobody knows are ignored: newer clients
send more than older ones. An integer may come as a float without a fraction, for clients whose language
has only one kind of number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from enum import IntEnum

__all__ = ["LONGEST_NAME", "MOST_INTEGER", "Fields"]

Choice = TypeVar("Choice", bound="IntEnum")

LONGEST_NAME = 255
MOST_INTEGER = 2**63 - 1

# As the clients have it. `\w` is ASCII in Java, where the real server lives; Python's own would take
# letters of all languages, and such a name would fail only later, on a device.
_NAME = re.compile(r"[\w ,.\-]*", re.ASCII)


class Fields:
    """`values` is a decoded map; `where` stands before the names of its properties in messages."""

    def __init__(self, values: Mapping[Any, object], where: str = "") -> None:
        self._values = values
        self._where = where

    def called(self, key: str) -> str:
        """The property as a message names it."""
        return f"{self._where}.{key}" if self._where else key

    def wrong(self, key: str, what: str) -> Refused:
        """The refusal of this property: "definition.maxSize is 5: it must be …"."""
        value = self._values.get(key)
        is_said = (
            f"{self.called(key)} is missing" if value is None else f"{self.called(key)} is {_shown(value)}"
        )
        return Refused(Status.INVALID_REQUEST, f"{is_said}: {what}")

    def has(self, key: str) -> bool:
        return self._values.get(key) is not None

    def name(self, key: str) -> str:
        """The name of a stream or export, 1 to 255 characters; required."""
        found = self.text(key, shortest=1, longest=LONGEST_NAME)
        if _NAME.fullmatch(found) is None:
            raise self.wrong(key, "a name is made of the letters A-Z and a-z, digits, spaces and , . - _")
        return found

    def text(self, key: str, *, shortest: int = 0, longest: int | None = None) -> str:
        """A required text; `shortest` and `longest` count characters."""
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self.wrong(key, "it must be a text")
        if len(value) < shortest:
            raise self.wrong(key, f"it must have at least {shortest} character")
        if longest is not None and len(value) > longest:
            raise self.wrong(key, f"it has {len(value)} characters, and at most {longest} are allowed")
        return value

    def integer(self, key: str, *, least: int, most: int = MOST_INTEGER) -> int | None:
        """An integer between `least` and `most`, both allowed; None if it is absent."""
        value = self._values.get(key)
        if value is None:
            return None
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise self.wrong(key, "it must be an integer")
        if value < least:
            raise self.wrong(key, f"it must be at least {least}")
        if value > most:
            raise self.wrong(key, f"it must be at most {most}")
        return value

    def flag(self, key: str) -> bool:
        """False if it is absent."""
        value = self._values.get(key)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(key, "it must be true or false")
        return value

    def choice(self, key: str, among: type[Choice]) -> Choice | None:
        """One of an enumeration, by its number; None if it is absent."""
        number = self.integer(key, least=min(among), most=max(among))
        return None if number is None else among(number)

    def map(self, key: str) -> Fields | None:
        """The properties of a nested map; None if it is absent."""
        value = self._values.get(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, "it must be a map")
        return Fields(value, self.called(key))

    def maps(self, key: str) -> list[Fields]:
        """A list of maps; empty if it is absent."""
        value = self._values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(each, Mapping) for each in value):
            raise self.wrong(key, "it must be a list of maps")
        return [Fields(each, f"{self.called(key)}[{index}]") for index, each in enumerate(value)]


def _shown(value: object) -> str:
    from reprlib import Repr  # noqa: PLC0415  # only on the way to an error

    short = Repr()
    short.maxstring = short.maxother = 60
    try:
        return short.repr(value)
    except ValueError:  # Python does not write integers of thousands of digits
        return "a number of thousands of digits"
