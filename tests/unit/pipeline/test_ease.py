"""Before a stop that is announced, and in the moment of one that is not: nothing is begun that would be cut off."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.transport.fake import FakeTransport
from support.pipelines import drain, rule, settings, write
from support.reconfigured import Held, Stores, play, soon

if TYPE_CHECKING:
    from pathlib import Path

    from s3_file_uploader.pipeline import Uploader

PART = 1000


@dataclass(slots=True)
class Line:
    """Takes three parts, and then holds the next one until it is told to go on."""

    sent: int = 0
    is_holding: bool = False
    _goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def pace(self, count: int) -> None:
        if self.sent >= 3 * PART:
            self.is_holding = True
            await self._goes_on.wait()
        self.sent += count

    def go_on(self) -> None:
        self._goes_on.set()


def test_while_it_is_eased_the_part_under_way_lands_and_nothing_begins(folder: Path, state: Path) -> None:
    content, line = os.urandom(10 * PART), Line()
    stores = Stores(part_bytes=PART, pace=line.pace)
    write(folder, "large", content)

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: line.is_holding)
        uploader.ease()
        assert uploader.in_flight == (1, 1)
        line.go_on()
        await soon(lambda: uploader.in_flight == (0, 0))
        write(folder, "later")
        await asyncio.sleep(600)
        assert uploader.in_flight == (0, 0)
        assert line.sent == 4 * PART
        assert not stores.objects()
        uploader.go_on()
        await soon(lambda: len(stores.objects()) == 2)

    play(settings(state, rule(folder, active_file="none", interval_seconds=10.0)), stores, scenario)
    assert stores.objects() == {"large": content, "later": b"x"}
    assert line.sent == 10 * PART + 1  # nothing twice


def test_what_was_begun_and_is_small_is_finished(folder: Path, state: Path) -> None:
    held = Held({"small"})
    stores = Stores(pause=held)
    write(folder, "small")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: held.begun)
        uploader.ease()
        held.let_go()
        await soon(stores.objects)
        await soon(lambda: uploader.in_flight == (0, 0))

    play(settings(state, rule(folder, active_file="none")), stores, scenario)
    assert stores.puts() == ["small"]


def test_what_waits_in_stream_manager_is_not_cut_off(folder: Path, state: Path) -> None:
    held = Held({"file"})
    stores = Stores(pause=held)
    write(folder, "file")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: held.begun)
        uploader.ease()
        assert uploader.in_flight == (1, 0)
        held.let_go()

    play(settings(state, rule(folder, active_file="none", transport="stream-manager")), stores, scenario)


def test_it_may_be_eased_before_it_runs(folder: Path, state: Path) -> None:
    stores = Stores()
    write(folder, "file")

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: uploader.progress.looked_at)
        await asyncio.sleep(600)
        assert not stores.objects()
        uploader.go_on()
        await soon(stores.objects)

    made = settings(state, rule(folder, active_file="none", interval_seconds=10.0))
    play(made, stores, scenario, before=lambda uploader: uploader.ease())


def test_a_stop_begins_no_other_part_and_the_next_run_sends_none_twice(folder: Path, state: Path) -> None:
    content, line = os.urandom(10 * PART), Line()
    stores = Stores(part_bytes=PART, pace=line.pace)
    write(folder, "large", content)
    made = settings(state, rule(folder, active_file="none"))

    async def scenario(uploader: Uploader) -> None:
        await soon(lambda: line.is_holding)
        uploader.stop()
        await asyncio.sleep(0.1)
        line.go_on()

    play(made, stores, scenario)
    assert line.sent == 4 * PART

    async def count(size: int) -> None:
        line.sent += size

    again = FakeTransport(objects=stores.objects(), uploads=stores.uploads(), part_bytes=PART, pace=count)
    asyncio.run(drain(made, again, include_active=True))
    assert again.objects == {"large": content}
    assert line.sent == 10 * PART
