"""What a process writes, line by line, and waiting for a line: with a deadline, and without polling."""

from __future__ import annotations

import threading
from typing import IO

__all__ = ["ProcessLog"]

_LONGEST_SECONDS = 60.0


class ProcessLog:
    """Reads `stream` to its end, in a thread of its own."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._stream = stream
        self._news = threading.Condition()
        self._is_over = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._stream:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def wait_for(self, *texts: str, since: int = 0) -> str:
        """The first line from line `since` on that has all these texts in it."""

        def found() -> str | None:
            return next((line for line in self.lines[since:] if all(text in line for text in texts)), None)

        with self._news:
            self._news.wait_for(lambda: found() or self._is_over, _LONGEST_SECONDS)
            line = found()
        assert line, f"it never said {texts!r}, but:\n" + "\n".join(self.lines[since:])
        return line

    def close(self) -> None:
        self._reader.join(_LONGEST_SECONDS)
        self._stream.close()
