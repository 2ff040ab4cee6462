"""Which transports there are: one row each, imported only when it is used."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Protocol

from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.transport.contract import Transport

__all__ = ["TRANSPORTS", "Opener", "Ways", "opener", "require_stream_manager_sdk"]


class Ways(Protocol):
    """The ways of all rules that have one transport."""

    def open(self, rule: Rule) -> Transport: ...

    def adjust(self, settings: Settings) -> None:
        """Concurrency and MaxBandwidth are others from now on."""
        ...


def _s3(settings: Settings, conceal: Callable[..., None] | None) -> Ways:
    from s3_file_uploader.transport.s3 import (  # noqa: PLC0415  # awscrt and ssl: only where they are used
        RuleLanes,
    )

    return RuleLanes(settings, conceal)


def require_stream_manager_sdk(what: str) -> None:
    """ConfigurationError where AWS's client for Stream Manager is not installed; `what` begins its message."""
    if find_spec("stream_manager") is None:
        raise ConfigurationError(
            f"{what} needs AWS's package stream-manager, which is not installed",
            advice="pip install 's3-file-uploader[stream-manager]'",
        )


def _stream_manager(settings: Settings, conceal: Callable[..., None] | None) -> Ways:
    concerned = ", ".join(rule.name for rule in settings.rules if rule.transport == "stream-manager")
    require_stream_manager_sdk(f"rule {concerned}: Transport stream-manager")
    from s3_file_uploader.transport.stream_manager.rule_ways import (  # noqa: PLC0415  # the SDK: only where it is used
        RuleWays,
    )

    return RuleWays(settings, conceal)


TRANSPORTS: dict[str, Callable[[Settings, Callable[..., None] | None], Ways]] = {
    "s3": _s3,
    "stream-manager": _stream_manager,
}


class Opener:
    """Opens the transport of a rule. One for each process, whatever becomes of its configuration."""

    def __init__(self, settings: Settings, conceal: Callable[..., None] | None) -> None:
        self._settings = settings
        self._conceal = conceal
        self._ways: dict[str, Ways] = {}
        for rule in settings.rules:  # what is wrong with them shows before anything is opened
            self._ways_of(rule)

    def __call__(self, rule: Rule) -> Transport:
        """ConfigurationError for one that is not there, or whose settings cannot work."""
        return self._ways_of(rule).open(rule)

    def adjust(self, settings: Settings) -> None:
        """Take over Concurrency and MaxBandwidth."""
        self._settings = settings
        for ways in self._ways.values():
            ways.adjust(settings)

    def _ways_of(self, rule: Rule) -> Ways:
        if rule.transport not in TRANSPORTS:
            raise ConfigurationError(
                f"rule {rule.name}: Transport {rule.transport} is not part of this version",
                advice=f"Set Transport to {' or '.join(TRANSPORTS)}.",
            )
        if rule.transport not in self._ways:
            known = self._settings.rules
            settings = self._settings if rule in known else replace(self._settings, rules=(*known, rule))
            self._ways[rule.transport] = TRANSPORTS[rule.transport](settings, self._conceal)
        return self._ways[rule.transport]


def opener(settings: Settings, conceal: Callable[..., None] | None = None) -> Opener:
    """What opens the transport of a rule; ConfigurationError for one that is not there.

    `conceal` is told every secret that a transport gets to know.
    """
    return Opener(settings, conceal)
