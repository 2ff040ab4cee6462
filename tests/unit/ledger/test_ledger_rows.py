"""The ledger's rows: sightings, the queue, endings, against real SQLite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.ledger import Endings, Entry, Ledger, Queue, Settled, Sightings, Sightseen
from s3_file_uploader.ledger.endings import HISTORY_ROWS
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Candidate, Evidence, Fingerprint, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
from typing import Any

FOLDER = b"/data"


class Book:
    """A ledger with one rule, and the steps of a file's life in short."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger.open(str(path), "test")
        self.ledger.register_rules(["default"])
        self.rule = self.ledger.rule_ids["default"]
        self.sightings = Sightings(self.ledger, lambda: 1000.0)
        self.queue = Queue(self.ledger)
        self.endings = Endings(self.ledger, lambda: 1000.0)

    def see(self, *candidates: Candidate, now: float = 10.0) -> Sightseen:
        return self.sightings.observe(self.rule, candidates, now=now, settle_seconds=1.0)

    def settle(self, now: float = 100.0) -> list[Entry]:
        waiting = self.queue.waiting(now, 1 << 62, 100)
        self.queue.settle([Settled(one.entry, is_ready=True) for one in waiting])
        return self.queue.peek(self.rule, 100)

    def send(self, *entries: Entry) -> list[Entry]:
        self.queue.claim([(entry, entry.name.decode()) for entry in entries])
        return [entry._replace(state=State.SENDING, key=entry.name.decode()) for entry in entries]

    def deliver(self, *names: bytes) -> list[Entry]:
        self.see(*[candidate(name) for name in names])
        sent = self.send(*self.settle())
        self.endings.prove([(entry, receipt(entry)) for entry in sent])
        return [entry._replace(state=State.DELIVERED) for entry in sent]

    def row(self, name: bytes) -> Entry:
        (entry,) = self.sightings.find(self.rule, FOLDER, [name])
        return entry


def candidate(
    name: bytes, *, mtime: int = 5, size: int = 1, ctime: int = 5, device: int = 1, **more: Any
) -> Candidate:
    return Candidate(FOLDER, name, Fingerprint(device, hash(name) & 0xFFFF, size, mtime, ctime), **more)


def receipt(entry: Entry) -> Receipt:
    return Receipt("bucket", entry.key or "", entry.fingerprint.size, "crc64nvme:AAAA", '"etag"')


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path)
    yield book
    book.ledger.close()


def test_what_is_to_be_sent_is_counted_in_bytes(book: Book) -> None:
    assert book.see(candidate(b"a", size=700), candidate(b"b", size=50)).new_bytes == 750
    assert book.see(candidate(b"a", size=700), candidate(b"b", size=60, mtime=6)).new_bytes == 10
    book.deliver(b"c")
    assert book.see(candidate(b"c", size=30, mtime=7)).new_bytes == 30


def test_a_new_file_settles_before_anything_else(book: Book) -> None:
    assert book.see(candidate(b"a")).new == 1
    assert book.row(b"a").state is State.SETTLING
    assert book.queue.waiting(10.9, 1 << 62, 10) == []
    assert [one.entry.name for one in book.queue.waiting(11.0, 1 << 62, 10)] == [b"a"]


def test_an_unchanged_file_keeps_its_row(book: Book) -> None:
    book.see(candidate(b"a"))
    before = book.row(b"a")
    again = book.see(candidate(b"a"), now=20.0)
    assert (again.new, again.changed, again.seen_ids) == (0, 0, [before.id])
    assert book.row(b"a") == before


@pytest.mark.parametrize("change", [{"size": 2}, {"mtime": 6}, {"ctime": 6}])
def test_a_changed_file_settles_again_and_its_receipt_is_forgotten(
    book: Book, change: dict[str, int]
) -> None:
    (entry,) = book.deliver(b"a")
    assert book.see(candidate(b"a", **change), now=20.0).changed == 1
    row = book.row(b"a")
    assert (row.state, row.checksum, row.key, row.attempts) == (State.SETTLING, None, None, 0)
    assert row.generation == entry.generation + 1
    assert row.changed_at == 20.0


def test_a_disk_with_another_number_does_not_settle_a_waiting_file_again(book: Book) -> None:
    book.see(candidate(b"a"))
    assert book.see(candidate(b"a", device=7), now=20.0).changed == 0
    assert book.row(b"a").fingerprint.device == 7
    assert book.row(b"a").changed_at == 10.0


def test_a_delivered_file_on_a_disk_with_another_number_is_hashed_again(book: Book) -> None:
    (entry,) = book.deliver(b"a")
    seen = book.see(candidate(b"a", device=7), now=20.0)
    assert [number for number, _ in seen.to_hash_again] == [entry.id]
    assert book.row(b"a").state is State.DELIVERED


def test_the_queue_gives_the_oldest_first_and_ties_by_name(book: Book) -> None:
    book.see(candidate(b"c", mtime=1), candidate(b"b", mtime=2), candidate(b"a", mtime=2))
    assert [entry.name for entry in book.settle()] == [b"c", b"a", b"b"]


def test_the_newest_is_decided_by_time_then_name_and_the_future_is_told_apart(book: Book) -> None:
    book.see(candidate(b"a", mtime=5), candidate(b"b", mtime=5), candidate(b"z", mtime=900))
    newest = book.queue.newest(book.rule, FOLDER, wall_ns=100)
    assert (newest.overall, newest.not_in_future) == (b"z", b"b")
    assert newest.has_future


def test_an_answer_for_older_content_is_void(book: Book) -> None:
    book.see(candidate(b"a"))
    (sent,) = book.send(*book.settle())
    book.see(candidate(b"a", size=2), now=20.0)
    assert book.endings.prove([(sent, receipt(sent))]) == []
    assert book.row(b"a").state is State.SETTLING
    assert not book.endings.postpone(sent, Event.FAILED, reason="x", due_at=None, attempts=1)


def test_a_row_number_is_never_used_again(book: Book) -> None:
    (entry,) = book.deliver(b"a")
    book.endings.finish(entry, Event.REMOVED)
    book.see(candidate(b"a"), now=30.0)
    assert book.row(b"a").id > entry.id


def test_a_held_file_is_looked_at_again_when_its_folder_changes(book: Book) -> None:
    book.see(candidate(b"a"))
    (waiting,) = book.queue.waiting(50.0, 1 << 62, 10)
    book.queue.settle([Settled(waiting.entry, is_ready=False, due_at=None, reason="newest")])
    assert book.queue.waiting(1e9, 1 << 62, 10) == []
    book.see(candidate(b"b", mtime=9), now=60.0)
    assert [one.entry.name for one in book.queue.waiting(60.0, 1 << 62, 10)] == [b"a"]


def test_what_a_dead_process_was_sending_is_ready_again_with_no_attempt_burned(book: Book) -> None:
    book.see(candidate(b"a"))
    book.send(*book.settle())
    assert book.queue.interrupt_all() == 1
    assert (book.row(b"a").state, book.row(b"a").attempts) == (State.READY, 0)


def test_a_retry_waits_for_its_time(book: Book) -> None:
    book.see(candidate(b"a"))
    (sent,) = book.send(*book.settle())
    assert book.endings.postpone(sent, Event.FAILED, reason="x", due_at=200.0, attempts=1)
    assert book.queue.peek(book.rule, 10) == []
    assert book.queue.next_due() == 200.0
    assert book.queue.wake_retries(199.0) == 0
    assert book.queue.wake_retries(200.0) == 1
    assert [entry.attempts for entry in book.queue.peek(book.rule, 10)] == [1]


def test_a_parked_file_is_released_by_a_person_and_its_attempts_are_forgotten(book: Book) -> None:
    book.see(candidate(b"a"))
    (ready,) = book.settle()
    assert book.endings.park([ready], "no") == 1
    assert book.queue.release_parked(lambda entry: entry.name == b"other", 50.0) == 0
    assert book.queue.release_parked(lambda entry: True, 50.0) == 1
    assert book.row(b"a").state is State.SETTLING


def test_an_intent_holds_all_that_a_recovery_needs_and_its_number_is_never_used_again(book: Book) -> None:
    (entry,) = book.deliver(b"a")
    first = book.endings.intend(entry, "default", leased=True, details={})
    assert book.endings.intents() == [first]
    assert (first.name, first.fingerprint, first.leased) == (b"a", entry.fingerprint, True)
    assert book.queue.delivered(book.rule, 10) == []
    book.endings.drop_intents([first.id])
    assert book.endings.intend(entry, "default", leased=False, details={}).id > first.id


def test_a_removed_name_that_is_used_again_keeps_its_new_row(book: Book) -> None:
    (entry,) = book.deliver(b"a")
    intent = book.endings.intend(entry, "default", leased=True, details={})
    book.sightings.observe(book.rule, [candidate(b"a", size=9)], now=20.0, settle_seconds=1.0)
    assert book.endings.delivered_entry(intent) is None
    book.endings.finish(entry, Event.REMOVED)
    assert book.sightings.find(book.rule, FOLDER, [b"a"]) == []  # an intent is open: not ours to write off
    book.endings.drop_intents([intent.id])
    assert book.row(b"a").fingerprint.size == 9


def test_the_history_keeps_the_last_files_only(book: Book) -> None:
    (entry,) = book.deliver(b"a")
    connection = book.ledger.connection
    with book.ledger.transaction():
        for number in range(HISTORY_ROWS + 1500):
            book.endings.finish(entry._replace(id=-number - 1), Event.REMOVED)
    assert connection.execute("SELECT count(*) FROM history").fetchone()[0] <= HISTORY_ROWS + 1000


def test_evidence_of_a_close_brings_a_decision_forward(book: Book) -> None:
    book.see(candidate(b"a", evidence=Evidence.OPEN))
    (waiting,) = book.queue.waiting(50.0, 1 << 62, 10)
    book.queue.settle([Settled(waiting.entry, is_ready=False, due_at=90.0, reason="open")])
    book.see(candidate(b"a", evidence=Evidence.CLOSED), now=60.0)
    assert [one.entry.evidence for one in book.queue.waiting(60.0, 1 << 62, 10)] == [Evidence.CLOSED]


def test_a_file_that_we_hid_ourselves_since_it_was_read_has_not_vanished(book: Book) -> None:
    (entry,) = book.deliver(b"a")
    intent = book.endings.intend(entry, "default", leased=True, details={})
    assert book.sightings.gone([entry], now=100.0) == 0
    assert book.endings.delivered_entry(intent) is not None


def test_a_file_that_was_looked_at_before_we_removed_it_and_written_down_after_has_not_vanished(
    book: Book,
) -> None:
    book.endings.finish_all([(entry, Event.REMOVED, "") for entry in book.deliver(b"a")])
    book.see(candidate(b"a"))
    assert book.sightings.gone([book.row(b"a")], now=100.0) == 0
    assert book.sightings.find(book.rule, FOLDER, [b"a"]) == []
    history = book.ledger.connection.execute("SELECT state FROM history").fetchall()
    assert history == [(State.REMOVED.value,)]

    book.see(candidate(b"a", mtime=6))
    assert book.sightings.gone([book.row(b"a")], now=100.0) == 1
