"""How far each export of a stream has come."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Cursors", "ExportStatus"]


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """What DescribeMessageStream says of an export, and where it goes on.

    `next_sequence` is the number of the message that is exported next; `last_export_millis` is in
    milliseconds since the epoch, None before the first. `error_message` is not kept over a restart.
    """

    identifier: str
    next_sequence: int = 0
    exported_messages: int = 0
    exported_bytes: int = 0
    last_export_millis: int | None = None
    error_message: str | None = None

    @property
    def last_exported(self) -> int:
        """The number of the last message that was exported; -1 before the first."""
        return self.next_sequence - 1


class Cursors:
    """One ExportStatus for each export that a stream has; `is_dirty` when more is known than was saved."""

    def __init__(self, identifiers: Iterable[str], known: Iterable[ExportStatus] = ()) -> None:
        self._statuses = {each.identifier: each for each in known}
        self.is_dirty = False
        self.keep_only(identifiers)

    def keep_only(self, identifiers: Iterable[str]) -> None:
        """The stream has these exports now: others are forgotten, new ones begin at the begin."""
        before = self._statuses
        self._statuses = {each: before.get(each) or ExportStatus(each) for each in identifiers}
        self.is_dirty |= self._statuses.keys() != before.keys()

    def get(self, identifier: str) -> ExportStatus | None:
        return self._statuses.get(identifier)

    def least(self) -> int:
        """The number up to which, not including, all exports have come."""
        return min((each.next_sequence for each in self._statuses.values()), default=0)

    def advance(
        self, identifier: str, next_sequence: int, *, messages: int, exported_bytes: int, at_millis: int
    ) -> None:
        """An export went on to `next_sequence`. One that the stream no longer has is left alone."""
        status = self._statuses.get(identifier)
        if status is None:
            return
        self._statuses[identifier] = replace(
            status,
            next_sequence=next_sequence,
            exported_messages=status.exported_messages + messages,
            exported_bytes=status.exported_bytes + exported_bytes,
            last_export_millis=at_millis,
            error_message=None,
        )
        self.is_dirty = True

    def note_error(self, identifier: str, message: str | None) -> None:
        status = self._statuses.get(identifier)
        if status is not None:
            self._statuses[identifier] = replace(status, error_message=message)

    def to_json(self) -> bytes:
        saved = [asdict(replace(each, error_message=None)) for each in self._statuses.values()]
        return json.dumps({"exports": saved}, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes, identifiers: Iterable[str], most: int) -> Cursors:
        """No export is ahead of `most`, the number that the next message gets: after a power cut the
        disk may know of an export and not of what was exported.

        Raises ValueError when it is no JSON of ours.
        """
        try:
            known = [ExportStatus(**each) for each in json.loads(data)["exports"]]
            known = [replace(each, next_sequence=min(max(each.next_sequence, 0), most)) for each in known]
        except (TypeError, AttributeError, LookupError) as error:
            raise ValueError(str(error)) from error
        return cls(identifiers, known)
