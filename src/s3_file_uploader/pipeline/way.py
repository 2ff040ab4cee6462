"""The way to where an upload lies, as text that outlives the configuration: the settings of its rule.

A rule may be gone, or lead elsewhere, when what it left behind is to be taken back.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import Any

from s3_file_uploader.config import Rule

__all__ = ["rule_of", "way_of"]


def way_of(rule: Rule) -> str:
    """Settings hold no secret: credentials come from AWS's environment and never pass through here."""
    return json.dumps(asdict(rule))


def rule_of(way: str) -> Rule | None:
    """The settings as far as this version understands them; None where it does not."""
    names = {field.name for field in fields(Rule)}
    try:
        said: dict[str, Any] = {name: _value(one) for name, one in json.loads(way).items() if name in names}
        return Rule(**said)
    except (ValueError, TypeError, AttributeError):
        return None


def _value(said: Any) -> Any:
    """JSON knows no tuples."""
    return tuple(map(_value, said)) if isinstance(said, list) else said
