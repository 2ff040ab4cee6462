"""Which transports there are: one row each, imported only when it is used."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.transport.contract import Transport

__all__ = ["TRANSPORTS", "opener", "require_stream_manager_sdk"]


def _s3(settings: Settings, conceal: Callable[..., None] | None) -> Callable[[Rule], Transport]:
    from s3_file_uploader.transport.s3 import (  # noqa: PLC0415  # awscrt and ssl: only where they are used
        RuleLanes,
    )

    return RuleLanes(settings, conceal).open


def require_stream_manager_sdk(what: str) -> None:
    """ConfigurationError where AWS's client for Stream Manager is not installed; `what` begins its message."""
    if find_spec("stream_manager") is None:
        raise ConfigurationError(
            f"{what} needs AWS's package stream-manager, which is not installed",
            advice="pip install 's3-file-uploader[stream-manager]'",
        )


def _stream_manager(settings: Settings, conceal: Callable[..., None] | None) -> Callable[[Rule], Transport]:
    concerned = ", ".join(rule.name for rule in settings.rules if rule.transport == "stream-manager")
    require_stream_manager_sdk(f"rule {concerned}: Transport stream-manager")
    from s3_file_uploader.transport.stream_manager.rule_ways import (  # noqa: PLC0415  # the SDK: only where it is used
        RuleWays,
    )

    return RuleWays(settings, conceal).open


TRANSPORTS: dict[str, Callable[[Settings, Callable[..., None] | None], Callable[[Rule], Transport]]] = {
    "s3": _s3,
    "stream-manager": _stream_manager,
}


def opener(settings: Settings, conceal: Callable[..., None] | None = None) -> Callable[[Rule], Transport]:
    """What opens the transport of a rule; ConfigurationError for one that is not there.

    `conceal` is told every secret that a transport gets to know.
    """
    openers: dict[str, Callable[[Rule], Transport]] = {}

    def opener_of(rule: Rule) -> Callable[[Rule], Transport]:
        if rule.transport not in TRANSPORTS:
            raise ConfigurationError(
                f"rule {rule.name}: Transport {rule.transport} is not part of this version",
                advice=f"Set Transport to {' or '.join(TRANSPORTS)}.",
            )
        if rule.transport not in openers:
            openers[rule.transport] = TRANSPORTS[rule.transport](settings, conceal)
        return openers[rule.transport]

    for rule in settings.rules:  # what is wrong with them shows before anything is opened
        opener_of(rule)
    return lambda rule: opener_of(rule)(rule)
