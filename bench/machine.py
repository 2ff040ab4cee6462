"""What the figures were measured on: cores, memory, and what decides how fast hashes and TLS are."""

from __future__ import annotations

import os
import platform
import ssl

__all__ = ["described"]


def described() -> str:
    """One line, with nothing in it that tells one machine from another of its kind."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lacks = [name for flag, name in (("sha_ni", "SHA-NI"), ("vaes", "VAES")) if flag not in _flags()]
    parts = [
        f"{os.cpu_count()} cores of {platform.machine()}",
        f"{memory / 2**30:.0f} GiB",
        "without " + " and ".join(lacks) if lacks else "with SHA-NI and VAES",
        f"Linux {'.'.join(platform.release().split('.')[:2])}",
        f"Python {platform.python_version()}",
        ssl.OPENSSL_VERSION,
    ]
    return ", ".join(parts)


def _flags() -> set[str]:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return next((set(line.split()[2:]) for line in file if line.startswith("flags")), set())
    except OSError:
        return set()
