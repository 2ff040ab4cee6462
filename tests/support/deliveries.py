"""Deliveries of plain files, for tests of transports: real files, without the uploader's source."""

from __future__ import annotations

import asyncio
import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.errors import FileChanged, FileUnreadable, FileVanished
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.transport.contract import Delivery

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.model import Checkpoint

__all__ = ["Courier", "PlainFile", "PlainSource"]


class PlainFile:
    def __init__(self, path: str, fingerprint: Fingerprint, on_check: Callable[[], None] | None) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._fingerprint = fingerprint
        self._on_check = on_check

    def fileno(self) -> int:
        return self._descriptor

    @property
    def size(self) -> int:
        return self._fingerprint.size

    def check_unchanged(self) -> None:
        if self._on_check is not None:
            self._on_check()
        if Fingerprint.of(os.fstat(self._descriptor)) != self._fingerprint:
            raise FileChanged("the file has changed")

    def close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1


@dataclass
class PlainSource:
    """`on_check` runs before each look at the open file; `opened` holds what was opened."""

    name: str
    fingerprint: Fingerprint
    on_check: Callable[[], None] | None = None
    opened: list[PlainFile] = field(default_factory=list)

    @property
    def path(self) -> bytes:
        return os.fsencode(self.name)

    def open(self) -> PlainFile:
        try:
            file = PlainFile(self.name, self.fingerprint, self.on_check)
        except FileNotFoundError as error:
            raise FileVanished(str(error)) from error
        except PermissionError as error:
            raise FileUnreadable(str(error)) from error
        self.opened.append(file)
        file.check_unchanged()
        return file


class Courier:
    """Makes deliveries to one bucket, and remembers what they saved and how many bytes they say left."""

    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.saved: list[Checkpoint | None] = []
        self.left_bytes = 0
        self.is_eased = False  # of all deliveries
        self._ids = itertools.count(1)

    async def save(self, checkpoint: Checkpoint | None) -> None:
        self.saved.append(checkpoint)

    async def give_up(self, reason: str) -> None:
        """What was saved last could not be taken back."""

    def progress(self, count: int) -> None:
        self.left_bytes += count

    async def left(self, count: int) -> None:
        """Until so many bytes say that they left."""
        while self.left_bytes < count:  # noqa: ASYNC110  (counted in another thread)
            await asyncio.sleep(0.005)

    def delivery(
        self,
        path: str,
        key: str,
        *,
        checkpoint: Checkpoint | None = None,
        on_check: Callable[[], None] | None = None,
    ) -> Delivery:
        source = PlainSource(path, Fingerprint.of(os.stat(path)), on_check)
        return Delivery(
            *(next(self._ids), source, self.bucket, key, self.save, checkpoint, self.progress, self.give_up),
            lambda: self.is_eased,
        )
