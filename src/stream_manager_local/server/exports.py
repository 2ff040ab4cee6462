"""The exporter, from the moment on at which a stream has an export.

It brings the S3 engine along, which takes more memory than all the rest. A server that only keeps
messages does without.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stream_manager_local.store import Created, Updated
from stream_manager_local.store.store import UPLOADS

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.export.executor import Exporter
    from stream_manager_local.faults import Faults
    from stream_manager_local.settings import Settings
    from stream_manager_local.store import Event, Store, Stream

__all__ = ["LateExporter"]


class LateExporter:
    """`start` before clients are served, `close` before the store is closed."""

    def __init__(self, store: Store, settings: Settings, faults: Faults) -> None:
        self._store = store
        self._settings = settings
        self._faults = faults
        self._exporter: Exporter | None = None
        self._unwatch: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Take up the exports of all streams, or wait for the first."""
        if (
            self._settings.success_without_upload
            or any(_has_exports(self._store.get(name)) for name in self._store.names())
            or os.path.exists(os.path.join(self._settings.root, UPLOADS))  # to be aborted, at least
        ):
            self._begin()
        else:
            self._unwatch = self._store.watch(self._on_event)

    async def close(self) -> None:
        """Stop all uploads; what is not finished is done again after the next start."""
        self._unwatch()
        if self._exporter is not None:
            await self._exporter.close()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, (Created, Updated)) and _has_exports(event.stream):
            self._unwatch()
            self._begin()

    def _begin(self) -> None:
        from stream_manager_local.export.executor import Exporter  # noqa: PLC0415  # the memory, see above

        self._exporter = Exporter(self._store, self._settings, self._faults)
        self._exporter.start()


def _has_exports(stream: Stream) -> bool:
    return bool(stream.definition.exports)
