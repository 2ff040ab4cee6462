"""A delivery through Stream Manager, with a Stream Manager that does as each test wants."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import (
    AccessDenied,
    DeliveryError,
    FileChanged,
    FileVanished,
    Interrupted,
    KeyProblem,
    Misconfigured,
    Refused,
    TransferFault,
    Unreachable,
)
from s3_file_uploader.transport.stream_manager.outlets import Shape
from s3_file_uploader.transport.stream_manager.streams import StreamName
from support.belongings import Belongings
from support.deliveries import Courier
from support.scripted_stream_manager import (
    APPEND,
    CANCELED,
    CONNECT,
    CREATE,
    DELETE,
    DESCRIBE,
    FAILURE,
    IN_PROGRESS,
    READ,
    UPDATE,
    WARNING,
    ScriptedStreamManager,
    Told,
    upload,
)
from support.stream_manager_lanes import IMPATIENT, open_lane

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from s3_file_uploader.model import Checkpoint, Receipt
    from s3_file_uploader.transport.contract import Delivery

LONG_SECONDS = 60


@pytest.fixture
def server() -> Iterator[ScriptedStreamManager]:
    with ScriptedStreamManager() as made:
        yield made


def bounded(work: Coroutine[Any, Any, Any]) -> Any:
    async def run() -> Any:
        return await asyncio.wait_for(work, LONG_SECONDS)

    return asyncio.run(run())


def new_file(folder: Path, content: str = "content", name: str = "file.csv") -> str:
    path = folder / name
    path.write_text(content)
    return str(path)


async def until(condition: Callable[[], Any]) -> Any:
    while not (found := condition()):  # noqa: ASYNC110  # what happens in another thread
        await asyncio.sleep(0.005)
    return found


def deliver(server: ScriptedStreamManager, folder: Path, *deliveries: Delivery, **more: Any) -> list[Receipt]:
    async def run() -> list[Receipt]:
        async with open_lane(server.port, folder, **more) as lane:
            return list(await asyncio.gather(*map(lane.deliver, deliveries)))

    return bounded(run())  # type: ignore[no-any-return]  # of `run`


def appended(server: ScriptedStreamManager) -> list[dict[str, Any]]:
    """The tasks of all the streams that ever were."""
    return [json.loads(request["payload"]) for operation, request in server.requests if operation == APPEND]


def count(server: ScriptedStreamManager, operation: int) -> int:
    return sum(1 for asked, _ in server.requests if asked == operation)


async def stopped_while_waiting(
    server: ScriptedStreamManager, folder: Path, delivery: Delivery, **more: Any
) -> None:
    """A process that ends once its task was appended, before it hears of it."""
    async with open_lane(server.port, folder, **more) as lane:
        outcome = lane.deliver(delivery)
        await until(lambda: appended(server))
        await lane.close()
        with pytest.raises(Interrupted):
            await outcome


# -- the file


def test_a_file_is_where_it_belongs_once_there_is_a_receipt(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier = Courier("bucket")
    [receipt] = deliver(server, tmp_path, courier.delivery(new_file(tmp_path), "folder/file.csv"))
    assert server.objects == {"folder/file.csv": b"content"}
    assert (receipt.bucket, receipt.key, receipt.size) == ("bucket", "folder/file.csv", 7)
    assert receipt.checksum.startswith("stream-manager:s3fu-")
    assert courier.left_bytes == 7


def test_many_files_go_at_once_and_each_as_itself(server: ScriptedStreamManager, tmp_path: Path) -> None:
    courier = Courier("bucket")
    files = [new_file(tmp_path, f"content {number}", f"f{number}") for number in range(300)]
    deliver(server, tmp_path, *(courier.delivery(path, f"k{n}") for n, path in enumerate(files)))
    assert server.objects == {f"k{number}": f"content {number}".encode() for number in range(300)}
    assert len(appended(server)) == 300


def test_a_file_with_an_unusual_name_is_handed_over_under_an_alias(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path = new_file(tmp_path, "that one", "a b%41#?.csv")
    deliver(server, tmp_path, Courier("bucket").delivery(path, "key"))
    [task] = appended(server)
    assert "%" not in task["inputUrl"]
    assert server.objects == {"key": b"that one"}
    assert os.listdir(tmp_path / "aliases") == []


def test_a_file_that_changed_while_it_was_on_its_way_gets_no_receipt(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")

    def change(task: dict[str, Any]) -> list[Told]:
        told = upload(server, task)
        new_file(tmp_path, "other content")
        return told

    server.outcome = change
    with pytest.raises(FileChanged):
        deliver(server, tmp_path, courier.delivery(path, "key"))
    assert courier.saved[-1] is None


def test_a_file_that_vanished_while_it_was_on_its_way_gets_no_receipt(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path = new_file(tmp_path)

    def remove(task: dict[str, Any]) -> list[Told]:
        told = upload(server, task)
        os.unlink(path)
        return told

    server.outcome = remove
    with pytest.raises(FileVanished):
        deliver(server, tmp_path, Courier("bucket").delivery(path, "key"))


def test_a_key_that_stream_manager_forbids_is_refused_before_anything_is_handed_over(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier = Courier("bucket")
    for key in ("a b", "100%", "x#y", "!{timestamp:yyyy", "a" * 1025):
        with pytest.raises(KeyProblem):
            deliver(server, tmp_path, courier.delivery(new_file(tmp_path), key))
    assert not appended(server)
    assert not courier.saved


# -- statuses


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Told(FAILURE, "disk on fire"), Refused),
        (Told(CANCELED, ""), Refused),
        (Told(FAILURE, "The specified bucket does not exist (NoSuchBucket)"), Misconfigured),
        (Told(FAILURE, "Access Denied (Service: S3, Status Code: 403)"), AccessDenied),
    ],
    ids=["failure", "canceled", "no bucket", "denied"],
)
def test_a_task_that_did_not_succeed_ends_as_the_error_that_fits_and_leaves_no_checkpoint(
    server: ScriptedStreamManager, told: Told, expected: type[DeliveryError], tmp_path: Path
) -> None:
    courier = Courier("bucket")
    server.outcome = lambda _task: [told]
    with pytest.raises(expected) as caught:
        deliver(server, tmp_path, courier.delivery(new_file(tmp_path), "key"))
    assert told.message in str(caught.value)
    assert caught.value.advice
    assert courier.saved[-1] is None


def of_another(what: str) -> Callable[[dict[str, Any]], None]:
    def change(said: dict[str, Any]) -> None:
        context = said["statusContext"]
        task = context["s3ExportTaskDefinition"]
        if what in task:
            task[what] += "x"
        elif what == "sequenceNumber":
            context[what] += 1
        else:
            context[what] = "s3fu-of-long-ago"

    return change


@pytest.mark.parametrize("what", ["inputUrl", "bucket", "key", "sequenceNumber", "streamName"])
def test_success_of_another_task_is_nobodys_receipt(
    server: ScriptedStreamManager, what: str, tmp_path: Path
) -> None:
    def lie_then_fail(_task: dict[str, Any]) -> list[Told]:
        return [Told(changes=of_another(what)), Told(FAILURE, "the truth")]

    server.outcome = lie_then_fail
    with pytest.raises(Refused, match="the truth"):
        deliver(server, tmp_path, Courier("bucket").delivery(new_file(tmp_path), "key"))


def broken(said: dict[str, Any]) -> None:
    said["statusContext"] = None


def unheard_of(said: dict[str, Any]) -> None:
    said["eventType"] = 77


def without_task(said: dict[str, Any]) -> None:
    del said["statusContext"]["s3ExportTaskDefinition"]


@pytest.mark.parametrize("change", [broken, unheard_of, without_task])
def test_a_status_that_makes_no_sense_is_passed_over(
    server: ScriptedStreamManager, change: Callable[[dict[str, Any]], None], tmp_path: Path
) -> None:
    server.outcome = lambda task: [Told(FAILURE, changes=change), *upload(server, task)]
    deliver(server, tmp_path, Courier("bucket").delivery(new_file(tmp_path), "key"))
    assert server.objects == {"key": b"content"}


@pytest.mark.parametrize("before", [[], [IN_PROGRESS], [WARNING, IN_PROGRESS, IN_PROGRESS]])
def test_success_counts_with_and_without_a_word_of_progress_before_it(
    server: ScriptedStreamManager, before: list[int], tmp_path: Path
) -> None:
    server.outcome = lambda task: [*(Told(kind, "on its way") for kind in before), *upload(server, task) * 2]
    courier = Courier("bucket")
    files = [new_file(tmp_path, str(number), f"f{number}") for number in range(5)]
    receipts = deliver(server, tmp_path, *(courier.delivery(path, path[1:]) for path in files))
    assert len(receipts) == 5
    assert courier.left_bytes == 5


def test_a_status_that_never_comes_is_noticed_and_the_task_handed_over_again(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier, silent = Courier("bucket"), [True]

    def first_is_silent(task: dict[str, Any]) -> list[Told]:
        return [] if silent and silent.pop() else upload(server, task)

    server.outcome = first_is_silent
    deliver(server, tmp_path, courier.delivery(new_file(tmp_path), "key"))
    assert len(appended(server)) == 2
    assert [saved is None for saved in courier.saved] == [False, True, False]


def test_a_status_that_never_comes_again_and_again_ends_the_delivery(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.outcome = lambda _task: []
    with pytest.raises(TransferFault, match="again and again"):
        deliver(server, tmp_path, Courier("bucket").delivery(new_file(tmp_path), "key"))


def test_a_task_that_waits_its_turn_is_not_handed_over_again(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.outcome = lambda _task: None

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            outcome = lane.deliver(Courier("bucket").delivery(new_file(tmp_path), "key"))
            await until(lambda: count(server, DESCRIBE) > 20)  # asked about it that often
            assert len(appended(server)) == 1
            server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
            await outcome

    bounded(run())
    assert len(appended(server)) == 1


def test_nothing_finished_for_long_is_said_of_the_destination_and_nothing_is_handed_over_again(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.outcome = lambda _task: None
    path, courier = new_file(tmp_path), Courier("bucket")
    with pytest.raises(Unreachable, match="no upload"):
        deliver(server, tmp_path, courier.delivery(path, "key"), deadlines={**IMPATIENT, "stall": 0.3})
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=courier.saved[-1]))
    assert len(appended(server)) == 1


# -- going on after a restart


def test_a_task_that_was_handed_over_before_the_restart_is_waited_for_and_not_handed_over_again(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key")))
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    again = courier.delivery(path, "key", checkpoint=courier.saved[-1])
    [receipt] = deliver(server, tmp_path, again)
    assert receipt.key == "key"
    assert len(appended(server)) == 1


def test_a_task_that_ended_while_nobody_listened_counts(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier, other = new_file(tmp_path), Courier("bucket"), Courier("bucket")
    server.outcome = lambda task: None if task["key"] == "key" else upload(server, task)
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key")))
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    # Another one reads on past its status first.
    elsewhere = other.delivery(new_file(tmp_path, "x", "other"), "other")
    deliver(server, tmp_path, elsewhere, courier.delivery(path, "key", checkpoint=courier.saved[-1]))
    assert len(appended(server)) == 2


@pytest.mark.parametrize("when", ["drop", "drop after"])
def test_what_a_lost_answer_leaves_open_is_found_in_the_stream(
    server: ScriptedStreamManager, when: str, tmp_path: Path
) -> None:
    path, courier, drops = new_file(tmp_path), Courier("bucket"), [when]

    def drop_once(operation: int, _request: dict[str, Any]) -> str:
        return drops.pop() if operation == APPEND and drops else ""

    server.before_answer = drop_once
    with pytest.raises(Unreachable):
        deliver(server, tmp_path, courier.delivery(path, "key"))
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=courier.saved[-1]))
    assert len(server.objects) == 1
    assert sum(len(stream.messages) for stream in server.streams.values() if stream.exports) == 1


def test_a_checkpoint_of_other_content_is_no_proof_of_this_one(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")
    deliver(server, tmp_path, courier.delivery(path, "key"))
    old: Checkpoint | None = courier.saved[-1]
    new_file(tmp_path, "newer content")
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=old))
    assert server.objects == {"key": b"newer content"}
    assert len(appended(server)) == 2


def test_an_append_of_older_content_that_comes_late_is_no_proof_of_newer_content(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    """It lay in the server's socket when its connection died, and is carried out once we have looked anew."""
    path, courier, shape = new_file(tmp_path, "older content"), Courier("bucket"), Shape(1)
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key"), shape=shape))
    [late] = [request for operation, request in server.requests if operation == APPEND]
    server.do(server.streams[late["name"]].messages.clear)  # as if it had not been read yet
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    dropped: list[bool] = []

    def drop(operation: int, _request: dict[str, Any]) -> str:
        if operation == APPEND and not dropped:
            dropped.append(True)
            return "drop"
        return ""

    async def run() -> None:
        async with open_lane(server.port, tmp_path, shape=shape) as lane:
            other = new_file(tmp_path, "other", "other")
            await lane.deliver(Courier("bucket").delivery(other, "other"))
            server.do(lambda: server._append(server.streams[late["name"]], late["payload"]))
            assert server.objects["key"] == b"older content"
            new_file(tmp_path, "newer content")
            server.before_answer = drop
            with pytest.raises(Unreachable):
                await lane.deliver(courier.delivery(path, "key"))

    bounded(run())
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=courier.saved[-1]), shape=shape)
    assert server.objects["key"] == b"newer content"


def test_a_status_from_before_its_number_was_given_again_is_no_proof(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    """A power cut may take the end of a stream that is not flushed, and leave the statuses of what was there."""
    path, courier, shape = new_file(tmp_path, "older content"), Courier("bucket"), Shape(1)
    first, waits = new_file(tmp_path, "first", "first"), Courier("bucket")
    server.outcome = lambda _task: []
    bounded(stopped_while_waiting(server, tmp_path, waits.delivery(first, "first"), shape=shape))
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    deliver(server, tmp_path, courier.delivery(path, "key"), shape=shape)
    [stream] = [stream for stream in server.streams.values() if stream.exports]
    del stream.messages[1:]
    stream.exported = 1
    new_file(tmp_path, "newer content")
    server.outcome = lambda _task: None

    async def run() -> None:
        async with open_lane(server.port, tmp_path, shape=shape, status_timeout_seconds=30.0) as lane:
            newer = lane.deliver(courier.delivery(path, "key"))
            await until(lambda: len(stream.messages) == 2)
            lane.deliver(waits.delivery(first, "first", checkpoint=waits.saved[-1]))  # reads from there again
            reads = count(server, READ)
            await until(lambda: count(server, READ) > reads + 5)
            server.do(lambda: setattr(server, "outcome", lambda _task: [Told(FAILURE, "the truth")]))
            with pytest.raises(Refused, match="the truth"):
                await newer

    bounded(run())


def test_statuses_are_heard_though_their_stream_has_lost_its_end(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier = Courier("bucket")

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            files = [new_file(tmp_path, str(number), f"f{number}") for number in range(10)]
            await asyncio.gather(*(lane.deliver(courier.delivery(path, path[1:])) for path in files))
            server.stop()
            for stream in server.streams.values():
                if not stream.exports:
                    del stream.messages[3:]
            server.start()
            path = new_file(tmp_path, "one more", "more")
            await lane.deliver(courier.delivery(path, "more"))

    bounded(run())
    assert len(appended(server)) == 11


def test_a_stream_manager_that_was_wiped_gets_everything_again_under_new_names(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key")))
    before = set(server.streams)
    server.do(server.streams.clear)
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=courier.saved[-1]))
    assert server.objects == {"key": b"content"}
    assert before.isdisjoint(server.streams)


def test_a_stream_that_is_wiped_while_it_is_searched_costs_no_attempt(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key")))
    before = {name for name, stream in server.streams.items() if stream.exports}

    def wipe(operation: int, request: dict[str, Any]) -> str:
        if operation == READ and before & {request["streamName"]} and server.streams:
            server.streams.clear()
            server.outcome = lambda task: upload(server, task)
        return ""

    server.before_answer = wipe
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=courier.saved[-1]))
    assert server.objects == {"key": b"content"}
    assert before.isdisjoint(server.streams)


def test_what_a_wiped_stream_manager_forgot_waits_for_no_long_poll_to_be_handed_over_again(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key")))
    server.do(server.streams.clear)
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    patient = {**IMPATIENT, "wait": LONG_SECONDS, "request": LONG_SECONDS + 1}
    deliver(server, tmp_path, courier.delivery(path, "key", checkpoint=courier.saved[-1]), deadlines=patient)
    assert server.objects == {"key": b"content"}


def test_a_status_that_came_before_the_restart_waits_for_no_long_poll_to_be_read(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, other = new_file(tmp_path), new_file(tmp_path, "x", "other")
    courier, others = Courier("bucket"), Courier("bucket")
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key")))
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    server.do(lambda: setattr(server, "outcome", lambda _task: None))
    patient = {**IMPATIENT, "wait": LONG_SECONDS, "request": LONG_SECONDS + 1}
    read = count(server, READ)

    async def run() -> None:
        async with open_lane(server.port, tmp_path, deadlines=patient) as lane:
            waits = lane.deliver(others.delivery(other, "other"))
            await until(lambda: len(appended(server)) == 2 and count(server, READ) > read)
            await lane.deliver(courier.delivery(path, "key", checkpoint=courier.saved[-1]))
            assert not waits.done()

    bounded(run())


def test_a_stream_manager_that_is_wiped_under_our_feet_gets_everything_again(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.outcome = lambda _task: None

    def wipe() -> None:
        server.streams.clear()
        server.outcome = lambda task: upload(server, task)

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            courier = Courier("bucket")
            files = [new_file(tmp_path, str(number), f"f{number}") for number in range(20)]
            outcomes = [lane.deliver(courier.delivery(path, path[1:])) for path in files]
            await until(lambda: len(appended(server)) == 20)
            server.stop()
            wipe()
            server.start()
            await asyncio.gather(*outcomes)

    bounded(run())
    assert len(server.objects) == 20


def test_a_stream_that_somebody_deletes_is_made_again(server: ScriptedStreamManager, tmp_path: Path) -> None:
    courier = Courier("bucket")

    def delete_one() -> None:
        del server.streams[next(name for name, stream in server.streams.items() if stream.exports)]

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            for number in range(12):
                path = new_file(tmp_path, str(number), f"f{number}")
                await lane.deliver(courier.delivery(path, path[1:]))
                if number == 5:
                    server.do(delete_one)

    bounded(run())
    assert len(server.objects) == 12


# -- streams


def test_streams_are_made_once_and_used_again(server: ScriptedStreamManager, tmp_path: Path) -> None:
    courier = Courier("bucket")
    for number in range(3):
        deliver(server, tmp_path, courier.delivery(new_file(tmp_path, str(number)), "key"))
    assert count(server, CREATE) == len(server.streams) == 3
    assert count(server, DELETE) == count(server, UPDATE) == 0


def test_streams_follow_their_settings(server: ScriptedStreamManager, tmp_path: Path) -> None:
    courier, path = Courier("bucket"), new_file(tmp_path)
    deliver(server, tmp_path, courier.delivery(path, "key"), shape=Shape(2, 1 << 20, flush_on_write=False))
    deliver(server, tmp_path, courier.delivery(path, "key"), shape=Shape(2, 2 << 20, flush_on_write=True))
    assert count(server, CREATE) == 3
    definitions = [stream.definition for stream in server.streams.values() if stream.exports]
    assert [(one["maxSize"], one["flushOnWrite"]) for one in definitions] == [(2 << 20, True)] * 2


def test_another_number_of_streams_waits_until_the_old_ones_are_done(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path, courier = new_file(tmp_path), Courier("bucket")
    server.outcome = lambda _task: None
    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key"), shape=Shape(2)))

    def counts() -> set[int | None]:
        return {parsed.parts for name in server.streams if (parsed := StreamName.parse(name))} - {None}

    bounded(stopped_while_waiting(server, tmp_path, courier.delivery(path, "key2"), shape=Shape(3)))
    assert counts() == {2}
    server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
    deliver(server, tmp_path, courier.delivery(path, "key3"), shape=Shape(3))
    assert counts() == {3}


def test_two_rules_or_buckets_or_ledgers_share_no_stream(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    path = new_file(tmp_path)
    deliver(server, tmp_path, Courier("bucket").delivery(path, "key"))
    deliver(server, tmp_path, Courier("bucket").delivery(path, "key"), rule="others")
    deliver(server, tmp_path, Courier("bucket2").delivery(path, "key"), bucket="bucket2")
    deliver(server, tmp_path, Courier("bucket").delivery(path, "key"), owner="ba9876543210")
    assert len(server.streams) == 4 * 3


def test_a_full_stream_makes_files_wait_and_burns_nobodys_attempt(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.full_at = 5
    server.outcome = lambda _task: None
    courier = Courier("bucket")

    def give_space_back() -> None:
        server.outcome = lambda task: upload(server, task)
        server._work()
        for stream in server.streams.values():
            stream.oldest = stream.exported

    async def run() -> list[Receipt]:
        async with open_lane(server.port, tmp_path) as lane:
            files = [new_file(tmp_path, str(number), f"f{number}") for number in range(30)]
            outcomes = [lane.deliver(courier.delivery(path, path[1:])) for path in files]
            await until(lambda: count(server, APPEND) >= 30)
            assert not any(outcome.done() for outcome in outcomes)
            gathered = asyncio.gather(*outcomes)
            while not gathered.done():
                server.do(give_space_back)
                await asyncio.sleep(0.05)
            return list(await gathered)

    assert len(bounded(run())) == 30
    assert len(server.objects) == 30


def test_a_full_stream_that_is_wiped_while_it_is_asked_for_room_costs_no_attempt(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.full_at, courier, wiped = 1, Courier("bucket"), [False]
    server.outcome = lambda task: upload(server, task) if wiped[0] else None

    def wipe(operation: int, _request: dict[str, Any]) -> str:
        earlier = server.requests[-2][0] if len(server.requests) > 1 else 0
        if (earlier, operation) == (APPEND, DESCRIBE) and not wiped[0]:
            wiped[0], server.full_at = True, 1 << 60
            server.streams.clear()
        return ""

    server.before_answer = wipe
    files = [new_file(tmp_path, str(number), f"f{number}") for number in range(9)]
    deliver(server, tmp_path, *(courier.delivery(path, path[1:]) for path in files), shape=Shape(1))
    assert wiped[0]
    assert len(server.objects) == 9


def test_a_stream_that_is_full_of_what_is_done_gives_its_place_to_another(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.full_at = 5  # and no space ever comes back
    courier = Courier("bucket")
    files = [new_file(tmp_path, str(number), f"f{number}") for number in range(40)]
    receipts = deliver(server, tmp_path, *(courier.delivery(path, path[1:]) for path in files))
    assert len(receipts) == len(server.objects) == 40
    assert count(server, DELETE) >= 6


# -- the line


def test_nobody_there_is_said_at_once_and_leaks_nothing(tmp_path: Path) -> None:
    with ScriptedStreamManager() as gone:
        pass
    path, courier = new_file(tmp_path), Courier("bucket")

    async def run() -> None:
        async with open_lane(gone.port, tmp_path) as lane:
            for _ in range(3):
                with pytest.raises(
                    Unreachable, match=r"no Stream Manager at 127\.0\.0\.1:\d+: Connection refused"
                ):
                    await lane.deliver(courier.delivery(path, "key"))
            before = Belongings.now()
            for _ in range(30):
                with pytest.raises(Unreachable) as caught:
                    await lane.deliver(courier.delivery(path, "key"))
                await asyncio.sleep(0.02)
            assert caught.value.advice
            before.assert_nothing_added()

    bounded(run())
    assert not courier.saved


@pytest.mark.parametrize("is_running", [True, False], ids=["loop runs on", "loop is closed"])
def test_a_connection_that_is_made_when_nobody_wants_it_any_more_is_given_up(
    server: ScriptedStreamManager, is_running: bool, tmp_path: Path
) -> None:
    path, may_answer, before = new_file(tmp_path), threading.Event(), Belongings.now()

    def slowly(operation: int, _request: dict[str, Any]) -> str:
        if operation == CONNECT:
            may_answer.wait(LONG_SECONDS)
        return ""

    server.before_answer = slowly

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            outcome = lane.deliver(Courier("bucket").delivery(path, "key"))
            await until(lambda: server.requests)
        with pytest.raises(Interrupted):
            await outcome
        if is_running:
            may_answer.set()
            await until(lambda: "stream-manager-connect" not in {one.name for one in threading.enumerate()})

    bounded(run())
    may_answer.set()
    before.assert_nothing_added()


def test_a_restart_of_stream_manager_costs_seconds_and_no_file(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.outcome = lambda _task: None
    courier = Courier("bucket")

    async def run() -> None:
        async with open_lane(server.port, tmp_path, deadlines={**IMPATIENT, "patience": 30.0}) as lane:
            outcome = lane.deliver(courier.delivery(new_file(tmp_path), "key"))
            await until(lambda: count(server, READ) > 1)
            server.stop()
            server.outcome = lambda task: upload(server, task)
            server.start()
            server.do(lambda: None)
            await outcome

    bounded(run())
    assert len(appended(server)) == 1


def test_who_waits_hears_of_a_stream_manager_that_stays_away_and_goes_on_later(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    server.outcome = lambda _task: None
    path, courier = new_file(tmp_path), Courier("bucket")

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            outcome = lane.deliver(courier.delivery(path, "key"))
            await until(lambda: count(server, READ) > 1)
            server.stop()
            with pytest.raises(Unreachable):
                await outcome
            server.outcome = lambda task: upload(server, task)
            server.start()
            server.do(lambda: None)
            await asyncio.sleep(IMPATIENT["pause"])
            await lane.deliver(courier.delivery(path, "key", checkpoint=courier.saved[-1]))

    bounded(run())
    assert len(appended(server)) == 1


def test_a_stream_manager_that_takes_requests_and_never_answers_is_left(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier, path = Courier("bucket"), new_file(tmp_path)
    silent = [True]
    server.before_answer = lambda operation, _: "never" if operation == APPEND and silent else ""

    async def run() -> None:
        async with open_lane(server.port, tmp_path, deadlines={**IMPATIENT, "request": 0.5}) as lane:
            with pytest.raises(Unreachable, match="in time"):
                await lane.deliver(courier.delivery(path, "key"))
            silent.clear()
            await lane.deliver(courier.delivery(path, "key", checkpoint=courier.saved[-1]))

    bounded(run())
    assert server.connections == 2
    assert server.objects == {"key": b"content"}


def test_the_checkpoint_is_saved_before_the_task_is_handed_over(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    class Careful(Courier):
        async def save(self, checkpoint: Checkpoint | None) -> None:
            assert not appended(server)
            await super().save(checkpoint)
            await asyncio.sleep(0.05)
            assert not appended(server)

    deliver(server, tmp_path, Careful("bucket").delivery(new_file(tmp_path), "key"))


def test_nothing_is_asked_of_stream_manager_while_nobody_waits(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            await lane.deliver(Courier("bucket").delivery(new_file(tmp_path), "key"))
            await until(lambda: lane._statuses._reading is None)
            asked = len(server.requests)
            await asyncio.sleep(5 * IMPATIENT["wait"])
            assert len(server.requests) == asked

    bounded(run())


# -- stopping


def test_a_cancelled_delivery_holds_up_no_other_and_what_never_began_is_not_handed_over(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier = Courier("bucket")
    server.outcome = lambda _task: None

    async def run() -> None:
        async with open_lane(server.port, tmp_path) as lane:
            files = [new_file(tmp_path, str(number), f"f{number}") for number in range(10)]
            outcomes = [lane.deliver(courier.delivery(path, path[1:])) for path in files]
            at_once = lane.deliver(courier.delivery(new_file(tmp_path, name="late"), "late"))
            at_once.cancel()
            await until(lambda: len(appended(server)) == 10)
            for outcome in outcomes[:5]:
                outcome.cancel()
            server.do(lambda: setattr(server, "outcome", lambda task: upload(server, task)))
            await asyncio.gather(*outcomes[5:])
            ended = await asyncio.gather(*outcomes[:5], at_once, return_exceptions=True)
            assert {type(error) for error in ended} == {asyncio.CancelledError}

    bounded(run())
    assert len(appended(server)) == len(server.objects) == 10


def test_closing_ends_whatever_waits_and_comes_with_interrupted(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    courier = Courier("bucket")
    server.outcome = lambda _task: None

    async def run() -> list[object]:
        async with open_lane(server.port, tmp_path) as lane:
            files = [new_file(tmp_path, str(number), f"f{number}") for number in range(10)]
            outcomes = [lane.deliver(courier.delivery(path, path[1:])) for path in files]
            await until(lambda: appended(server))
            await lane.close()
            outcomes.append(lane.deliver(courier.delivery(files[0], "late")))
            ended = await asyncio.gather(*outcomes, return_exceptions=True)
            await lane.close()  # a second time is one time too many, and no harm
            return list(ended)

    assert {type(error) for error in bounded(run())} == {Interrupted}
    assert "late" not in {task["key"] for task in appended(server)}
