from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Status
from stream_manager_local.protocol.definition import S3Export
from stream_manager_local.protocol.errors import Refused
from support.local_store import KIB, OVERWRITE, FullDiskEdge, Stage, defined, payloads

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.store import Stream


def append_twice(stream: Stream, payload: bytes) -> None:
    stream.append(payload)
    stream.append(payload)


@pytest.mark.parametrize("room", range(0, 1100, 97))
@pytest.mark.parametrize("size", [1000, 70_000])
def test_a_full_disk_is_an_error_and_costs_nothing_that_was_appended(
    tmp_path: Path, room: int, size: int
) -> None:
    """However much of the message it takes before it is full; also when the process dies right then."""
    edge = FullDiskEdge()
    stage = Stage(tmp_path, edge=edge)
    store = stage.open()
    stream = store.create(defined(max_size=1024 * KIB, segment_size=128 * KIB))
    stream.append(b"before")
    for is_reopened in (False, True):
        edge.room = room
        with pytest.raises(Refused, match="No space left on device") as refused:
            append_twice(stream, b"x" * size)
        assert refused.value.status is Status.UNKNOWN_FAILURE
        appended = payloads(stream)
        assert stream.total_bytes == sum(map(len, appended)) + 20 * len(appended)
        edge.room = None
        if is_reopened:
            store = stage.reopen(store)
            stream = store.get("s")
        assert payloads(stream) == appended
        assert stream.append(b"after") == len(appended)
        assert payloads(stream) == [*appended, b"after"]
    store.close()


def test_a_full_disk_refuses_a_new_segment_and_takes_it_later(tmp_path: Path) -> None:
    edge = FullDiskEdge()
    store = Stage(tmp_path, edge=edge).open()
    stream = store.create(defined())
    for _ in range(4):
        stream.append(b"x" * 1000)
    edge.room = 0
    for _ in range(3):
        with pytest.raises(Refused, match="No space left"):
            stream.append(b"x" * 1000)
    edge.room = None
    assert stream.append(b"y" * 1000) == 4
    assert len(payloads(stream)) == 5
    store.close()


def test_a_full_disk_refuses_streams_updates_and_nothing_of_them_stays(tmp_path: Path) -> None:
    edge = FullDiskEdge()
    stage = Stage(tmp_path, edge=edge)
    store = stage.open()
    store.create(defined())
    for room in (0, 1, 50):
        edge.room = room
        with pytest.raises(Refused, match="No space left") as refused:
            store.create(defined("new"))
        assert refused.value.status is Status.UNKNOWN_FAILURE
        edge.room = room
        with pytest.raises(Refused, match="No space left") as refused:
            store.update(defined(strategy_on_full=OVERWRITE, exports=(S3Export("e"),)))
        assert refused.value.status is Status.UPDATE_FAILED
        assert store.get("s").definition == defined()
    edge.room = None
    store = stage.reopen(store)
    assert store.names() == ["s"]
    assert store.get("s").definition == defined()
    assert store.create(defined("new")).append(b"a") == 0
    store.close()
    assert stage.reports == []


def test_a_stream_can_be_deleted_while_the_disk_is_full(tmp_path: Path) -> None:
    edge = FullDiskEdge()
    store = Stage(tmp_path, edge=edge).open()
    store.create(defined()).append(b"a")
    edge.room = 0
    store.delete("s")
    edge.room = None
    assert store.create(defined()).append(b"a") == 0
    store.close()


# The kernel itself refuses: no file of this process may be larger than 20 kB.
_LIMITED = """
import resource, sys
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import Store
from support.local_store import MOST, OVERWRITE, defined, payloads

resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, resource.RLIM_INFINITY))
store = Store.open(sys.argv[1], report=print)
stream = store.create(defined(max_size=1 << 20, segment_size=1 << 18))
sent = []
for number in range(1000):
    try:
        stream.append(b"%04d" % number * 300)
    except Refused as refused:
        assert "File too large" in refused.text, refused.text
        break
    sent.append(b"%04d" % number * 300)
assert 10 < len(sent) < 20
assert payloads(stream) == sent
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
stream.append(b"after")
assert payloads(stream) == [*sent, b"after"]
store.close()
store = Store.open(sys.argv[1], report=print)
assert payloads(store.get("s")) == [*sent, b"after"]
store.close()
"""


def test_a_file_that_the_kernel_does_not_let_grow_is_an_error_and_no_crash(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIMITED, str(tmp_path)],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
