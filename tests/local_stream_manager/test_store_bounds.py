from __future__ import annotations

import os
from typing import TYPE_CHECKING

from stream_manager_local.store.descriptors import MOST_OPEN
from stream_manager_local.store.edge import Edge
from support.local_store import KIB, MOST, CountingEdge, Stage, defined

if TYPE_CHECKING:
    from pathlib import Path


class _NoSyncEdge(CountingEdge):
    """Making hundreds of streams is not about the disk."""


def _open_count(root: Path) -> int:
    found = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            found += os.readlink(f"/proc/self/fd/{name}").startswith(str(root))
        except FileNotFoundError:
            continue  # that of the listing itself
    return found


def test_hundreds_of_streams_keep_a_few_files_open(tmp_path: Path) -> None:
    stage = Stage(tmp_path, edge=_NoSyncEdge())
    store = stage.open()
    streams = [store.create(defined(f"stream {number}")) for number in range(300)]
    for turn in range(3):
        for stream in streams:
            stream.append(b"%d" % turn)
    assert _open_count(tmp_path) <= MOST_OPEN + 1
    store = stage.reopen(store)
    for name in store.names():
        assert [message.payload for message in store.get(name).read(0, 9, most_bytes=MOST)] == [
            b"0",
            b"1",
            b"2",
        ]
    assert _open_count(tmp_path) <= MOST_OPEN + 1
    for name in store.names():
        store.delete(name)
    assert _open_count(tmp_path) == 1
    store.close()
    assert _open_count(tmp_path) == 0


def test_the_index_of_many_small_messages_stays_small(tmp_path: Path) -> None:
    """A million messages of 111 bytes take 131 MB and 128 KB of index; here a tenth of that."""
    stage = Stage(tmp_path, edge=Edge())
    store = stage.open()
    stream = store.create(defined(max_size=64 << 20, segment_size=16 << 20))
    for _ in range(100_000):
        stream.append(b"x" * 111)
    assert stream.mark_count <= stream.total_bytes // (16 * KIB)
    store = stage.reopen(store)
    stream = store.get("s")
    assert stream.read(99_999, 1, most_bytes=MOST)[0].sequence_number == 99_999
    assert stream.mark_count <= stream.total_bytes // (16 * KIB)
    store.close()


def test_a_short_read_is_quick_wherever_it_begins(tmp_path: Path) -> None:
    """It reads no more than what lies between two places of the index."""

    class ReadingEdge(Edge):
        taken = 0

        def read(self, descriptor: int, count: int, offset: int) -> bytes:
            data = super().read(descriptor, count, offset)
            self.taken += len(data)
            return data

    edge = ReadingEdge()
    store = Stage(tmp_path, edge=edge).open()
    stream = store.create(defined(max_size=64 << 20, segment_size=16 << 20))
    for _ in range(50_000):
        stream.append(b"x" * 111)
    for start in (49_999, 3, 25_000, 40_000, 12_345):
        edge.taken = 0
        assert stream.read(start, 1, most_bytes=MOST)[0].sequence_number == start
        assert edge.taken <= 3 * 16 * KIB
    store.close()
