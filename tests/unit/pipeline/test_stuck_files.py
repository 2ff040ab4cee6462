"""Nothing waits for ever: whatever holds a file back, something lets it go again, and a drain ends."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.ledger import Intent, Ledger
from s3_file_uploader.ledger.reader import Reader
from s3_file_uploader.pipeline import Clock, upkeep
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.pipelines import drain, rule, running, settings, until
from support.virtual_time import run_in_virtual_time

if TYPE_CHECKING:
    from pathlib import Path

    from s3_file_uploader.pipeline import Summary, Uploader


def write(folder: Path, name: str, content: bytes = b"x", mtime: float | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def test_a_drain_does_not_wait_for_a_file_that_is_dated_in_the_future(folder: Path, state: Path) -> None:
    write(folder, "a", mtime=1)
    write(folder, "b", mtime=2)
    write(folder, "tomorrow", mtime=time.time() + 86_400)
    summary = asyncio.run(drain(settings(state, rule(folder)), FakeTransport()))
    assert summary.delivered == 1
    assert sorted(os.path.basename(path) for path, _ in summary.held) == [b"b", b"tomorrow"]


class _Blocked(Edge):
    """A disk on which nothing can be renamed until it is let go: reads go through."""

    def __init__(self, folder: Path) -> None:
        self.folder = os.fsencode(folder)
        self.is_hung = True

    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        while self.is_hung and os.readlink(f"/proc/self/fd/{from_fd}").encode() == self.folder:
            time.sleep(0.01)
        super().rename_noreplace(from_fd, old, to_fd, new)


def test_a_disk_that_lets_no_file_go_holds_up_the_deliveries_of_no_other_rule(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3_file_uploader.pipeline.feed._MOST_UNDISPOSED", 4)
    hung, fine = tmp_path / "hung", tmp_path / "fine"
    for number in range(20):
        write(hung, f"h{number}", mtime=number + 1)
    fine.mkdir()
    edge, transport = _Blocked(hung), FakeTransport()
    rules = (rule(hung, name="hung", active_file="none"), rule(fine, name="fine", active_file="none"))

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: uploader.progress.files_done >= 4 and len(transport.puts) > 4, "the first ones")
        await asyncio.sleep(0.2)
        write(fine, "f")
        await until(lambda: "f" in transport.puts, "the other rule's delivery")
        edge.is_hung = False

    asyncio.run(running(settings(state, *rules), transport, scenario, edge=edge))


def _hide(folder: Path, state: Path, one: Any) -> Intent:
    """What a killed daemon leaves when a newer file took the name of one that it could not vouch for."""
    ledger = Ledger.open(str(state), "test")
    with ledger.transaction():
        ledger.register_rules([one.name])
        ledger.connection.execute(
            "INSERT INTO intent (file, generation, rule, folder, name, device, inode, size, mtime_ns, ctime_ns,"
            " is_symlink, leased, details) VALUES (1, 0, ?, ?, ?, 1, 1, 1, 1, 1, 0, 0, ?)",
            (one.name, os.fsencode(folder), b"a", f'{{"base": "{folder}"}}'),
        )
        intent = ledger.connection.execute("SELECT max(id) FROM intent").fetchone()[0]
        tag = ledger.tag
    ledger.close()
    write(folder, f".s3fu-{tag}{intent:016x}", b"hidden")
    return intent  # type: ignore[no-any-return]


def test_a_hidden_file_gets_its_name_back_once_its_disk_is_there(
    tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_ROUND_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "_ROUNDS_PER_TIDY", 1)
    folder = tmp_path / "disk"
    one = rule(folder)
    _hide(folder, state, one)
    folder.rename(tmp_path / "elsewhere")

    async def scenario(uploader: Uploader) -> None:
        await asyncio.sleep(0.3)
        (tmp_path / "elsewhere").rename(folder)
        await until((folder / "a").exists, "its name")

    asyncio.run(running(settings(state, one), FakeTransport(), scenario))


def test_a_drain_waits_for_a_hidden_file_that_no_ledger_explains_and_sends_it(
    folder: Path, state: Path
) -> None:
    ledger = Ledger.open(str(state), "test")
    tag = ledger.tag
    ledger.close()
    write(folder, f".s3fu-{tag}{7:016x}", b"hidden")
    transport = FakeTransport()

    async def empty() -> Summary:
        loop = asyncio.get_running_loop()
        clock = Clock(monotonic=loop.time, wall=loop.time)
        one = rule(folder, active_file="none", interval_seconds=3600.0)
        return await drain(settings(state, one), transport, clock=clock)

    assert run_in_virtual_time(empty()).delivered == 1
    assert list(transport.objects.values()) == [b"hidden"]
    assert not os.listdir(folder)


def test_a_drain_does_not_wait_for_the_hidden_file_of_another_ledger(folder: Path, state: Path) -> None:
    write(folder, f".s3fu-{'0' * 8}{7:016x}", b"hidden")

    async def empty() -> tuple[Summary, float]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        clock = Clock(monotonic=loop.time, wall=loop.time)
        summary = await drain(settings(state, rule(folder)), FakeTransport(), clock=clock)
        return summary, loop.time() - began

    summary, seconds = run_in_virtual_time(empty())
    assert summary.delivered == 0
    assert seconds < 3600
    assert len(os.listdir(folder)) == 1


def test_a_pause_does_not_outlive_the_run_that_it_was_noted_in(folder: Path, state: Path) -> None:
    made = settings(state, rule(folder, active_file="none"))
    write(folder, "a")
    asyncio.run(drain(made, FakeTransport(script=lambda _delivery: Fault.MISCONFIGURED)))
    with Reader.open(str(state / "test")) as reader:  # type: ignore[union-attr]
        assert reader.pauses()
    asyncio.run(drain(made, FakeTransport()))
    with Reader.open(str(state / "test")) as reader:  # type: ignore[union-attr]
        assert not reader.pauses()


def _longest_wait(state: Path) -> float:
    """Seconds that the next daemon would wait for some file if this one were killed at this instant."""
    with Reader.open(str(state / "test")) as reader:  # type: ignore[union-attr]
        return max(entry.due_at or 0.0 for entry in reader.files()) - float(reader.meta("clock"))


class _ReadOnly(Edge):
    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.REFUSED])
def test_a_crash_after_a_long_idle_time_does_not_make_anything_wait_that_long_again(
    folder: Path, state: Path, fault: Fault
) -> None:
    write(folder, "a")
    idle_seconds = 0.0
    clock = Clock(monotonic=lambda: time.monotonic() + idle_seconds)

    async def scenario(uploader: Uploader) -> None:
        nonlocal idle_seconds

        def attempts() -> int:
            with Reader.open(str(state / "test")) as reader:  # type: ignore[union-attr]
                return max((entry.attempts for entry in reader.files()), default=0)

        await until(lambda: attempts() >= 1, "the first failure")
        before, idle_seconds = attempts(), 30 * 86_400.0
        await uploader.retry(None)
        await until(lambda: attempts() > before, "one more, after a month")
        assert _longest_wait(state) <= 3600.0

    one = rule(folder, active_file="none", retry_backoff_seconds=3000.0, retry_backoff_max_seconds=3000.0)
    transport = FakeTransport(script=lambda _delivery: fault)
    asyncio.run(running(settings(state, one), transport, scenario, edge=_ReadOnly(), clock=clock))
