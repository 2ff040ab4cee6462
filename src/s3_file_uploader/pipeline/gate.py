"""The gate before one destination: open, or paused with a reason; and the judgement of failures.

An unreachable or misconfigured destination never burns a file's attempts: the gate closes, lets one
real delivery through now and then as a probe, and opens at the first success. An access error that
may concern one object makes that file a suspect: a delivery of another file, begun later, decides.
If it succeeds, the suspect is guilty and parks; if it is denied too, the destination is at fault:
it pauses, and once it takes files again all who were denied are tried anew.
A suspect that no other file has told about is its own probe, ever more rarely; that is said as a
pause, but the next other file goes at once. Denied before and after another got through, it is guilty.
A transfer that broke concerns its file, unless nothing else comes back: when several files in a row
broke and none got through, nobody answers behind an address that takes connections.

Pure: time and randomness come in as parameters. One gate for each way to a store (bucket, prefix, and
what objects there are like), since a policy may concern a prefix; used from one thread.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from s3_file_uploader.errors import (
    Concern,
    DeliveryError,
    FileBusy,
    FileChanged,
    FileVanished,
    Throttled,
    TransferFault,
)
from s3_file_uploader.pipeline.backoff import backoff_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DENIED_ALONE", "Gate", "Verdict"]

DENIED_ALONE = "access denied, while other files of this destination go through"

_BROKEN_FILES_MEAN_DESTINATION = 3  # different ones, with no success in between
_MOST_BROKEN = 64  # remembered: each probe takes a file that has not been tried, as long as there are so many
_MOST_SUSPECTS = 256  # each probe of a long pause adds one
_MOST_EXCUSED = 10_000
_ALONE = "; no other file is there to tell whether it concerns this one or all of them"
_SUCCESSES_PER_STEP = 8  # how many successes allow one more file in flight after a slow-down


class Verdict(Enum):
    """What a failed delivery means for its file."""

    RETURN = "return"  # not the file's fault: ready again at once, no attempt burned
    RETRY = "retry"  # the file's turn comes again after a back-off; counts as an attempt
    SUSPECT = "suspect"  # ready again later; another file will tell
    GUILTY = "guilty"  # denied while others go through: parks
    RESETTLE = "resettle"  # changed or busy: not a failure
    GONE = "gone"


@dataclass(slots=True, eq=False)
class Gate:
    """`limit` is how many files may be in flight; it halves when the store says slow down, and recovers."""

    first_seconds: float
    longest_seconds: float
    random: Callable[[], float]
    cap: int
    limit: int = 0
    reason: str = ""
    advice: str = ""
    error: DeliveryError | None = None
    since: float = 0.0
    probe_at: float = 0.0
    failures: int = 0
    last_success_at: float | None = None
    suspects: dict[int, float] = field(default_factory=dict)  # file → when it was denied
    reminded_at: float | None = None  # when it was last told that it is paused
    is_of_one: bool = False  # this pause comes from one file that was denied, with no other to tell
    broken: set[int] = field(default_factory=set)  # files whose transfer broke since the last success
    _excused: set[int] = field(default_factory=set)  # files that were suspects in a pause that is over
    _doubted: set[int] = field(default_factory=set)  # suspects, and another got through that began before
    _in_flight: dict[int, float] = field(default_factory=dict)  # file → when it began
    _slowed_at: float = float("-inf")
    _credit: int = 0

    def __post_init__(self) -> None:
        self.limit = self.limit or self.cap

    def resize(self, cap: int) -> None:
        """Another cap; a limit that was lowered because the store is slow stays where it is."""
        self.limit = cap if self.limit == self.cap else min(self.limit, cap)
        self.cap = cap

    @property
    def is_paused(self) -> bool:
        return bool(self.reason)

    @property
    def in_flight(self) -> int:
        return len(self._in_flight)

    @property
    def unwanted(self) -> tuple[int, ...]:
        """Files that can tell nothing new of the destination: others go first."""
        return (*self.suspects, *self.broken) if self.is_paused else tuple(self.suspects)

    def carries(self, file: int) -> bool:
        """Whether the file is on its way."""
        return file in self._in_flight

    def admits(self, now: float) -> int:
        """How many more deliveries may begin now. Which of them are worth a try, `unwanted` and the ledger say."""
        if self.is_paused:
            return 1 if (self.is_of_one or now >= self.probe_at) and not self._is_probing else 0
        return max(0, self.limit - len(self._in_flight))

    @property
    def _is_probing(self) -> bool:
        """What began before the pause is no probe, and may take an hour."""
        return any(began >= self.since for began in self._in_flight.values())

    def begin(self, file: int, now: float) -> None:
        self._in_flight[file] = now

    def succeed(self, file: int, now: float) -> list[int]:
        """A receipt came. Returns the suspects that it convicts."""
        began = self._in_flight.pop(file, now)
        for known in (self._excused, self._doubted):
            known.discard(file)
        self.suspects.pop(file, None)
        self.broken.clear()
        self.last_success_at = now
        self._credit += 1
        if self._credit >= _SUCCESSES_PER_STEP and self.limit < self.cap:
            self._credit = 0
            self.limit += 1
        if self.is_paused and not self._tells_of_now(began):
            return []
        if self.is_paused:
            self._excuse()
        self._open()
        guilty = [suspect for suspect, denied_at in self.suspects.items() if denied_at <= began]
        for suspect in guilty:
            del self.suspects[suspect]
        self._doubted = set(self.suspects)
        return guilty

    def _tells_of_now(self, began: float) -> bool:
        """Whether a success means that the pause is over: not if it was let in before the others were denied."""
        is_about_access = self.error is not None and self.error.concern is Concern.UNCERTAIN
        return began >= self.since or self.is_of_one or not is_about_access

    def _open(self) -> None:
        self.failures = 0
        self.reason = self.advice = ""
        self.error = None
        self.is_of_one = False

    def fail(self, file: int, error: DeliveryError, now: float) -> Verdict:
        """A delivery ended without a receipt; says what it means for its file, and closes the gate if need be."""
        began = self._in_flight.pop(file, now)
        if isinstance(error, (FileChanged, FileBusy, FileVanished)):
            return Verdict.GONE if isinstance(error, FileVanished) else Verdict.RESETTLE
        if isinstance(error, TransferFault):
            return self._break(file, error, began, now)
        if error.concern is Concern.FILE:
            return Verdict.RETRY
        if error.concern is Concern.PROCESS:
            return Verdict.RETURN
        if error.concern is Concern.UNCERTAIN:
            return self._deny(file, error, began, now)
        self._close(error, began, now)
        return Verdict.RETURN

    def _break(self, file: int, error: DeliveryError, began: float, now: float) -> Verdict:
        if len(self.broken) >= _MOST_BROKEN:
            self.broken.clear()
        self.broken.add(file)
        if len(self.broken) < _BROKEN_FILES_MEAN_DESTINATION and (not self.is_paused or self.is_of_one):
            return Verdict.RETRY
        self._close(error, began, now)
        return Verdict.RETURN

    def _deny(self, file: int, error: DeliveryError, began: float, now: float) -> Verdict:
        got_through = file in self._excused or file in self._doubted  # another, since this was denied
        if got_through and not self.is_paused and self.suspects.keys() <= {file}:
            for known in (self._excused, self._doubted):
                known.discard(file)
            self.suspects.pop(file, None)
            return Verdict.GUILTY
        was_suspect = file in self.suspects
        self.suspects[file] = now
        if len(self.suspects) > _MOST_SUSPECTS:
            del self.suspects[next(iter(self.suspects))]
        is_alone = len(self.suspects) == 1
        if was_suspect or self.is_paused or not is_alone:
            self._close(error, began, now, is_of_one=is_alone)
        return Verdict.SUSPECT

    def _excuse(self) -> None:
        """All may have been refused: whoever was denied meanwhile, for the first time, is tried anew."""
        first_denials = self.suspects.keys() - self._excused
        if len(self._excused) + len(first_denials) > _MOST_EXCUSED:
            self._excused.clear()
        self._excused |= first_denials
        for file in first_denials:
            del self.suspects[file]

    def _close(self, error: DeliveryError, began: float, now: float, *, is_of_one: bool = False) -> None:
        if isinstance(error, Throttled) and now > self._slowed_at + 1.0:
            self._slowed_at = now
            self.limit = max(1, self.limit // 2)
        if self.is_paused and began < self.since and not self.is_of_one:
            return  # it began before the pause: the same trouble, told twice
        if not self.is_paused:
            self.since = now
            self._doubted.clear()  # who got through may have been let in before
        self.is_of_one = is_of_one
        self.failures += 1
        self.reason = str(error) + (_ALONE if is_of_one else "")
        self.advice, self.error = error.advice, error
        wait = backoff_seconds(
            self.failures,
            first_seconds=self.first_seconds,
            longest_seconds=self.longest_seconds,
            random=self.random,
        )
        self.probe_at = now + max(wait, error.retry_after_seconds)

    def next_probe_at(self) -> float | None:
        return self.probe_at if self.is_paused and not self._is_probing else None
