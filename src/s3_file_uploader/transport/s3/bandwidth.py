"""MaxBandwidth: says how long to wait before the next bytes may leave. Pure: time is a parameter.

Every connection reserves one slice at a time, in the order in which they ask, so the rate is shared
fairly whatever the sizes of their files. All bytes of requests count, heads too: it is the uplink
that is being shared, and for small files the heads are half of it. It refuses to sleep by itself.
"""

from __future__ import annotations

import threading

__all__ = ["Bandwidth"]

SMALLEST_SLICE_BYTES = 16 * 1024
LARGEST_SLICE_BYTES = 256 * 1024
BURST_SECONDS = 0.1


class Bandwidth:
    """One limit in bytes per second for all who share it, or none; may be used from several threads.

    A schedule rather than a bucket of tokens: `_free_at` is when the line is free of all that was
    reserved so far. Whoever comes late because of its own slow disk or network can catch up by at
    most BURST_SECONDS, so the average holds and no burst is longer than that, or than one slice.
    """

    def __init__(self, bytes_per_second: float | None) -> None:
        self._free_at = float("-inf")
        self._lock = threading.Lock()
        self.bytes_per_second = float("inf")
        self.limit_to(bytes_per_second)

    def limit_to(self, bytes_per_second: float | None) -> None:
        """Another rate from now on, or with None no limit; what was reserved so far stands."""
        if bytes_per_second is not None and bytes_per_second <= 0:
            raise ValueError("a bandwidth is more than nothing")
        with self._lock:
            if bytes_per_second is None or self.is_unlimited:
                self._free_at = float("-inf")
            self.bytes_per_second = float("inf") if bytes_per_second is None else float(bytes_per_second)
            half_a_burst = int(min(self.bytes_per_second * BURST_SECONDS / 2, LARGEST_SLICE_BYTES))
            self.slice_bytes = max(SMALLEST_SLICE_BYTES, half_a_burst)

    @property
    def is_unlimited(self) -> bool:
        return self.bytes_per_second == float("inf")

    def reserve(self, size_bytes: int, now: float) -> float:
        """The seconds to wait before sending `size_bytes`, which are taken from the line by this call."""
        with self._lock:
            if self.is_unlimited:
                return 0.0
            start = max(self._free_at, now - BURST_SECONDS)
            self._free_at = start + size_bytes / self.bytes_per_second
        return max(0.0, start - now)
