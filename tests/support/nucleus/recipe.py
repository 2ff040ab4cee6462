"""A component laid out on the disk, and its scripts run, as the nucleus of a kind does it.

Artifacts are below `<root>/packages/artifacts`, unzipped ones below `<root>/packages/artifacts-unarchived`,
the working directory is the component's below `work` in that root. A recipe that the nucleus would not take is refused here
as well.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from typing import TYPE_CHECKING, Any

from support.nucleus.component import component_of
from support.nucleus.interpolation import fill_classic, fill_lite
from support.nucleus.kinds import LITE
from support.nucleus.script import Script

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Installed", "RecipeRefused"]

_FILE_MODE = 0o440
_RUNTIMES = {LITE: {"*", "aws_nucleus_lite"}, "classic": {"*", "aws_nucleus_classic"}}


class RecipeRefused(Exception):
    """This nucleus does not take the recipe, or has no script of that name."""


class Installed:
    """A component whose artifacts are where its nucleus puts them.

    `artifacts` are files, each copied under its own name. With `is_local` the deployment is one from the
    device itself: lite then unzips nothing.
    """

    def __init__(
        self,
        recipe: Mapping[str, Any],
        artifacts: Sequence[str | os.PathLike[str]],
        root: str | os.PathLike[str],
        *,
        kind: str,
        configuration: Mapping[str, Any] | None = None,
        thing_name: str = "Thing",
        is_local: bool = False,
    ) -> None:
        self.recipe = recipe
        self.kind = kind
        self.root = os.fspath(root)
        self.name, self.version = str(recipe["ComponentName"]), str(recipe["ComponentVersion"])
        self.configuration = component_of(self.name, recipe, configuration).configuration
        self._thing_name = thing_name
        self._lifecycle = self._manifest().get("Lifecycle") or recipe.get("Lifecycle") or {}
        os.makedirs(self.work, exist_ok=True)
        os.makedirs(self._logs, exist_ok=True)
        self._lay_out(artifacts, does_unzip=not (is_local and kind == LITE))

    # -- where things are

    @property
    def work(self) -> str:
        return os.path.join(self.root, "work", self.name)

    @property
    def artifacts(self) -> str:
        return os.path.join(self.root, "packages", "artifacts", self.name, self.version)

    @property
    def decompressed(self) -> str:
        return os.path.join(self.root, "packages", "artifacts-unarchived", self.name, self.version)

    @property
    def _logs(self) -> str:
        return os.path.join(self.root, "logs")

    def _values(self) -> dict[str, str]:
        # Lite writes its folders with a slash at the end.
        end = "/" if self.kind == LITE else ""
        return {
            "artifacts:path": self.artifacts + end,
            "artifacts:decompressedPath": self.decompressed + end,
            "work:path": self.work + end,
            "kernel:rootPath": self.root,
            "iot:thingName": self._thing_name,
        }

    # -- its scripts

    def script(self, phase: str) -> str:
        """`install` or `run`, with its variables filled in as this nucleus does it."""
        text, own_variables = self._phase(phase)
        if self.kind != LITE:
            return fill_classic(text, self._values(), self.configuration)
        filled = "#!/bin/sh\n"
        for variables in (self._key(self._lifecycle, "Setenv") or {}, own_variables):
            for name, value in variables.items():
                part, is_whole = fill_lite(value, self._values(), self.configuration, single_quoted=True)
                filled += f"export {name}='{part}" + ("'\n" if is_whole else "")
                if not is_whole:
                    return filled
        return filled + fill_lite(text, self._values(), self.configuration)[0]

    def start(self, phase: str, environment: Mapping[str, str]) -> Script:
        """Its process, in the work folder and with nothing but this environment."""
        log = os.path.join(self._logs, f"{self.name}.{phase}")
        script = self.script(phase)
        if self.kind != LITE:
            variables = {**environment, **self._classic_variables(phase)}
            return Script(["/bin/sh", "-c", script], self.work, variables, log)
        with open(log + ".sh", "w", encoding="utf-8") as file:
            file.write(script)
        return Script(["/bin/sh", log + ".sh"], self.work, environment, log)

    def _classic_variables(self, phase: str) -> dict[str, str]:
        own = {**(self._key(self._lifecycle, "Setenv") or {}), **self._phase(phase)[1]}
        return {
            name: fill_classic(str(value), self._values(), self.configuration) for name, value in own.items()
        }

    def _phase(self, phase: str) -> tuple[str, dict[str, str]]:
        """Its text and its own variables."""
        found = self._key(self._lifecycle, phase)
        if isinstance(found, str):
            return found, {}
        text = self._key(found, "Script") if isinstance(found, dict) else None
        if not isinstance(text, str):
            raise RecipeRefused(f"{self.name} has no {phase} on {self.kind}")
        return text, self._key(found, "Setenv") or {}

    def _key(self, of: Mapping[str, Any], name: str) -> Any:
        """Keys are compared without their case on the classic nucleus, as they are on lite."""
        if self.kind == LITE:
            return of.get(name)
        return next((value for key, value in of.items() if key.lower() == name.lower()), None)

    def _manifest(self) -> Mapping[str, Any]:
        """The first one for this platform. Lite passes over those that name no runtime."""
        for manifest in self.recipe.get("Manifests", ()):
            platform = manifest.get("Platform") or {}
            runtime = platform.get("runtime", None if self.kind == LITE else "*")
            if platform.get("os", "*") in {"linux", "all", "*"} and runtime in _RUNTIMES[self.kind]:
                return manifest  # type: ignore[no-any-return]
        raise RecipeRefused(f"{self.name} has no manifest for linux on {self.kind}")

    # -- its artifacts

    def _lay_out(self, artifacts: Sequence[str | os.PathLike[str]], *, does_unzip: bool) -> None:
        os.makedirs(self.artifacts, exist_ok=True)
        os.makedirs(self.decompressed, exist_ok=True)
        for artifact in artifacts:
            name = os.path.basename(os.fspath(artifact))
            copied = os.path.join(self.artifacts, name)
            _remove(copied)
            shutil.copyfile(artifact, copied)
            os.chmod(copied, _FILE_MODE)
            if does_unzip and zipfile.is_zipfile(copied):
                _unzip(copied, os.path.join(self.decompressed, os.path.splitext(name)[0]))


def _remove(path: str) -> None:
    if os.path.exists(path):
        os.unlink(path)


def _unzip(archive: str, folder: str) -> None:
    """Every file is only for reading, whatever its mode in the archive."""
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder)
    for parent, _folders, files in os.walk(folder):
        for name in files:
            os.chmod(os.path.join(parent, name), _FILE_MODE)
