"""What this process holds, threads and descriptors: for tests that nothing stays behind.

Compared one by one and not counted: what an earlier test left to end in its own time is no leak of this
one, and must not hide one either.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

__all__ = ["Belongings"]

_LONGEST_SECONDS = 20.0  # what ends in a thread of its own ends a moment after it was asked to


class Belongings(NamedTuple):
    """`descriptors` by what they are: a socket or pipe has a number that no other ever has."""

    threads: frozenset[threading.Thread]
    descriptors: Counter[str]

    @classmethod
    def now(cls) -> Belongings:
        descriptors: Counter[str] = Counter()
        for name in os.listdir("/proc/self/fd"):
            with suppress(FileNotFoundError):  # closed meanwhile, like the one that lists them
                descriptors[os.readlink(f"/proc/self/fd/{name}")] += 1
        return cls(frozenset(threading.enumerate()), descriptors)

    def assert_nothing_added(self) -> None:
        """All that came since is gone again, at the latest after a while."""
        deadline = time.monotonic() + _LONGEST_SECONDS
        while (added := self._added()) and time.monotonic() < deadline:
            time.sleep(0.005)
        assert not added, added

    def _added(self) -> list[str]:
        now = self.now()
        threads = [thread.name for thread in now.threads - self.threads]
        return threads + list((now.descriptors - self.descriptors).elements())
