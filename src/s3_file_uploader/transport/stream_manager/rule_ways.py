"""The ways of a configuration's rules through Stream Manager."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.transport.contract import Transport

__all__ = ["RuleWays"]


class RuleWays:
    """Opens the transport of each rule."""

    def __init__(self, settings: Settings, conceal: Callable[..., None] | None) -> None:
        self._settings = settings
        self._conceal = conceal

    def open(self, rule: Rule) -> Transport:
        raise ConfigurationError(f"rule {rule.name}: Transport stream-manager is yet to come")
