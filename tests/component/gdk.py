"""What the GDK does around a custom build, and when it publishes what was built."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import yaml

__all__ = ["Built", "build", "publish"]


class Built(NamedTuple):
    folder: Path
    name: str
    version: str
    code: int
    out: str
    err: str

    @property
    def artifacts(self) -> Path:
        return self.folder / "greengrass-build" / "artifacts" / self.name / self.version

    @property
    def artifact(self) -> Path:
        [artifact] = self.artifacts.iterdir()
        return artifact

    @property
    def recipe(self) -> str:
        return (self.folder / "greengrass-build" / "recipes" / "recipe.yaml").read_text(encoding="utf-8")


def build(folder: Path, **environment: str) -> Built:
    """`gdk component build` in this folder. It makes the folders before, and heeds no exit code."""
    [(name, said)] = json.loads((folder / "gdk-config.json").read_text(encoding="utf-8"))["component"].items()
    output = folder / "greengrass-build"
    shutil.rmtree(output, ignore_errors=True)
    (output / "recipes").mkdir(parents=True)
    (output / "artifacts" / name / said["version"]).mkdir(parents=True)
    done = subprocess.run(
        said["build"]["custom_build_command"],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return Built(folder, name, said["version"], done.returncode, done.stdout, done.stderr)


def publish(built: Built, bucket: str, version: str) -> dict[str, Any]:
    """The recipe that is sent to the cloud. An artifact that is not there stops it, as does another name."""
    recipe: dict[str, Any] = yaml.safe_load(built.recipe)
    assert recipe["ComponentName"] == built.name
    recipe["ComponentVersion"] = version
    for manifest in recipe["Manifests"]:
        for artifact in manifest["Artifacts"]:
            file = Path(artifact["URI"]).name
            assert [path.name for path in built.artifacts.glob(file)] == [file]
            artifact["URI"] = f"s3://{bucket}/{built.name}/{version}/{file}"
    return yaml.safe_load(yaml.dump(recipe))  # type: ignore[no-any-return]
