"""An uploader in virtual time whose configuration changes, with a store for each bucket and disks that hang."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.ledger import Ledger
from s3_file_uploader.pipeline import Clock, Uploader
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.transport.fake import FakeTransport
from support.virtual_time import run_in_virtual_time

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.pipeline import Summary
    from s3_file_uploader.transport.contract import Delivery

__all__ = ["HangingEdge", "Held", "Stores", "play", "soon"]


@dataclass(slots=True)
class Held:
    """Deliveries of these keys wait, with their bytes sent, until they are let go."""

    keys: set[str]
    begun: list[str] = field(default_factory=list)
    _let_go: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, delivery: Delivery) -> None:
        self.begun.append(delivery.key)
        if delivery.key in self.keys:
            await self._let_go.wait()

    def let_go(self) -> None:
        self._let_go.set()


class Stores:
    """What each bucket holds, whoever opens a transport to it; `more` are arguments of each transport."""

    def __init__(self, **more: Any) -> None:
        self.more = more
        self.refused = ""  # the name of a rule whose transport cannot be opened
        self.opened: list[FakeTransport] = []
        self._first: dict[str, FakeTransport] = {}

    def open(self, rule: Rule) -> FakeTransport:
        if rule.name == self.refused:
            raise ConfigurationError("no such access point")
        first = self._first.setdefault(rule.bucket_name, FakeTransport())
        transport = FakeTransport(objects=first.objects, uploads=first.uploads, puts=first.puts, **self.more)
        self.opened.append(transport)
        return transport

    def objects(self, bucket: str = "bucket") -> dict[str, bytes]:
        return self._first[bucket].objects if bucket in self._first else {}

    def puts(self, bucket: str = "bucket") -> list[str]:
        return self._first[bucket].puts if bucket in self._first else []

    def uploads(self, bucket: str = "bucket") -> dict[str, Any]:
        return self._first[bucket].uploads if bucket in self._first else {}


class HangingEdge(Edge):
    """Some calls hang while they are of a thread whose name begins so, until `come_back`."""

    def __init__(self, calls: Iterable[str]) -> None:
        self._calls = frozenset(calls)
        self._thread = ""
        self._is_back = threading.Event()
        self.is_hanging = threading.Event()

    def hang(self, thread: str) -> None:
        self._thread = thread

    def come_back(self) -> None:
        self._thread = ""
        self._is_back.set()

    def __getattribute__(self, name: str) -> Any:
        method = object.__getattribute__(self, name)
        if name.startswith("_") or name not in object.__getattribute__(self, "_calls"):
            return method

        def call(*arguments: Any, **named: Any) -> Any:
            if self._thread and threading.current_thread().name.startswith(self._thread):
                self.is_hanging.set()
                self._is_back.wait(60)
            return method(*arguments, **named)

        return call


async def soon(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for something that must come before much time has passed."""
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0.004)  # less than the virtual clock's patience: threads get their time
    raise AssertionError(f"{what} did not happen")


def play(
    made: Settings,
    stores: Stores,
    scenario: Callable[[Uploader], Awaitable[None]],
    *,
    before: Callable[[Uploader], None] = lambda _uploader: None,
    **more: Any,
) -> Summary:
    """Run the daemon in virtual time while `scenario` plays, then stop it. `before` that something may be done."""

    async def run() -> Summary:
        loop = asyncio.get_running_loop()
        ledger = Ledger.open(made.state_directory, made.name)
        try:
            clock = Clock(monotonic=loop.time, wall=loop.time)
            uploader = Uploader(made, ledger, transports=stores.open, clock=clock, **more)
            before(uploader)
            task = asyncio.ensure_future(uploader.run())
            playing = asyncio.ensure_future(scenario(uploader))
            await asyncio.wait([task, playing], return_when=asyncio.FIRST_COMPLETED)
            if not playing.done():
                await task
                raise AssertionError("the daemon ended before the scenario")
            uploader.stop()
            summary = await task
            playing.result()
            return summary
        finally:
            ledger.close()

    return run_in_virtual_time(run())
