"""The end of a run: producers are done, the far side is well. Then everything must have gone that can go."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from s3_file_uploader.lifecycle import State
from s3_file_uploader.source.hidden import is_hidden
from support.sim_producers import MARKER
from support.sim_world import AS_IT_WAS

if TYPE_CHECKING:
    from support.sim_producers import Record
    from support.sim_world import World

__all__ = ["finish"]

# What is left hidden is tried again in every tenth minute, a removal that failed after an hour at most.
_STALLS = (*[0.0] * 6, *[61.0] * 12, *[700.0] * 8)


def finish(world: World) -> None:
    """Producers end, the far side is well, time passes: then everything must have gone that can go."""
    _let_all_be_well(world)
    world.judge.check()
    newest = _must_stay(world)
    for stall_seconds in _STALLS:
        world.stall(stall_seconds)
        world.advance(11.0)
        world.judge.check()
        _release_parked(world)
        if not _what_is_left(world):
            break
    if left := _what_is_left(world):
        world.judge.accuse(f"stuck: {left}")
    if newest is not None and newest.inode not in world.producers.records:
        world.judge.accuse(f"{sorted(newest.keys)} was the newest and did not stay")
    world.judge.check()


def _let_all_be_well(world: World) -> None:
    world.plans.clear()
    world.held_at = None
    if world.configured != AS_IT_WAS:
        world.reconfigure(AS_IT_WAS)
    world.far_side.faults.clear()
    for handle in list(world.producers.handles):
        world.producers.end(handle)
    world.time.pass_by(1.0)
    if world.variant.marker:
        for _, name, _ in _candidates(world):
            world.producers.mark(name)


def _candidates(world: World) -> list[tuple[int, bytes, int]]:
    """(mtime, name, inode) of all files that the rule takes, the newest last."""
    found = []
    for inode, names in world.producers.names().items():
        for name in names:
            if not name.startswith(b".") and not (world.variant.marker and name.endswith(MARKER)):
                found.append((os.lstat(os.path.join(world.folder, name)).st_mtime_ns, name, inode))
    return sorted(found)


def _active(world: World) -> list[tuple[int, bytes, int]]:
    if world.variant.active_file == "none" or world.variant.marker:
        return []
    candidates = _candidates(world)
    dated_now = [one for one in candidates if one[0] <= world.time.wall * 1e9]
    return [*candidates[-1:], *dated_now[-1:]]


def _must_stay(world: World) -> Record | None:
    """The newest file, if the ledger has seen everything as it is now and the file is not on its way."""
    active = _active(world)
    if not active or _hidden(world):
        return None
    with contextlib.closing(_query(world)) as rows:
        known = rows.execute("SELECT mtime_ns, name, inode, state FROM file").fetchall()
    states = {tuple(row[:3]): row[3] for row in known}
    if sorted(states) != _candidates(world) or states[active[-1]] not in ("settling", "ready"):
        return None
    inode = active[-1][2]
    return None if len(world.producers.names()[inode]) > 1 else world.producers.records.get(inode)


def _hidden(world: World) -> list[bytes]:
    return [name for name in os.listdir(world.folder) if is_hidden(name)]


def _query(world: World) -> sqlite3.Connection:
    world.start()
    return sqlite3.connect(world.ledger_path("ledger.db"))


def _what_is_left(world: World) -> str:
    """What should not be there any more, or "" when all is well."""
    active = _active(world)
    files = [one[1] for one in _candidates(world) if one not in active]
    with contextlib.closing(_query(world)) as rows:
        states = rows.execute(
            "SELECT name, state, reason, due_at FROM file WHERE state <> 'settling' OR due_at IS NOT NULL"
            if not active
            else "SELECT name, state, reason, due_at FROM file WHERE state <> 'settling'"
        ).fetchall()
        intents = rows.execute("SELECT id, name FROM intent").fetchall()
    found = {"files": files, "hidden": _hidden(world), "rows": states, "intents": intents}
    return ", ".join(f"{what} {some}" for what, some in found.items() if some)


def _release_parked(world: World) -> None:
    """Only what the far side refused may be parked; then a person asks for another try."""
    with contextlib.closing(_query(world)) as rows:
        parked = rows.execute("SELECT name, reason FROM file WHERE state = ?", (State.PARKED.value,))
        for name, reason in parked.fetchall():
            if name.decode() not in world.far_side.refused:
                world.judge.accuse(f"{name!r} is parked and nobody refused it: {reason}")
    running = world.start()
    with running.loop.running():
        running.loop.create_task(running.uploader.retry(None))
