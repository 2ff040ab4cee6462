"""How a nucleus fills the variables of a recipe into a script.

Lite takes every `{` as the start of a variable. One that it cannot fill ends the script there, and what came
before it still runs. A value of the configuration is escaped for double quotes. The classic nucleus replaces
what it knows, leaves the rest as it is and escapes nothing.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from support.nucleus.configuration import MISSING, find, pointer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["fill_classic", "fill_lite"]

# A namespace of word characters and dots, a key without a colon.
_CLASSIC_VARIABLE = re.compile(r"\{([.\w]+):([^:}]+)\}")
_MOST_VARIABLE_BYTES = 256  # of lite


def fill_classic(text: str, values: Mapping[str, str], configuration: Mapping[str, Any]) -> str:
    """`values` are those of the variables that are not of the configuration: "work:path" and the like."""

    def filled(match: re.Match[str]) -> str:
        namespace, key = match[1], match[2]
        if namespace != "configuration":
            return values.get(f"{namespace}:{key}", match[0])
        found = find(configuration, pointer(key)) if key.startswith("/") else MISSING
        return match[0] if found is MISSING else _as_text(found)

    return _CLASSIC_VARIABLE.sub(filled, text)


def fill_lite(
    text: str, values: Mapping[str, str], configuration: Mapping[str, Any], *, single_quoted: bool = False
) -> tuple[str, bool]:
    """As far as it comes, and whether that is all of it. `single_quoted` is the text of a Setenv value."""
    filled: list[str] = []
    at = 0
    while at < len(text):
        start = text.find("{", at)
        plain = text[at:] if start < 0 else text[at:start]
        filled.append(_single_quoted(plain) if single_quoted else plain)
        if start < 0:
            break
        end = text.find("}", start)
        name = text[start + 1 : end]
        if end < 0 or len(name.encode()) > _MOST_VARIABLE_BYTES:
            return "".join(filled), False
        value = _lite_value(name, values, configuration, single_quoted)
        if value is None:
            return "".join(filled), False
        filled.append(value)
        at = end + 1
    return "".join(filled), True


def _lite_value(
    name: str, values: Mapping[str, str], configuration: Mapping[str, Any], single_quoted: bool
) -> str | None:
    """Paths and the thing's name are put in as they are; only configuration is escaped."""
    namespace, _, key = name.partition(":")
    if namespace != "configuration":
        return values.get(name)
    path = pointer(key) if key.startswith("/") else ()
    found = find(configuration, path) if path else MISSING
    if found is MISSING:
        return None
    return _single_quoted(_as_text(found)) if single_quoted else _double_quoted(_as_text(found))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _double_quoted(text: str) -> str:
    return re.sub(r'(["\\$`])', r"\\\1", text)


def _single_quoted(text: str) -> str:
    return text.replace("'", "'\\''")
