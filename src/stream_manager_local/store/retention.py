"""What goes when a stream is full or its messages are old: the oldest segment, whole, again and again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import StrategyOnFull
from stream_manager_local.protocol.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.protocol.definition import StreamDefinition
    from stream_manager_local.store.exports import Exports
    from stream_manager_local.store.log import Log
    from stream_manager_local.store.segment import Segment
    from stream_manager_local.store.shared import Shared

__all__ = ["Retention"]


class Retention:
    """Decides what a stream may drop; `drop` drops its oldest segment, and raises OSError."""

    def __init__(self, log: Log, exports: Exports, shared: Shared, drop: Callable[[], None]) -> None:
        self._log = log
        self._exports = exports
        self._shared = shared
        self._drop = drop
        self._since = shared.monotonic()

    def make_room(self, definition: StreamDefinition, size: int) -> None:
        """Drop as much as `size` more bytes need. Raises Refused when too little may go, and OSError."""
        log = self._log
        while log.total_bytes + size > definition.max_size:
            if not self._may_drop(log.segments[0], definition):
                raise self._full(definition, size)
            self._drop()

    def expire(self, definition: StreamDefinition) -> float:
        """Drop what is past its time to live. Returns seconds until the next look. Raises OSError."""
        ttl = definition.time_to_live_millis
        if ttl is None:
            return math.inf
        while self._log.segments[0].count:
            age = self._age_millis()
            if age < ttl:
                return (ttl - age) / 1000
            self._drop()
        return ttl / 1000

    def _may_drop(self, segment: Segment, definition: StreamDefinition) -> bool:
        if definition.strategy_on_full is StrategyOnFull.OVERWRITE_OLDEST_DATA:
            return True
        return self._shared.choices.free_exported and 0 < segment.end <= self._exports.least()

    def _full(self, definition: StreamDefinition, size: int) -> Refused:
        return Refused(
            self._shared.choices.full_status,
            f"stream {definition.name!r} is full and rejects new data: it has {self._log.total_bytes} of "
            f"{definition.max_size} bytes, and the message takes {size}. Wait until its exports have gone on, "
            "raise definition.maxSize, or delete the stream",
        )

    def _age_millis(self) -> float:
        """The age of the newest message of the oldest segment, or less: nothing goes too early.

        By the monotonic clock where the message came in since the process runs: a clock that is set
        when a device finds its network must not make everything old. By the wall clock else; where the
        segment does not say, by the message behind it, and where none does, it is as if new. What comes
        from the future, of a clock that was wrong, gets old from the start of the process on.
        """
        segments = self._log.segments
        monotonic = self._shared.monotonic()
        if segments[0].newest_monotonic is not None:
            return (monotonic - segments[0].newest_monotonic) * 1000
        came_in = segments[0].newest_millis
        for segment in segments[1:]:
            if came_in is not None:
                break
            came_in = segment.first_millis()
        if came_in is None:
            came_in = segments[0].last_millis()
        if came_in is None:
            return 0.0
        age = self._shared.wall() * 1000 - came_in
        return age if age >= 0 else (monotonic - self._since) * 1000
