"""The artifact: only what runs, and the same bytes each time.

No time, owner, mode or order of this machine gets in. What it holds has a digest of its own, `build_id`, from
which the device knows whether it has this very build already.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from typing import TYPE_CHECKING

from component_build.pins import as_requirements
from component_build.project import COMPONENT_FOLDER, ROOT

if TYPE_CHECKING:
    from component_build.pins import Pin

__all__ = ["artifact_content", "write_archive"]

_TIME = (1980, 1, 1, 0, 0, 0)  # the first that a zip can say
_MODE = 0o100644 << 16
_UNIX = 3
_PACKED = (".whl",)  # compressed already; and read without unpacking
# The demo is for a desk: it needs a server of its own. Only its own command imports it.
_LEFT_OUT = (os.path.join("s3_file_uploader", "demo"),)
_KINDS = (".py", ".sql", ".typed")


def artifact_content(
    *, version: str, pins: list[Pin], installer: str, wheels: list[str], bundled: list[str]
) -> dict[str, bytes]:
    """Name and content of every file."""
    content = {
        "__main__.py": _read(os.path.join(COMPONENT_FOLDER, "bootstrap.py")),
        "LICENSE": _read(os.path.join(ROOT, "LICENSE")),
        "requirements.txt": as_requirements(pins).encode(),
        f"installer/{os.path.basename(installer)}": _read(installer),
    }
    content.update(_package(os.path.join(ROOT, "src"), "s3_file_uploader"))
    content.update(_package(COMPONENT_FOLDER, "component_install"))
    content.update({f"wheels/{os.path.basename(wheel)}": _read(wheel) for wheel in wheels})
    build = {"version": version, "bundled": bundled, "build_id": _digest(content)}
    content["build.json"] = (json.dumps(build, indent=1, sort_keys=True) + "\n").encode()
    return content


def write_archive(content: dict[str, bytes], path: str) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in sorted(content):
            member = zipfile.ZipInfo(name, _TIME)
            member.create_system, member.external_attr = _UNIX, _MODE
            is_packed = name.endswith(_PACKED)
            archive.writestr(
                member, content[name], zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED, 9
            )


def _package(parent: str, name: str) -> dict[str, bytes]:
    found = {}
    for folder, folders, files in os.walk(os.path.join(parent, name)):
        below = os.path.relpath(folder, parent)
        folders[:] = [
            each for each in folders if each != "__pycache__" and os.path.join(below, each) not in _LEFT_OUT
        ]
        for file in files:
            if file.endswith(_KINDS) and not file.startswith("."):
                found[os.path.join(below, file).replace(os.sep, "/")] = _read(os.path.join(folder, file))
    return found


def _digest(content: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name in sorted(content):
        digest.update(f"{name}\0{len(content[name])}\0".encode())
        digest.update(content[name])
    return digest.hexdigest()


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
