"""Threads of our own for what blocks: named, daemonic, one job at a time.

Never the event loop's default executor: a deadline does not stop a thread, the executor is joined at
exit, and a hung mount must not hold SIGTERM.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from s3_file_uploader.errors import LedgerUnavailable
from s3_file_uploader.observe.log import log
from s3_file_uploader.turns import TURNS

if TYPE_CHECKING:
    from s3_file_uploader.ledger import Ledger

__all__ = ["LedgerThread", "Worker"]

T = TypeVar("T")
_LONGEST_WAIT_SECONDS = 30.0  # between tries while the ledger's disk refuses
_Job = tuple["Future[Any]", Callable[[], Any]]


class Worker:
    """One named daemon thread that runs jobs in order. It starts with its first job."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._is_retired = False

    def submit(self, job: Callable[..., T], *arguments: Any) -> Future[T]:
        """Run `job(*arguments)` in the thread; from any thread."""
        future: Future[T] = Future()
        self._put(future, lambda: job(*arguments))
        return future

    def call(self, job: Callable[..., T], *arguments: Any) -> asyncio.Future[T]:
        """The same, to be awaited on the running loop."""
        return asyncio.wrap_future(self.submit(job, *arguments))

    def _put(self, future: Future[Any], job: Callable[[], Any]) -> None:
        with self._wake:
            if self._stopping:
                raise RuntimeError(f"thread {self.name} has stopped")
            self._jobs.append((future, job))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
            self._wake.notify()

    def stop(self, timeout_seconds: float = 2.0) -> bool:
        """Let queued jobs end, for a bounded time; True if the thread is gone."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is None:
            return True
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def retire(self) -> None:
        """Hardly anything will come any more: the thread ends when it has nothing to do, and starts for what does."""
        with self._wake:
            self._is_retired = True
            self._wake.notify()

    def _take(self) -> list[_Job]:
        with self._wake:
            while not self._jobs and not self._stopping and not self._is_retired:
                self._wake.wait()
            if not self._jobs and not self._stopping:
                self._thread = None
            return [self._jobs.popleft()] if self._jobs else []

    def _run(self) -> None:
        while jobs := self._take():
            self._serve(jobs)

    def _serve(self, jobs: list[_Job]) -> None:
        for future, job in jobs:
            _perform(future, job)


def _perform(future: Future[Any], job: Callable[[], Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = job()
    except BaseException as error:  # noqa: BLE001  # whoever waits for the job gets its error
        future.set_exception(error)
    else:
        future.set_result(result)


class LedgerThread(Worker):
    """The ledger's writer: jobs that queued up meanwhile share one transaction, so one fsync pays for many."""

    def __init__(self, ledger: Ledger, name: str = "ledger", most_jobs: int = 64) -> None:
        super().__init__(name)
        self._ledger = ledger
        self._most_jobs = most_jobs
        self._is_patient = True
        self._durable: set[int] = set()
        self._outside: set[int] = set()

    def write(self, job: Callable[..., T], *arguments: Any, durable: bool = False) -> Future[T]:
        """Run `job` in a transaction; the future ends after its commit. `durable`: and after its fsync."""
        future: Future[T] = Future()
        if durable:
            self._durable.add(id(future))
        self._put(future, lambda: job(*arguments))
        return future

    def awaited(self, job: Callable[..., T], *arguments: Any, durable: bool = False) -> asyncio.Future[T]:
        return asyncio.wrap_future(self.write(job, *arguments, durable=durable))

    def call_outside(self, job: Callable[[], T]) -> asyncio.Future[T]:
        """Run `job` in the thread with no transaction around it."""
        future: Future[T] = Future()
        self._outside.add(id(future))
        self._put(future, job)
        return asyncio.wrap_future(future)

    def hurry(self) -> None:
        """Wait for a disk that refuses no longer: we are stopping, and jobs fail instead."""
        with self._wake:
            self._is_patient = False
            self._wake.notify()

    def _take(self) -> list[_Job]:
        with self._wake:
            while not self._jobs and not self._stopping:
                self._wake.wait()
            jobs: list[_Job] = []
            while self._jobs and len(jobs) < self._most_jobs and id(self._jobs[0][0]) not in self._outside:
                jobs.append(self._jobs.popleft())
            return jobs or ([self._jobs.popleft()] if self._jobs else [])

    def _serve(self, jobs: list[_Job]) -> None:
        if id(jobs[0][0]) in self._outside:
            self._outside.discard(id(jobs[0][0]))
            _perform(*jobs[0])
        else:
            self._perform_together(jobs)

    def _perform_together(self, jobs: list[_Job]) -> None:
        jobs = [(future, job) for future, job in jobs if future.set_running_or_notify_cancel()]
        durable = {id(future) for future, _ in jobs} & self._durable
        self._durable -= durable
        try:
            results = self._commit([job for _, job in jobs], durable=bool(durable))
        except BaseException:  # noqa: BLE001  # one bad job must not fail its neighbours
            self._one_by_one(jobs, durable)
        else:
            for (future, _), result in zip(jobs, results, strict=True):
                future.set_result(result)

    def _commit(self, jobs: list[Callable[[], Any]], *, durable: bool) -> list[Any]:
        """One transaction. Where the disk is full or refuses, wait for it: nothing may go on without the ledger."""
        tries = 0
        while True:
            try:
                with self._ledger.transaction(durable=durable):
                    results = [job() for job in TURNS.over(jobs)]  # but the commit may sleep
            except LedgerUnavailable as error:
                tries += 1
                if not self._wait_for_disk(error, tries):
                    raise
            else:
                if tries:
                    log.info("resumed", path=self._ledger.folder)
                return results

    def _wait_for_disk(self, error: LedgerUnavailable, tries: int) -> bool:
        """False when it is no use: we are stopping."""
        if tries == 1:
            log.error("paused", path=self._ledger.folder, reason=str(error), advice=error.advice)
        self._ledger.reserve.spend()
        with self._wake:
            self._wake.wait_for(self._is_no_use, min(0.1 * 2 ** min(tries, 10), _LONGEST_WAIT_SECONDS))
            return not self._is_no_use()

    def _is_no_use(self) -> bool:
        return self._stopping or not self._is_patient

    def _one_by_one(self, jobs: list[_Job], durable: set[int]) -> None:
        """The shared transaction was rolled back: each job again, in a transaction of its own."""
        for future, job in jobs:
            try:
                result = self._commit([job], durable=id(future) in durable)[0]
            except BaseException as error:  # noqa: BLE001  # whoever waits for the job gets its error
                future.set_exception(error)
            else:
                future.set_result(result)
