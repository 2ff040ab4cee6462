"""File-system edges that fail, die or let a producer in at one chosen call."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

from s3_file_uploader.source.edge import Edge

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Crash",
    "DyingEdge",
    "InterruptedEdge",
    "NoFlagsEdge",
    "NoLeaseEdge",
    "NoSyncEdge",
    "TwoDisksEdge",
]

_OPENING = frozenset({"open_folder", "open_folder_at", "open_at"})


class Crash(BaseException):
    """The process is dead from here on."""


class NoSyncEdge(Edge):
    """The death of a process cannot tell whether the disk has it yet; thousands of deaths go faster so."""

    def fsync(self, descriptor: int) -> None: ...


class NoLeaseEdge(Edge):
    """Every file belongs to somebody else: leases are refused."""

    def set_lease(self, descriptor: int, kind: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


class NoFlagsEdge(NoSyncEdge):
    """A file system that cannot refuse to overwrite, such as NFS."""

    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


class TwoDisksEdge(NoSyncEdge):
    """Each folder is a disk of its own."""

    def _refuse_to_cross(self, from_fd: int, to_fd: int) -> None:
        if not os.path.sameopenfile(from_fd, to_fd):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        self._refuse_to_cross(from_fd, to_fd)
        super().rename_noreplace(from_fd, old, to_fd, new)

    def rename(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        self._refuse_to_cross(from_fd, to_fd)
        super().rename(from_fd, old, to_fd, new)


class _Watched(Edge):
    """Around another edge: sees each call before and after it is made."""

    def __init__(self, inner: Edge) -> None:
        self.inner = inner
        self.calls = 0
        self.log: list[str] = []

    def before(self, name: str) -> None: ...

    def after(self, name: str, result: Any) -> None: ...

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_") or name not in vars(Edge):
            return object.__getattribute__(self, name)
        method = getattr(object.__getattribute__(self, "inner"), name)

        def call(*arguments: Any, **named: Any) -> Any:
            self.calls += 1
            self.log.append(name)
            self.before(name)
            try:
                result = method(*arguments, **named)
            except OSError:
                self.after("refused", None)
                raise
            self.after(name, result)
            return result

        return call


class DyingEdge(_Watched):
    """The process dies right before or right after its `at`-th call; the kernel then closes its files."""

    def __init__(self, inner: Edge, at: int, *, is_after: bool = False) -> None:
        super().__init__(inner)
        self._at = at
        self._is_after = is_after
        self._is_dead = False
        self._opened: set[int] = set()

    def before(self, name: str) -> None:
        if self._is_dead or (self.calls == self._at and not self._is_after):
            self._die()

    def after(self, name: str, result: Any) -> None:
        if name in _OPENING:
            self._opened.add(result)
        elif name == "close":
            self._opened = {descriptor for descriptor in self._opened if _is_open(descriptor)}
        if self.calls == self._at and self._is_after:
            self._die()

    def _die(self) -> None:
        self._is_dead = True
        for descriptor in self._opened:
            if _is_open(descriptor):
                os.close(descriptor)
        self._opened.clear()
        raise Crash


class InterruptedEdge(_Watched):
    """A producer acts right before the `at`-th call."""

    def __init__(self, inner: Edge, at: int, act: Callable[[], None]) -> None:
        super().__init__(inner)
        self._at = at
        self._act = act

    def before(self, name: str) -> None:
        if self.calls == self._at:
            self._act()


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
