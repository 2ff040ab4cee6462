"""What transport/contract.py says that a transport MUST, of every transport there is."""

from __future__ import annotations

import asyncio
import errno
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import (
    AccessDenied,
    DeliveryError,
    FileBusy,
    FileChanged,
    FileUnreadable,
    FileVanished,
    Interrupted,
    Misconfigured,
    TransferFault,
    Unproven,
    Unreachable,
)
from support.deliveries import Courier, PlainFile, PlainSource
from support.places import CARRIERS, PLACES, Place, checksum_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from s3_file_uploader.model import Checkpoint, Receipt

MIB = 1024 * 1024
BOUNDARY = 16 * MIB  # above it a file may go in parts
SMALL, LARGE = 300_000, 20 * MIB
LONG_SECONDS = 60  # nobody's speed is judged: only that there is an end
MOST_MEMORY = 16 * MIB


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with PLACES[request.param](request.getfixturevalue) as made:
        yield made


# What is said of the bytes on their way, where it is the transport that reads them.
carried = pytest.mark.parametrize("place", CARRIERS, indirect=True)


def assert_proof(place: Place, receipt: Receipt, content: bytes) -> None:
    """A checksum of this content; Stream Manager tells none, and proves it by the task that it did."""
    algorithm = receipt.checksum.partition(":")[0]
    if algorithm != "stream-manager":
        assert receipt.checksum == checksum_of(content, algorithm)
        assert receipt.checksum == place.checksum(receipt.key)


def bounded(work: Coroutine[Any, Any, Any]) -> Any:
    async def run() -> Any:
        return await asyncio.wait_for(work, LONG_SECONDS)

    return asyncio.run(run())


def new_file(folder: Path, size: int, name: str = "file") -> str:
    """Every MiB of it is another, so that no part can stand for its neighbour."""
    path = folder / name
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(-(-size // MIB)):
            file.write((number.to_bytes(8, "big") + block[8:])[: size - number * MIB])
    return str(path)


def read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def deliver(place: Place, *deliveries: Any, rate: float | None = None) -> list[Receipt]:
    async def run() -> list[Receipt]:
        async with place.open(rate) as transport:
            return list(await asyncio.gather(*map(transport.deliver, deliveries)))

    return bounded(run())  # type: ignore[no-any-return]  # of `run`


# -- the object and its receipt


@pytest.mark.parametrize(
    "size", [0, 1, 256 * 1024, 256 * 1024 + 1, BOUNDARY - 1, BOUNDARY, BOUNDARY + 1, 24 * MIB]
)
def test_an_object_is_its_file_and_the_receipt_proves_it(place: Place, size: int, tmp_path: Path) -> None:
    path, courier = new_file(tmp_path, size), Courier(place.bucket)
    [receipt] = deliver(place, courier.delivery(path, "folder/file"))
    content = read(path)
    assert place.content("folder/file") == content
    assert (receipt.bucket, receipt.key, receipt.size) == (place.bucket, "folder/file", size)
    assert_proof(place, receipt, content)
    assert place.objects() == {"folder/file": size}
    assert place.unfinished() == {}


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_progress_counts_every_byte_of_a_file_once(place: Place, size: int, tmp_path: Path) -> None:
    courier = Courier(place.bucket)
    deliver(place, courier.delivery(new_file(tmp_path, size), "key"))
    assert courier.left_bytes == size


@pytest.mark.parametrize(
    "key",
    [
        "plain.csv",
        "with space.csv",
        "a+b&c=d;e,f.csv",
        "100%.csv",
        "%2e%2e%2f",
        "run#1?x=y.csv",
        "[x] {y} 'z' ~!@$^*().csv",
        '"quoted"<angle>|pipe.csv',
        "back\\slash",
        "Grüße/日本語/🚀.csv",
        "e\u0301 is not \u00e9",
        "x" * 250,
        "new\nline",
        "tab\tand\rreturn",
        ".hidden",
        "uploads?uploadId=1&partNumber=1",
    ],
)
def test_any_key_names_the_object_it_says(place: Place, key: str, tmp_path: Path) -> None:
    path = new_file(tmp_path, 10)
    if not place.takes(key):
        with pytest.raises(DeliveryError):
            deliver(place, Courier(place.bucket).delivery(path, key))
        return
    [receipt] = deliver(place, Courier(place.bucket).delivery(path, key))
    assert receipt.key == key
    assert place.content(key) == read(path)


def test_a_large_file_goes_under_a_hostile_key_too(place: Place, tmp_path: Path) -> None:
    path, key = new_file(tmp_path, LARGE), "%41/a+b c?#&='ü\n🚀"
    if not place.takes(key):
        key = key.replace("\n", "")
    if not place.takes(key):
        key = "41/a+b=c;&,ü🚀"
    deliver(place, Courier(place.bucket).delivery(path, key))
    assert place.content(key) == read(path)


def test_many_at_once_arrive_each_as_itself(place: Place, tmp_path: Path) -> None:
    files = {f"f{number}": new_file(tmp_path, number * 37, f"f{number}") for number in range(200)}
    files["large"] = new_file(tmp_path, LARGE, "large")
    courier = Courier(place.bucket)
    receipts = deliver(place, *(courier.delivery(path, key) for key, path in files.items()))
    assert [receipt.key for receipt in receipts] == list(files)
    assert place.objects() == {key: os.path.getsize(path) for key, path in files.items()}
    for receipt in receipts:
        assert_proof(place, receipt, read(files[receipt.key]))


@carried
@pytest.mark.parametrize("size", [0, SMALL])
def test_without_proof_there_is_no_receipt(place: Place, size: int, tmp_path: Path) -> None:
    with pytest.raises(Unproven):
        outcome_of(place, "unproven", new_file(tmp_path, size))


# -- the file


@carried
@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_the_file_is_opened_once_and_closed_and_read_only_as_it_was_opened(
    place: Place, size: int, tmp_path: Path
) -> None:
    (tmp_path / "before").mkdir()
    path = new_file(tmp_path / "before", size)
    content = read(path)

    def hide_its_path() -> None:
        if (tmp_path / "before").exists():
            (tmp_path / "before").rename(tmp_path / "after")

    delivery = Courier(place.bucket).delivery(path, "key", on_check=hide_its_path)
    deliver(place, delivery)
    [opened] = delivery.source.opened  # type: ignore[attr-defined]  # a PlainSource
    assert opened.fileno() == -1
    assert place.content("key") == content


@pytest.mark.parametrize("size", [0, SMALL, LARGE])
def test_the_file_is_looked_at_before_its_first_byte_leaves_and_after_the_object_is_there(
    place: Place, size: int, tmp_path: Path
) -> None:
    courier = Courier(place.bucket)
    looks: list[tuple[int, bool]] = []

    def on_check() -> None:
        looks.append((courier.left_bytes, "key" in place.objects()))

    deliver(place, courier.delivery(new_file(tmp_path, size), "key", on_check=on_check))
    while_opened, before, *_, after = looks
    assert while_opened == before == (0, False)
    assert after == (size, True)


@pytest.mark.parametrize("size", [10, SMALL, LARGE])
def test_a_file_that_changed_before_its_first_byte_is_not_sent(
    place: Place, size: int, tmp_path: Path
) -> None:
    path, courier, looks = new_file(tmp_path, size), Courier(place.bucket), []

    def change() -> None:
        looks.append(path)
        if len(looks) == 2:  # the first look is that of opening it
            os.utime(path, ns=(1, 1))

    with pytest.raises(FileChanged):
        deliver(place, courier.delivery(path, "key", on_check=change))
    assert courier.left_bytes == 0
    assert place.objects() == place.unfinished() == {}


def append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


def overwrite(path: str) -> None:
    with open(path, "r+b") as file:
        file.write(b"changed in place")


def shorten(path: str) -> None:
    os.truncate(path, 5)


def touch(path: str) -> None:
    os.utime(path)


@pytest.mark.parametrize("change", [append, overwrite, shorten, touch])
@pytest.mark.parametrize("size", [1000, 2 * MIB, LARGE])
def test_a_file_that_changes_in_flight_gets_no_receipt(
    place: Place, size: int, change: Callable[[str], None], tmp_path: Path
) -> None:
    path = new_file(tmp_path, size)
    before = read(path)

    class Meddling(Courier):
        def progress(self, count: int) -> None:
            if not self.left_bytes:
                change(path)
            super().progress(count)

    courier = Meddling(place.bucket)
    with pytest.raises(FileChanged):
        deliver(place, courier.delivery(path, "key"))
    # One PUT may have arrived as it was; anything between the two contents may not.
    if place.refuses_other_bytes:
        assert place.content("key") in (None, before)
    assert place.unfinished() == {}
    assert not courier.saved or courier.saved[-1] is None


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize(
    "error",
    [
        FileChanged("changed"),
        FileVanished("gone"),
        FileUnreadable("no right"),
        FileBusy("open elsewhere", writer_seen=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_source_says_on_opening_is_what_the_delivery_ends_with(
    place: Place, error: DeliveryError, size: int, tmp_path: Path
) -> None:
    class Closed(PlainSource):
        def open(self) -> PlainFile:
            raise error

    delivery = Courier(place.bucket).delivery(new_file(tmp_path, size), "key")
    object.__setattr__(delivery, "source", Closed("", delivery.source.fingerprint))
    with pytest.raises(type(error), match=str(error)):
        deliver(place, delivery)
    assert place.objects() == place.unfinished() == {}


@carried
@pytest.mark.parametrize("size", [10, 2 * MIB, LARGE])
def test_a_disk_that_fails_is_a_file_that_cannot_be_read(place: Place, size: int, tmp_path: Path) -> None:
    class Failing(PlainSource):
        def open(self) -> PlainFile:
            file = super().open()
            folder = os.open(tmp_path, os.O_RDONLY)
            os.dup2(folder, file.fileno())  # reading a folder is EISDIR
            os.close(folder)
            file.check_unchanged = lambda: None  # type: ignore[method-assign]  # fstat saw nothing
            return file

    path = new_file(tmp_path, size)
    delivery = Courier(place.bucket).delivery(path, "key")
    object.__setattr__(delivery, "source", Failing(path, delivery.source.fingerprint))
    with pytest.raises(FileUnreadable, match=os.strerror(errno.EISDIR)):
        deliver(place, delivery)
    assert place.objects() == {}


@pytest.mark.parametrize("size", [10, LARGE])
def test_nothing_but_a_delivery_error_is_raised_whatever_the_source_does(
    place: Place, size: int, tmp_path: Path
) -> None:
    class Broken(PlainSource):
        def open(self) -> PlainFile:
            raise ZeroDivisionError

    delivery = Courier(place.bucket).delivery(new_file(tmp_path, size), "key")
    object.__setattr__(delivery, "source", Broken("", delivery.source.fingerprint))
    with pytest.raises(DeliveryError, match="ZeroDivisionError"):
        deliver(place, delivery)


# -- the far side


def outcome_of(place: Place, fault: str, path: str) -> None:
    async def run() -> None:
        async with place.open_faulty(fault) as transport:
            await transport.deliver(Courier(place.bucket).delivery(path, "key"))

    bounded(run())


@carried
@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("missing", Misconfigured),
        ("denied", AccessDenied),
        ("unreachable", Unreachable),
        ("silent", TransferFault),
    ],
)
def test_a_far_side_that_does_not_take_it_ends_as_the_error_that_fits(
    place: Place, fault: str, expected: type[DeliveryError], size: int, tmp_path: Path
) -> None:
    with pytest.raises(expected) as caught:
        outcome_of(place, fault, new_file(tmp_path, size))
    assert caught.value.advice or expected is TransferFault
    assert place.objects() == {}


@pytest.mark.parametrize("size", [BOUNDARY, LARGE])
def test_at_no_time_is_anything_but_a_whole_object_visible(place: Place, size: int, tmp_path: Path) -> None:
    older, newer = new_file(tmp_path, 1000, "older"), new_file(tmp_path, size, "newer")
    whole = {None, read(older), read(newer)}
    seen: list[bytes | None] = []

    async def run() -> None:
        courier = Courier(place.bucket)
        async with place.open(size * 1.5) as transport:
            for path in (newer, older, newer):
                outcome = transport.deliver(courier.delivery(path, "key"))
                while not outcome.done():  # type: ignore[attr-defined]  # each of them returns a future
                    seen.append(await asyncio.to_thread(place.content, "key"))
                    await asyncio.sleep(0.01)
                await outcome
                seen.append(place.content("key"))

    bounded(run())
    assert set(seen) == whole


# -- checkpoints


class Ledger(Courier):
    """Remembers how much was on the far side when it was asked to save, and when it was done saving."""

    def __init__(self, place: Place, failure: Exception | None = None) -> None:
        super().__init__(place.bucket)
        self._place = place
        self._failure = failure
        self.there: list[tuple[int, int]] = []

    async def save(self, checkpoint: Checkpoint | None) -> None:
        await asyncio.sleep(0.1)
        left = sum((await asyncio.to_thread(self._place.unfinished)).values())
        self.there.append((left, self.left_bytes))
        if self._failure is not None:
            raise self._failure
        await super().save(checkpoint)


def test_a_checkpoint_is_durable_before_the_first_part_leaves(place: Place, tmp_path: Path) -> None:
    ledger = Ledger(place)
    deliver(place, ledger.delivery(new_file(tmp_path, LARGE), "key"))
    assert ledger.there[0] == (0, 0)


@pytest.mark.parametrize("failure", [OSError("disk full"), RuntimeError("closed")], ids=["disk", "bug"])
def test_a_checkpoint_that_cannot_be_saved_leaves_nothing_behind(
    place: Place, failure: Exception, tmp_path: Path
) -> None:
    ledger = Ledger(place, failure)
    with pytest.raises(Interrupted, match=str(failure)):
        deliver(place, ledger.delivery(new_file(tmp_path, LARGE), "key"))
    assert ledger.left_bytes == 0
    assert place.objects() == place.unfinished() == {}


async def _stopped(place: Place, delivery: Any, courier: Courier, after: int, *, cancel: bool) -> None:
    async with place.open(after * 2) as transport:
        outcome = transport.deliver(delivery)
        await courier.left(after)
        if cancel:
            outcome.cancel()  # type: ignore[attr-defined]  # each of them returns a future
            with pytest.raises(asyncio.CancelledError):
                await outcome
        else:
            await transport.close()
            with pytest.raises(Interrupted):
                await outcome


@carried
@pytest.mark.parametrize("cancel", [True, False], ids=["cancelled", "closed"])
def test_what_was_stopped_keeps_its_checkpoint_and_the_next_process_goes_on_from_it(
    place: Place, cancel: bool, tmp_path: Path
) -> None:
    path, first, second = new_file(tmp_path, 48 * MIB), Courier(place.bucket), Courier(place.bucket)
    delivery = first.delivery(path, "key")
    bounded(_stopped(place, delivery, first, 36 * MIB, cancel=cancel))
    assert first.saved[-1] is not None
    assert delivery.source.opened[0].fileno() == -1  # type: ignore[attr-defined]  # a PlainSource
    assert place.objects() == {}
    there = place.unfinished()["key"]
    assert there >= 8 * MIB
    [receipt] = deliver(place, second.delivery(path, "key", checkpoint=first.saved[-1]))
    assert second.left_bytes <= 48 * MIB - there
    assert receipt.checksum == checksum_of(read(path), receipt.checksum.partition(":")[0])
    assert place.content("key") == read(path)
    assert place.unfinished() == {}


async def _eased(place: Place, delivery: Any, courier: Courier, after: int) -> None:
    async with place.open(after * 2) as transport:
        outcome = transport.deliver(delivery)
        await courier.left(after)
        courier.is_eased = True
        with pytest.raises(Interrupted):
            await outcome


@carried
def test_where_a_stop_is_to_come_no_other_part_begins_and_none_that_landed_goes_twice(
    place: Place, tmp_path: Path
) -> None:
    size = 64 * MIB
    path, first, second = new_file(tmp_path, size), Courier(place.bucket), Courier(place.bucket)
    bounded(_eased(place, first.delivery(path, "key"), first, 12 * MIB))
    assert first.saved[-1] is not None
    there = place.unfinished()["key"]
    assert first.left_bytes == there < size  # what was under way has landed, and nothing else left
    [receipt] = deliver(place, second.delivery(path, "key", checkpoint=first.saved[-1]))
    assert second.left_bytes == size - there
    assert receipt.checksum == checksum_of(read(path), receipt.checksum.partition(":")[0])
    assert place.content("key") == read(path)


@carried
def test_where_a_stop_is_to_come_nothing_large_is_begun_and_what_is_small_goes(
    place: Place, tmp_path: Path
) -> None:
    courier = Courier(place.bucket)
    courier.is_eased = True
    deliver(place, courier.delivery(new_file(tmp_path, SMALL, "small"), "small"))
    with pytest.raises(Interrupted):
        deliver(place, courier.delivery(new_file(tmp_path, 48 * MIB, "large"), "large"))
    assert place.objects() == {"small": SMALL}
    assert courier.left_bytes == SMALL


@carried
def test_what_has_all_its_parts_there_is_finished_though_a_stop_is_to_come(
    place: Place, tmp_path: Path
) -> None:
    size = 32 * MIB
    path, courier = new_file(tmp_path, size), Courier(place.bucket)

    async def work() -> Receipt:
        async with place.open(size * 2) as transport:
            outcome = transport.deliver(courier.delivery(path, "key"))
            await courier.left(size - 1)
            courier.is_eased = True
            return await outcome

    assert bounded(work()).size == size


@carried
def test_what_was_stopped_with_nothing_on_the_way_has_saved_nothing(place: Place, tmp_path: Path) -> None:
    path, courier = new_file(tmp_path, 5 * MIB), Courier(place.bucket)
    bounded(_stopped(place, courier.delivery(path, "key"), courier, MIB, cancel=True))
    assert not any(courier.saved)
    assert place.unfinished() == {}


@carried
@pytest.mark.parametrize(
    "change",
    ["content", "shorter", "another key", "another upload"],
)
def test_a_checkpoint_of_something_else_is_not_gone_on_from(
    place: Place, change: str, tmp_path: Path
) -> None:
    path, first, second = new_file(tmp_path, 24 * MIB), Courier(place.bucket), Courier(place.bucket)
    bounded(_stopped(place, first.delivery(path, "key"), first, 12 * MIB, cancel=False))
    saved, key = first.saved[-1], "key"
    assert saved is not None
    if change == "content":
        overwrite(path)
    elif change == "shorter":
        shorten(path)
    elif change == "another key":
        key = "another"
    else:
        saved = {**saved, "upload_id": "never-heard-of"}
    deliver(place, second.delivery(path, key, checkpoint=saved))
    assert place.content(key) == read(path)
    assert second.left_bytes == os.path.getsize(path)
    # What nobody will go on with is taken back where the checkpoint led there.
    assert set(place.unfinished()) == ({"key"} if change.startswith("another") else set())


GARBAGE: list[dict[str, Any]] = [
    {},
    {"kind": "stream-manager", "stream": "s", "sequence_number": 3},
    {"kind": None, "upload_id": None, "fingerprint": None},
    {"upload_id": ["u"], "fingerprint": "x", "part_size": -1},
    {"kind": "s3-multipart"},
    {"kind": "s3-multipart", "upload_id": 7},
    {"kind": "s3-multipart", "bucket": "BUCKET", "key": "KEY", "upload_id": ""},
    {"kind": "s3-multipart", "bucket": "BUCKET", "key": "KEY", "upload_id": "no", "fingerprint": [1, "x", {}]},
    {"kind": "s3-multipart", "bucket": "BUCKET", "key": "KEY", "upload_id": "no", "fingerprint": "OWN"},
    {"kind": "s3-multipart", "bucket": "BUCKET", "key": "KEY", "upload_id": "n&o=/?", "fingerprint": "OWN", "part_size": 0},
    {"kind": "s3-multipart", "bucket": "BUCKET", "key": "KEY", "upload_id": "no", "fingerprint": "OWN", "part_size": 8388608.5},
    {"kind": "s3-multipart", "bucket": "BUCKET", "key": "KEY", "upload_id": "no", "fingerprint": "OWN", "part_size": True},
    {"kind": "fake-parts", "upload_id": "of nobody", "fingerprint": "OWN"},
    {"kind": "fake-parts", "upload_id": {}, "fingerprint": [[]]},
]  # fmt: skip


@pytest.mark.parametrize("size", [10, BOUNDARY + 1])
def test_a_checkpoint_that_means_nothing_here_is_ignored(place: Place, size: int, tmp_path: Path) -> None:
    path, courier = new_file(tmp_path, size), Courier(place.bucket)
    fingerprint = list(courier.delivery(path, "key").source.fingerprint)
    for number, garbage in enumerate(GARBAGE):
        meanings = {"BUCKET": place.bucket, "KEY": f"key{number}", "OWN": fingerprint}
        saved = {
            name: meanings.get(value, value) if isinstance(value, str) else value
            for name, value in garbage.items()
        }
        deliver(place, courier.delivery(path, f"key{number}", checkpoint=saved))
        assert place.content(f"key{number}") == read(path), garbage
    assert place.unfinished() == {}


# -- taking back what was left


def _left_behind(place: Place, path: str) -> Checkpoint:
    """What a delivery saved that was stopped half-way."""
    courier = Courier(place.bucket)
    bounded(_stopped(place, courier.delivery(path, "key"), courier, 12 * MIB, cancel=False))
    saved = courier.saved[-1]
    assert saved is not None
    return saved


def _abandon(place: Place, *checkpoints: Checkpoint) -> None:
    async def run() -> None:
        async with place.open() as transport:
            for checkpoint in checkpoints:
                await transport.abandon(checkpoint)

    bounded(run())


@carried
def test_what_a_checkpoint_leads_to_is_taken_back_and_nothing_else(place: Place, tmp_path: Path) -> None:
    path = new_file(tmp_path, 24 * MIB)
    first, second = _left_behind(place, path), _left_behind(place, path)
    assert place.uploads() == 2
    _abandon(place, first)
    assert place.uploads() == 1
    deliver(place, Courier(place.bucket).delivery(path, "key", checkpoint=second))
    assert place.uploads() == 0
    assert place.content("key") == read(path)


@carried
def test_what_is_not_there_any_more_is_taken_back_all_the_same(place: Place, tmp_path: Path) -> None:
    saved = _left_behind(place, new_file(tmp_path, 24 * MIB))
    _abandon(place, saved, saved)
    _abandon(place, {**saved, "upload_id": "never-heard-of"})
    assert place.uploads() == 0


@carried
def test_a_checkpoint_that_means_nothing_here_leads_to_nothing_that_could_be_taken_back(
    place: Place, tmp_path: Path
) -> None:
    _left_behind(place, new_file(tmp_path, 24 * MIB))
    _abandon(place, *(saved for saved in GARBAGE if saved.get("bucket") is None))
    assert place.uploads() == 1


@carried
@pytest.mark.parametrize(("fault", "expected"), [("denied", AccessDenied), ("unreachable", Unreachable)])
def test_what_cannot_be_taken_back_now_says_why(
    place: Place, fault: str, expected: type[DeliveryError], tmp_path: Path
) -> None:
    saved = _left_behind(place, new_file(tmp_path, 24 * MIB))

    async def run() -> None:
        async with place.open_faulty(fault) as transport:
            await transport.abandon(saved)

    with pytest.raises(expected):
        bounded(run())
    assert place.uploads() == 1


@carried
def test_a_checkpoint_says_in_words_for_people_what_has_arrived(place: Place, tmp_path: Path) -> None:
    saved = _left_behind(place, new_file(tmp_path, 24 * MIB))
    assert isinstance(saved["upload_id"], str)
    assert saved["bytes_arrived"] == sum(place.unfinished().values())
    assert saved["parts_arrived"] == -(-saved["bytes_arrived"] // saved["part_size"])


@carried
def test_a_closed_transport_takes_nothing_back(place: Place, tmp_path: Path) -> None:
    saved = _left_behind(place, new_file(tmp_path, 24 * MIB))

    async def run() -> None:
        async with place.open() as transport:
            await transport.close()
            await transport.abandon(saved)

    with pytest.raises(Interrupted):
        bounded(run())


# -- stopping


@carried
def test_closing_ends_whatever_runs_and_waits_and_comes_with_interrupted(
    place: Place, tmp_path: Path
) -> None:
    courier = Courier(place.bucket)
    small, large = new_file(tmp_path, 3 * MIB, "small"), new_file(tmp_path, LARGE, "large")

    async def run() -> list[object]:
        async with place.open(MIB) as transport:
            paths = [small, large] * 50
            outcomes = [
                transport.deliver(courier.delivery(path, f"key{number}")) for number, path in enumerate(paths)
            ]
            await courier.left(1)
            await transport.close()
            outcomes.append(transport.deliver(courier.delivery(small, "late")))
            ended = await asyncio.gather(*outcomes, return_exceptions=True)
            await transport.close()  # a second time is one time too many, and no harm
            return list(ended)

    assert {type(error) for error in bounded(run())} == {Interrupted}
    assert place.objects() == {}


def test_a_transport_that_nobody_used_closes(place: Place) -> None:
    async def run() -> None:
        async with place.open():
            pass

    bounded(run())


@carried
def test_a_cancelled_delivery_holds_up_no_other(place: Place, tmp_path: Path) -> None:
    courier = Courier(place.bucket)
    small, large = new_file(tmp_path, 1000, "small"), new_file(tmp_path, LARGE, "large")

    async def run() -> None:
        async with place.open(40 * MIB) as transport:
            stopped = [transport.deliver(courier.delivery(large, f"large{number}")) for number in range(3)]
            at_once = transport.deliver(courier.delivery(small, "never began"))
            at_once.cancel()  # type: ignore[attr-defined]  # each of them returns a future
            await courier.left(1)
            for outcome in stopped:
                outcome.cancel()  # type: ignore[attr-defined]  # each of them returns a future
            await transport.deliver(courier.delivery(small, "small"))
            ended = await asyncio.gather(*stopped, at_once, return_exceptions=True)
            assert {type(error) for error in ended} == {asyncio.CancelledError}

    bounded(run())
    assert place.objects() == {"small": 1000}


# -- memory


def test_memory_does_not_grow_with_the_size_of_a_file(place: Place, tmp_path: Path) -> None:
    courier = Courier(place.bucket)
    deliver(place, courier.delivery(new_file(tmp_path, 10), "warm"))
    path = new_file(tmp_path, 64 * MIB)
    tracemalloc.start()
    try:
        deliver(place, courier.delivery(path, "key"))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - place.held_bytes() < MOST_MEMORY
