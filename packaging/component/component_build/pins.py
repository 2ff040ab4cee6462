"""requirements/*.txt as text: one block for each pin, with its marker and its hashes."""

from __future__ import annotations

import re
from typing import NamedTuple

from component_build.refusal import Refusal

__all__ = ["Pin", "as_requirements", "installer_among", "read_pins"]

_INSTALLER = "pip"
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([^ ;\\]+)([^\\]*)")


class Pin(NamedTuple):
    """`text` is the whole block as pip reads it."""

    name: str
    version: str
    text: str


def read_pins(path: str) -> list[Pin]:
    """Refusal where a line is no pin with hashes."""
    with open(path, encoding="utf-8") as file:
        content = re.sub(r"^\s*#.*\n", "", file.read(), flags=re.MULTILINE)
    blocks = [block.strip() for block in content.replace("\\\n", "\\").splitlines() if block.strip()]
    return [_pin(block, path) for block in blocks]


def _pin(block: str, path: str) -> Pin:
    parts = [part.strip() for part in block.split("\\")]
    found = _PIN.match(block)
    if found is None or "--hash=sha256:" not in block:
        raise Refusal(f"{path}: {parts[0]!r} is no pin with hashes", "make pins")
    return Pin(found[1], found[2], " \\\n    ".join(part for part in parts if part) + "\n")


def installer_among(pins: list[Pin]) -> Pin:
    """The one of pip itself, which comes along as a file, and is not installed into the environment."""
    for pin in pins:
        if pin.name == _INSTALLER:
            return pin
    raise Refusal("the requirements of the component do not pin pip, its installer", "make pins")


def as_requirements(pins: list[Pin]) -> str:
    return "".join(pin.text for pin in pins)
