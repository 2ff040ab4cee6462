"""The recipes of both variants, as their sources stand there and as they are built."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import yaml

from component_build.project import VARIANTS, read_component
from component_build.recipe import built_recipe

__all__ = ["Recipe", "built", "source"]


class Recipe(NamedTuple):
    variant: str
    text: str

    @property
    def content(self) -> dict[str, Any]:
        content: dict[str, Any] = yaml.safe_load(self.text)
        return content

    @property
    def manifest(self) -> dict[str, Any]:
        [manifest] = self.content["Manifests"]
        assert isinstance(manifest, dict)
        return manifest

    @property
    def lifecycle(self) -> dict[str, Any]:
        lifecycle: dict[str, Any] = self.manifest["Lifecycle"]
        return lifecycle

    @property
    def scripts(self) -> list[str]:
        return [phase["Script"] for phase in self.lifecycle.values()]

    @property
    def defaults(self) -> dict[str, Any]:
        """Without what is for the nucleus alone."""
        said = dict(self.content["ComponentConfiguration"]["DefaultConfiguration"])
        del said["accessControl"]
        return said


def source(variant: str) -> Recipe:
    return Recipe(variant, Path(VARIANTS[variant].folder, "recipe.yaml").read_text(encoding="utf-8"))


def built(variant: str) -> Recipe:
    return Recipe(variant, built_recipe(source(variant).text, read_component(VARIANTS[variant].folder)))
