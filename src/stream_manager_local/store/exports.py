"""How far the exports of a stream are, and keeping that on the disk without writing it all the time."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from stream_manager_local.store.cursors import ExportStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stream_manager_local.store.cursors import Cursors
    from stream_manager_local.store.folder import Folder
    from stream_manager_local.store.shared import Shared

__all__ = ["SAVE_SECONDS", "Exports"]

SAVE_SECONDS = 1.0  # how much of their progress a killed process may forget


class Exports:
    """The cursors of a stream, and the file they are kept in; without a folder, in memory only."""

    def __init__(self, cursors: Cursors, folder: Folder | None, shared: Shared) -> None:
        self._cursors = cursors
        self._folder = folder
        self._shared = shared
        self._saved_at = shared.monotonic()
        self._is_refused = False
        self._timer: asyncio.TimerHandle | None = None

    def least(self) -> int:
        """The number up to which, not including, all exports have come; 0 when there are none."""
        return self._cursors.least()

    def cursor(self, identifier: str) -> int:
        return self.status(identifier).next_sequence

    def status(self, identifier: str) -> ExportStatus:
        """At the begin, for an export that the stream does not have."""
        return self._cursors.get(identifier) or ExportStatus(identifier)

    def keep_only(self, identifiers: Iterable[str]) -> None:
        self._cursors.keep_only(identifiers)
        self.save()

    def note_error(self, identifier: str, message: str | None) -> None:
        self._cursors.note_error(identifier, message)

    def advance(
        self, identifier: str, next_sequence: int, *, messages: int, exported_bytes: int, at_millis: int
    ) -> None:
        """Saved at once when the last time was SAVE_SECONDS ago; else in so many, or with the next `save`."""
        self._cursors.advance(
            identifier, next_sequence, messages=messages, exported_bytes=exported_bytes, at_millis=at_millis
        )
        if self._shared.monotonic() - self._saved_at >= SAVE_SECONDS:
            self.save()
        elif self._timer is None and self._folder is not None:
            with contextlib.suppress(RuntimeError):  # no loop: then whoever calls says when
                self._timer = asyncio.get_running_loop().call_later(SAVE_SECONDS, self.save)

    def save(self) -> None:
        """Write what is not saved. A disk that refuses is reported once, and asked again later."""
        self._stop_timer()
        if self._folder is None or not self._cursors.is_dirty:
            return
        self._saved_at = self._shared.monotonic()
        try:
            self._folder.write_cursors(self._cursors.to_json())
        except OSError as error:
            if not self._is_refused:
                self._folder.report(
                    f"the progress of its exports cannot be saved, and is tried again: {error}"
                )
            self._is_refused = True
        else:
            self._cursors.is_dirty = self._is_refused = False

    def forget(self) -> None:
        """The stream is deleted: nothing is saved any more."""
        self._stop_timer()
        self._folder = None

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
