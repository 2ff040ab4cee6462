"""What a machine of this size can afford, where a setting says `auto`."""

from __future__ import annotations

import os

__all__ = ["files_in_flight"]

_FEWEST, _MOST = 16, 256
_MEMORY_BYTES_PER_FILE = 8 << 20  # a TLS connection and what belongs to it take some 60 KB: below 1 % of it


def files_in_flight(memory_bytes: int | None = None) -> int:
    """How many files may be on their way at once: a cap, which only a far store makes an upload reach."""
    memory = _installed() if memory_bytes is None else memory_bytes
    return max(_FEWEST, min(_MOST, memory // _MEMORY_BYTES_PER_FILE))


def _installed() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return 0
