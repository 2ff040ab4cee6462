"""What `run` and `drain` share: the uploader's life in this process, its signals, its control socket.

Signal handlers only set flags. The first SIGTERM or SIGINT lets the uploader finish what it can in
its few seconds; a second one ends the process at once, which loses nothing: a file is removed only
after its proof is in the ledger.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from s3_file_uploader import __version__
from s3_file_uploader.cli.remembered import remember
from s3_file_uploader.cli.taking_back import aborted_json
from s3_file_uploader.control import decode_paths, serve
from s3_file_uploader.ledger import Ledger, Queue
from s3_file_uploader.observe.log import conceal
from s3_file_uploader.pipeline.clock import Clock
from s3_file_uploader.pipeline.leftovers import Wanted
from s3_file_uploader.pipeline.uploader import Uploader
from s3_file_uploader.source.lease import ignore_lease_signal
from s3_file_uploader.transport.registry import opener
from s3_file_uploader.turns import TURNS, TurnTakingSelector

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.pipeline.progress import Summary
    from s3_file_uploader.transport.contract import Transport

_MOST_OPEN_FILES = 65_536
_M_ARENA_MAX = -8

__all__ = ["Stop", "upload"]


_COLLECT_AFTER = 10_000  # new objects: a twentieth of the CPU went there with Python's own 700


class Stop:
    """The signals that ask for the end. `signal_number` is the first one, 0 before."""

    def __init__(self, within_seconds: float | None = None) -> None:
        """`within_seconds`: who asks kills us later than that, so we leave by ourselves before."""
        self.signal_number = 0
        self._within_seconds = within_seconds
        self._tell: Callable[[], object] | None = None

    def heard(self, number: int, _frame: object) -> None:
        if self.signal_number:
            os._exit(128 + number)
        self.signal_number = number
        if self._within_seconds is not None:
            deadline = threading.Timer(self._within_seconds, os._exit, (0,))
            deadline.daemon = True
            deadline.start()
        if self._tell is not None:
            with suppress(RuntimeError):  # the loop has ended already, by itself
                self._tell()

    def tell(self, stop: Callable[[], object]) -> None:
        """Call `stop` at the first signal, or now where it has come already. Must wake the event loop."""
        self._tell = stop
        if self.signal_number:
            stop()

    @contextmanager
    def listening(self) -> Iterator[Stop]:
        before = {number: signal.signal(number, self.heard) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, action in before.items():
                signal.signal(number, action)


def allow_open_files() -> None:
    """As many open files as the system lets us have: removals under way and deliveries each hold some."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and (
        hard == resource.RLIM_INFINITY or soft < min(hard, _MOST_OPEN_FILES)
    ):
        wanted = _MOST_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_OPEN_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def spare_memory() -> None:
    """Let threads share the C library's pools of memory: one for each of ours would hold megabytes of nothing.

    M_ARENA_MAX is glibc's (mallopt(3)); elsewhere there is nothing to be set.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class _Given:
    """Transports that somebody hands over, which have no settings of the process."""

    def __init__(self, open_transport: Callable[[Rule], Transport]) -> None:
        self._open_transport = open_transport

    def __call__(self, rule: Rule) -> Transport:
        return self._open_transport(rule)

    def adjust(self, settings: Settings) -> None: ...


def upload(
    settings: Settings,
    stop: Stop,
    *,
    until_done: bool,
    include_active: bool = False,
    companion: Callable[[Uploader, str], Coroutine[Any, Any, None]] | None = None,
    transports: Callable[[Rule], Transport] | None = None,
) -> Summary:
    """Hold the ledger and run until stopped, or for a drain until all that can go has gone.

    `companion` runs beside the uploader, which it is given with the ledger's folder, and is cancelled at the end.
    """
    ignore_lease_signal()
    allow_open_files()
    spare_memory()
    # What is loaded by now stays; and files come by thousands, with nothing in them that needs a collector.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 20, 50)
    ways = opener(settings, conceal) if transports is None else _Given(transports)
    ledger = Ledger.open(settings.state_directory, settings.name)
    try:
        if until_done:
            _hasten(ledger)
        clock = Clock()
        uploader = Uploader(
            settings,
            ledger,
            transports=ways,
            adjust=ways.adjust,
            write_down=remember,
            until_done=until_done,
            include_active=include_active,
            clock=clock,
        )
        return _run(_life(uploader, clock, ledger.folder, stop, companion))
    finally:
        ledger.close()


def _run(main: Coroutine[Any, Any, Summary]) -> Summary:
    """As asyncio.run does, which before Python 3.12 takes no loop of one's own."""
    loop = asyncio.SelectorEventLoop(TurnTakingSelector())
    try:
        return loop.run_until_complete(_alone(main))
    finally:
        loop.close()
        TURNS.give()


async def _alone(main: Coroutine[Any, Any, Summary]) -> Summary:
    """End what is left beside it once it has ended."""
    try:
        return await main
    finally:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _hasten(ledger: Ledger) -> None:
    """Whoever types `drain` has mended something, or wants to see now whether it still fails."""
    with ledger.transaction(durable=False):
        Queue(ledger).hasten_retries(lambda _entry: True, ledger.running_clock_start())


async def _life(
    uploader: Uploader,
    clock: Clock,
    folder: str,
    stop: Stop,
    companion: Callable[[Uploader, str], Coroutine[Any, Any, None]] | None,
) -> Summary:
    loop = asyncio.get_running_loop()
    stop.tell(lambda: loop.call_soon_threadsafe(uploader.stop))
    control = await serve(folder, _commands(uploader, clock))
    beside = loop.create_task(companion(uploader, folder)) if companion is not None else None
    try:
        return await uploader.run()
    finally:
        await control.close()
        if beside is not None:
            beside.cancel()
            await asyncio.gather(beside, return_exceptions=True)


def _commands(uploader: Uploader, clock: Clock) -> dict[str, Callable[..., Any]]:
    async def retry(paths: list[str] | None = None) -> dict[str, int]:
        return {"files": await uploader.retry(None if paths is None else decode_paths(paths))}

    def rescan() -> None:
        uploader.rescan()

    def status() -> dict[str, Any]:
        progress = uploader.progress
        return {
            "now": clock.now(),
            "pid": os.getpid(),
            "version": __version__,
            "in_flight": progress.in_flight,
            "files_done": progress.files_done,
            "bytes_done": progress.bytes_done,
            "bytes_sent": progress.bytes_sent,
        }

    async def abort_uploads(names: list[str], given_up: bool, all: bool) -> dict[str, Any]:  # noqa: A002  (as it is written on the socket)
        wanted = Wanted(frozenset(decode_paths(names)), given_up, all)
        return {"uploads": aborted_json(await uploader.abort_uploads(wanted))}

    return {"retry": retry, "rescan": rescan, "status": status, "abort_uploads": abort_uploads}
