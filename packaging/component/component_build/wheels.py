"""Wheels: pip downloads them, by pin and hash, into build/component/, where the next build finds them.

A folder there has the digest of its requirements in its name and appears when it is complete, so that a build
that was interrupted leaves nothing to trust, and one that is repeated needs no network.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, NamedTuple

from component_build.pins import as_requirements
from component_build.project import ROOT
from component_build.refusal import Refusal

if TYPE_CHECKING:
    from component_build.pins import Pin

__all__ = ["CACHE", "Target", "fetch_installer", "fetch_wheels", "read_targets"]

CACHE = os.path.join(ROOT, "build", "component")

_PYTHONS = range(10, 14)  # the minor versions that the program is tested with
# What wheels for glibc may ask of it, up to 2.28, which every system with a Python of ours has. The armv7 ones of
# 2.31 are those of Raspberry Pi OS.
_GLIBC = {
    "x86_64": [
        "manylinux_2_17",
        "manylinux2014",
        "manylinux_2_12",
        "manylinux2010",
        "manylinux_2_5",
        "manylinux1",
    ],
    "aarch64": ["manylinux_2_17", "manylinux2014"],
    "armv7l": ["manylinux_2_17", "manylinux2014", "manylinux_2_31"],
}
_NEWER_GLIBC = ["manylinux_2_24", "manylinux_2_26", "manylinux_2_27", "manylinux_2_28"]
_EXAMPLE = '"linux/aarch64 linux/x86_64 py3.10-3.13"'
_NO_WHEEL = re.compile(r"No matching distribution found for ([^\s=]+)(?:==(\S+))?")
_SHOWN_DIGITS = 16


class Target(NamedTuple):
    """Written "linux/aarch64 py3.11", here and on the device."""

    machine: str
    minor: int

    def __str__(self) -> str:
        return f"linux/{self.machine} py3.{self.minor}"

    @property
    def platforms(self) -> list[str]:
        return [f"{glibc}_{self.machine}" for glibc in [*_GLIBC[self.machine], *_NEWER_GLIBC]]


def read_targets(said: str) -> list[Target]:
    """From words like "linux/aarch64 py3.10-3.13"; without a Python: all that the program is tested with."""
    machines: list[str] = []
    minors: list[int] = []
    for word in said.replace(",", " ").split():
        machine = re.fullmatch(r"linux/(\w+)", word)
        python = re.fullmatch(r"py3\.(\d+)(?:-3\.(\d+))?", word)
        if machine and machine[1] in _GLIBC:
            machines.append(machine[1])
        elif python:
            minors += range(int(python[1]), int(python[2] or python[1]) + 1)
        else:
            known = ", ".join(f"linux/{name}" for name in _GLIBC)
            raise Refusal(
                f"--wheels: {word!r} is neither a platform ({known}) nor a Python (py3.11)", _EXAMPLE
            )
    unknown = [f"3.{minor}" for minor in minors if minor not in _PYTHONS]
    if unknown or (minors and not machines):
        what = (
            f"Python {', '.join(unknown)} is none that the program is tested with"
            if unknown
            else "no platform"
        )
        raise Refusal(f"--wheels {said!r}: {what}", _EXAMPLE)
    return [
        Target(machine, minor)
        for machine in sorted(set(machines))
        for minor in sorted(set(minors or _PYTHONS))
    ]


def fetch_installer(pin: Pin) -> str:
    """The path of pip's own wheel. It runs on the device, whatever Python builds here."""
    [wheel] = _fetch(pin.text, "installer", ["--python-version", "3.10"], str(pin.version))
    return wheel


def fetch_wheels(pins: list[Pin], target: Target) -> list[str]:
    """The paths of all wheels of `pins` for this target. Refusal where one is missing, with its name."""
    of_target = [
        *("--python-version", f"3.{target.minor}", "--implementation", "cp"),
        *(word for platform in target.platforms for word in ("--platform", platform)),
    ]
    return _fetch(as_requirements(pins), f"{target.machine}-3.{target.minor}", of_target, str(target))


def _fetch(requirements: str, name: str, flags: list[str], what: str) -> list[str]:
    digest = hashlib.sha256("\0".join([requirements, *flags]).encode()).hexdigest()[:_SHOWN_DIGITS]
    folder = os.path.join(CACHE, f"{name}-{digest}")
    if not os.path.isdir(folder):
        os.makedirs(CACHE, exist_ok=True)
        fresh = tempfile.mkdtemp(prefix=".new-", dir=CACHE)
        try:
            _download(requirements, fresh, flags, what)
            _publish(fresh, folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return sorted(os.path.join(folder, wheel) for wheel in os.listdir(folder))


def _publish(fresh: str, folder: str) -> None:
    try:
        os.rename(fresh, folder)
    except OSError:
        if not os.path.isdir(folder):  # else another build was quicker
            raise


def _download(requirements: str, folder: str, flags: list[str], what: str) -> None:
    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8") as file:
        file.write(requirements)
        file.flush()
        command = [
            *(
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--disable-pip-version-check",
                "--no-input",
            ),
            *("--no-deps", "--require-hashes", "--only-binary", ":all:", *flags),
            *("--requirement", file.name, "--dest", folder),
        ]
        done = subprocess.run(
            command, env=_surroundings(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    if done.returncode:
        raise _refusal(done.stdout.decode(errors="replace"), what)


def _surroundings() -> dict[str, str]:
    """Without retries pip does not say that it reached nobody."""
    retries = {"PIP_RETRIES": "1"} if os.environ.get("PIP_RETRIES") == "0" else {}
    return {**os.environ, **retries}


def _refusal(written: str, what: str) -> Refusal:
    missing = _NO_WHEEL.search(written)
    if "No module named pip" in written:
        return Refusal(
            f"{sys.executable} has no pip, which downloads what the component brings along",
            "python3 -m venv .venv && . .venv/bin/activate, then the same again (Debian, Ubuntu: sudo apt install "
            "python3-venv)",
        )
    is_reachable = not re.search(r"Retrying \(|Max retries|connection", written)
    if missing and is_reachable:
        return Refusal(
            f"there is no wheel of {missing[1]} {missing[2] or ''} for {what}",
            "leave this platform or Python out of WHEELS. A device of that kind needs an index that has the wheel, "
            "with this very hash",
        )
    sys.stderr.write(written)
    if is_reachable:
        return Refusal(f"pip could not download what is needed for {what}", "what pip says above")
    return Refusal(
        f"pip could not reach a package index for {what}",
        "the same with a network; what was downloaded once is used again without one",
    )
