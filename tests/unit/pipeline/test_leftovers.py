"""What was begun and is of no use any more is taken back: now, or as soon as the far side lets us."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.ledger import Ledger, Uploads
from s3_file_uploader.pipeline.leftovers import Wanted
from s3_file_uploader.pipeline.way import rule_of, way_of
from s3_file_uploader.transport.fake import FakeTransport, Fault
from support.pipelines import drain, rule, running, settings, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from s3_file_uploader.config import Settings
    from s3_file_uploader.ledger import GivenUp, UnderWay
    from s3_file_uploader.pipeline import Uploader
    from s3_file_uploader.transport.contract import Delivery

PART = 1000


class FarSide:
    """What outlives each process."""

    def __init__(self) -> None:
        self.stores: dict[str, FakeTransport] = {}

    def transport(self, name: str = "here", **more: object) -> FakeTransport:
        """Another process's transport to the same store."""
        before = self.stores.get(name) or FakeTransport()
        self.stores[name] = FakeTransport(
            objects=before.objects,
            uploads=before.uploads,
            part_bytes=PART,
            **more,  # type: ignore[arg-type]
        )
        return self.stores[name]


@contextlib.contextmanager
def ledger_of(made: Settings) -> Iterator[Uploads]:
    ledger = Ledger.open(made.state_directory, made.name)
    try:
        yield Uploads(ledger)
    finally:
        ledger.close()


def under_way(made: Settings) -> list[UnderWay]:
    with ledger_of(made) as uploads:
        return uploads.under_way()


def given_up(made: Settings) -> list[GivenUp]:
    with ledger_of(made) as uploads:
        return uploads.given_up()


def leave_half_sent(made: Settings, folder: Path, far: FarSide) -> Path:
    """A file of which two parts of four have arrived when the process ends."""
    path = folder / "large"
    path.write_bytes(os.urandom(4 * PART))
    asyncio.run(drain_with(made, far.transport(script=lambda _: Fault.BROKEN)))
    (upload,) = under_way(made)
    assert upload.data["bytes_arrived"] == 2 * PART
    return path


async def drain_with(made: Settings, transport: FakeTransport) -> None:
    await drain(made, transport, include_active=True, random=lambda: 0.9)  # waits that are no accident


def test_what_was_half_sent_is_gone_on_with(tmp_path: Path, folder: Path) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    content = leave_half_sent(made, folder, far).read_bytes()
    asyncio.run(drain_with(made, transport := far.transport()))
    assert transport.objects == {"large": content}
    assert (transport.uploads, under_way(made), given_up(made)) == ({}, [], [])


def test_a_file_that_vanished_leaves_nothing_behind(tmp_path: Path, folder: Path) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    leave_half_sent(made, folder, far).unlink()
    asyncio.run(drain_with(made, transport := far.transport()))
    assert (transport.uploads, transport.objects) == ({}, {})
    assert (under_way(made), given_up(made)) == ([], [])


def test_a_file_that_was_parked_leaves_nothing_behind(tmp_path: Path, folder: Path) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    leave_half_sent(made, folder, far)
    parking = settings(tmp_path / "state", rule(folder, max_attempts=1))
    asyncio.run(drain_with(parking, transport := far.transport(script=lambda _: Fault.BROKEN)))
    assert transport.uploads == {}
    assert (under_way(made), given_up(made)) == ([], [])


@pytest.mark.parametrize("change", ["bucket", "prefix"])
def test_a_rule_that_leads_elsewhere_takes_back_what_it_began_where_it_was(
    tmp_path: Path, folder: Path, change: str
) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    leave_half_sent(made, folder, far)
    more = {"bucket_name": "another"} if change == "bucket" else {"object_key_prefix": "below"}
    moved = settings(tmp_path / "state", rule(folder, **more))
    here = far.transport("here")
    there = far.transport("there") if change == "bucket" else here
    stores = {"bucket": here, "another": there}

    async def run() -> None:
        from s3_file_uploader.pipeline import Uploader

        ledger = Ledger.open(moved.state_directory, moved.name)
        try:
            if change == "prefix":  # the name of an object is stored; a person's retry makes it anew
                ledger.connection.execute("UPDATE file SET key = NULL")
            await Uploader(
                moved,
                ledger,
                transports=lambda rule: stores[rule.bucket_name],
                until_done=True,
                include_active=True,
            ).run()
        finally:
            ledger.close()

    asyncio.run(run())
    assert here.uploads == there.uploads == {}
    assert list(there.objects) == ["large" if change == "bucket" else "below/large"]
    assert (under_way(made), given_up(made)) == ([], [])


def test_a_rule_that_is_gone_takes_back_what_it_began(tmp_path: Path, folder: Path) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    leave_half_sent(made, folder, far)
    (tmp_path / "other").mkdir()
    other = settings(tmp_path / "state", rule(tmp_path / "other", name="other", bucket_name="another"))
    transport = far.transport()

    async def run() -> None:
        from s3_file_uploader.pipeline import Uploader

        ledger = Ledger.open(other.state_directory, other.name)
        try:
            await Uploader(
                other,
                ledger,
                transports=lambda rule: transport if rule.bucket_name == "bucket" else FakeTransport(),
                until_done=True,
            ).run()
        finally:
            ledger.close()

    asyncio.run(run())
    assert transport.uploads == {}
    assert transport.is_closed  # opened for this alone
    assert (under_way(made), given_up(made)) == ([], [])


@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.UNREACHABLE, Fault.BUG])
def test_what_cannot_be_aborted_is_remembered_and_tried_again(
    tmp_path: Path, folder: Path, fault: Fault
) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    leave_half_sent(made, folder, far).unlink()
    asyncio.run(drain_with(made, far.transport(refuses_abort=fault)))
    (left,) = given_up(made)
    assert left.attempts >= 1
    assert left.error
    assert left.due_at > 0
    asyncio.run(drain_with(made, transport := far.transport()))
    assert len(given_up(made)) == 1  # its time has not come
    with ledger_of(made) as uploads:
        uploads._ledger.connection.execute("UPDATE given_up SET due_at = 0")
    asyncio.run(drain_with(made, transport := far.transport()))
    assert transport.uploads == {}
    assert given_up(made) == []


def test_a_refused_file_whose_upload_cannot_be_aborted_is_begun_anew_the_next_time(
    tmp_path: Path, folder: Path
) -> None:
    made, far = settings(tmp_path / "state", rule(folder)), FarSide()
    (folder / "large").write_bytes(os.urandom(4 * PART))
    faults = iter([Fault.REFUSED])
    transport = far.transport(script=lambda _: next(faults, Fault.NONE), refuses_abort=Fault.DENIED)
    asyncio.run(drain_with(made, transport))
    assert list(transport.objects) == ["large"]
    assert len(given_up(made)) == len(transport.uploads) == 1


def test_a_person_aborts_what_is_under_way_and_it_is_sent_anew(tmp_path: Path, folder: Path) -> None:
    made, far = settings(tmp_path / "state", rule(folder, active_file="none")), FarSide()
    path = folder / "large"
    path.write_bytes(os.urandom(4 * PART))
    gate = asyncio.Event()
    begun: list[str] = []

    async def pause(delivery: Delivery) -> None:
        begun.append(delivery.key)
        await gate.wait()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: bool(begun), "the upload")
        (first,) = transport.uploads
        (aborted,) = await uploader.abort_uploads(Wanted(names=frozenset({os.fsencode(path)})))
        assert (aborted.error, aborted.upload.data["upload_id"]) == ("", first)
        assert first not in transport.uploads
        gate.set()
        await until(lambda: "large" in transport.objects, "the object")

    transport = far.transport(pause=pause)
    asyncio.run(running(made, transport, scenario))
    assert transport.uploads == {}
    assert (under_way(made), given_up(made)) == ([], [])


def test_the_way_to_an_upload_survives_settings_that_come_and_go(folder: Path) -> None:
    made = rule(folder, include=("*.csv",), profile="fleet")
    assert rule_of(way_of(made)) == made
    assert rule_of(way_of(made).replace("{", '{"a_later_setting": 1, ', 1)) == made
    assert rule_of(way_of(replace(made, max_attempts=3))) == replace(made, max_attempts=3)
    for senseless in ("", "[]", "{}", "7", "{"):
        assert rule_of(senseless) is None
