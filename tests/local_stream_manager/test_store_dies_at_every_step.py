"""The process dies right before each call to the disk, for every call of a whole life."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from stream_manager_local.protocol.definition import S3Export
from support.local_store import KIB, OVERWRITE, Died, DyingEdge, Stage, defined, read_all

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.store import Store, Stream

_BEFORE = defined(
    "kept", strategy_on_full=OVERWRITE, max_size=4 * KIB, segment_size=2 * KIB, exports=(S3Export("e"),)
)
_AFTER = defined(
    "kept", strategy_on_full=OVERWRITE, max_size=6 * KIB, segment_size=2 * KIB, exports=(S3Export("e"),)
)


class Life:
    """Does a bit of everything, and remembers what was answered."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.appended = 0
        self.advanced = 0
        self.is_updating = self.is_deleting = self.is_over = False
        self.made: set[str] = set()
        self.store: Store | None = None

    def run(self) -> None:
        store = self.store = self.stage.open()
        for name in ("kept", "deleted"):
            store.create(_BEFORE if name == "kept" else defined(name)).append(b"first")
            self.made.add(name)
        stream = store.get("kept")
        self.appended = 1
        self.append(stream, 8)
        self.is_updating = True
        store.update(_AFTER)
        self.append(stream, 4)
        self.is_deleting = True
        store.delete("deleted")
        self.is_over = True
        self.append(stream, 4)

    def append(self, stream: Stream, count: int) -> None:
        for _ in range(count):
            stream.append(b"%d" % self.appended * 300)
            self.appended += 1
            self.stage.clock.pass_seconds(1)
            stream.advance("e", self.appended, exported_bytes=1, at=1.0)
            self.advanced = self.appended


def check(life: Life, store: Store) -> None:
    names = set(store.names())
    assert names <= {"kept", "deleted"}
    assert life.made - {"deleted"} <= names
    if "deleted" in life.made and not life.is_deleting:
        assert "deleted" in names
    if life.is_over:
        assert "deleted" not in names
    if "deleted" in names:
        assert [message.payload for message in read_all(store.get("deleted"))] in ([b"first"], [])
    if "kept" in names:
        check_kept(life, store.get("kept"))


def check_kept(life: Life, stream: Stream) -> None:
    assert stream.definition in ((_BEFORE, _AFTER) if life.is_updating else (_BEFORE,))
    assert life.appended <= stream.newest + 1 <= life.appended + 1
    messages = read_all(stream)
    assert [message.sequence_number for message in messages] == list(range(stream.oldest, stream.newest + 1))
    for message in messages:
        number = message.sequence_number
        assert message.payload == (b"%d" % number * 300 if number else b"first")
    assert stream.oldest <= stream.cursor("e") <= stream.newest + 1
    assert stream.cursor("e") >= min(life.advanced, stream.newest + 1) - 2
    assert stream.total_bytes <= 6 * KIB + 2 * KIB


def test_wherever_it_dies_the_store_is_as_before_or_after_that_step(tmp_path: Path) -> None:
    for at in range(1, 10_000):
        root = tmp_path / "store"
        root.mkdir()
        edge = DyingEdge(at)
        life = Life(Stage(root, edge=edge))
        try:
            life.run()
        except Died:
            pass
        else:
            break
        finally:
            edge._bury()
            if life.store is not None:
                life.store._lock.release()
        for _ in range(2):
            stage = Stage(root)
            store = stage.open()
            assert stage.reports == []
            check(life, store)
            store.close()
        shutil.rmtree(root)
    assert at > 100
