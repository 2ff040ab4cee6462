"""A device with producers, the real uploader on it, and a far side; and what must always hold of them.

Everything is real but time, threads and the far side: files and their descriptors, leases, inotify,
the ledger in SQLite, the whole pipeline. The uploader may die at any moment and is started again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import shutil
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.lifecycle import State
from s3_file_uploader.pipeline import Clock, Uploader
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.hidden import is_hidden
from support.edges import Crash, NoLeaseEdge
from support.sim_far_side import Carriage, FarSide, SteppedTransport
from support.sim_life import Life, MortalLedger, Plan, WatchedEdge
from support.sim_producers import MARKER, Producers, Record
from support.sim_stage import Stage, StepLoop, stage_threads

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator

    from s3_file_uploader.transport.contract import Delivery, OpenFile

__all__ = ["LedgerAfter", "Variant", "Violation", "World"]

LedgerAfter = str  # a death: what is left of the ledger
PROCESS_DIED, POWER_FAILED, LEDGER_LOST = "kept", "as of its last fsync", "lost"

SETTLE_SECONDS = 1.0
UNVERIFIED_SECONDS = 10.0
INTERVAL_SECONDS = 5.0
_STEP_SECONDS = 1e-7
_MOST_STEPS = 20_000  # whoever takes more without time passing is busy for nothing
_LEDGER_FILES = ("ledger.db", "ledger.db-wal", "ledger.db-shm")


class Violation(AssertionError):
    """A promise was broken."""


@dataclass(frozen=True, slots=True)
class Variant:
    """`leases`: the files are our own. `watch`: inotify is used. `marker`: a done marker is wanted."""

    leases: bool = True
    watch: bool = False
    active_file: str = "none"
    marker: bool = False


@dataclass(slots=True)
class _Running:
    """One process of the uploader."""

    life: Life
    ledger: MortalLedger
    loop: StepLoop
    stage: Stage
    transport: SteppedTransport
    uploader: Uploader
    main: asyncio.Task[Any]


@dataclass(slots=True)
class _Time:
    """`elapsed` never jumps; `monotonic` starts anew with each boot; `wall` does as it likes."""

    elapsed: float = 0.0
    monotonic: float = 5.0
    wall: float = 1_800_000_000.0
    _tick_ns: int = 0

    def pass_by(self, seconds: float) -> None:
        self.elapsed += seconds
        self.monotonic += seconds
        self.wall += seconds

    def jump(self, years: int) -> None:
        """The clock is set. Not to before 1970: no kernel lets it."""
        self.wall = max(0.0, self.wall + years * 31_557_600.0)

    def wall_ns(self) -> int:
        """Never the same twice, as a kernel's clock."""
        self._tick_ns += 1000
        return int(self.wall) * 1_000_000_000 + self._tick_ns


class World:
    """One test's world. `inner` is the edge that the uploader's calls end in."""

    def __init__(self, variant: Variant, inner: Edge | None = None) -> None:
        self.variant = variant
        self.time = _Time()
        self.far_side = FarSide()
        self.violations: list[str] = []
        self.plans: list[Plan] = []
        self.held_at: int | None = None  # the phase in which deliveries wait to be carried on one by one
        self.left_by_next_death: LedgerAfter = PROCESS_DIED
        self._inner = inner or (Edge() if variant.leases else NoLeaseEdge())
        self._ledger_was_lost = False
        self._removed: list[Record] = []
        self._vouchers: dict[str, int] = {}  # by key: the delivery that a removal relied on
        self._running: _Running | None = None
        self._snapshot: dict[str, bytes] = {}
        self._random = random.Random(0)  # jitter and the order of steps
        self._exit = ExitStack()
        self._folder = os.fsencode(tempfile.mkdtemp(prefix="model-folder-"))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # fsync costs nothing there
        self._state = tempfile.mkdtemp(prefix="model-state-", dir=memory)
        self.producers = Producers(self._folder, lambda: self.time.elapsed, self.time.wall_ns)
        # A close tells that its file is finished only where nobody else has it open (and no lease can tell).
        self.producers.takes_turns = not variant.leases
        self._name_stage = self._exit.enter_context(stage_threads())
        log = logging.getLogger("s3_file_uploader")
        self._exit.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL + 1)

    def close(self) -> None:
        self.producers.close()
        self._end_process()
        self._exit.close()
        shutil.rmtree(self._folder)
        shutil.rmtree(self._state)

    # The uploader's life.

    @property
    def rule(self) -> Rule:
        return Rule(
            name="default",
            path_name=os.fsdecode(self._folder) + "/*",
            bucket_name="bucket",
            interval_seconds=INTERVAL_SECONDS,
            settle_seconds=SETTLE_SECONDS,
            settle_unverified_seconds=UNVERIFIED_SECONDS,
            active_file=self.variant.active_file,  # type: ignore[arg-type]  # one of two words
            done_marker=MARKER.decode() if self.variant.marker else "",
            watch=self.variant.watch,
            retry_backoff_seconds=1.0,
            retry_backoff_max_seconds=20.0,
        )

    def start(self) -> _Running:
        """Start the uploader, if it does not run."""
        if self._running is not None:
            return self._running
        life = Life(self.plans)
        ledger = MortalLedger.open(self._state, "model")
        assert isinstance(ledger, MortalLedger)
        ledger.life, ledger.committed = life, self._committed
        loop = StepLoop(lambda: self.time.monotonic)  # type: ignore[abstract]  # it does what is asked of it
        stage = Stage(loop)
        transport = SteppedTransport(
            *(self.far_side, loop, self._open_file, self._arrived, self._proven),
            lambda call: life.passing(call, is_after=False),
        )
        self._name_stage(stage)
        with loop.running():
            uploader = Uploader(
                Settings(name="model", state_directory=self._state, rules=(self.rule,), concurrency=1),
                ledger,
                transports=lambda _rule: transport,
                edge=WatchedEdge(self._inner, life, self._judging),
                clock=Clock(lambda: self.time.monotonic, lambda: self.time.wall),
                random=self._random.random,
                environment={},
            )
            main = loop.create_task(uploader.run())
        stage.others.append((lambda: transport.next_before(self.held_at) is not None, self._carry_next))
        self._running = _Running(life, ledger, loop, stage, transport, uploader, main)
        if not self._snapshot:
            self._committed(True)
        return self._running

    def die(self, left: LedgerAfter = PROCESS_DIED, *, reboot: bool = False) -> None:
        """The process is gone, with all that it knew."""
        self._end_process()
        if left == LEDGER_LOST:
            self._ledger_was_lost = True
            shutil.rmtree(os.path.join(self._state, "model"), ignore_errors=True)
            self._snapshot = {}
        elif left == POWER_FAILED:
            self._restore_ledger()
        if reboot or left == POWER_FAILED:
            self.time.monotonic = 5.0
        self.producers.go_on()

    def _end_process(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        running.life.end()
        self._name_stage(None)
        running.loop.kill()
        for watching in running.uploader._watchings:
            if watching._watcher is not None:
                with contextlib.suppress(OSError):
                    watching._watcher.close()
        running.ledger.close()

    def _committed(self, durable: bool) -> None:
        if not durable:
            return
        self._snapshot = {}
        for name in _LEDGER_FILES[:2]:
            with contextlib.suppress(FileNotFoundError), open(self._ledger_path(name), "rb") as file:
                self._snapshot[name] = file.read()

    def _restore_ledger(self) -> None:
        for name in _LEDGER_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._ledger_path(name))
        for name, content in self._snapshot.items():
            with open(self._ledger_path(name), "wb") as file:
                file.write(content)

    def _ledger_path(self, name: str) -> str:
        return os.path.join(self._state, "model", name)

    def stop(self) -> None:
        """Ask the uploader to stop and let it."""
        running = self._running
        if running is None:
            return
        with running.loop.running():
            running.uploader.stop()
        for _ in range(40):
            self.settle()
            if self._running is not running or running.main.done():
                break
            self.time.pass_by(0.5)
        else:
            self.violations.append("it did not stop")
        if self._running is running:
            self._end_process()

    # Steps and time.

    def work(self, steps: int, seed: int) -> None:
        """Let whoever can take steps, in an order of the test's own."""
        order = random.Random(seed)  # as above
        for _ in range(steps):
            actors = self.start().stage.actors()
            if not actors:
                break
            self._act(order.choice(actors))

    def settle(self) -> None:
        """Until nobody has anything to do before some time has passed."""
        for _ in range(_MOST_STEPS):
            actors = self.start().stage.actors()
            if not actors:
                return
            self._act(actors[0])
        self.violations.append("it is busy although nothing happens")

    def advance(self, seconds: float) -> None:
        """Time passes, and everything that is due happens in its order."""
        until = self.time.elapsed + seconds
        while True:
            self.settle()
            running = self.start()
            due = running.loop.next_timer()
            left = until - self.time.elapsed
            wait = left if due is None else max(0.0, min(left, due - self.time.monotonic))
            if left <= 0.0:
                return
            self._end_patience(wait)
            # A hair more than wanted: sums of fractions may fall short of a time by less than a tick.
            self.time.pass_by(wait + 1e-6)

    def stall(self, seconds: float) -> None:
        """Time passes, and nobody gets to run: a machine under load."""
        self._end_patience(seconds)
        self.time.pass_by(seconds)

    def _end_patience(self, seconds: float) -> None:
        """Where nothing shows who has a file open, a producer that pauses longer than that is not to be seen."""
        if self.variant.leases:
            return
        for handle in list(self.producers.handles):
            if self.time.elapsed + seconds - handle.written_at >= UNVERIFIED_SECONDS - 0.5:
                self.producers.end(handle)

    def carry(self, which: int) -> None:
        """One step of one delivery."""
        running = self.start()
        self._act(lambda: running.transport.step(which))

    def _carry_next(self) -> None:
        transport = self.start().transport
        which = transport.next_before(self.held_at)
        if which is not None:
            transport.step(which)

    def _act(self, step: Callable[[], None]) -> None:
        running = self.start()
        self.time.pass_by(_STEP_SECONDS)
        with contextlib.suppress(Crash):
            step()
        if running.life.is_dead:
            self.die(self.left_by_next_death)
            return
        if running.main.done() and not running.uploader._stop.is_set():
            self.violations.append(f"it ended by itself: {running.main!r}")
        if running.loop.errors:
            self.violations.append(f"an error nobody dealt with: {running.loop.errors}")
        self.producers.go_on()
        self.check_quickly()

    def plan(self, call: str, skip: int, is_after: bool, act: Callable[[], None] | None) -> None:
        """Before or after some call of the uploader's, let a producer act, or the process die."""
        self.plans.append(Plan(call, skip, is_after, act))

    # What must hold.

    def check_quickly(self) -> None:
        if self.violations:
            raise Violation("; ".join(self.violations))

    def check(self) -> None:
        """Everything that a producer finished or is writing is still there, byte for byte."""
        self.check_quickly()
        names = self.producers.names()
        for record in self.producers.records.values():
            if record.inode not in names:
                raise Violation(f"{sorted(record.keys)} is gone and nobody took it")
            path = os.path.join(self._folder, names[record.inode][0])
            with open(path, "rb") as file:
                if file.read() != record.content:
                    raise Violation(f"{sorted(record.keys)} is not what its producer wrote")

    @contextlib.contextmanager
    def _judging(self, call: str, arguments: tuple[Any, ...]) -> Iterator[None]:
        if call == "unlink":
            with self._judging_loss(*arguments):
                yield
        elif call in ("rename", "rename_noreplace"):
            self._judge_naming(*arguments)
            with self._judging_loss(arguments[2], arguments[3]):
                yield
        else:
            yield

    @contextlib.contextmanager
    def _judging_loss(self, folder_fd: int, name: bytes) -> Iterator[None]:
        """Whatever loses its last name by our doing must be at the far side, and in nobody's hands."""
        try:
            descriptor = os.open(
                name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder_fd
            )
        except OSError:
            yield
            return
        try:
            yield
            status = os.fstat(descriptor)
            record = self.producers.records.get(status.st_ino)
            if status.st_nlink == 0 and record is not None:
                del self.producers.records[status.st_ino]
                self._judge_removal(record, os.pread(descriptor, status.st_size + 1, 0))
        finally:
            os.close(descriptor)

    def _judge_removal(self, record: Record, content: bytes) -> None:
        self._removed.append(record)
        if record.writers:
            self.violations.append(f"{sorted(record.keys)} was removed while a producer had it open")
        for key in record.keys:
            put = self.far_side.vouches_for(key, content)
            if put is not None:
                self._vouchers[key] = max(put.number, self._vouchers.get(key, 0))
                return
        self.violations.append(f"{sorted(record.keys)} was removed and its content was never acknowledged")

    def _judge_naming(self, from_fd: int, old: bytes, _to_fd: int, new: bytes) -> None:
        """A file gets its own name back, unless a newer file had that name, or its ledger was lost."""
        with contextlib.suppress(FileNotFoundError):
            record = self.producers.records.get(os.lstat(os.path.join(self._folder, old)).st_ino)
            if record is None or is_hidden(new):
                return
            owners = self.producers.owners
            is_superseded = all(owners.get(key) is not record for key in record.keys)
            if new.decode() not in record.keys and not (is_superseded or self._ledger_was_lost):
                self.violations.append(f"{sorted(record.keys)} was renamed {new!r} though a ledger knew it")
            record.keys.add(new.decode())

    def _open_file(self, delivery: Delivery) -> OpenFile:
        """A claim: nobody may have the file open, and it must have settled."""
        running = self.start()
        intrusions = running.life.intrusions
        opened = delivery.source.open()
        record = self.producers.records.get(os.fstat(opened.fileno()).st_ino)
        if record is None or running.life.intrusions != intrusions:
            return opened
        if record.writers:
            self.violations.append(f"{delivery.key} was claimed while a producer had it open")
        if self.time.elapsed - record.changed_at < SETTLE_SECONDS:
            self.violations.append(f"{delivery.key} was claimed before it had settled")
        return opened

    def _arrived(self, carriage: Carriage) -> None:
        assert carriage.opened is not None
        key = carriage.delivery.key
        record = self.producers.records.get(os.fstat(carriage.opened.fileno()).st_ino)
        owner = self.producers.owners.get(key)
        is_superseded = record is not None and owner not in (None, record)
        if carriage.number < self._vouchers.get(key, 0) or (is_superseded and owner in self._removed):
            self.violations.append(f"{key}: older content overwrote what was removed")

    def _proven(self, carriage: Carriage) -> None:
        assert carriage.opened is not None
        record = self.producers.records.get(os.fstat(carriage.opened.fileno()).st_ino)
        key = carriage.delivery.key
        if record is None:
            return
        if key not in record.keys:
            self.violations.append(f"{sorted(record.keys)} was delivered as {key}")
        if carriage.content not in (record.done if self.variant.marker else record.closed):
            self.violations.append(f"{key} was delivered half-written")

    # The end.

    def finish(self) -> None:
        """Producers end, the far side is well, time passes: then everything must have gone that can go."""
        self.plans.clear()
        self.held_at = None
        self.far_side.faults.clear()
        for handle in list(self.producers.handles):
            self.producers.end(handle)
        self.time.pass_by(1.0)
        if self.variant.marker:
            for names in self.producers.names().values():
                for name in names:
                    if not name.endswith(MARKER):
                        self.producers.mark(name)
        self.check()
        newest = self._must_stay()
        for stall_seconds in (*[0.0] * 8, *[700.0] * 20):
            self.stall(stall_seconds)
            self.advance(11.0)
            self.check()
            self._release_parked()
            if not self._what_is_left():
                break
        if left := self._what_is_left():
            self.violations.append(f"stuck: {left}")
        if newest is not None and newest.inode not in self.producers.records:
            self.violations.append(f"{sorted(newest.keys)} was the newest and did not stay")
        self.check()

    def _candidates(self) -> list[tuple[int, bytes, int]]:
        """(mtime, name, inode) of all files that the rule takes, the newest last."""
        found = []
        for inode, names in self.producers.names().items():
            for name in names:
                if not name.startswith(b".") and not (self.variant.marker and name.endswith(MARKER)):
                    found.append((os.lstat(os.path.join(self._folder, name)).st_mtime_ns, name, inode))
        return sorted(found)

    def _active(self) -> list[tuple[int, bytes, int]]:
        if self.variant.active_file == "none" or self.variant.marker:
            return []
        candidates = self._candidates()
        dated_now = [one for one in candidates if one[0] <= self.time.wall * 1e9]
        return [*candidates[-1:], *dated_now[-1:]]

    def _must_stay(self) -> Record | None:
        """The newest file, if the ledger has seen everything as it is now and the file is not on its way."""
        active = self._active()
        if not active or self._hidden():
            return None
        with contextlib.closing(self._query()) as rows:
            known = rows.execute("SELECT mtime_ns, name, inode, state FROM file").fetchall()
        states = {tuple(row[:3]): row[3] for row in known}
        if sorted(states) != self._candidates() or states[active[-1]] not in ("settling", "ready"):
            return None
        inode = active[-1][2]
        return None if len(self.producers.names()[inode]) > 1 else self.producers.records.get(inode)

    def _hidden(self) -> list[bytes]:
        return [name for name in os.listdir(self._folder) if is_hidden(name)]

    def _query(self) -> Any:
        import sqlite3

        self.start()
        return sqlite3.connect(self._ledger_path("ledger.db"))

    def _what_is_left(self) -> str:
        """What should not be there any more, or "" when all is well."""
        active = self._active()
        files = [one[1] for one in self._candidates() if one not in active]
        with contextlib.closing(self._query()) as rows:
            states = rows.execute(
                "SELECT name, state, reason, due_at FROM file WHERE state <> 'settling' OR due_at IS NOT NULL"
                if not active
                else "SELECT name, state, reason, due_at FROM file WHERE state <> 'settling'"
            ).fetchall()
            intents = rows.execute("SELECT id, name FROM intent").fetchall()
        found = {"files": files, "hidden": self._hidden(), "rows": states, "intents": intents}
        return ", ".join(f"{what} {some}" for what, some in found.items() if some)

    def _release_parked(self) -> None:
        """Only what the far side refused may be parked; then a person asks for another try."""
        with contextlib.closing(self._query()) as rows:
            parked = rows.execute("SELECT name, reason FROM file WHERE state = ?", (State.PARKED.value,))
            for name, reason in parked.fetchall():
                if name.decode() not in self.far_side.refused:
                    self.violations.append(f"{name!r} is parked and nobody refused it: {reason}")
        running = self.start()
        with running.loop.running():
            running.loop.create_task(running.uploader.retry(None))
