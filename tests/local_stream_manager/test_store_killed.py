from __future__ import annotations

import random
import struct
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.local_store import MOST, Stage

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.store import Message

# Appends for ever, to two streams in turn, and says after each message that it was acknowledged. Message
# n of a stream begins with n; its size and content follow from that.
_CHILD = """
import asyncio, os, struct, sys
from stream_manager_local.protocol.definition import S3Export
from stream_manager_local.store import Store
from support.local_store import OVERWRITE, defined

async def main(root, is_flushed):
    store = Store.open(root, report=print)
    for name in ("a", "b"):
        if name not in store.names():
            store.create(defined(name, flush_on_write=is_flushed, max_size=1 << 22, segment_size=1 << 14,
                                 strategy_on_full=OVERWRITE, exports=(S3Export("e"),)))
    while True:
        for name in ("a", "b"):
            stream = store.get(name)
            number = stream.newest + 1
            sequence = stream.append(struct.pack("<Q", number) * (number * 7919 % 400 + 1))
            await stream.durable(sequence)
            stream.advance("e", sequence, exported_bytes=1, at=1.0)
            os.write(1, struct.pack("<cQ", name.encode(), sequence))

asyncio.run(main(sys.argv[1], sys.argv[2] == "flushed"))
"""
_ACKNOWLEDGED = struct.Struct("<cQ")


def live_and_be_killed(root: Path, mode: str, most: int) -> dict[str, int]:
    """Start the child, kill it after about so many messages; returns the last numbers it acknowledged."""
    last: dict[str, int] = {}
    with subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(root), mode],
        env={"PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        try:
            for _ in range(most):
                name, number = _ACKNOWLEDGED.unpack(child.stdout.read(_ACKNOWLEDGED.size))
                last[name.decode()] = number
        finally:
            child.kill()
        rest = child.stdout.read()
    for at in range(0, len(rest) - _ACKNOWLEDGED.size + 1, _ACKNOWLEDGED.size):
        name, number = _ACKNOWLEDGED.unpack_from(rest, at)
        last[name.decode()] = number
    return last


@pytest.mark.parametrize("mode", ["flushed", "not flushed"])
def test_no_message_that_was_acknowledged_is_lost_when_the_process_is_killed(
    tmp_path: Path, mode: str
) -> None:
    chance = random.Random(7)
    for _ in range(4):
        last = live_and_be_killed(tmp_path, mode, chance.randrange(2, 300))
        stage = Stage(tmp_path)
        store = stage.open()
        for name, number in last.items():
            stream = store.get(name)
            assert stream.newest in (number, number + 1)
            assert stream.oldest == 0
            check_content(store.get(name).read(0, MOST, most_bytes=MOST), stream.newest)
            assert stream.cursor("e") <= stream.newest
        store.close()
        assert all("were no whole message" in line for line in stage.reports)


def check_content(messages: list[Message], newest: int) -> None:
    assert [message.sequence_number for message in messages] == list(range(newest + 1))
    for number, message in enumerate(messages):
        assert message.payload == struct.pack("<Q", number) * (number * 7919 % 400 + 1)
