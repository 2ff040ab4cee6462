"""What happens to streams, for those who want to know: long polls, exporters.

A callback is called at once, on the thread of the loop, once the stream has changed. It may call the
store again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stream_manager_local.protocol.definition import StreamDefinition
    from stream_manager_local.store.segment import Message
    from stream_manager_local.store.stream import Stream

__all__ = ["Appended", "Created", "Deleted", "Event", "Evicted", "Updated", "Watchers"]


@dataclass(frozen=True, slots=True)
class Created:
    """There is a new stream. Those that are there when the store opens are not told of."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Updated:
    """The stream has another definition than `before`."""

    stream: Stream
    before: StreamDefinition


@dataclass(frozen=True, slots=True)
class Deleted:
    """The stream is gone: `is_deleted` is true. Until the callbacks have returned it can still be read."""

    stream: Stream


@dataclass(frozen=True, slots=True)
class Appended:
    """The stream has a new message."""

    stream: Stream
    sequence: int


@dataclass(frozen=True, slots=True)
class Evicted:
    """The messages `first` to `last` are not in the stream any more: too old, or in the way of new ones.

    Until the callbacks have returned, `messages()` goes through them; those it cannot read are left out.
    """

    stream: Stream
    first: int
    last: int
    messages: Callable[[], Iterator[Message]]


Event: TypeAlias = "Created | Updated | Deleted | Appended | Evicted"


class Watchers:
    """Callbacks, and those of somebody else who wants to be told too."""

    def __init__(self, also: Watchers | None = None) -> None:
        self._callbacks: tuple[Callable[[Event], None], ...] = ()
        self._also = also

    def watch(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """From now on, call it with each event. Returns what ends that."""
        self._callbacks += (callback,)

        def unwatch() -> None:
            self._callbacks = tuple(each for each in self._callbacks if each is not callback)

        return unwatch

    def tell(self, event: Event) -> None:
        for callback in self._callbacks:
            callback(event)
        if self._also is not None:
            self._also.tell(event)
