"""A small producer for the demo: CSV files as a device writes them, and a record of each.

It writes in the two ways that an uploader must tell apart: whole files that are renamed into place,
in bursts, and one file at a time that grows under its final name while it is open. What it wrote is
in its record before the file can be sent, so the record can prove afterwards that nothing was lost.
It never looks at what becomes of its files.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from s3_file_uploader.demo.bucket import Content

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Producer", "main", "read_record"]

_TICK_SECONDS = 0.1
_TICKS_BETWEEN_BURSTS = 15
_ROW_COUNTS = (5, 50, 500, 5000)  # 200 bytes to 200 kB
_BURST_FILES = (5, 40)
_APPENDED_ROWS = 20
_TICKS_TO_GROW = 25


class Producer:
    """Writes into `folder`, and one JSON line for each file into `record`."""

    def __init__(self, folder: str, record: BinaryIO, chance: random.Random, started_at: float) -> None:
        self._folder = folder
        self._record = record
        self._chance = chance
        self._seconds = started_at
        self._count = 0
        self._growing: _Growing | None = None

    def burst(self) -> None:
        """Some files at once, each written under a name nobody takes, then renamed into place."""
        for _ in range(self._chance.randint(*_BURST_FILES)):
            name = self._next_name("batch")
            content = b"".join(self._rows(self._chance.choice(_ROW_COUNTS)))
            temporary = os.path.join(self._folder, f".{name}.part")
            with open(temporary, "wb") as file:
                file.write(content)
            self._note(name, len(content), hashlib.sha256(content).hexdigest())
            os.rename(temporary, os.path.join(self._folder, name))

    def grow(self) -> None:
        """A few more rows for the file that grows; once it has grown enough it is closed."""
        if self._growing is None:
            name = self._next_name("stream")
            self._growing = _Growing(name, os.path.join(self._folder, name))
        self._growing.append(b"".join(self._rows(_APPENDED_ROWS)))
        if self._growing.appends >= _TICKS_TO_GROW:
            self.finish()

    def finish(self) -> None:
        """Close the file that grows, if there is one."""
        if self._growing is not None:
            growing, self._growing = self._growing, None
            self._note(growing.name, growing.size_bytes, growing.sha256)
            growing.close()

    def _next_name(self, kind: str) -> str:
        self._count += 1
        return f"{kind}-{self._count:06d}.csv"

    def _rows(self, count: int) -> Sequence[bytes]:
        self._seconds += count
        return [
            b"%d,%.3f,%.2f,%d\n"
            % (
                self._seconds + row,
                self._chance.gauss(21.5, 0.4),
                self._chance.gauss(1013.0, 2.0),
                self._chance.getrandbits(20),
            )
            for row in range(count)
        ]

    def _note(self, name: str, size_bytes: int, sha256: str) -> None:
        line = json.dumps({"name": name, "size_bytes": size_bytes, "sha256": sha256})
        self._record.write(line.encode() + b"\n")
        self._record.flush()


class _Growing:
    """A file that is open and grows under its final name."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.size_bytes = 0
        self.appends = 0
        self._digest = hashlib.sha256()
        self._file = open(path, "wb", buffering=0)  # noqa: SIM115 - closed by `close`

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()

    def append(self, rows: bytes) -> None:
        self._file.write(rows)
        self._digest.update(rows)
        self.size_bytes += len(rows)
        self.appends += 1

    def close(self) -> None:
        self._file.close()


def read_record(path: str) -> dict[str, Content]:
    """What was produced, by file name. A last line that is still being written is left out."""
    produced: dict[str, Content] = {}
    with suppress(FileNotFoundError), open(path, "rb") as record:
        for line in record:
            if line.endswith(b"\n"):
                entry = json.loads(line)
                produced[entry["name"]] = Content(entry["size_bytes"], entry["sha256"])
    return produced


def main(arguments: Sequence[str] | None = None) -> int:
    """`producer FOLDER RECORD`: write until SIGTERM, then finish the file at hand."""
    folder, record_path = sys.argv[1:] if arguments is None else arguments
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: stop.set())  # noqa: ARG005 - a handler gets both
    with open(record_path, "ab") as record:
        producer = Producer(folder, record, random.Random(), time.time())  # noqa: S311 - no secrets here
        ticks = 0
        while not stop.wait(_TICK_SECONDS):
            if ticks % _TICKS_BETWEEN_BURSTS == 0:
                producer.burst()
            producer.grow()
            ticks += 1
        producer.finish()
    return 0


if __name__ == "__main__":
    sys.exit(main())
