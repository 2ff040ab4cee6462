"""One process for each store."""

from __future__ import annotations

import fcntl
import os

from stream_manager_local.store.names import LOCK

__all__ = ["Lock", "StoreUnusable"]


class StoreUnusable(Exception):
    """The store cannot be opened; the text says why, and what to try."""


class Lock:
    """Holds a store's folder until `release`, or until the process ends, however it ends."""

    def __init__(self, root: str) -> None:
        if not os.path.isdir(root):
            raise StoreUnusable(f"{root} is no folder: make it, or name another with --store-root-dir")
        path = os.path.join(root, LOCK)
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreUnusable(
                f"{root} cannot be written to: {error}. Let this user write there, or name another folder "
                "with --store-root-dir"
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            raise StoreUnusable(
                f"{root} is in use by another server: stop that one, or name another folder with --store-root-dir"
            ) from error

    def release(self) -> None:
        """Let go of it. Once more is no harm."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
