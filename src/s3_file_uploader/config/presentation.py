"""`config show`: what is in force and where each value came from, for people and for programs.

The text is a configuration file itself: read back, it gives the same settings.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS, RULES_KEY, Field

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3_file_uploader.config.loading import Loaded
    from s3_file_uploader.config.settings import Rule

__all__ = ["as_json", "show"]

# What YAML reads back as it stands, whatever comes around it.
_PLAIN = re.compile(r"[A-Za-z0-9/_.][A-Za-z0-9/_.+=-]*(?:(?: |:(?=[^ ]))[A-Za-z0-9/_.+=-]+)*")
_NULLS = ("null", "~")
_COLUMN = 46
_LAST_OF_FOUR_DIGITS = 0xFFFF


def show(loaded: Loaded) -> str:
    """The settings as YAML, with each value's origin behind it."""
    lines = [
        _line("", each, getattr(loaded.settings, each.attribute), loaded.origins["", each.key])
        for each in PROCESS_FIELDS
    ]
    lines.append(f"{RULES_KEY}:")
    for rule in loaded.settings.rules:
        lines += _rule_lines(rule, loaded.origins)
    return "\n".join(lines) + "\n"


def _rule_lines(rule: Rule, origins: Mapping[tuple[str, str], str]) -> Iterator[str]:
    indent = "  - "
    for each in RULE_FIELDS:
        yield _line(indent, each, getattr(rule, each.attribute), origins[rule.name, each.key])
        indent = "    "


def _line(indent: str, each: Field, value: object, origin: str) -> str:
    text = f"{indent}{each.key}: {_written(each, value)}"
    return f"{text.ljust(_COLUMN)}  # {''.join(c if c.isprintable() else '?' for c in origin)}"


def _written(each: Field, value: Any) -> str:
    if each.is_list:
        return "[" + ", ".join(_quoted(item) for item in value) + "]"
    if each.is_map:
        return "{" + ", ".join(f"{_quoted(key)}: {_quoted(item)}" for key, item in value) + "}"
    text = each.write(value)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _NULLS else _quoted(text)


def _quoted(text: str) -> str:
    return '"' + "".join(_character(character) for character in text) + '"'


def _character(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    # YAML has one escape for each code point; JSON's pairs of surrogates are none of its own.
    code = ord(character)
    return f"\\u{code:04x}" if code <= _LAST_OF_FOUR_DIGITS else f"\\U{code:08x}"


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The same for programs: seconds, bytes and booleans as such, None where there is no limit."""
    origins = loaded.origins

    def told(owner: object, rule_name: str, table: tuple[Field, ...]) -> dict[str, Any]:
        return {
            each.key: {
                "value": _native(each, getattr(owner, each.attribute)),
                "origin": origins[rule_name, each.key],
            }
            for each in table
        }

    return {
        **told(loaded.settings, "", PROCESS_FIELDS),
        RULES_KEY: [told(rule, rule.name, RULE_FIELDS) for rule in loaded.settings.rules],
    }


def _native(each: Field, value: Any) -> Any:
    if each.is_map:
        return dict(value)
    return list(value) if isinstance(value, tuple) else value
