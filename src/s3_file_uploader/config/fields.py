"""The table of settings, row by row: what the classes in `settings` declare, ready to be walked.

A Field converts one raw value; it knows nothing of files, flags or precedence.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from s3_file_uploader.config.declaration import Setting
from s3_file_uploader.config.settings import Rule, Settings

__all__ = ["PROCESS_FIELDS", "RULES_KEY", "RULE_FIELDS", "Field"]

RULES_KEY = "Rules"


class Field(msgspec.Struct, frozen=True):
    """One setting: `attribute` in Python, `key` in a file, `flag` on the command line."""

    attribute: str
    key: str
    hint: Any
    default: object
    setting: Setting

    @property
    def flag(self) -> str:
        return "--" + "".join(f"-{c.lower()}" if c.isupper() else c for c in self.key).lstrip("-")

    @property
    def required(self) -> bool:
        return self.default is MISSING

    @property
    def default_text(self) -> str:
        """The default as a person would write it, or how it is found; "" where there is none."""
        if self.setting.derived:
            return self.setting.derived
        return "" if self.required or self.default in ("", ()) else self.write(self.default)

    @property
    def words(self) -> tuple[str, ...]:
        """The allowed words of a setting that takes nothing else."""
        kind = get_args(self.hint)[0]
        if get_origin(kind) is tuple:
            kind = get_args(kind)[0]
        return get_args(kind) if get_origin(kind) is Literal else ()

    @property
    def is_switch(self) -> bool:
        return get_args(self.hint)[0] is bool

    @property
    def is_list(self) -> bool:
        return get_origin(get_args(self.hint)[0]) is tuple and not self.is_map

    @property
    def is_map(self) -> bool:
        """Keys and values, kept as pairs."""
        return any(get_origin(kind) is tuple for kind in get_args(get_args(self.hint)[0]))

    @property
    def bounds(self) -> tuple[int | float | None, int | float | None]:
        """The least and the greatest value, where it is a number."""
        shapes = [self.type_schema, *self.type_schema.get("anyOf", ())]
        return (
            next((shape["minimum"] for shape in shapes if "minimum" in shape), None),
            next((shape["maximum"] for shape in shapes if "maximum" in shape), None),
        )

    @property
    def type_schema(self) -> dict[str, Any]:
        return msgspec.json.schema(self.hint)

    @property
    def allowed(self) -> str:
        """Completes "allowed: …"."""
        return self._allowed(self.setting.notation.allowed)

    @property
    def allowed_in_short(self) -> str:
        return self._allowed(self.setting.notation.example or self.setting.notation.allowed)

    def _allowed(self, text: str) -> str:
        if self.words:
            return "one of " + ", ".join(self.words)
        least, greatest = self.bounds
        if least:
            text += f"; at least {self.setting.notation.write(least)}"
        if isinstance(greatest, int):  # ten years, the bound of every time, needs no words
            text += f", at most {greatest}"
        return f"{text}; or {self.setting.none}" if self.setting.none else text

    def is_unset(self, raw: object) -> bool:
        """None says "not set" everywhere; so does the empty string, where it is no value of its own."""
        return raw is None or (raw == "" and not self.setting.notation.empty_is_a_value)

    def convert(self, raw: object) -> Any:
        """The typed value of what somebody wrote; ValueError with a reason, or with none to add."""
        if self.setting.none and isinstance(raw, str) and raw.strip().lower() in (self.setting.none, "none"):
            return None
        value = self.setting.notation.read(raw)
        try:
            return msgspec.convert(value, self.hint, strict=False)
        except msgspec.ValidationError:
            raise ValueError("") from None

    def write(self, value: Any) -> str:
        """The value as a person would write it."""
        return self.setting.none if value is None else self.setting.notation.write(value)


def _fields_of(table: type) -> tuple[Field, ...]:
    hints = get_type_hints(table, include_extras=True)
    return tuple(
        Field(field.name, setting.key or _key(field.name), hints[field.name], field.default, setting)
        for field in fields(table)
        for setting in getattr(hints[field.name], "__metadata__", ())
        if isinstance(setting, Setting)
    )


def _key(attribute: str) -> str:
    return "".join(word.capitalize() for word in attribute.removesuffix("_seconds").split("_"))


RULE_FIELDS = _fields_of(Rule)
PROCESS_FIELDS = _fields_of(Settings)
