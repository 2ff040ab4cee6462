"""The component's configuration as settings.

The nucleus keeps it as JSON or as YAML's words, so numbers come as text, and whole numbers with a
fraction. It also keeps the policy of access there, which is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import Settings, load

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LEDGER_NAME", "settings_of"]

# Not derived from the rules, as elsewhere: rules come and go while the component runs.
LEDGER_NAME = "component"
_OF_THE_NUCLEUS = frozenset({"accessControl"})


def settings_of(configuration: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings that the configuration stands for, or a ConfigurationError with everything wrong with it."""
    said = {key: _plain(value) for key, value in configuration.items() if key not in _OF_THE_NUCLEUS}
    if said.get("Name") in (None, ""):
        said["Name"] = LEDGER_NAME
    return load(component=said, environment=environment).settings


def _plain(value: Any) -> Any:
    """JSON as the classic nucleus hands it over has no whole numbers: 10 comes as 10.0."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list) else value
