"""The start of the program: by the nucleus, and by people with the small command in the work folder."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from component_install.place import Place

__all__ = ["program", "surroundings", "write_launcher"]

_NAME = "s3-file-uploader"
_TEXT = """\
#!/bin/sh
# The command line of the component, with its ledger. Written anew by each installation and each start.
STATE_DIRECTORY={work}
export STATE_DIRECTORY
exec {python} -I -m s3_file_uploader "$@"
"""
# Of a foreign environment. -I keeps them from the program, this from what it may start.
_FOREIGN = (
    "PYTHONPATH",
    "PYTHONHOME",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONSTARTUP",
    "PYTHONUSERBASE",
    "__PYVENV_LAUNCHER__",
)


def write_launcher(place: Place, name: str) -> None:
    """Let it lead into this environment; in one step, as somebody may be calling it."""
    path = os.path.join(place.work, _NAME)
    text = _TEXT.format(work=shlex.quote(place.work), python=shlex.quote(place.python(name)))
    if _read(path) == text:
        return
    new = f"{path}.{os.getpid()}"
    with open(new, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(new, 0o755)  # noqa: S103  # a command for people
    os.replace(new, path)


def program(place: Place, name: str) -> list[str]:
    """-I: neither the work folder nor anything of the user's is a place to import from. -u: a line is in the
    log once it is said.
    """
    return [place.python(name), "-I", "-u", "-m", "s3_file_uploader", "run"]


def surroundings(place: Place, environment: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in environment.items() if name not in _FOREIGN}
    return {**kept, "STATE_DIRECTORY": place.work, "PYTHONUNBUFFERED": "1"}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except FileNotFoundError:
        return ""
