"""The uploader as a whole over real files and a real ledger, with the fake transport."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from s3_file_uploader.errors import Misconfigured, Unreachable
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.pipelines import drain, rule, running, settings, until, write

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from s3_file_uploader.pipeline import Uploader


def test_a_drain_sends_all_but_the_newest_and_removes_what_it_sent(folder: Path, state: Path) -> None:
    for number in range(5):
        write(folder, f"{number}.csv", b"content %d" % number, mtime=1000 + number)
    transport = FakeTransport()
    summary = asyncio.run(drain(settings(state, rule(folder)), transport))
    assert transport.puts == ["0.csv", "1.csv", "2.csv", "3.csv"]
    assert transport.objects["2.csv"] == b"content 2"
    assert os.listdir(folder) == ["4.csv"]
    assert (summary.delivered, summary.removed) == (4, 4)
    assert [path for path, _ in summary.held] == [os.fsencode(folder / "4.csv")]
    assert "newest in its folder" in summary.held[0][1]


def test_include_active_sends_the_newest_too(folder: Path, state: Path) -> None:
    write(folder, "only.csv")
    transport = FakeTransport()
    summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert (summary.delivered, os.listdir(folder), summary.held) == (1, [], [])


def test_an_empty_folder_drains_at_once(folder: Path, state: Path) -> None:
    summary = asyncio.run(drain(settings(state, rule(folder)), FakeTransport()))
    assert (summary.delivered, summary.held) == (0, [])


def test_a_pattern_that_no_file_matches_is_named(folder: Path, state: Path) -> None:
    write(folder, "a.log")
    made = settings(state, rule(folder, path_name=f"{folder}/*.csv", active_file="none"))
    assert asyncio.run(drain(made, FakeTransport())).unmatched == [f"{folder}/*.csv"]
    write(folder, "a.csv")
    assert asyncio.run(drain(made, FakeTransport())).unmatched == []


def test_files_kept_by_choice_are_sent_once_only(folder: Path, state: Path) -> None:
    write(folder, "a", mtime=1)
    write(folder, "b", mtime=2)
    transport = FakeTransport()
    for _ in range(2):
        asyncio.run(drain(settings(state, rule(folder, after_upload="keep")), transport, include_active=True))
    assert sorted(transport.puts) == ["a", "b"]
    assert sorted(os.listdir(folder)) == ["a", "b"]


def test_archived_files_move_with_their_relative_folder(folder: Path, state: Path, tmp_path: Path) -> None:
    write(folder / "cam1", "a", b"one")
    write(folder / "cam2", "a", b"two")
    one = rule(
        folder,
        path_name=str(folder / "*" / "*"),
        after_upload="archive",
        archive_directory=str(tmp_path / "archive"),
    )
    transport = FakeTransport()
    summary = asyncio.run(drain(settings(state, one), transport, include_active=True))
    assert transport.objects == {"cam1/a": b"one", "cam2/a": b"two"}
    assert (tmp_path / "archive" / "cam1" / "a").read_bytes() == b"one"
    assert (tmp_path / "archive" / "cam2" / "a").read_bytes() == b"two"
    assert summary.delivered == 2
    assert not list((folder / "cam1").iterdir())


def test_what_breaks_on_the_way_is_sent_again(folder: Path, state: Path) -> None:
    write(folder, "a", b"whole")
    faults = [Fault.BROKEN, Fault.LOST_ANSWER, Fault.BUG, Fault.UNPROVEN]
    transport = FakeTransport(script=lambda _: faults.pop(0) if faults else Fault.NONE)
    summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert transport.objects == {"a": b"whole"}
    assert (summary.delivered, os.listdir(folder)) == (1, [])


def test_what_is_refused_is_parked_with_its_reason_and_blocks_nobody(folder: Path, state: Path) -> None:
    write(folder, "bad", mtime=1)
    for number in range(20):
        write(folder, f"good{number}", mtime=2 + number)
    transport = FakeTransport(script=lambda delivery: Fault.REFUSED if delivery.key == "bad" else Fault.NONE)
    summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert summary.delivered == 20
    assert os.listdir(folder) == ["bad"]
    assert [(path.endswith(b"bad"), reason) for path, reason in summary.parked] == [
        (True, "the store says no")
    ]


def test_a_denied_file_is_parked_when_others_go_through(folder: Path, state: Path) -> None:
    write(folder, "denied", mtime=1)
    for number in range(300):
        write(folder, f"good{number:03}", mtime=2 + number)
    transport = FakeTransport(
        script=lambda delivery: Fault.DENIED if delivery.key == "denied" else Fault.NONE
    )
    summary = asyncio.run(drain(settings(state, rule(folder), concurrency=4), transport, include_active=True))
    assert summary.delivered == 300
    assert len(summary.parked) == 1
    assert "while other files" in summary.parked[0][1]


def test_a_misconfigured_destination_ends_a_drain_and_burns_no_attempts(folder: Path, state: Path) -> None:
    for number in range(50):
        write(folder, f"{number}", mtime=number + 1)
    transport = FakeTransport(script=lambda _: Fault.MISCONFIGURED)
    summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert isinstance(summary.unreachable, Misconfigured)
    assert (summary.delivered, summary.failed, summary.parked, summary.waiting) == (0, [], [], 50)
    assert len(os.listdir(folder)) == 50


def test_a_daemon_waits_out_a_destination_that_is_away(folder: Path, state: Path) -> None:
    tries: list[str] = []
    away = True

    def script(delivery: object) -> Fault:
        tries.append("x")
        return Fault.UNREACHABLE if away else Fault.NONE

    async def scenario(uploader: Uploader) -> None:
        nonlocal away
        await until(lambda: bool(uploader.progress.paused), "a pause")
        await asyncio.sleep(0.5)
        away = False
        await until(lambda: uploader.progress.files_removed == 30, "the end of the pause")

    for number in range(31):
        write(folder, f"{number}", mtime=number + 1)
    transport = FakeTransport(script=script)
    one = rule(folder, retry_backoff_seconds=0.1, retry_backoff_max_seconds=0.4)
    summary = asyncio.run(running(settings(state, one), transport, scenario))
    assert summary.delivered == 30
    assert not summary.failed
    assert len(tries) < 200


def test_a_file_that_grows_while_it_is_sent_is_sent_again_whole(folder: Path, state: Path) -> None:
    path = write(folder, "a", b"half", mtime=1)
    grown = False

    def grow(delivery: object) -> None:
        nonlocal grown
        if not grown:
            grown = True
            with path.open("ab") as file:
                file.write(b" and half")

    transport = FakeTransport(pause=grow)
    summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert transport.objects["a"] == b"half and half"
    assert (summary.delivered, os.listdir(folder)) == (1, [])


def test_a_file_open_for_writing_is_not_sent_and_does_not_hold_up_a_drain(folder: Path, state: Path) -> None:
    path = write(folder, "open", mtime=1)
    write(folder, "closed", mtime=2)
    transport = FakeTransport()
    with path.open("ab") as file:
        file.write(b"")
        summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert list(transport.objects) == ["closed"]
    assert [reason for _, reason in summary.held] == [
        "a process has it open for writing; goes once it is closed"
    ]


def test_a_new_file_is_found_by_watching_without_a_scan(folder: Path, state: Path) -> None:
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        write(folder, "first", b"1")
        write(folder, "second", b"2")
        await until(lambda: "first" in transport.objects, "the first file")

    asyncio.run(running(settings(state, rule(folder, interval_seconds=3600.0)), transport, scenario))
    assert os.listdir(folder) == ["second"]


def test_everything_works_with_watching_off(folder: Path, state: Path) -> None:
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        write(folder, "first", b"1", mtime=1)
        write(folder, "second", b"2", mtime=2)
        await until(lambda: "first" in transport.objects, "the first file")

    asyncio.run(running(settings(state, rule(folder, watch=False)), transport, scenario))


def test_a_name_used_again_is_sent_again(folder: Path, state: Path) -> None:
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        write(folder, "zz-newest", mtime=4_000_000_000)
        for number in range(5):
            content = b"picture %d" % number
            write(folder, "latest.jpg", content, mtime=1000)
            await until(lambda: transport.objects.get("latest.jpg") == content)  # noqa: B023  # awaited in the loop
            await until(lambda: not (folder / "latest.jpg").exists(), "its removal")

    one = rule(folder, active_file="none", exclude=("zz*",))
    asyncio.run(running(settings(state, one), transport, scenario))
    assert transport.puts == ["latest.jpg"] * 5


def test_a_folder_that_does_not_exist_yet_is_waited_for(tmp_path: Path, state: Path) -> None:
    folder = tmp_path / "later"
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(uploader.progress.looked_at), "the first scan")
        write(folder, "a", mtime=1)
        write(folder, "b", mtime=2)
        await until(lambda: "a" in transport.objects, "the file")

    asyncio.run(running(settings(state, rule(folder)), transport, scenario))


def test_a_done_marker_lets_its_file_go_and_goes_with_it(folder: Path, state: Path) -> None:
    write(folder, "with.csv", b"1")
    write(folder, "with.csv.done", b"")
    write(folder, "without.csv", b"2")
    transport = FakeTransport()
    summary = asyncio.run(drain(settings(state, rule(folder, done_marker=".done")), transport))
    assert transport.objects == {"with.csv": b"1"}
    assert os.listdir(folder) == ["without.csv"]
    assert "done marker is not there" in summary.held[0][1]


def test_two_rules_that_want_one_object_name_do_not_overwrite_each_other(tmp_path: Path, state: Path) -> None:
    write(tmp_path / "one", "same", b"1", mtime=1)
    write(tmp_path / "two", "same", b"2", mtime=1)
    away = [True]
    rules = [rule(tmp_path / name, name=name, active_file="none") for name in ("one", "two")]
    transport = FakeTransport(script=lambda _: Fault.BROKEN if away else Fault.NONE)

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: uploader.progress.failures > 0)
        await until(lambda: len(transport.puts) > 0 or uploader.progress.failures > 1)
        away.clear()
        await until(lambda: len(transport.puts) > 0)
        await asyncio.sleep(0.3)

    summary = asyncio.run(running(settings(state, *rules), transport, scenario))
    assert len(transport.puts) == 1
    assert len(summary.parked) == 1
    assert "same object name" in summary.parked[0][1]


def test_a_stop_lets_what_is_under_way_finish(folder: Path, state: Path) -> None:
    write(folder, "a", mtime=1)
    write(folder, "b", mtime=2)
    began = asyncio.Event()

    async def slowly(delivery: object) -> None:
        began.set()
        await asyncio.sleep(0.5)

    transport = FakeTransport(pause=slowly)

    async def scenario(uploader: Uploader) -> None:
        await began.wait()

    summary = asyncio.run(running(settings(state, rule(folder)), transport, scenario))
    assert (summary.delivered, summary.removed) == (1, 1)
    assert transport.is_closed


def test_a_stop_does_not_wait_for_what_hangs(folder: Path, state: Path) -> None:
    write(folder, "a", mtime=1)
    write(folder, "b", mtime=2)
    began = asyncio.Event()

    async def forever(delivery: object) -> None:
        began.set()
        await asyncio.Event().wait()

    async def scenario(uploader: Uploader) -> None:
        await began.wait()

    summary = asyncio.run(running(settings(state, rule(folder)), FakeTransport(pause=forever), scenario))
    assert (summary.delivered, summary.waiting, summary.failed) == (0, 1, [])
    again = asyncio.run(drain(settings(state, rule(folder)), FakeTransport()))
    assert again.delivered == 1


def test_an_unreachable_destination_is_given_up_by_a_drain(
    folder: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3_file_uploader.pipeline.draining._GIVE_UP_SECONDS", 0.5)
    write(folder, "a", mtime=1)
    transport = FakeTransport(script=lambda _: Fault.UNREACHABLE)
    summary = asyncio.run(drain(settings(state, rule(folder)), transport, include_active=True))
    assert isinstance(summary.unreachable, Unreachable)


def test_files_that_a_changed_pattern_no_longer_takes_are_let_alone(folder: Path, state: Path) -> None:
    for name in ("a.csv", "b.csv", "a.log", "b.log"):
        write(folder, name, mtime=1)
    away = FakeTransport(script=lambda _: Fault.MISCONFIGURED)
    asyncio.run(
        drain(settings(state, rule(folder, path_name=str(folder / "*.csv"))), away, include_active=True)
    )
    transport = FakeTransport()
    asyncio.run(
        drain(settings(state, rule(folder, path_name=str(folder / "*.log"))), transport, include_active=True)
    )
    assert sorted(transport.objects) == ["a.log", "b.log"]


def test_the_files_of_a_rule_that_is_gone_are_let_alone(folder: Path, state: Path) -> None:
    write(folder, "a.csv", mtime=1)
    away = FakeTransport(script=lambda _: Fault.MISCONFIGURED)
    first = rule(folder, path_name=str(folder / "*.csv"), name="csv")
    asyncio.run(drain(settings(state, first), away, include_active=True))
    transport = FakeTransport()
    second = rule(folder, path_name=str(folder / "*.log"), name="log")
    asyncio.run(drain(settings(state, second), transport, include_active=True))
    assert not transport.objects
    assert os.listdir(folder) == ["a.csv"]


def test_two_contents_never_race_to_one_object_name(folder: Path, state: Path) -> None:
    """A file is replaced while it is sent: the newer content waits until the older has ended."""
    path = write(folder, "a", b"old", mtime=1)
    at_once: list[int] = []
    going: set[object] = set()
    replaced = asyncio.Event()

    async def slowly(delivery: object) -> None:
        going.add(delivery)
        at_once.append(len(going))
        if not replaced.is_set():
            replaced.set()
            path.unlink()
            write(folder, "a", b"new", mtime=2)
            await asyncio.sleep(1.0)
        going.discard(delivery)

    transport = FakeTransport(pause=slowly)

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: transport.objects.get("a") == b"new")
        await until(lambda: not path.exists())

    asyncio.run(running(settings(state, rule(folder, active_file="none")), transport, scenario))
    assert max(at_once) == 1
    assert transport.puts[-1] == "a"
    assert transport.objects["a"] == b"new"


def test_a_done_marker_that_comes_later_is_noticed_at_once(folder: Path, state: Path) -> None:
    write(folder, "a.csv", b"1")
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(uploader.progress.looked_at))
        await asyncio.sleep(0.3)
        assert not transport.objects
        write(folder, "a.csv.done", b"")
        await until(lambda: "a.csv" in transport.objects)

    one = rule(folder, done_marker=".done", interval_seconds=3600.0)
    asyncio.run(running(settings(state, one), transport, scenario))
