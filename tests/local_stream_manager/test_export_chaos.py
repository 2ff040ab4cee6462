"""Streams that are appended to, overwritten, paused, deleted and made anew while their tasks are carried out."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.codes import StrategyOnFull
from support.exports import definition, s3_export, staged, to_scripted, until
from support.s3_transports import new_file
from support.scripted_s3 import ScriptedS3

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.protocol.definition import StreamDefinition
    from support.exports import Stage

STREAMS = 5
STEPS = 300


def small(name: str, *, disabled: bool) -> StreamDefinition:
    """With room for some twenty tasks."""
    return definition(
        name,
        s3_export(disabled=disabled),
        max_size=4096,
        segment_size=1024,
        strategy_on_full=StrategyOnFull.OVERWRITE_OLDEST_DATA,
    )


class Chaos:
    """What is done to the streams, by chance; `keys` are those of all tasks that were ever appended."""

    def __init__(self, stage: Stage, path: str, chance: random.Random) -> None:
        self.stage = stage
        self.keys: list[str] = []
        self._path = path
        self._chance = chance
        for number in range(STREAMS):
            stage.store.create(small(f"s{number}", disabled=False))

    async def step(self) -> None:
        store, name = self.stage.store, f"s{self._chance.randrange(STREAMS)}"
        deed = self._chance.choices(("append", "pause", "anew", "rest"), (6, 1, 0.5, 3))[0]
        if deed == "append":
            for _ in range(self._chance.randrange(1, 30)):
                key = f"k{len(self.keys)}"
                self.keys.append(key)
                self.stage.append(self._path, key, to=name)
        elif deed == "pause":
            store.update(small(name, disabled=self._chance.random() < 0.5))
        elif deed == "anew":
            store.delete(name)
            store.create(small(name, disabled=False))
        else:
            await asyncio.sleep(self._chance.random() * 0.02)

    def let_all_run(self) -> None:
        for number in range(STREAMS):
            self.stage.store.update(small(f"s{number}", disabled=False))


@pytest.mark.parametrize("lap", range(2))
def test_every_task_ends_exactly_once_whatever_happens_to_its_stream(tmp_path: Path, lap: int) -> None:
    seed = random.randrange(2**32)
    print(f"lap {lap}, seed {seed}")

    async def run() -> None:
        async with staged(tmp_path, to_scripted(store), export_threads=3) as stage:
            chaos = Chaos(stage, new_file(tmp_path, 10), random.Random(seed))
            for _ in range(STEPS):
                await chaos.step()
            chaos.let_all_run()
            await until(lambda: stage.store.get("status").newest + 1 >= len(chaos.keys))
            for _ in range(100):  # whoever would say more has had a turn to do so
                await asyncio.sleep(0)
            ends = Counter(
                status["statusContext"]["s3ExportTaskDefinition"]["key"] for status in stage.statuses()
            )
            assert ends == Counter(chaos.keys)
            done = {
                f"/bucket/{status['statusContext']['s3ExportTaskDefinition']['key']}"
                for status in stage.statuses()
                if status["status"] == 0
            }
            assert done <= set(store.objects)

    with ScriptedS3() as store:
        asyncio.run(run())
