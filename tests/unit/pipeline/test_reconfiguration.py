"""A running uploader takes another configuration: what stays is not disturbed, what leaves loses nothing."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import ConfigurationError, Interrupted
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.edges import NoLeaseEdge
from support.pipelines import drain, rule, settings, write
from support.reconfigured import HangingEdge, Held, Stores, play, soon

if TYPE_CHECKING:
    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.pipeline import Uploader

PART = 1000


def a_rule(tmp_path: Path, name: str, folder: str = "", **more: Any) -> Rule:
    """A rule whose files go into a bucket of its own name."""
    place = tmp_path / (folder or name)
    place.mkdir(exist_ok=True)
    values = {
        "name": name,
        "bucket_name": f"bucket-{name}",
        "active_file": "none",
        "interval_seconds": 2.0,
        **more,
    }
    return rule(place, **values)


def ledger_rows(made: Settings, query: str) -> list[tuple[Any, ...]]:
    path = os.path.join(made.state_directory, made.name, "ledger.db")
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(query).fetchall()


def in_force(uploader: Uploader) -> dict[str, Any]:
    assert uploader._context is not None
    return {one.name: one for one in uploader._context.rules}


# -- rules that come, go and change


def test_the_files_of_an_added_rule_go_from_then_on(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    stores = Stores()
    write(tmp_path / "one", "a")
    write(tmp_path / "two", "b")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: stores.objects("bucket-one"))
        found = await uploader.reconfigure(settings(state, one, two))
        assert found.added == ("two",)
        await soon(lambda: stores.objects("bucket-two"))
        write(tmp_path / "one", "c")
        await soon(lambda: len(stores.objects("bucket-one")) == 2)

    play(settings(state, one), stores, scenario)
    assert list(stores.objects("bucket-two").values()) == [b"x"]


def test_the_files_of_a_removed_rule_stay_and_are_forgotten(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two", settle_seconds=300.0)
    made, stores = settings(state, one, two), Stores()
    kept = write(tmp_path / "two", "b", b"kept")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: ledger_rows(made, "SELECT 1 FROM file"))
        found = await uploader.reconfigure(settings(state, one))
        assert found.removed == ("two",)
        assert not ledger_rows(made, "SELECT 1 FROM file")
        write(tmp_path / "two", "c")
        await asyncio.sleep(600)
        assert uploader.progress.troubles.keys() == {"one"}
        assert uploader.progress.looked_at == {"one"}

    play(made, stores, scenario)
    assert kept.read_bytes() == b"kept"
    assert not stores.objects("bucket-two")
    assert stores.opened[1].is_closed


def test_a_changed_rule_takes_its_new_folder_and_leaves_the_old_one(tmp_path: Path, state: Path) -> None:
    before, after = a_rule(tmp_path, "one"), a_rule(tmp_path, "one", folder="elsewhere")
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        found = await uploader.reconfigure(settings(state, after))
        assert found.changed == ("one",)
        write(tmp_path / "one", "old")
        write(tmp_path / "elsewhere", "new")
        await soon(lambda: stores.objects("bucket-one"))
        await asyncio.sleep(60)

    play(settings(state, before), stores, scenario)
    assert set(stores.objects("bucket-one")) == {"new"}
    assert (tmp_path / "one" / "old").exists()


def test_files_of_a_changed_rule_that_it_still_takes_are_not_sent_again(tmp_path: Path, state: Path) -> None:
    before = a_rule(tmp_path, "one", after_upload="keep")
    made, stores = settings(state, before), Stores()
    write(tmp_path / "one", "a")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: ledger_rows(made, "SELECT 1 FROM file WHERE state = 'retained'"))
        await uploader.reconfigure(settings(state, replace(before, interval_seconds=5.0)))
        await asyncio.sleep(60)

    play(made, stores, scenario)
    assert stores.puts("bucket-one") == ["a"]


def test_two_rules_swap_their_folders(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    swapped = (replace(one, path_name=two.path_name), replace(two, path_name=one.path_name))
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        write(tmp_path / "one", "before")
        await soon(lambda: stores.objects("bucket-one"))
        await uploader.reconfigure(settings(state, *swapped))
        write(tmp_path / "one", "after")
        await soon(lambda: stores.objects("bucket-two"))

    play(settings(state, one, two), stores, scenario)
    assert set(stores.objects("bucket-one")) == {"before"}
    assert set(stores.objects("bucket-two")) == {"after"}


def test_what_becomes_of_files_delivered_later_is_what_the_new_rule_says(tmp_path: Path, state: Path) -> None:
    before = a_rule(tmp_path, "one")
    stores = Stores()
    first = write(tmp_path / "one", "first")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: not first.exists())
        await uploader.reconfigure(settings(state, replace(before, after_upload="keep")))
        write(tmp_path / "one", "second")
        await soon(lambda: "second" in stores.objects("bucket-one"))
        await asyncio.sleep(60)

    play(settings(state, before), stores, scenario)
    assert [path.name for path in (tmp_path / "one").iterdir()] == ["second"]


def test_a_file_delivered_while_its_rule_leaves_is_disposed_of_under_that_rule(
    tmp_path: Path, state: Path
) -> None:
    before = a_rule(tmp_path, "one")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: held.begun)
        changing = asyncio.ensure_future(
            uploader.reconfigure(settings(state, replace(before, after_upload="keep")))
        )
        await asyncio.sleep(1)
        held.let_go()
        await changing
        assert not path.exists()

    path = write(tmp_path / "one", "a")
    held = Held({"a"})
    stores = Stores(pause=held)
    play(settings(state, before), stores, scenario)
    assert stores.puts("bucket-one") == ["a"]


# -- what stays


def test_a_rule_that_stays_is_the_same_and_its_delivery_goes_on(tmp_path: Path, state: Path) -> None:
    """Also while the other one's delivery is waited for and then stopped."""
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    held = Held({"a", "b"})
    stores = Stores(pause=held)
    write(tmp_path / "one", "a")
    write(tmp_path / "two", "b")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: len(held.begun) == 2)
        before = in_force(uploader)["one"]
        changing = asyncio.ensure_future(
            uploader.reconfigure(settings(state, one, replace(two, watch=False)))
        )
        await asyncio.sleep(1)
        write(tmp_path / "one", "meanwhile")
        await soon(lambda: "meanwhile" in stores.objects("bucket-one"))
        assert not changing.done()
        await changing
        assert in_force(uploader)["one"] is before
        assert held.begun.count("a") == 1
        held.let_go()
        await soon(lambda: "a" in stores.objects("bucket-one"))
        await soon(lambda: "b" in stores.objects("bucket-two"))

    play(settings(state, one, two), stores, scenario)
    assert held.begun.count("a") == 1
    assert held.begun.count("b") == 2  # it was cut off, and sent again under the new rule


def test_what_was_seen_of_a_writer_is_known_after_another_rule_changed(tmp_path: Path, state: Path) -> None:
    """Where no lease tells, its close does: a rule that began anew would wait for an hour."""
    one = a_rule(tmp_path, "one", settle_unverified_seconds=36000.0, interval_seconds=36000.0)
    two = a_rule(tmp_path, "two")
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at == {"one", "two"})
        with open(tmp_path / "one" / "a", "wb") as file:  # noqa: ASYNC230  # a producer, which takes its time
            file.write(b"half")
            file.flush()
            await asyncio.sleep(5)
            await uploader.reconfigure(settings(state, one, replace(two, interval_seconds=9.0)))
            assert not stores.objects("bucket-one")
            file.write(b"whole")
        await soon(lambda: stores.objects("bucket-one"))

    play(settings(state, one, two), stores, scenario, edge=NoLeaseEdge())
    assert stores.objects("bucket-one") == {"a": b"halfwhole"}


def test_a_rule_that_changed_settles_its_files_anew(tmp_path: Path, state: Path) -> None:
    """Its watch was interrupted: what was seen before says nothing of what came in between."""
    before = a_rule(tmp_path, "one", settle_unverified_seconds=1000.0, settle_seconds=20.0)
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at == {"one"})
        write(tmp_path / "one", "a")
        await asyncio.sleep(5)
        await uploader.reconfigure(settings(state, replace(before, interval_seconds=9.0)))
        await asyncio.sleep(900)
        assert not stores.objects("bucket-one")
        await asyncio.sleep(200)
        await soon(lambda: stores.objects("bucket-one"))

    play(settings(state, before), stores, scenario, edge=NoLeaseEdge())


def test_an_event_that_comes_as_its_rule_leaves_ends_nothing(tmp_path: Path, state: Path) -> None:
    """Its watch is closed before anybody gets to read it."""
    before = a_rule(tmp_path, "one")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at)
        watching = in_force(uploader)["one"].watching
        changing = asyncio.ensure_future(
            uploader.reconfigure(settings(state, replace(before, interval_seconds=9.0)))
        )
        asyncio.get_running_loop().call_soon(watching._wake)
        await changing
        await asyncio.sleep(10)

    play(settings(state, before), Stores(), scenario)


# -- large files


def test_a_large_upload_goes_on_where_it_was_when_its_rule_changed(tmp_path: Path, state: Path) -> None:
    before = a_rule(tmp_path, "one")
    size, sent, may_go = 10 * PART, [0], asyncio.Event()

    async def pace(count: int) -> None:
        if sent[0] >= 3 * PART and not may_go.is_set():
            await asyncio.wait([asyncio.ensure_future(may_go.wait())], timeout=1.0)
        sent[0] += count

    content = os.urandom(size)
    write(tmp_path / "one", "a", content)
    stores = Stores(part_bytes=PART, pace=pace)

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: sent[0] >= 3 * PART)
        await uploader.reconfigure(settings(state, replace(before, interval_seconds=9.0)))
        assert sent[0] <= 5 * PART
        may_go.set()
        await soon(lambda: stores.objects("bucket-one"))

    play(settings(state, before), stores, scenario)
    assert stores.objects("bucket-one") == {"a": content}
    assert sent[0] == size  # nothing twice


def test_what_a_removed_rule_had_begun_is_taken_back(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    may_go = asyncio.Event()

    async def pace(_count: int) -> None:
        if stores.uploads("bucket-two") and len(ledger_rows(made, "SELECT 1 FROM checkpoint")):
            await may_go.wait()

    made, stores = settings(state, one, two), Stores(part_bytes=PART, pace=pace)
    path = write(tmp_path / "two", "a", os.urandom(5 * PART))

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: stores.uploads("bucket-two"))
        await uploader.reconfigure(settings(state, one))
        may_go.set()
        await asyncio.sleep(61)
        await soon(lambda: not stores.uploads("bucket-two"), "the upload's end")

    play(made, stores, scenario)
    assert path.stat().st_size == 5 * PART
    assert not stores.objects("bucket-two")


# -- disks that hang


def test_a_disk_that_hangs_in_a_removal_holds_up_nobody(tmp_path: Path, state: Path) -> None:
    """Its rule is removed meanwhile; when it comes back, what was delivered under it is removed."""
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    made, stores = settings(state, one, two), Stores()
    edge = HangingEdge({"unlink", "rename_noreplace"})
    edge.hang("dispose-two")
    path = write(tmp_path / "two", "a")

    async def scenario(uploader: Uploader) -> None:
        await soon(edge.is_hanging.is_set)
        await asyncio.wait_for(uploader.reconfigure(settings(state, one)), 20)
        assert "two" not in in_force(uploader)
        write(tmp_path / "one", "b")
        await soon(lambda: stores.objects("bucket-one"))
        edge.come_back()
        await soon(lambda: not path.exists(), "the removal")
        await soon(lambda: not ledger_rows(made, "SELECT 1 FROM intent"), "its record")
        assert not ledger_rows(made, "SELECT 1 FROM file WHERE name = x'61'")

    play(made, stores, scenario, edge=edge)


def test_a_removal_that_hung_is_not_taken_up_by_the_rule_that_comes_after(
    tmp_path: Path, state: Path
) -> None:
    before = a_rule(tmp_path, "one")
    made, stores = settings(state, before), Stores()
    edge = HangingEdge({"unlink"})
    edge.hang("dispose-one")
    path = write(tmp_path / "one", "a")

    async def scenario(uploader: Uploader) -> None:
        await soon(edge.is_hanging.is_set)
        edge.hang("nobody")  # a new thread of that name is no thread of that disk
        await uploader.reconfigure(settings(state, replace(before, interval_seconds=9.0)))
        write(tmp_path / "one", "b")
        await soon(lambda: "b" in stores.objects("bucket-one"))
        edge.come_back()
        await soon(lambda: not ledger_rows(made, "SELECT 1 FROM intent"))
        await soon(lambda: not ledger_rows(made, "SELECT 1 FROM file"))

    play(made, stores, scenario, edge=edge)
    assert not path.exists()
    assert stores.puts("bucket-one") == ["a", "b"]
    assert not list((tmp_path / "one").iterdir())


@pytest.mark.parametrize("is_removed", [True, False])
def test_what_a_hung_look_sees_under_a_rule_that_left_is_void(
    tmp_path: Path, state: Path, is_removed: bool
) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two", interval_seconds=1.0)
    made, stores = settings(state, one, two), Stores()
    edge = HangingEdge({"entries", "open_folder"})
    after = [] if is_removed else [a_rule(tmp_path, "two", folder="elsewhere")]

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at == {"one", "two"})
        edge.hang("look-two")
        await soon(edge.is_hanging.is_set)
        write(tmp_path / "two", "a")
        edge.hang("nobody")
        await asyncio.wait_for(uploader.reconfigure(settings(state, one, *after)), 20)
        write(tmp_path / "elsewhere", "b")
        write(tmp_path / "one", "c")
        await soon(lambda: stores.objects("bucket-one"))
        edge.come_back()
        await asyncio.sleep(60)
        assert not ledger_rows(made, "SELECT 1 FROM file WHERE name = x'61'")

    play(made, stores, scenario, edge=edge)
    assert (tmp_path / "two" / "a").exists()
    assert set(stores.objects("bucket-two")) == (set() if is_removed else {"b"})


def test_a_disk_that_hangs_over_done_markers_holds_up_no_other_rule(tmp_path: Path, state: Path) -> None:
    one = a_rule(tmp_path, "one")
    two = a_rule(tmp_path, "two", done_marker=".done")
    stores = Stores()
    edge = HangingEdge({"stat_at"})
    write(tmp_path / "two", "b.done")
    write(tmp_path / "two", "b")
    edge.hang("look-two")

    async def scenario(_uploader: Uploader) -> None:
        await soon(edge.is_hanging.is_set)
        write(tmp_path / "one", "a")
        await soon(lambda: stores.objects("bucket-one"))
        edge.come_back()
        write(tmp_path / "two", "b.done")
        await soon(lambda: stores.objects("bucket-two"))

    play(settings(state, one, two), stores, scenario, edge=edge)


# -- what cannot be


def test_a_configuration_that_cannot_be_opened_changes_nothing(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at == {"one"})
        before = in_force(uploader)
        changed = replace(one, path_name=str(tmp_path / "elsewhere" / "*"))
        with pytest.raises(ConfigurationError, match="no such access point"):
            await uploader.reconfigure(settings(state, changed, two))
        assert in_force(uploader) == before
        write(tmp_path / "one", "a")
        await soon(lambda: stores.objects("bucket-one"))

    stores.refused = "two"
    play(settings(state, one), stores, scenario)
    assert [transport.is_closed for transport in stores.opened] == [True, True]


@pytest.mark.parametrize("other", [{"name": "other"}, {"state_directory": "/other"}])
def test_the_ledgers_place_cannot_change(tmp_path: Path, state: Path, other: dict[str, Any]) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")

    async def scenario(uploader: Uploader) -> None:
        with pytest.raises(ConfigurationError, match=r"cannot become .*other"):
            await uploader.reconfigure(replace(settings(state, one, two), **other))
        assert set(in_force(uploader)) == {"one"}

    play(settings(state, one), Stores(), scenario)


# -- in the middle of something else


def test_a_stop_in_the_middle_ends_in_time_and_loses_nothing(tmp_path: Path, state: Path) -> None:
    before = a_rule(tmp_path, "one")
    held = Held({"a"})
    stores = Stores(pause=held)
    path = write(tmp_path / "one", "a")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: held.begun)
        after = a_rule(tmp_path, "two")
        changing = asyncio.ensure_future(uploader.reconfigure(settings(state, before, after)))
        changing2 = asyncio.ensure_future(uploader.reconfigure(settings(state, after)))
        await asyncio.sleep(1)
        assert changing.done()
        uploader.stop()
        with pytest.raises(Interrupted):
            await changing2
        with pytest.raises(Interrupted):
            await uploader.reconfigure(settings(state, after))

    play(settings(state, before), stores, scenario)
    assert all(transport.is_closed for transport in stores.opened)
    assert path.exists()
    transport = FakeTransport()
    asyncio.run(drain(settings(state, before), transport, include_active=True))
    assert transport.objects == {"a": b"x"}


def test_two_in_a_row_end_with_the_last(tmp_path: Path, state: Path) -> None:
    one, two, three = (a_rule(tmp_path, name) for name in ("one", "two", "three"))
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        await asyncio.gather(
            uploader.reconfigure(settings(state, two)),
            uploader.reconfigure(settings(state, three)),
        )
        assert set(in_force(uploader)) == {"three"}
        write(tmp_path / "three", "a")
        await soon(lambda: stores.objects("bucket-three"))
        assert not await uploader.reconfigure(settings(state, three))

    play(settings(state, one), stores, scenario)
    assert all(transport.is_closed for transport in stores.opened)


def test_a_full_disk_below_the_ledger_is_waited_for(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at == {"one"})
        ledger = uploader._ledger
        ledger.connection.execute("PRAGMA query_only = ON")
        changing = asyncio.ensure_future(uploader.reconfigure(settings(state, two)))
        await soon(lambda: (state / "test/reserve").stat().st_size == 0, "the full disk")
        assert not changing.done()
        ledger.connection.execute("PRAGMA query_only = OFF")
        await changing
        write(tmp_path / "two", "a")
        await soon(lambda: stores.objects("bucket-two"))

    play(settings(state, one), stores, scenario)


def test_pauses_of_destinations_that_are_gone_are_forgotten(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    made, stores = settings(state, one, two), Stores(script=lambda _: Fault.UNREACHABLE)
    for name in ("one", "two"):
        write(tmp_path / name, "a")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: len(ledger_rows(made, "SELECT 1 FROM pause")) == 2)
        await uploader.reconfigure(settings(state, replace(one, interval_seconds=7.0)))
        assert set(uploader.progress.paused) == {"s3://bucket-one"}
        assert ledger_rows(made, "SELECT destination FROM pause") == [("s3://bucket-one",)]

    play(made, stores, scenario)


def test_a_pause_keeps_its_destination_when_a_neighbour_gives_it_another_name(
    tmp_path: Path, state: Path
) -> None:
    one = a_rule(tmp_path, "one", bucket_name="shared")
    two = a_rule(tmp_path, "two", bucket_name="shared", object_key_prefix="p")
    made, stores = settings(state, one), Stores(script=lambda _: Fault.UNREACHABLE)
    write(tmp_path / "one", "a")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: ledger_rows(made, "SELECT 1 FROM pause"))
        gate = in_force(uploader)["one"].gate
        await uploader.reconfigure(settings(state, one, two))
        assert in_force(uploader)["one"].gate is gate
        assert set(uploader.progress.paused) == {"s3://shared (one)"}
        assert ledger_rows(made, "SELECT destination FROM pause") == [("s3://shared (one)",)]
        for transport in stores.opened:
            transport.script = lambda _: Fault.NONE
        await soon(lambda: stores.objects("shared"))
        await soon(lambda: not ledger_rows(made, "SELECT 1 FROM pause"))

    play(made, stores, scenario)


def watches() -> int:
    """Of this process, in the kernel."""
    links = [path for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    return sum(os.readlink(path) == "anon_inode:inotify" for path in links if path.is_symlink())


def test_rules_that_left_leave_no_thread_and_no_watch_behind(tmp_path: Path, state: Path) -> None:
    before, stores, others = a_rule(tmp_path, "alone"), Stores(), watches()

    def threads() -> list[str]:
        return sorted(each.name for each in threading.enumerate() if each.name.endswith("-alone"))

    def is_there(key: str) -> bool:
        return key in stores.objects("bucket-alone")

    async def scenario(uploader: Uploader) -> None:
        for number in range(10):
            await uploader.reconfigure(settings(state, replace(before, interval_seconds=5.0 + number)))
            write(tmp_path / "alone", f"{number}")
            await soon(partial(is_there, f"{number}"))
        await soon(lambda: threads() == ["dispose-alone", "look-alone"])
        await soon(lambda: watches() == others + 1)

    play(settings(state, before), stores, scenario)


def test_an_error_in_opening_changes_nothing_whatever_it_is(tmp_path: Path, state: Path) -> None:
    one, two = a_rule(tmp_path, "one"), a_rule(tmp_path, "two")
    stores = Stores()

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at)
        stores.more["no_such_argument"] = True
        with pytest.raises(TypeError):
            await uploader.reconfigure(settings(state, two))
        assert set(in_force(uploader)) == {"one"}
        write(tmp_path / "one", "a")
        await soon(lambda: stores.objects("bucket-one"))

    play(settings(state, one), stores, scenario)


# -- settings of the process, and what is said


def test_concurrency_and_bandwidth_are_taken_over(tmp_path: Path, state: Path) -> None:
    one = a_rule(tmp_path, "one")
    told: list[Settings] = []

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: in_force(uploader))
        before = in_force(uploader)["one"]
        await uploader.reconfigure(settings(state, one, concurrency=3, max_bandwidth=5000))
        assert in_force(uploader)["one"] is before
        assert before.gate.cap == before.gate.limit == 24

    play(settings(state, one), Stores(), scenario, adjust=told.append)
    assert [(each.concurrency, each.max_bandwidth) for each in told] == [(None, None), (3, 5000)]


def test_one_line_says_what_changed(tmp_path: Path, state: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two, three = (a_rule(tmp_path, name) for name in ("one", "two", "three"))

    async def scenario(uploader: Uploader) -> None:
        slower = replace(one, interval_seconds=20.0, active_file_timeout_seconds=300.0)
        await uploader.reconfigure(settings(state, slower, three, log_level="DEBUG"))

    with caplog.at_level(logging.INFO, "s3_file_uploader"):
        play(settings(state, one, two), Stores(), scenario)
    [record] = [each for each in caplog.records if each.getMessage() == "reconfigured"]
    assert record.fields == {  # type: ignore[attr-defined]  # the log's own
        "added": "three",
        "removed": "two",
        "changed": "LogLevel INFO → DEBUG; one: Interval 2 s → 20 s, ActiveFileTimeout never → 5 min",
    }
