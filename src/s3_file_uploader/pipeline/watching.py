"""Watching one rule's part of the disk: wake-ups are hints, the reconcile scan is the truth.

A wake-up looks only at the paths it names, after a small lag that lets many events become one look.
The scan runs at start, every Interval while it is cheap, and more rarely as it grows: it never takes
more than about 5 % of one core. A folder that is missing, or cannot be read, is waited for: said
once when it begins, and once when it is over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from s3_file_uploader.model import Candidate, Evidence
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.content import has_content
from s3_file_uploader.pipeline.context import Context, wait_for
from s3_file_uploader.pipeline.reconcile import Reconcile, Scanned
from s3_file_uploader.source.wake import Unwatched, Wake, Watcher

if TYPE_CHECKING:
    from concurrent.futures import Future

    from s3_file_uploader.pipeline.recovery import Recovery
    from s3_file_uploader.pipeline.rules import ActiveRule

__all__ = ["Watching"]

_LAG_SECONDS = 0.05  # events are taken in bulk: 3-7 µs each instead of 28-55
_SCAN_SHARE = 20.0  # a scan that took one second of CPU is not repeated within twenty
_Names = dict[bytes, Evidence]


class Watching:
    """Runs on the event loop; everything that touches the disk runs in the rule's looking thread."""

    def __init__(self, context: Context, rule: ActiveRule, recovery: Recovery) -> None:
        self.rule = rule
        self._context = context
        self._worker = rule.looking
        self._recovery = recovery
        self._reconcile = Reconcile(rule, context.ledger, context.writer, context.edge, context.clock)
        self._watcher: Watcher | None = None
        self._scan_wanted = asyncio.Event()
        self._is_hinted = False  # a scan is wanted as soon as the last one has been rested from
        self._rests_until: float | None = None  # on the loop's clock; None: a scan is under way
        self._pending: dict[bytes, _Names] = {}
        self._is_lagging = False
        self._troubles: dict[bytes, str] = {}
        self._to_hash: list[tuple[int, Candidate]] = []
        self._adopts_at: float | None = None  # on the running clock: a scan then puts hidden files back
        self._running: asyncio.Task[None] | None = None
        self._closing: Future[None] | None = None

    def begin(self) -> None:
        """Run until `leave` or `close`."""
        self._running = self._context.for_long(self.run())

    async def run(self) -> None:
        """Until cancelled."""
        self._open_watcher()
        while True:
            self._scan_wanted.clear()
            self._is_hinted, self._rests_until = False, None
            rest_seconds = _SCAN_SHARE * await self._scan()
            self._rests_until = asyncio.get_running_loop().time() + rest_seconds
            interval_seconds = 0.0 if self._is_hinted else self.rule.setting.interval_seconds
            await wait_for(self._scan_wanted, max(interval_seconds, rest_seconds))

    def rescan(self) -> None:
        """Scan now: a person asks for it."""
        self._scan_wanted.set()

    def _scan_soon(self) -> None:
        """Something happened that only a scan can tell: without a wait, but never beyond the scans' share."""
        if self._is_hinted:
            return
        self._is_hinted = True
        if self._rests_until is not None:
            asyncio.get_running_loop().call_at(self._rests_until, self._scan_wanted.set)

    @property
    def has_pending(self) -> bool:
        """Whether some path is still to be looked at, or a hidden file to be put back."""
        return bool(self._pending) or self._adopts_at is not None

    def leave(self) -> None:
        """The rule is not in force any more: look at nothing, and let go of the watch once no look is under way.

        That is for the looking thread to do: its descriptor's number must not be used again under it.
        """
        self._end()
        if self._watcher is not None:
            self._context.rules.left.add(self.rule)
            self._closing = self._worker.submit(self._watcher.close)
            self._closing.add_done_callback(partial(self._tell_closed, asyncio.get_running_loop()))

    def _tell_closed(self, loop: asyncio.AbstractEventLoop, _closed: Future[None]) -> None:
        with contextlib.suppress(RuntimeError):  # a disk that hung for longer than we ran: nobody listens
            loop.call_soon_threadsafe(self._note_closed)

    def _note_closed(self) -> None:
        self._watcher = None
        self._context.rules.left.discard(self.rule)

    def close(self) -> None:
        """At the end of the run."""
        self._end()
        is_closed = self._closing is not None and not self._closing.cancel()
        if self._watcher is not None and not is_closed:
            self._watcher.close()
        self._watcher = None

    def _end(self) -> None:
        if self._running is not None:
            self._running.cancel()
        if self._watcher is not None:
            asyncio.get_running_loop().remove_reader(self._watcher.fileno())

    # The scan.

    async def _scan(self) -> float:
        """One reconcile scan; returns the CPU seconds it took."""
        scanned, cpu_seconds = await self._worker.call(self._scan_and_measure)
        self._note_troubles(scanned)
        is_there = self.rule.base not in self._troubles
        is_first = self.rule.looked_at is None and is_there
        if is_first:
            self.rule.looked_at = self._context.clock.now()
        if is_first or self.rule.setting.done_marker:
            await self._context.writer.awaited(
                self._reconcile.release_held
            )  # a marker that came unseen shows in no candidate
        progress = self._context.progress
        if is_first and not scanned.files:
            progress.unmatched.add(self.rule.setting.path_name)
        progress.looked_at.add(self.rule.name)
        self._take_in(scanned)
        if scanned.hidden or self._adopts_at is not None:
            self._context.background(self._adopt(scanned))
        self._context.due_changed.set()
        return cpu_seconds

    def _scan_and_measure(self) -> tuple[Scanned, float]:
        began, in_ledger = time.thread_time(), self._reconcile.ledger_seconds
        entering = self._watch if self._watcher is not None else None
        scanned = self._reconcile.scan(entering)
        return scanned, time.thread_time() - began + self._reconcile.ledger_seconds - in_ledger

    def _note_troubles(self, scanned: Scanned) -> None:
        now = {trouble.folder: trouble.reason for trouble in scanned.troubles}
        for folder in self._troubles.keys() - now.keys():
            log.info("folder_back", rule=self.rule.name, path=folder)
        for folder in now.keys() - self._troubles.keys():
            log.warning("waiting_for_folder", rule=self.rule.name, path=folder, reason=now[folder])
        self._troubles = now
        self._context.progress.troubles[self.rule.name] = now

    def _take_in(self, scanned: Scanned) -> None:
        """What follows from a scan or a look."""
        if self.rule.is_leaving:
            return
        if scanned.new or scanned.changed:
            log.debug("found", rule=self.rule.name, files=scanned.new + scanned.changed)
        self._context.progress.files_found += scanned.new
        self._context.progress.bytes_found += scanned.new_bytes
        if scanned.new or scanned.changed or scanned.files:
            self._context.due_changed.set()
            self._context.progress.unmatched.discard(self.rule.setting.path_name)
        if scanned.gone:
            log.info("vanished", rule=self.rule.name, files=scanned.gone)
        if scanned.to_hash_again and not self._to_hash:
            self._to_hash = scanned.to_hash_again
            self._context.background(self._hash_again())

    async def _hash_again(self) -> None:
        """The disk got another device number: is the delivered content still there?

        File by file, so that looks and scans come in between. What is not taken here is found again.
        """
        while self._to_hash and not self._context.is_stopping and not self.rule.is_leaving:
            number, candidate = self._to_hash[-1]
            await self._worker.call(partial(self._hash_again_now, number, candidate))
            self._to_hash.pop()

    def _hash_again_now(self, number: int, candidate: Candidate) -> None:
        checksum = self._reconcile.checksum(number)
        is_same = checksum is not None and has_content(
            self._context.edge,
            candidate,
            checksum,
            base=self.rule.base,
            follow_symlinks=self.rule.setting.follow_symlinks,
        )
        self._reconcile.confirm_device(number, candidate, is_same=is_same)

    async def _adopt(self, scanned: Scanned) -> None:
        if self.rule.is_leaving:
            return
        orphans = self._reconcile.orphans(scanned)
        for folder, name in await self._worker.call(self._recovery.adopt, self.rule, orphans):
            log.warning(
                "recovered",
                rule=self.rule.name,
                path=folder + b"/" + name,
                reason="a hidden file without its ledger",
            )
            self.look_at(folder, name)
        self._adopts_at = self._recovery.next_adoption(self.rule)
        if self._adopts_at is not None:
            wait_seconds = max(0.0, self._adopts_at - self._context.clock.now())
            asyncio.get_running_loop().call_later(wait_seconds, self._scan_soon)

    # Wake-ups.

    def _open_watcher(self) -> None:
        if self.rule.setting.watch:
            self._watcher = Watcher.open(self._tell_unwatched)
        if self._watcher is not None:
            # Also a folder that is not there yet: its appearance wakes us.
            self._worker.submit(self._watcher.add, [self.rule.base])
            asyncio.get_running_loop().add_reader(self._watcher.fileno(), self._lag)

    def _tell_unwatched(self, unwatched: Unwatched) -> None:
        log.warning("watch_off", rule=self.rule.name, path=unwatched.folder, reason=unwatched.reason)

    def _watch(self, folder: bytes) -> None:
        """Called by the scan for each folder before it reads it."""
        if self._watcher is not None:
            self._watcher.add([folder])

    def look_at(self, folder: bytes, name: bytes) -> None:
        """Look at one path soon."""
        self._pending.setdefault(folder, {}).setdefault(name, Evidence.NONE)
        self._lag()

    def _lag(self) -> None:
        """Something happened: let more of it come, then take it all at once."""
        if self._is_lagging or self.rule.is_leaving:
            return
        self._is_lagging = True
        if self._watcher is not None:
            asyncio.get_running_loop().remove_reader(self._watcher.fileno())
        asyncio.get_running_loop().call_later(_LAG_SECONDS, self._wake)

    def _wake(self) -> None:
        if not self._context.is_stopping and not self.rule.is_leaving:
            self._context.background(self._read_and_look())

    async def _read_and_look(self) -> None:
        watcher = self._watcher
        if watcher is not None and not self.rule.is_leaving:  # else it is closed, or about to be
            self._take_wake(await self._worker.call(watcher.read, self._context.clock.now()))
        self._is_lagging = False
        if self.rule.is_leaving:
            return
        if self._watcher is not None:
            asyncio.get_running_loop().add_reader(self._watcher.fileno(), self._lag)
        pending, self._pending = self._pending, {}
        for folder, names in pending.items():
            self._take_in(await self._worker.call(self._reconcile.look, folder, names))

    def _take_wake(self, wake: Wake) -> None:
        for folder, names in wake.touched.items():
            self._pending.setdefault(folder, {}).update(names)
        if wake.overflowed:
            self._context.background(self._distrust())
        pattern = self.rule.selection.pattern
        if wake.overflowed or any(pattern.could_contain_folder(folder) for folder in wake.folders_changed):
            self._scan_soon()

    async def _distrust(self) -> None:
        await self._context.writer.awaited(self._reconcile.distrust_watching)
