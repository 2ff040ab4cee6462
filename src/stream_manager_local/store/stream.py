"""One stream: what clients and exporters may do with it.

All calls are made on the thread of the loop, and return as fast as the page cache; `durable` alone
waits for the disk. A message that was appended survives the death of the process, and that of the
machine once `durable` has returned under flush_on_write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store.cursors import Cursors
from stream_manager_local.store.durability import Durability
from stream_manager_local.store.events import Appended, Deleted, Evicted, Updated, Watchers
from stream_manager_local.store.exports import Exports
from stream_manager_local.store.log import Log, messages_of
from stream_manager_local.store.medium import MemoryMedium
from stream_manager_local.store.record import OVERHEAD_BYTES
from stream_manager_local.store.retention import Retention
from stream_manager_local.store.segment import Segment, Unreadable
from stream_manager_local.store.update import check_update

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.protocol.definition import StreamDefinition
    from stream_manager_local.store.cursors import ExportStatus
    from stream_manager_local.store.events import Event
    from stream_manager_local.store.folder import Folder
    from stream_manager_local.store.medium import Medium
    from stream_manager_local.store.segment import Message
    from stream_manager_local.store.shared import Shared

__all__ = ["Stream"]

_MOST_REPORTED = 20  # places with damage, of each stream


class Stream:
    """A run of messages, numbered from 0 on without a gap, of which the oldest may be gone.

    Without a folder it is in memory only.
    """

    def __init__(
        self,
        definition: StreamDefinition,
        shared: Shared,
        folder: Folder | None = None,
        segments: list[Segment] | None = None,
        cursors: Cursors | None = None,
    ) -> None:
        self.definition = definition
        self.is_deleted = False
        self._is_removed = False
        self._shared = shared
        self._folder = folder
        self._watchers = Watchers(shared.watchers)
        self._log = Log(segments or [Segment(_medium(folder, 0), 0, definition.segment_size)])
        identifiers = [export.identifier for export in definition.exports]
        self._exports = Exports(cursors or Cursors(identifiers), folder, shared)
        self._retention = Retention(self._log, self._exports, shared, self._drop_oldest)
        self._last_millis = self._log.last_millis() or 0
        self._damage_reported: set[int] = set()
        self._durability = None if folder is None else Durability(shared.syncer, folder, self._log.end)

    @property
    def oldest(self) -> int:
        """The number of the first message that can be read; that of the next one when there is none."""
        return self._log.oldest

    @property
    def newest(self) -> int:
        """The number of the last message that was appended; -1 before the first."""
        return self._log.end - 1

    @property
    def total_bytes(self) -> int:
        """What its messages take: their payloads, and OVERHEAD_BYTES for each."""
        return self._log.total_bytes

    @property
    def mark_count(self) -> int:
        """How many places in its segments are kept in memory, 16 bytes each."""
        return sum(segment.mark_count for segment in self._log.segments)

    def watch(self, callback: Callable[[Event], None]) -> Callable[[], None]:
        """Call it with each event of this stream. Returns what ends that."""
        return self._watchers.watch(callback)

    # -- messages

    def append(self, payload: bytes) -> int:
        """Add a message; returns its sequence number.

        Raises Refused: INVALID_REQUEST for an empty one, REQUEST_PAYLOAD_TOO_LARGE, the status chosen for
        a full stream, UNKNOWN_FAILURE when the disk does not take it, RESOURCE_NOT_FOUND when the stream
        was deleted. Nothing is appended then.
        """
        self._check(payload)
        size = OVERHEAD_BYTES + len(payload)
        shared, log = self._shared, self._log
        try:
            self._retention.make_room(self.definition, size)
            self._make_segment(size)
            now = max(int(shared.wall() * 1000), self._last_millis)
            log.append(payload, now)
        except OSError as error:
            raise Refused(
                Status.UNKNOWN_FAILURE,
                f"the message for stream {self.definition.name!r} cannot be written: {error}. Look at the disk "
                "of the store; nothing else is lost, and appending works again as soon as the disk does",
            ) from error
        self._last_millis = now
        log.active.newest_monotonic = shared.monotonic()
        if self._durability is not None:
            self._durability.wrote(log.active)
        sequence = log.end - 1
        self._watchers.tell(Appended(self, sequence))
        return sequence

    async def durable(self, sequence: int) -> None:
        """Under flush_on_write, return once the disk has the message for certain; else at once.

        Raises Refused: UNKNOWN_FAILURE when the disk failed, SERVER_TIMEOUT when it takes too long.
        """
        if self._durability is not None and self.definition.flush_on_write:
            await self._durability.wait(sequence)

    def read(self, start: int, most: int, *, most_bytes: int) -> list[Message]:
        """Up to `most` messages from the number `start` on, or from the oldest; none behind the newest.

        No more than `most_bytes` of payload, but for the first message. Ends before damage, and raises
        Refused(MESSAGE_STORE_READ_ERROR) when the first one is damaged: `next_readable` goes past it.
        """
        if self._is_removed:
            raise self._gone()
        try:
            return self._log.read(start, most, most_bytes)
        except Unreadable as damage:
            raise self._damaged(damage) from damage
        except OSError as error:
            raise Refused(
                Status.MESSAGE_STORE_READ_ERROR,
                f"stream {self.definition.name!r} cannot be read: {error}. Look at the disk of the store",
            ) from error

    def next_readable(self, sequence: int) -> int:
        """The first number from `sequence` on, or from the oldest, whose message can be read.

        That of the next message to come when there is none. Raises OSError.
        """
        sequence = max(sequence, self._log.oldest)
        while sequence < self._log.end:
            try:
                self._log.read(sequence, 1, 0)
            except Unreadable as damage:
                sequence = damage.next_readable
            else:
                break
        return sequence

    # -- exports

    def cursor(self, identifier: str) -> int:
        """The number of the message that this export takes next: one that is there, or the next to come."""
        return max(self._exports.cursor(identifier), self._log.oldest)

    def advance(self, identifier: str, next_sequence: int, *, exported_bytes: int, at: float) -> None:
        """An export is done with all messages before `next_sequence`; `at` is in seconds since the epoch.

        Nothing for an export that the stream no longer has. A second later it is on the disk.
        """
        self._exports.advance(
            identifier,
            next_sequence,
            messages=max(0, next_sequence - self.cursor(identifier)),
            exported_bytes=exported_bytes,
            at_millis=int(at * 1000),
        )

    def note_export_error(self, identifier: str, message: str | None) -> None:
        """What keeps an export from going on, for whoever describes the stream; None: nothing."""
        self._exports.note_error(identifier, message)

    def export_status(self, identifier: str) -> ExportStatus:
        """How far it is; at the begin, for an export that the stream does not have."""
        return self._exports.status(identifier)

    # -- for the store

    def save(self) -> None:
        """Keep on the disk how far the exports are."""
        self._exports.save()

    def update(self, definition: StreamDefinition) -> None:
        """Raises Refused, and is as before then: UPDATE_NOT_ALLOWED, UPDATE_FAILED, INVALID_REQUEST."""
        before = self.definition
        check_update(before, definition, self.total_bytes, self.newest)
        if self._folder is not None:
            try:
                self._folder.write_definition(definition)
            except OSError as error:
                raise Refused(
                    Status.UPDATE_FAILED,
                    f"the new definition of stream {before.name!r} cannot be written: {error}",
                ) from error
        self.definition = definition
        self._exports.keep_only(export.identifier for export in definition.exports)
        self._watchers.tell(Updated(self, before))

    def hide(self) -> None:
        """Take it off the disk, where nothing can fail after this. Raises Refused(UNKNOWN_FAILURE)."""
        try:
            if self._folder is not None:
                self._folder.hide()
        except OSError as error:
            raise Refused(
                Status.UNKNOWN_FAILURE, f"stream {self.definition.name!r} cannot be deleted: {error}"
            ) from error

    def delete(self) -> None:
        """Tell everybody, then give the space back. `hide` comes first."""
        self.is_deleted = True
        self._exports.forget()
        self._watchers.tell(Deleted(self))
        self._is_removed = True
        if self._durability is not None:
            self._durability.forget()
        try:
            if self._folder is not None:
                self._folder.remove()
        except OSError as error:
            self._report(f"it is deleted; its files stay until the next start: {error}")

    def expire(self) -> float:
        """Drop what is past the time to live. Returns seconds until the next look."""
        try:
            return self._retention.expire(self.definition)
        except OSError as error:
            self._report(f"what is past its time to live cannot be dropped: {error}")
            return 60.0

    # -- its own

    def _check(self, payload: bytes) -> None:
        if self.is_deleted:
            raise self._gone()
        if not payload:
            raise Refused(Status.INVALID_REQUEST, "payload is empty: a message has one byte at least")
        most = self.definition.segment_size - OVERHEAD_BYTES
        if len(payload) > most:
            raise Refused(
                Status.REQUEST_PAYLOAD_TOO_LARGE,
                f"payload has {len(payload)} bytes: a message of stream {self.definition.name!r} has at most "
                f"{most}, its streamSegmentSize less {OVERHEAD_BYTES}",
            )

    def _make_segment(self, size: int) -> None:
        """See that the active segment may take `size` more bytes. Raises OSError."""
        active = self._log.active
        if not active.count:
            active.limit = self.definition.segment_size
        elif active.size + size > active.limit or self._has_failed(active):
            self._roll()

    def _has_failed(self, segment: Segment) -> bool:
        return self._durability is not None and segment.base < self._durability.failed_end

    def _roll(self) -> None:
        base = self._log.end
        self._log.roll(Segment(_medium(self._folder, base, is_new=True), base, self.definition.segment_size))
        if self._durability is not None:
            self._durability.made_file()

    def _drop_oldest(self) -> None:
        """Raises OSError when there is no room for an empty file; nothing is dropped then."""
        if len(self._log.segments) == 1:
            self._roll()
        segment = self._log.drop_oldest()
        if self._durability is not None:
            self._durability.removed(segment)
        self._watchers.tell(Evicted(self, segment.base, segment.end - 1, lambda: messages_of(segment)))
        try:
            segment.medium.remove()
        except OSError as error:
            self._report(
                f"messages {segment.base} to {segment.end - 1} are dropped, but not off the disk: {error}"
            )

    def _gone(self) -> Refused:
        return Refused(
            Status.RESOURCE_NOT_FOUND, f"stream {self.definition.name!r} does not exist: it was deleted"
        )

    def _damaged(self, damage: Unreadable) -> Refused:
        text = f"messages {damage.first} to {damage.next_readable - 1} are damaged on the disk"
        reported = self._damage_reported
        if damage.next_readable not in reported and len(reported) < _MOST_REPORTED:
            reported.add(damage.next_readable)
            self._report(text + (": more of it is not reported" if len(reported) == _MOST_REPORTED else ""))
        return Refused(
            Status.MESSAGE_STORE_READ_ERROR,
            f"stream {self.definition.name!r}: {text}. Read on from {damage.next_readable}",
        )

    def _report(self, what: str) -> None:
        self._shared.report(f"stream {self.definition.name!r}: {what}")


def _medium(folder: Folder | None, base: int, *, is_new: bool = False) -> Medium:
    """What a segment stands on. Raises OSError when a new file cannot be made."""
    if folder is None:
        return MemoryMedium()
    medium = folder.medium(base)
    if is_new:
        medium.create()
    return medium
