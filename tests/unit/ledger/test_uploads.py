"""Uploads under way and given up, in a real ledger: none is ever forgotten before it is said to be gone."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.ledger import (
    Destination,
    Endings,
    Entry,
    Ledger,
    Queue,
    Settled,
    Sightings,
    Uploads,
)
from s3_file_uploader.ledger.database import Lock, set_aside
from s3_file_uploader.ledger.reader import Reader
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Candidate, Fingerprint, Receipt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HERE, THERE = Destination("here", "bucket"), Destination("there", "bucket")
FOLDER = b"/data"


class Book:
    """A ledger with one rule and one file that is being sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ledger = Ledger.open(str(path), "test")
        self.ledger.register_rules(["default"])
        self.sightings = Sightings(self.ledger, lambda: 1000.0)
        self.queue, self.endings = Queue(self.ledger), Endings(self.ledger)
        seconds = itertools.count(1000)
        self.uploads = Uploads(self.ledger, lambda: float(next(seconds)))

    def see(self, mtime: int) -> None:
        seen = Candidate(FOLDER, b"large", Fingerprint(1, 2, 100, mtime, 5))
        self.sightings.observe(1, [seen], now=mtime * 10.0, settle_seconds=1.0)

    def send(self, key: str = "key") -> Entry:
        waiting = self.queue.waiting(1e6, 1 << 62, 9)
        self.queue.settle([Settled(one.entry, is_ready=True) for one in waiting])
        (entry,) = self.queue.peek(1, 9)
        self.queue.claim([(entry, key)])
        return entry._replace(state=State.SENDING, key=key)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    book = Book(tmp_path)
    book.see(1)
    yield book
    book.ledger.close()


def begun(upload_id: str, **more: Any) -> dict[str, Any]:
    return {"upload_id": upload_id, **more}


def reasons(book: Book) -> dict[str, str]:
    return {one.data["upload_id"]: one.reason for one in book.uploads.given_up()}


def test_what_was_saved_leads_back_to_where_it_was_begun(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    (upload,) = book.uploads.saved([sent.id, 99]).values()
    assert (upload.path, upload.size, upload.key, upload.data) == (b"/data/large", 100, "key", begun("u1"))
    assert (upload.way, upload.bucket) == HERE
    assert book.uploads.given_up() == []


def test_it_goes_with_the_receipt_or_when_the_transport_says_that_nothing_is_left(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.save(sent, None, HERE)
    assert book.uploads.under_way() == []
    book.uploads.save(sent, begun("u2"), HERE)
    book.endings.prove([(sent, Receipt("bucket", "key", 100, "crc64nvme:AAAA"))])
    assert (book.uploads.under_way(), book.uploads.given_up()) == ([], [])


def test_saying_how_far_it_has_come_changes_nothing_else(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.save(sent, begun("u1", parts_arrived=3), THERE)
    (upload,) = book.uploads.under_way()
    assert upload.begun_at_wall == 1000.0
    assert upload.data["parts_arrived"] == 3
    assert upload.way == "there"
    assert book.uploads.given_up() == []


def test_an_upload_that_is_replaced_by_another_is_given_up(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.save(sent, begun("u2"), HERE)
    assert [one.data["upload_id"] for one in book.uploads.under_way()] == ["u2"]
    assert reasons(book) == {"u1": "begun anew"}


def test_the_last_words_of_a_delivery_do_not_take_up_again_what_was_given_up(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.give_up([sent.id], "somebody asked for it")
    book.uploads.save(sent, begun("u1", parts_arrived=3), HERE)
    assert book.uploads.under_way() == []
    assert reasons(book) == {"u1": "somebody asked for it"}


def test_a_store_that_knows_nothing_of_an_upload_at_another_does_not_make_it_gone(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.save(sent, None, THERE)
    (upload,) = book.uploads.given_up()
    assert upload.way == "here"


def test_a_file_that_is_on_its_way_as_it_was_keeps_its_upload(book: Book) -> None:
    book.uploads.save(book.send(), begun("u1"), HERE)
    assert book.uploads.give_up_useless(but_not=[]) == 0


def vanish(book: Book, sent: Entry) -> None:
    book.sightings.gone([sent], now=20.0)


def drop_its_rule(book: Book, sent: Entry) -> None:
    book.sightings.drop_rule("default")


def deselect(book: Book, sent: Entry) -> None:
    book.sightings.reselect(1, "other patterns", lambda _folder, _name: False)


def change(book: Book, sent: Entry) -> None:
    book.see(2)


def park(book: Book, sent: Entry) -> None:
    book.endings.postpone(sent, Event.REFUSED, reason="no", due_at=None, attempts=5)


@pytest.mark.parametrize(
    ("happens", "reason"),
    [
        (vanish, "its file is gone"),
        (drop_its_rule, "its file is gone"),
        (deselect, "its file is gone"),
        (change, "its file has other content now"),
        (park, "its file is parked"),
    ],
)
def test_an_upload_that_nobody_will_go_on_with_is_given_up(book: Book, happens: Any, reason: str) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    happens(book, sent)
    assert book.uploads.give_up_useless(but_not=[sent.id]) == 0  # its delivery has not ended yet
    assert book.uploads.give_up_useless(but_not=[]) == 1
    assert reasons(book)["u1"].startswith(reason)
    assert book.uploads.under_way() == []


def test_what_is_given_up_is_due_at_once_and_after_each_failure_later(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    assert book.uploads.give_up([sent.id, 99], "somebody asked for it") == 1
    (upload,) = book.uploads.due(0.0, 9)
    book.uploads.postpone(upload, error="403", due_at=60.0)
    assert book.uploads.due(59.0, 9) == []
    (again,) = book.uploads.due(60.0, 9)
    assert (again.attempts, again.error) == (1, "403")
    book.uploads.aborted([again.id])
    assert book.uploads.given_up() == []


def test_whoever_waited_longest_is_tried_first_and_not_all_at_once(book: Book) -> None:
    sent = book.send()
    for number in range(3):
        book.uploads.save(sent, begun(f"u{number}"), HERE)
        book.uploads.give_up([sent.id], "no")
    first, *_ = book.uploads.due(0.0, 9)
    book.uploads.postpone(first, error="no", due_at=5.0)
    assert [one.data["upload_id"] for one in book.uploads.due(10.0, 2)] == ["u1", "u2"]


def test_the_last_ten_thousand_are_remembered(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("s3_file_uploader.ledger.uploads._MOST_GIVEN_UP", 3)
    sent = book.send()
    for number in range(9):
        book.uploads.save(sent, begun(f"u{number}"), HERE)
    assert list(reasons(book)) == ["u5", "u6", "u7"]


def test_readers_see_both_kinds_beside_the_writer(book: Book) -> None:
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.save(sent, begun("u2"), HERE)
    reader = Reader.open(book.ledger.folder)
    assert reader is not None
    with reader:
        assert [one.data["upload_id"] for one in reader.uploads_under_way()] == ["u2"]
        assert [one.data["upload_id"] for one in reader.uploads_given_up()] == ["u1"]
        upload = reader.upload_of(sent)
        assert upload is not None
        assert upload.data == begun("u2")
        assert reader.upload_of(sent._replace(generation=7)) is None


def test_a_ledger_that_is_set_aside_leaves_its_uploads_to_the_next_to_be_aborted(tmp_path: Path) -> None:
    book = Book(tmp_path)
    book.see(1)
    sent = book.send()
    book.uploads.save(sent, begun("u1"), HERE)
    book.uploads.save(sent, begun("u2"), HERE)
    book.ledger.close()
    lock = Lock(str(tmp_path / "test"))
    lock.take()
    set_aside(str(tmp_path / "test"))
    lock.release()
    after = Ledger.open(str(tmp_path), "test")
    assert {one.data["upload_id"] for one in Uploads(after).given_up()} == {"u1", "u2"}
    assert Uploads(after).due(0.0, 9) != []
    after.close()
