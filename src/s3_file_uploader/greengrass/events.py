"""What the nucleus tells without being asked. Made in the SDK's thread, read on the event loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ConfigurationChanged",
    "Event",
    "Lost",
    "StreamEnded",
    "UpdateAnnounced",
    "UpdateDone",
    "ValidationAsked",
]


@dataclass(frozen=True, slots=True)
class ConfigurationChanged:
    """One leaf of our configuration is another; which one is not worth knowing, since all is read again."""


@dataclass(frozen=True, slots=True)
class ValidationAsked:
    """A deployment asks whether this configuration, the whole of it, could be taken."""

    deployment: str
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class UpdateAnnounced:
    """A deployment is about to update components, and may stop us for that."""

    deployment: str


@dataclass(frozen=True, slots=True)
class UpdateDone:
    """That deployment is over."""

    deployment: str


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The nucleus ended a subscription."""

    operation: str


@dataclass(frozen=True, slots=True)
class Lost:
    """The connection is gone."""

    reason: str


Event: TypeAlias = ConfigurationChanged | ValidationAsked | UpdateAnnounced | UpdateDone | StreamEnded | Lost
