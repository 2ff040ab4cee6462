"""Python as it is on this device: which wheels it may take, and which environment is its own."""

from __future__ import annotations

import hashlib
import os
import re
import struct
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["base_python", "environment_name", "fits", "is_bundled", "target"]

_DIGITS = 16
_SMALL_POINTER = 4  # bytes
_ON_SMALL_POINTERS = {"aarch64": "armv7l", "x86_64": "i686"}  # a 32-bit Python on a 64-bit kernel


def base_python() -> str:
    """The interpreter itself, with every link followed: what an environment's own `python` points to."""
    return os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)


def target() -> str:
    """As the build names it: "linux/aarch64 py3.11"."""
    return f"linux/{_machine()} py{sys.version_info[0]}.{sys.version_info[1]}"


def environment_name(build_id: str) -> str:
    """Another artifact, another Python or another place of it: another environment.

    A newer patch of the same Python keeps it. It runs what was installed, and a device that took an update of
    its system while it was offline must not need the network to start again.
    """
    parts = (build_id, sys.implementation.cache_tag or "", _machine(), base_python())
    text = "\0".join(parts).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()[:_DIGITS]


def is_bundled(bundled: Iterable[str]) -> bool:
    return target() in bundled


def fits(wheel: str) -> bool:
    """Whether unpacking this wheel is worth the room; pip decides what it takes."""
    pythons, abi, platforms = wheel.removesuffix(".whl").split("-")[-3:]
    ours = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    is_of_python = ours in pythons.split(".") or "abi3" in abi.split(".") or "py3" in pythons.split(".")
    return is_of_python and bool(re.search(rf"(^|[._])(any|{re.escape(_machine())})($|\.)", platforms))


def _machine() -> str:
    machine = os.uname().machine
    return _ON_SMALL_POINTERS.get(machine, machine) if struct.calcsize("P") == _SMALL_POINTER else machine
