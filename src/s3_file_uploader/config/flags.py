"""One flag for each setting, made from the table. argparse is the caller's; nothing is parsed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3_file_uploader.config.declaration import Group
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS, Field

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

__all__ = ["FLAG_FIELDS", "add_flags", "flags_given"]

# `--name` names the ledger; a rule's own Name stands in a file's list only.
FLAG_FIELDS = (*(each for each in RULE_FIELDS if each.key != "Name"), *PROCESS_FIELDS)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every setting, in one argument group for each heading of the table."""
    for group in Group:
        arguments = parser.add_argument_group(group.value)
        for each in FLAG_FIELDS:
            if each.setting.group is group:
                arguments.add_argument(each.flag, **_options(each))


def flags_given(namespace: argparse.Namespace) -> dict[str, str | list[str]]:
    """What was given on the command line, by key: the `flags` of `load`."""
    return dict(_given(vars(namespace)))


def _given(said: dict[str, Any]) -> Iterator[tuple[str, str | list[str]]]:
    for each in FLAG_FIELDS:
        value = said.get(_destination(each))
        if isinstance(value, bool):
            yield each.key, "true" if value else "false"
        elif value is not None:
            yield each.key, value


def _destination(each: Field) -> str:
    return f"setting_{each.attribute}"


def _options(each: Field) -> dict[str, Any]:
    from argparse import SUPPRESS, BooleanOptionalAction  # noqa: PLC0415  # whoever has a parser has paid for it

    options: dict[str, Any] = {
        "dest": _destination(each),
        "default": SUPPRESS,
        "help": _help(each).replace("%", "%%"),
    }
    if each.is_switch:
        return {**options, "action": BooleanOptionalAction}
    if each.is_list or each.is_map:
        return {**options, "action": "append", "metavar": each.setting.notation.metavar}
    return {**options, "metavar": "|".join(each.words) or each.setting.notation.metavar}


def _help(each: Field) -> str:
    notes = [] if each.words or each.is_switch else [f"allowed: {each.allowed_in_short}"]
    if each.is_list:
        notes = ["may be given several times"]
    if each.is_map:
        notes.append("may be given several times")
    if each.default_text:
        notes.append(f"default: {each.default_text}")
    return f"{each.setting.help} ({'; '.join(notes)})" if notes else each.setting.help
