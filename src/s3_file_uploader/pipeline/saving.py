"""Saving checkpoints: those that come in one moment are one job of the ledger's thread, and one fsync.

A transport that hands thousands of small files over saves a checkpoint for each of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from s3_file_uploader.ledger import Destination, Entry, Uploads
    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.pipeline.threads import LedgerThread

__all__ = ["Saving"]


class Saving:
    """Runs on the event loop."""

    def __init__(self, writer: LedgerThread, uploads: Uploads) -> None:
        self._writer = writer
        self._uploads = uploads
        self._next: list[tuple[Entry, Checkpoint | None, Destination]] = []
        self._saved: asyncio.Future[None] | None = None

    async def save(self, one: tuple[Entry, Checkpoint | None, Destination]) -> None:
        """Ends once it is on the disk; raises what the ledger raises."""
        if self._saved is None:
            self._saved = asyncio.ensure_future(self._save_them())
            self._saved.add_done_callback(_note_error)
        self._next.append(one)
        # One whose delivery is stopped meanwhile must not stop the others' saving.
        await asyncio.shield(self._saved)

    async def _save_them(self) -> None:
        await asyncio.sleep(0)  # whoever else saves in this moment joins in
        them, self._next, self._saved = self._next, [], None
        await self._writer.awaited(self._uploads.save_all, them, durable=True)


def _note_error(saved: asyncio.Future[None]) -> None:
    """Those who waited for it may all have been stopped."""
    if not saved.cancelled():
        saved.exception()
