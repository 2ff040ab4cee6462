"""Stores of the local Stream Manager: opened, with clocks that are set, on disks that fail."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from stream_manager_local.protocol.codes import Persistence, StrategyOnFull
from stream_manager_local.protocol.definition import StreamDefinition
from stream_manager_local.store import Choices, Store
from stream_manager_local.store.edge import Edge

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from stream_manager_local.store import Message, Stream

__all__ = [
    "KIB",
    "MEMORY",
    "MOST",
    "OVERWRITE",
    "REJECT",
    "Clock",
    "CountingEdge",
    "Died",
    "DyingEdge",
    "FullDiskEdge",
    "PowerCutEdge",
    "RefusingEdge",
    "Stage",
    "defined",
    "numbers",
    "payloads",
    "read_all",
    "segment_files",
]

KIB = 1024
MOST = 1 << 40
REJECT = StrategyOnFull.REJECT_NEW_DATA
OVERWRITE = StrategyOnFull.OVERWRITE_OLDEST_DATA
MEMORY = Persistence.MEMORY


@dataclass
class Clock:
    """Both clocks of a store: `pass_seconds` moves both, `set_wall` only the one that people set."""

    wall: float = 1_700_000_000.0
    monotonic: float = 0.0

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds


@dataclass
class Stage:
    """A folder, and what opens the store in it again and again."""

    root: Path
    clock: Clock = field(default_factory=Clock)
    reports: list[str] = field(default_factory=list)
    choices: Choices = field(default_factory=Choices)
    edge: Edge = field(default_factory=Edge)

    def open(self) -> Store:
        return Store.open(
            self.root,
            wall=lambda: self.clock.wall,
            monotonic=lambda: self.clock.monotonic,
            report=self.reports.append,
            choices=self.choices,
            edge=self.edge,
        )

    def reopen(self, store: Store) -> Store:
        store.close()
        return self.open()


def defined(name: str = "s", **properties: Any) -> StreamDefinition:
    """Small enough to be filled: 16 KiB in segments of 4 KiB, which reject new data."""
    chosen: dict[str, Any] = {"max_size": 16 * KIB, "segment_size": 4 * KIB, "strategy_on_full": REJECT}
    return StreamDefinition(name=name, **(chosen | properties))


def read_all(stream: Stream) -> list[Message]:
    messages: list[Message] = []
    start = stream.oldest
    while start <= stream.newest:
        messages += stream.read(start, 1000, most_bytes=MOST)
        start = messages[-1].sequence_number + 1
    return messages


def payloads(stream: Stream) -> list[bytes]:
    return [message.payload for message in read_all(stream)]


def numbers(stream: Stream) -> list[int]:
    return [message.sequence_number for message in read_all(stream)]


def segment_files(root: Path) -> list[Path]:
    """Of all streams, oldest first."""
    return sorted(root.glob("*/*.segment"), key=lambda path: path.name)


class CountingEdge(Edge):
    """Counts fsync, which takes until the gate is open."""

    def __init__(self) -> None:
        self.fsync_count = 0
        self.gate = threading.Event()
        self.gate.set()

    def fsync(self, descriptor: int) -> None:
        self.gate.wait(60)
        self.fsync_count += 1


class Died(BaseException):
    """The process is dead from here on."""


class DyingEdge(CountingEdge):
    """The process dies right before its `at`-th call; `_bury` closes its files."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self._at = at
        self._count = 0
        self._opened: set[int] = set()

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        return self._stepping(name, method) if not name.startswith("_") and name in vars(Edge) else method

    def _stepping(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._count += 1
            if self._count >= self._at:
                raise Died
            result = method(*arguments)
            if name in {"open_file", "create_file", "open_folder", "duplicate"}:
                self._opened.add(result)
            elif name == "close":
                self._opened.discard(*arguments)
            return result

        return call

    def _bury(self) -> None:
        for descriptor in self._opened:
            os.close(descriptor)


class FullDiskEdge(Edge):
    """Has room for so many bytes; 0: none, not for an empty file either; None: for any number."""

    def __init__(self, room: int | None = None) -> None:
        self.room = room

    def create_file(self, path: str) -> int:
        self._take(0)
        return super().create_file(path)

    def make_folder(self, path: str) -> None:
        self._take(0)
        super().make_folder(path)

    def write(self, descriptor: int, data: bytes, offset: int) -> int:
        return super().write(descriptor, data[: self._take(len(data))], offset)

    def write_two(self, descriptor: int, first: bytes, second: bytes, offset: int) -> int:
        return self.write(descriptor, first + second, offset)

    def _take(self, count: int) -> int:
        if self.room is None:
            return count
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = min(count, self.room)
        self.room -= taken
        return taken


class RefusingEdge(Edge):
    """Answers the calls that are named in `refused` with an I/O error."""

    def __init__(self, *refused: str) -> None:
        self.refused: tuple[str, ...] = refused

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_") and name in vars(Edge) and name in self.refused:
            return _refuse
        return object.__getattribute__(self, name)


def _refuse(*arguments: Any) -> Any:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


class PowerCutEdge(Edge):
    """Remembers what the disk has for certain, so that `cut` can take away everything else.

    A file keeps the bytes that it had at its last fsync. A file, or a folder, that was made since the
    last fsync of the folder it is in, is gone; so is its new name.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._kept: dict[int, bytes] = {}  # inode -> content
        self._names: dict[int, set[str]] = {}  # inode of a folder -> its names
        self._is_cut = False

    def fsync(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            self._names[status.st_ino] = set(os.listdir(descriptor))
        else:
            self._kept[status.st_ino] = os.pread(descriptor, status.st_size, 0)

    def cut(self) -> None:
        """What a power cut leaves, at its worst. Nothing of the store may run any more."""
        for folder, subfolders, files in os.walk(self._root, topdown=False):
            known = self._names.get(os.stat(folder).st_ino, set())
            for name in files:
                path = os.path.join(folder, name)
                if name not in known:
                    os.unlink(path)
                else:
                    kept = self._kept.get(os.stat(path).st_ino, b"")
                    with open(path, "wb") as file:
                        file.write(kept)
            for name in subfolders:
                if name not in known:
                    assert not os.listdir(os.path.join(folder, name)), "it had something that was synced"
                    os.rmdir(os.path.join(folder, name))
