"""The settings as a JSON Schema (draft 2020-12), for editors and for whoever writes configurations.

It describes what a person should write: each value in its own type, or as text with its unit. What only
the whole configuration shows (rules that overlap, a missing region) is the loader's to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS, RULES_KEY, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["schema"]


def schema() -> dict[str, Any]:
    """The schema of a configuration file."""
    rule = _properties(RULE_FIELDS)
    at_the_top = {**rule, **_properties(PROCESS_FIELDS)}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "s3-file-uploader",
        "description": "Top-level keys of a rule are the defaults of all Rules, or the one rule there is.",
        "type": "object",
        "properties": {
            **at_the_top,
            RULES_KEY: {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/Rule"}},
        },
        "additionalProperties": False,
        "$defs": {
            "Rule": {
                "type": "object",
                "description": "One PathName and where its files go.",
                "properties": rule,
                "required": ["Name"],
                "additionalProperties": False,
            }
        },
    }


def _properties(table: Iterable[Field]) -> dict[str, Any]:
    return {each.key: _property(each) for each in table}


def _property(each: Field) -> dict[str, Any]:
    described: dict[str, Any] = {"description": each.setting.help}
    if not each.required:
        described["default"] = _default(each)
    return {**described, **_shape(each)}


def _default(each: Field) -> object:
    if each.is_map:
        return dict(each.default)  # type: ignore[call-overload]  # pairs, as is_map says
    return list(each.default) if each.is_list else each.write(each.default)  # type: ignore[call-overload]  # a tuple


_PAIR = {"type": "string", "pattern": "="}
_MAP = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}},
        {"type": "array", "items": _PAIR},
        _PAIR,
    ]
}


def _shape(each: Field) -> dict[str, Any]:
    if each.is_map:
        return _MAP
    shapes = each.type_schema.get("anyOf") or [each.type_schema]
    pattern = each.setting.notation.pattern
    if pattern and shapes == [{"type": "string"}]:
        return {"type": "string", "pattern": pattern if each.required else f"^$|{pattern}"}
    extra: list[dict[str, Any]] = [{"type": "string", "pattern": pattern}] if pattern else []
    if each.setting.none:
        extra.append({"enum": [each.setting.none]})
    if each.is_list:
        extra.append({"enum": list(each.words)} if each.words else {"type": "string", "minLength": 1})
    if shapes == [{"type": "string"}] and not pattern:
        extra.append({"type": "number"})
    together = [*shapes, *extra]
    return together[0] if len(together) == 1 else {"anyOf": together}
