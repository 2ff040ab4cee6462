"""What the artifact holds. It is read as it lies there: an archive, or the folder that somebody unpacked."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from component_install.refusal import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["INSTALLER", "PACKAGE", "REQUIREMENTS", "WHEELS", "Artifact", "open_artifact"]

PACKAGE = "s3_file_uploader/"
REQUIREMENTS = "requirements.txt"
INSTALLER = "installer/"  # the folder of pip's own wheel
WHEELS = "wheels/"
_BUILD = "build.json"


class Artifact:
    """`version`: of the program. `build_id`: a digest of all that the artifact holds. `bundled`: for which
    platforms and Pythons it brings wheels, like "linux/aarch64 py3.11".
    """

    def __init__(self, path: str, archive: zipfile.ZipFile | None) -> None:
        self._path = path
        self._archive = archive
        self.names = sorted(_names_in(path) if archive is None else archive.namelist())
        said: dict[str, Any] = json.loads(self._read(_BUILD))
        self.version: str = said["version"]
        self.build_id: str = said["build_id"]
        self.bundled: list[str] = said["bundled"]

    @property
    def installer(self) -> str:
        found = self.below(INSTALLER)
        if not found:
            raise KeyError(f"no {INSTALLER} in it")
        return found[0]

    def below(self, folder: str) -> list[str]:
        return [name for name in self.names if name.startswith(folder)]

    def copy(self, name: str, target: str) -> None:
        """Into a new file, whose folder is made where it is missing; as readable as the umask lets it be."""
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with self._open(name) as source, open(target, "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 18)

    def _read(self, name: str) -> bytes:
        with self._open(name) as source:
            return source.read()

    @contextmanager
    def _open(self, name: str) -> Iterator[IO[bytes]]:
        if self._archive is None:
            with open(os.path.join(self._path, name), "rb") as source:
                yield source
        else:
            with self._archive.open(name) as member:
                yield member


@contextmanager
def open_artifact(path: str) -> Iterator[Artifact]:
    """Refusal where it is damaged."""
    try:
        if os.path.isdir(path):
            yield Artifact(path, None)
        else:
            with zipfile.ZipFile(path) as archive:
                yield Artifact(path, archive)
    except (
        zipfile.BadZipFile,
        zlib.error,
        KeyError,
        EOFError,
        json.JSONDecodeError,
        FileNotFoundError,
    ) as error:
        if isinstance(error, FileNotFoundError) and not str(error.filename).startswith(path):
            raise
        raise Refusal(
            f"the artifact {path} is damaged or incomplete ({error})", "build and deploy the component again"
        ) from error


def _names_in(folder: str) -> Iterator[str]:
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in files:
            yield os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
