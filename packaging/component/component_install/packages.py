"""The pinned packages: pip, out of its own wheel, with hashes and without building anything.

What the device's environment and configuration say of *where* packages come from holds: an index, a proxy, a
certificate, a folder of wheels. What they say of *how* pip installs (PIP_USER, PIP_TARGET, …) does not: it would
put the packages somewhere else. Where the artifact brings the wheels, nothing of either is read.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

from component_install.artifact import REQUIREMENTS, WHEELS
from component_install.device import fits, is_bundled, target
from component_install.refusal import Refusal, Say

if TYPE_CHECKING:
    from collections.abc import Mapping

    from component_install.artifact import Artifact

__all__ = ["install_packages", "pip_environment", "refusal_of_pip"]

_OF_THE_INDEX = frozenset(
    f"PIP_{name}"
    for name in (
        *("INDEX_URL", "EXTRA_INDEX_URL", "NO_INDEX", "FIND_LINKS", "CONFIG_FILE", "KEYRING_PROVIDER"),
        *("PROXY", "CERT", "CLIENT_CERT", "TRUSTED_HOST", "RETRIES", "TIMEOUT", "DEFAULT_TIMEOUT"),
    )
)
_NO_WHEEL = re.compile(r"No matching distribution found for (\S+)")
_UNREACHABLE = re.compile(
    r"Retrying \(|Max retries exceeded|Failed to establish a new connection|name resolution|timed out|SSLError"
    r"|Network is unreachable|Connection refused|connection broken|ProxyError"
)
_OTHER_BYTES = "DO NOT MATCH THE HASHES"
_FULL = re.compile(r"No space left on device|Disk quota exceeded|Errno (28|122)\b")


def install_packages(artifact: Artifact, python: str, scratch: str, say: Say) -> None:
    """Into the environment of `python`. `scratch` is a folder on the same disk, for what is needed meanwhile."""
    installer = os.path.join(scratch, os.path.basename(artifact.installer))
    artifact.copy(artifact.installer, installer)
    requirements = os.path.join(scratch, REQUIREMENTS)
    artifact.copy(REQUIREMENTS, requirements)
    pip = [python, "-I", os.path.join(installer, "pip"), "install", *_HOW, "--requirement", requirements]
    if is_bundled(artifact.bundled):
        written = _run(
            [*pip, "--no-index", "--find-links", _unpack_wheels(artifact, scratch)], scratch, os.environ, True
        )
        if written is None:
            return
        if not _NO_WHEEL.search(written):
            raise refusal_of_pip(written, artifact.version, has_wheels=True, say=say)
        say("the wheels that the artifact brings do not fit this device; asking the package index")
    written = _run(pip, scratch, os.environ, False)
    if written is not None:
        raise refusal_of_pip(written, artifact.version, has_wheels=False, say=say)


_HOW = (
    *("--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir", "--no-warn-script-location"),
    *("--no-compile", "--no-deps", "--require-hashes", "--only-binary", ":all:"),
)


def _unpack_wheels(artifact: Artifact, scratch: str) -> str:
    """As files: pip reads no members of an archive. Those of other devices stay packed."""
    for name in artifact.below(WHEELS):
        if fits(name):
            artifact.copy(name, os.path.join(scratch, *name.split("/")))
    return os.path.join(scratch, WHEELS)


def _run(command: list[str], scratch: str, environment: Mapping[str, str], is_bundled: bool) -> str | None:
    """None when it went well, else what pip wrote."""
    surroundings = pip_environment(environment, scratch, is_bundled=is_bundled)
    done = subprocess.run(
        command,
        env=surroundings,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
        cwd=scratch,
    )
    return None if done.returncode == 0 else done.stdout


def pip_environment(environment: Mapping[str, str], scratch: str, *, is_bundled: bool) -> dict[str, str]:
    """Of the surroundings, what pip may see."""
    kept = {
        name: value
        for name, value in environment.items()
        if not name.startswith(("PIP_", "PYTHON")) or (name in _OF_THE_INDEX and not is_bundled)
    }
    kept["TMPDIR"] = scratch  # /tmp may be small, or closed to programs
    if is_bundled:
        kept["PIP_CONFIG_FILE"] = os.devnull  # pip's own word for: read no configuration at all
    else:
        kept["PIP_USER"] = "0"  # stronger than `user = true` in a pip.conf
        if kept.get("PIP_RETRIES") == "0":  # then pip does not say that it reached nobody
            kept["PIP_RETRIES"] = "1"
    return kept


def refusal_of_pip(written: str, version: str, *, has_wheels: bool, say: Say) -> Refusal:
    """What pip's words mean, in one line; the words themselves go to the log before it."""
    for line in written.splitlines():
        if line.strip():
            say(f"pip: {line}")
    what = f"s3-file-uploader {version} cannot be installed"
    again = "then deploy again or restart the component"
    if _FULL.search(written):
        return Refusal(f"{what}: the disk is full", f"make room for 60 MB, {again}")
    if _OTHER_BYTES in written:
        return Refusal(
            f"{what}: a package is not the one that was pinned (its hash differs)",
            f"an index that serves the packages unchanged, {again}",
        )
    if not has_wheels and _UNREACHABLE.search(written):
        return Refusal(
            f"{what}: no package index can be reached, and the artifact brings no wheels for this device ({target()})",
            f'build the component with WHEELS="{target()}", or let the device reach an index, {again}',
        )
    missing = _NO_WHEEL.search(written)
    if missing:
        return Refusal(
            f"{what}: the package index has no wheel of {missing[1]} for this device ({target()})",
            "a Python from 3.10 to 3.13 on x86_64 or aarch64, or an index that has it",
        )
    errors = [line for line in written.splitlines() if line.startswith("ERROR")]
    return Refusal(f"{what}: {errors[-1] if errors else 'pip failed'}", f"what pip says above, {again}")
