"""The promises, held against everything that the uploader does: what it must never do is written down here.

The judge sees each call on the file system as it is made, each claim, each object that arrives and
each receipt; and when asked, it looks whether everything that producers made is still there.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from s3_file_uploader.source.hidden import is_hidden

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.sim_far_side import Carriage, FarSide
    from support.sim_producers import Producers, Record

__all__ = ["Judge", "Violation"]


class Violation(AssertionError):
    """A promise was broken."""


class Judge:
    """`violations` are what was found; a call in the uploader's own code would swallow an error.

    `marked`: only what its producer marked as done may go.
    """

    def __init__(
        self,
        producers: Producers,
        far_side: FarSide,
        now: Callable[[], float],
        *,
        settle_seconds: float,
        marked: bool,
    ) -> None:
        self.violations: list[str] = []
        self.ledger_was_lost = False
        self._producers = producers
        self._far_side = far_side
        self._now = now
        self._settle_seconds = settle_seconds
        self._marked = marked
        self._vouchers: dict[str, int] = {}  # by key: the delivery that a removal relied on
        self._named_at: dict[str, float] = {}  # by key: when the newest content that was removed got its name

    def accuse(self, violation: str) -> None:
        self.violations.append(violation)

    def check_quickly(self) -> None:
        """Whether anything was found so far."""
        if self.violations:
            raise Violation("; ".join(self.violations))

    def check(self) -> None:
        """Everything that a producer finished or is writing is still there, byte for byte."""
        self.check_quickly()
        names = self._producers.names()
        for record in self._producers.records.values():
            if record.inode not in names:
                raise Violation(f"{sorted(record.keys)} is gone and nobody took it")
            path = os.path.join(self._producers.folder, names[record.inode][0])
            with open(path, "rb") as file:
                if file.read() != record.content:
                    raise Violation(f"{sorted(record.keys)} is not what its producer wrote")

    @contextlib.contextmanager
    def watching(self, call: str, arguments: tuple[Any, ...]) -> Iterator[None]:
        if call == "unlink":
            with self._watching_loss(*arguments):
                yield
        elif call in ("rename", "rename_noreplace"):
            self._judge_naming(*arguments)
            with self._watching_loss(arguments[2], arguments[3]):
                yield
        else:
            yield

    @contextlib.contextmanager
    def _watching_loss(self, folder_fd: int, name: bytes) -> Iterator[None]:
        """Whatever loses its last name by our doing must be at the far side, and in nobody's hands."""
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd
            )
        except OSError:
            yield
            return
        try:
            yield
            status = os.fstat(descriptor)
            record = self._producers.records.get(status.st_ino)
            if status.st_nlink == 0 and record is not None:
                del self._producers.records[status.st_ino]
                self._judge_removal(record, os.pread(descriptor, status.st_size + 1, 0))
        finally:
            os.close(descriptor)

    def _judge_removal(self, record: Record, content: bytes) -> None:
        if record.writers:
            self.accuse(f"{sorted(record.keys)} was removed while a producer had it open")
        for key in record.keys:
            put = self._far_side.vouches_for(key, content)
            if put is not None:
                self._vouchers[key] = max(put.number, self._vouchers.get(key, 0))
                self._named_at[key] = max(record.changed_at, self._named_at.get(key, 0.0))
                return
        self.accuse(f"{sorted(record.keys)} was removed and its content was never acknowledged")

    def _judge_naming(self, from_fd: int, old: bytes, _to_fd: int, new: bytes) -> None:
        """A file gets its own name back, unless a newer one took it or the ledger that knew it was lost."""
        with contextlib.suppress(FileNotFoundError):
            record = self._producers.records.get(os.lstat(os.path.join(self._producers.folder, old)).st_ino)
            if record is None or is_hidden(new):
                return
            is_taken = any(
                key in self._named_at or os.path.lexists(os.path.join(self._producers.folder, key.encode()))
                for key in record.keys
            )
            if new.decode() not in record.keys and not (self.ledger_was_lost or is_taken):
                self.accuse(f"{sorted(record.keys)} was renamed {new!r} though a ledger knew it")
            record.keys.add(new.decode())

    def claimed(self, descriptor: int, key: str) -> None:
        """Nobody may have the file open, and it must have settled."""
        record = self._producers.records.get(os.fstat(descriptor).st_ino)
        if record is None:
            return
        if record.writers:
            self.accuse(f"{key} was claimed while a producer had it open")
        if self._now() - record.changed_at < self._settle_seconds:
            self.accuse(f"{key} was claimed before it had settled")

    def arrived(self, carriage: Carriage) -> None:
        """What was removed from the device is not overwritten by a delivery that began before its own."""
        if carriage.number < self._vouchers.get(carriage.delivery.key, 0):
            self.accuse(f"{carriage.delivery.key}: an older delivery overwrote what was removed")
        assert carriage.opened is not None
        record = self._producers.records.get(os.fstat(carriage.opened.fileno()).st_ino)
        if record is not None and record.changed_at < self._named_at.get(carriage.delivery.key, 0.0):
            self.accuse(f"{carriage.delivery.key}: older content was sent after newer content")

    def proven(self, carriage: Carriage) -> None:
        """A receipt is only for what a file was when nobody had it open."""
        assert carriage.opened is not None
        record = self._producers.records.get(os.fstat(carriage.opened.fileno()).st_ino)
        key = carriage.delivery.key
        if record is None:
            return
        if key not in record.keys:
            self.accuse(f"{sorted(record.keys)} was delivered as {key}")
        if carriage.content not in (record.done if self._marked else record.closed):
            self.accuse(f"{key} was delivered half-written")
