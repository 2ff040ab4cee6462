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
from s3_file_uploader.errors import Interrupted
from s3_file_uploader.pipeline import Clock, Uploader
from s3_file_uploader.source.edge import Edge
from support.edges import Crash, NoLeaseEdge
from support.sim_far_side import FarSide, SteppedTransport
from support.sim_judge import Judge
from support.sim_life import Life, MortalLedger, Plan, WatchedEdge
from support.sim_producers import MARKER, Producers
from support.sim_stage import Stage, StepLoop, stage_threads

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from s3_file_uploader.transport.contract import Delivery, OpenFile

__all__ = ["AS_IT_WAS", "CHANGES", "LEDGER_LOST", "POWER_FAILED", "PROCESS_DIED", "Variant", "World"]

# What a death leaves of the ledger.
PROCESS_DIED, POWER_FAILED, LEDGER_LOST = "kept", "as of its last fsync", "lost"

# What the configuration may become: as it was, the rule with another setting, under another name, or
# gone, so that nobody takes the files until it comes back.
AS_IT_WAS = "as it was"
CHANGES = (AS_IT_WAS, "other interval", "other watching", "other name", "gone")

SETTLE_SECONDS = 1.0
UNVERIFIED_SECONDS = 10.0
INTERVAL_SECONDS = 5.0
_STEP_SECONDS = 1e-7
_MOST_STEPS = 20_000  # whoever takes more without time passing is busy for nothing
_LEDGER_FILES = ("ledger.db", "ledger.db-wal", "ledger.db-shm")


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
    """One test's world."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.time = _Time()
        self.far_side = FarSide()
        self.plans: list[Plan] = []
        self.held_at: int | None = None  # the phase in which deliveries wait to be carried on one by one
        self.left_by_next_death = PROCESS_DIED
        self.configured = AS_IT_WAS
        self._inner = Edge() if variant.leases else NoLeaseEdge()
        self._running: _Running | None = None
        self._snapshot: dict[str, bytes] = {}
        self._random = random.Random(0)  # jitter and the order of steps
        self._exit = ExitStack()
        self.folder = os.fsencode(tempfile.mkdtemp(prefix="model-folder-"))
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # fsync costs nothing there
        self._state = tempfile.mkdtemp(prefix="model-state-", dir=memory)
        self.producers = Producers(self.folder, lambda: self.time.elapsed, self.time.wall_ns)
        # A close tells that its file is finished only where nobody else has it open (and no lease can tell).
        self.producers.takes_turns = not variant.leases
        self.judge = Judge(
            self.producers,
            self.far_side,
            lambda: self.time.elapsed,
            settle_seconds=SETTLE_SECONDS,
            marked=variant.marker,
        )
        self._name_stage = self._exit.enter_context(stage_threads())
        log = logging.getLogger("s3_file_uploader")
        self._exit.callback(log.setLevel, log.level)
        log.setLevel(logging.CRITICAL + 1)

    def close(self) -> None:
        self.producers.close()
        self._end_process()
        self._exit.close()
        shutil.rmtree(self.folder)
        shutil.rmtree(self._state)

    # The uploader's life.

    @property
    def settings(self) -> Settings:
        return Settings(name="model", state_directory=self._state, rules=(self.rule,), concurrency=1)

    @property
    def rule(self) -> Rule:
        change = self.configured
        return Rule(
            name="other" if change in ("other name", "gone") else "default",
            path_name=os.fsdecode(self.folder) + ("/not/there/*" if change == "gone" else "/*"),
            bucket_name="bucket",
            interval_seconds=INTERVAL_SECONDS + (2.0 if change == "other interval" else 0.0),
            settle_seconds=SETTLE_SECONDS,
            settle_unverified_seconds=UNVERIFIED_SECONDS,
            active_file=self.variant.active_file,  # type: ignore[arg-type]  # one of two words
            done_marker=MARKER.decode() if self.variant.marker else "",
            watch=self.variant.watch != (change == "other watching"),
            retry_backoff_seconds=1.0,
            retry_backoff_max_seconds=20.0,
        )

    @property
    def is_running(self) -> bool:
        return self._running is not None

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
            *(self.far_side, loop, self._open_file, self.judge.arrived, self.judge.proven),
            lambda call: life.passing(call, is_after=False),
        )
        self._name_stage(stage)
        with loop.running():
            uploader = Uploader(
                self.settings,
                ledger,
                transports=lambda _rule: transport,
                edge=WatchedEdge(self._inner, life, self.judge.watching),
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

    def die(self, left: str = PROCESS_DIED, *, reboot: bool = False) -> None:
        """The process is gone, with all that it knew."""
        self._end_process()
        if left == LEDGER_LOST:
            self.judge.ledger_was_lost = True
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
        context = running.uploader._context
        for watching in context.rules.watchings() if context is not None else ():
            with running.loop.running():
                watching.close()
        running.ledger.close()

    def _committed(self, durable: bool) -> None:
        if not durable:
            return
        self._snapshot = {}
        for name in _LEDGER_FILES[:2]:
            with contextlib.suppress(FileNotFoundError), open(self.ledger_path(name), "rb") as file:
                self._snapshot[name] = file.read()

    def _restore_ledger(self) -> None:
        for name in _LEDGER_FILES:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.ledger_path(name))
        for name, content in self._snapshot.items():
            with open(self.ledger_path(name), "wb") as file:
                file.write(content)

    def ledger_path(self, name: str) -> str:
        return os.path.join(self._state, "model", name)

    def reconfigure(self, change: str) -> None:
        """Another configuration is in force, and the uploader is told of it; from the next start on it has it anyway."""
        running = self.start()
        self.configured = change
        with running.loop.running():
            changing = running.loop.create_task(running.uploader.reconfigure(self.settings))
        changing.add_done_callback(self._note_change)

    def _note_change(self, changing: asyncio.Task[Any]) -> None:
        if changing.cancelled() or isinstance(changing.exception(), Interrupted):
            return
        if changing.exception() is not None:
            self.judge.accuse(f"it did not take another configuration: {changing.exception()!r}")

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
            self.judge.accuse("it did not stop")
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
        self.judge.accuse("it is busy although nothing happens")

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

    def _open_file(self, delivery: Delivery) -> OpenFile:
        running = self.start()
        intrusions = running.life.intrusions
        opened = delivery.source.open()
        if running.life.intrusions == intrusions:  # else what is true now may not have been when it was asked
            self.judge.claimed(opened.fileno(), delivery.key)
        return opened

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
            self.judge.accuse(f"it ended by itself: {running.main!r}")
        if running.loop.errors:
            self.judge.accuse(f"an error nobody dealt with: {running.loop.errors}")
        self.producers.go_on()
        self.judge.check_quickly()

    def plan(self, call: str, skip: int, is_after: bool, act: Callable[[], None] | None) -> None:
        """Before or after some call of the uploader's, let a producer act, or the process die."""
        self.plans.append(Plan(call, skip, is_after, act))
