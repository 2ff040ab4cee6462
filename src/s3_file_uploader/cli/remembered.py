"""The settings of the last run, kept in its ledger, so that a question needs no arguments.

Settings hold no secret: credentials come from AWS's environment and never pass through here. What an
older or newer version wrote is taken as far as it is understood.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import Rule, Settings

if TYPE_CHECKING:
    from s3_file_uploader.ledger import Ledger
    from s3_file_uploader.ledger.reader import Reader

__all__ = ["recall", "remember"]

_KEY = "settings"


def remember(ledger: Ledger, settings: Settings) -> None:
    """Within a transaction."""
    ledger.connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (_KEY, json.dumps(asdict(settings))),
    )


def recall(reader: Reader) -> Settings | None:
    """The settings of the last run, or None where they are not known."""
    text = reader.meta(_KEY)
    if not isinstance(text, str):
        return None
    try:
        said = json.loads(text)
        rules = tuple(Rule(**_known(Rule, rule)) for rule in said["rules"])
        return Settings(**{**_known(Settings, said), "rules": rules})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _known(kind: type[Rule | Settings], said: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in said.items()
        if name in names
    }
