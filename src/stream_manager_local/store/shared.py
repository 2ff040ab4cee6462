"""What all streams of a store have in common: clocks, the disk's edge, choices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.store.descriptors import Descriptors
    from stream_manager_local.store.edge import Edge
    from stream_manager_local.store.events import Watchers
    from stream_manager_local.store.syncing import Syncer

__all__ = ["Choices", "Shared"]


@dataclass(frozen=True, slots=True)
class Choices:
    """What public evidence leaves open, decided by whoever runs the server.

    With `free_exported`, a stream that is full and rejects new data drops its oldest segments once all
    its exports have passed them; without, only deleting and a time to live make room. `full_status` is
    the answer to an append for which there is no room.
    """

    free_exported: bool = True
    full_status: Status = Status.INVALID_REQUEST


@dataclass(frozen=True, slots=True)
class Shared:
    """`wall` is in seconds since the epoch, `monotonic` in seconds; `report` takes one line for the log."""

    wall: Callable[[], float]
    monotonic: Callable[[], float]
    report: Callable[[str], None]
    choices: Choices
    edge: Edge
    descriptors: Descriptors
    syncer: Syncer
    watchers: Watchers
