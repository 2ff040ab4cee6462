"""What was seen of each file since its first event: the evidence of an open or a closed writer.

A file counts only if its creation was seen on a standing watch; whatever was missed makes it unknown
again, and unknown is always a safe answer. The number of files is bounded: the one longest without
an event is dropped first.
"""

from __future__ import annotations

from dataclasses import dataclass

from s3_file_uploader.model import Evidence

__all__ = ["FileKey", "Histories", "History"]

# A file: the number of its folder's watch, and its name. A number is not given out twice.
FileKey = tuple[int, bytes]


@dataclass(frozen=True, slots=True)
class History:
    """`is_written`: more than its creation was seen. `origin`: the name it was renamed from, if any."""

    evidence: Evidence
    is_written: bool
    origin: FileKey | None = None


_CREATED = History(Evidence.OPEN, is_written=False)
_OPEN = History(Evidence.OPEN, is_written=True)
_CLOSED = History(Evidence.CLOSED, is_written=True)


class Histories:
    """The histories of at most `capacity` files."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._known: dict[FileKey, History] = {}  # in the order of their last events

    def __len__(self) -> int:
        return len(self._known)

    def evidence(self, file: FileKey) -> Evidence:
        history = self._known.get(file)
        return Evidence.NONE if history is None else history.evidence

    def is_only_created(self, file: FileKey) -> bool:
        """Created, and nothing seen since: opened a moment ago, or linked here with all its content."""
        history = self._known.get(file)
        return history is not None and not history.is_written

    def created(self, file: FileKey) -> None:
        self._put(file, _CREATED)

    def modified(self, file: FileKey) -> None:
        self._become(file, _OPEN)

    def closed(self, file: FileKey) -> None:
        self._become(file, _CLOSED)

    def take(self, file: FileKey) -> History | None:
        """Forget the file, and say what was known."""
        return self._known.pop(file, None)

    def arrived(self, file: FileKey, history: History | None, origin: FileKey, *, may_return: bool) -> None:
        """The file was renamed from `origin`: it is the same file with another name.

        Two names exchanged look like a file renamed away and back. Only where it `may_return` is a
        file that comes back to its old name believed to be itself.
        """
        self._known.pop(file, None)
        if history is not None and (history.origin != file or may_return):
            self._put(file, History(history.evidence, history.is_written, origin))

    def forget(self, file: FileKey) -> None:
        self._known.pop(file, None)

    def forget_watch(self, watch: int) -> None:
        for file in [file for file in self._known if file[0] == watch]:
            del self._known[file]

    def clear(self) -> None:
        self._known.clear()

    def _become(self, file: FileKey, history: History) -> None:
        before = self._known.pop(file, None)
        if before is None:
            return
        if before.origin is not None:
            history = History(history.evidence, history.is_written, before.origin)
        self._known[file] = history

    def _put(self, file: FileKey, history: History) -> None:
        self._known.pop(file, None)
        self._known[file] = history
        if len(self._known) > self._capacity:
            del self._known[next(iter(self._known))]
