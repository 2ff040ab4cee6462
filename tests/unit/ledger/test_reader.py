"""Reading a ledger beside its writer: complete, without the lock, whatever the names are."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import LedgerCorrupt, LedgerNewer
from s3_file_uploader.ledger import Endings, Entry, Ledger, Queue, Settled, Sightings
from s3_file_uploader.ledger.database import DATABASE, Lock
from s3_file_uploader.ledger.reader import Reader, ledgers_below
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Candidate, Fingerprint, Receipt
from s3_file_uploader.observe.snapshot import HELD, Amount, path_fields, take

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAW = b"/data/\xff\n#%?.csv"


def candidate(name: bytes, number: int = 1, size: int = 10, folder: bytes = b"/data") -> Candidate:
    return Candidate(folder, name, Fingerprint(1, number, size, number * 10**9, number))


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(str(tmp_path), "test")
    ledger.register_rules(["default", "other"])
    yield ledger
    ledger.close()


@pytest.fixture
def reader(ledger: Ledger) -> Iterator[Reader]:
    reader = Reader.open(ledger.folder)
    assert reader is not None
    with reader:
        yield reader


def see(ledger: Ledger, *candidates: Candidate, rule: str = "default") -> None:
    with ledger.transaction():
        Sightings(ledger).observe(ledger.rule_ids[rule], candidates, now=10.0, settle_seconds=1.0)


def settle(ledger: Ledger, held: bytes = b"") -> None:
    with ledger.transaction():
        queue = Queue(ledger)
        queue.settle(
            [
                Settled(
                    one.entry,
                    is_ready=one.entry.name != held,
                    reason="newest" if one.entry.name == held else "",
                )
                for one in queue.waiting(100.0, 1 << 62, 10_000)
            ]
        )


def deliver(ledger: Ledger, limit: int = 1) -> list[Entry]:
    with ledger.transaction():
        entries = Queue(ledger).peek(ledger.rule_ids["default"], limit)
        Queue(ledger).claim([(entry, f"p/{entry.id}") for entry in entries])
        sending = [entry._replace(state=State.SENDING, key=f"p/{entry.id}") for entry in entries]
        Endings(ledger, lambda: 5e8).prove(
            [(entry, Receipt("b", f"p/{entry.id}", 10, "crc64nvme:x", "e")) for entry in sending]
        )
    return [
        entry._replace(state=State.DELIVERED, checksum="crc64nvme:x", delivered_at_wall=5e8)
        for entry in sending
    ]


def test_no_ledger_reads_as_none(tmp_path: Path) -> None:
    assert Reader.open(str(tmp_path)) is None
    (tmp_path / DATABASE).touch()
    assert Reader.open(str(tmp_path)) is None


def test_it_reads_what_the_writer_has_committed_while_the_writer_goes_on(
    ledger: Ledger, reader: Reader
) -> None:
    see(ledger, candidate(b"a"))
    assert [entry.name for entry in reader.files()] == [b"a"]

    with ledger.transaction():
        Sightings(ledger).observe(1, [candidate(b"b", 2)], now=11.0, settle_seconds=1.0)
        assert [entry.name for entry in reader.files()] == [b"a"]

    assert [entry.name for entry in reader.files()] == [b"a", b"b"]


def test_it_needs_no_lock_and_leaves_it_alone(ledger: Ledger, reader: Reader) -> None:
    assert list(reader.files()) == []
    assert Lock(ledger.folder).is_held()


def test_inside_one_view_nothing_changes(ledger: Ledger, reader: Reader) -> None:
    see(ledger, candidate(b"a"))
    with reader.one_view():
        before = reader.counts()
        see(ledger, candidate(b"b", 2))
        assert reader.counts() == before
    assert reader.counts() != before


def test_it_cannot_write(reader: Reader) -> None:
    with pytest.raises(Exception, match="readonly"):
        reader._rows("DELETE FROM meta")


def test_a_snapshot_counts_by_rule_and_tells_held_from_settling(ledger: Ledger, reader: Reader) -> None:
    see(ledger, candidate(b"a", 1, 5), candidate(b"b", 2, 7), candidate(b"c", 3, 11))
    settle(ledger, held=b"c")
    see(ledger, candidate(b"d", 4, 13), rule="other")
    [entry] = deliver(ledger)
    with ledger.transaction():
        Endings(ledger, lambda: 6e8).finish(entry, Event.REMOVED)

    snapshot = take(ledger.folder, reader)

    assert (snapshot.is_running, snapshot.pid) == (True, os.getpid())
    default, other = snapshot.rules
    assert default.now == {"ready": Amount(1, 7), HELD: Amount(1, 11)}
    assert default.ever == {"delivered": 1, "delivered_bytes": 10, "removed": 1}
    assert default.oldest_waiting is not None
    assert default.oldest_waiting.name == b"b"
    assert other.now == {"settling": Amount(1, 13)}
    assert other.oldest_waiting is not None


def test_a_snapshot_tells_of_pauses_and_of_what_waits_for_another_try(ledger: Ledger, reader: Reader) -> None:
    see(ledger, candidate(b"a"))
    settle(ledger)
    with ledger.transaction():
        [entry] = Queue(ledger).peek(1, 1)
        Queue(ledger).claim([(entry, "k")])
        Endings(ledger).postpone(
            entry._replace(state=State.SENDING), Event.FAILED, reason="broke", due_at=99.0, attempts=1
        )
        Endings(ledger, lambda: 123.0).note_pause("s3://b", "no connection")

    snapshot = take(ledger.folder, reader)

    assert snapshot.rules[0].waiting_again == 1
    assert [(pause.destination, pause.reason, pause.since_wall) for pause in snapshot.pauses] == [
        ("s3://b", "no connection", 123.0)
    ]


def test_without_a_ledger_a_snapshot_says_so(tmp_path: Path) -> None:
    snapshot = take(str(tmp_path), None)

    assert (snapshot.is_running, snapshot.pid, snapshot.rules) == (False, None, [])


def test_files_come_in_pages_and_stop_at_the_limit(ledger: Ledger, reader: Reader) -> None:
    names = [b"%05d" % number for number in range(2500)]
    see(ledger, *(candidate(name, number + 1) for number, name in enumerate(names)))

    assert [entry.name for entry in reader.files()] == names
    assert [entry.name for entry in reader.files(limit=1001)] == names[:1001]
    assert list(reader.files(limit=0)) == []
    assert len(list(reader.files(State.SETTLING))) == 2500
    assert list(reader.files(State.READY)) == []


def test_held_files_are_found_as_such(ledger: Ledger, reader: Reader) -> None:
    see(ledger, candidate(b"a"), candidate(b"b", 2))
    settle(ledger, held=b"b")

    assert [(entry.name, entry.reason) for entry in reader.files(held=True)] == [(b"b", "newest")]


def test_a_file_is_found_by_its_path_whatever_its_bytes(ledger: Ledger, reader: Reader) -> None:
    folder, name = os.path.split(RAW)
    see(ledger, candidate(name, folder=folder))

    assert [entry.path for entry in reader.find(RAW)] == [RAW]
    assert reader.find(RAW + b"x") == []
    assert reader.last_finished(RAW) is None


def test_the_last_file_of_a_name_that_left_is_told(ledger: Ledger, reader: Reader) -> None:
    see(ledger, candidate(b"a"))
    settle(ledger)
    [entry] = deliver(ledger)
    with ledger.transaction():
        Endings(ledger, lambda: 6e8).finish(entry, Event.REMOVED)

    finished = reader.last_finished(b"/data/a")

    assert finished is not None
    assert (finished.state, finished.key, finished.checksum) == (State.REMOVED, "p/1", "crc64nvme:x")
    assert (finished.delivered_at_wall, finished.finished_at_wall) == (5e8, 6e8)
    assert [one.path for one in reader.finished(State.REMOVED, limit=5)] == [b"/data/a"]
    assert list(reader.finished(State.VANISHED)) == []


def test_a_newer_ledger_and_a_damaged_one_are_refused_with_advice(tmp_path: Path) -> None:
    Ledger.open(str(tmp_path), "newer").close()
    with sqlite3.connect(tmp_path / "newer" / DATABASE) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / DATABASE).write_bytes(b"no database" * 1000)

    with pytest.raises(LedgerNewer) as newer:
        Reader.open(str(tmp_path / "newer"))
    with pytest.raises(LedgerCorrupt) as corrupt:
        Reader.open(str(tmp_path / "damaged"))

    assert "set-aside" in newer.value.advice
    assert "set-aside" in corrupt.value.advice


def test_the_ledgers_of_a_state_directory_are_listed(tmp_path: Path) -> None:
    for name in ("b", "a"):
        Ledger.open(str(tmp_path), name).close()
    (tmp_path / "empty").mkdir()

    assert ledgers_below(str(tmp_path)) == ["a", "b"]
    assert ledgers_below(str(tmp_path / "nowhere")) == []


def test_a_path_that_is_not_text_is_carried_in_base64_too() -> None:
    assert path_fields("/data/ü b.csv".encode()) == {"path": "/data/ü b.csv"}
    assert path_fields(b"/\xff") == {"path": "/\\xff", "path_base64": "L/8="}
    assert path_fields(b"/a\nb") == {"path": "/a\\x0ab", "path_base64": "L2EKYg=="}
