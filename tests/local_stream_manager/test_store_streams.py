from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import Persistence, Status, StatusLevel
from stream_manager_local.protocol.definition import OtherExport, S3Export, StatusConfig
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.store import Created, Deleted, Store, StoreUnusable
from support.local_store import KIB, MEMORY, MOST, OVERWRITE, Stage, defined, payloads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from stream_manager_local.store import Event

# All that the protocol lets through: letters, digits, spaces and , . - _
HARD_NAMES = (
    *("..", ".", "...", "a.", "a ", " ", "  ", "CON", "nul.txt", "stream.json", ".lock", ".unfinished-0-s"),
    *("-", "--help", "_", ",", "a" * 255, "A" * 255, "." * 255, " " * 255, "A", "a", "a,b", "00000.segment"),
)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


@pytest.fixture
def store(stage: Stage) -> Iterator[Store]:
    store = stage.open()
    yield store
    store.close()


def test_a_stream_that_exists_is_not_made_again(store: Store) -> None:
    store.create(defined()).append(b"a")
    with pytest.raises(Refused, match="stream already exists") as refused:
        store.create(defined(strategy_on_full=OVERWRITE))
    assert refused.value.status is Status.INVALID_REQUEST
    assert payloads(store.get("s")) == [b"a"]


def test_what_does_not_exist_is_not_found(store: Store) -> None:
    for ask in (store.get, store.delete, lambda name: store.update(defined(name))):
        with pytest.raises(Refused, match="'nobody' does not exist") as refused:
            ask("nobody")
        assert refused.value.status is Status.RESOURCE_NOT_FOUND


def test_segments_larger_than_the_stream_are_refused(stage: Stage, store: Store) -> None:
    with pytest.raises(Refused, match="streamSegmentSize") as refused:
        store.create(defined(max_size=4 * KIB, segment_size=5 * KIB))
    assert refused.value.status is Status.INVALID_REQUEST
    assert store.names() == []


def test_every_name_is_that_of_a_stream_of_its_own(stage: Stage) -> None:
    store = stage.open()
    for name in HARD_NAMES:
        store.create(defined(name)).append(repr(name).encode())
    store = stage.reopen(store)
    assert sorted(store.names()) == sorted(HARD_NAMES)
    assert [payloads(store.get(name)) for name in HARD_NAMES] == [
        [repr(name).encode()] for name in HARD_NAMES
    ]
    store.close()
    assert stage.reports == []


def test_names_do_not_reach_out_of_the_store(stage: Stage, store: Store) -> None:
    for name in HARD_NAMES:
        store.create(defined(name))
    folders = [entry for entry in os.listdir(stage.root) if entry != ".lock"]
    assert len({folder.lower() for folder in folders}) == len(HARD_NAMES)
    assert all(len(os.fsencode(folder)) <= 100 for folder in folders)
    assert all(
        sorted(os.listdir(stage.root / folder)) == [f"{0:020}.segment", "stream.json"] for folder in folders
    )


def test_definitions_are_there_after_a_restart(stage: Stage) -> None:
    exports = (
        OtherExport("IotSitewise", "site", {"identifier": "site", "batchSize": 7}),
        S3Export("one", status=StatusConfig(StatusLevel.TRACE, "status")),
        S3Export("two", priority=3, disabled=True, multipart_threshold=6_000_000),
    )
    full = defined("full", exports=exports, time_to_live_millis=60_000, flush_on_write=True)
    store = stage.open()
    store.create(full)
    store.create(defined("plain"))
    store = stage.reopen(store)
    assert store.get("full").definition == full
    assert store.get("plain").definition == defined("plain")
    store.close()


def test_a_stream_made_anew_begins_at_0_without_what_it_had(stage: Stage, store: Store) -> None:
    for _ in range(3):
        stream = store.create(defined())
        assert (stream.append(b"old"), len(payloads(stream))) == (0, 1)
        store.delete("s")
    assert store.names() == []
    assert os.listdir(stage.root) == [".lock"]


def test_a_deleted_stream_stays_deleted_after_a_restart(stage: Stage) -> None:
    store = stage.open()
    store.create(defined()).append(b"a")
    store.delete("s")
    store = stage.reopen(store)
    assert store.names() == []
    store.close()


@pytest.mark.parametrize("persistence", Persistence)
def test_a_deleted_stream_takes_nothing_and_gives_nothing(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(persistence=persistence))
    stream.append(b"a")
    store.delete("s")
    assert stream.is_deleted
    for ask in (lambda: stream.append(b"b"), lambda: stream.read(0, 1, most_bytes=MOST)):
        with pytest.raises(Refused) as refused:
            ask()
        assert refused.value.status is Status.RESOURCE_NOT_FOUND


@pytest.mark.parametrize("persistence", Persistence)
def test_who_hears_of_a_deletion_can_still_read_the_messages(store: Store, persistence: Persistence) -> None:
    stream = store.create(defined(persistence=persistence))
    stream.append(b"a")
    heard: list[tuple[bool, list[bytes], list[str]]] = []
    stream.watch(lambda event: heard.append((event.stream.is_deleted, payloads(event.stream), store.names())))
    store.delete("s")
    assert heard == [(True, [b"a"], [])]


def test_who_watches_the_store_hears_of_streams_that_come_and_go(store: Store) -> None:
    heard: list[Event] = []
    store.watch(heard.append)
    stream = store.create(defined())
    store.delete("s")
    assert heard == [Created(stream), Deleted(stream)]


def test_streams_in_memory_are_never_on_the_disk_and_gone_after_a_restart(stage: Stage) -> None:
    store = stage.open()
    stream = store.create(defined(persistence=MEMORY, exports=(S3Export("e"),)))
    for _ in range(10):
        stream.append(b"x" * 1000)
    stream.advance("e", 5, exported_bytes=1, at=1.0)
    assert os.listdir(stage.root) == [".lock"]
    store = stage.reopen(store)
    assert store.names() == []
    store.close()


def test_what_a_creation_or_deletion_left_half_done_is_cleared_away(stage: Stage) -> None:
    (stage.root / ".unfinished-7-s").mkdir()
    (stage.root / ".unfinished-7-s" / "stream.json").write_text("{")
    stage.open().close()
    assert os.listdir(stage.root) == [".lock"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "cannot be understood"),
        (b"[]", "cannot be understood"),
        (b'{"format": 1}', "definition"),
        (b'{"format": 1, "definition": {"name": "s"}}', "strategyOnFull"),
        (
            b'{"format": 1, "definition": {"name": "other", "strategyOnFull": 0}}',
            "whose folder has another name",
        ),
        (b'{"format": 2}', "a newer version"),
        (b"\xff\xfe\x00", "cannot be understood"),
        (b"[" * 100_000, "cannot be understood"),
        (None, "has no stream.json"),
    ],
)
def test_a_stream_whose_definition_is_broken_is_left_alone_and_the_others_work(
    stage: Stage, content: bytes | None, said: str
) -> None:
    store = stage.open()
    store.create(defined("other")).append(b"a")
    store.create(defined("s")).append(b"b")
    store.close()
    (definition,) = stage.root.glob("s-*/stream.json")
    if content is None:
        definition.unlink()
    else:
        definition.write_bytes(content)
    store = stage.open()
    assert store.names() == ["other"]
    assert len(stage.reports) == 1
    assert said in stage.reports[0]
    assert str(definition.parent) in stage.reports[0]
    with pytest.raises(Refused, match="Move that folder away") as refused:
        store.create(defined("s"))
    assert refused.value.status is Status.UNKNOWN_FAILURE
    assert payloads(store.get("other")) == [b"a"]
    store.close()
    assert len(list(definition.parent.glob("*.segment"))) == 1


def test_a_stream_without_its_segments_is_left_alone(stage: Stage) -> None:
    store = stage.open()
    store.create(defined())
    store.close()
    next(stage.root.glob("s-*/*.segment")).unlink()
    store = stage.open()
    assert store.names() == []
    assert "no segment" in stage.reports[0]
    store.close()


def test_a_foreign_file_in_the_store_is_reported_and_left(stage: Stage) -> None:
    (stage.root / "notes.txt").write_text("mine")
    stage.open().close()
    assert (stage.root / "notes.txt").read_text() == "mine"
    assert "notes.txt" in stage.reports[0]


def test_a_store_is_used_by_one_server_at_a_time(stage: Stage, store: Store) -> None:
    with pytest.raises(StoreUnusable, match="in use by another server"):
        stage.open()
    store.close()
    stage.open().close()


def test_a_store_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreUnusable, match="no folder"):
        Store.open(tmp_path / "nowhere", report=print)


def test_definitions_are_plain_json_for_people_who_look(stage: Stage, store: Store) -> None:
    store.create(defined("My stream"))
    (path,) = stage.root.glob("my-stream-*/stream.json")
    assert json.loads(path.read_text())["definition"]["name"] == "My stream"
