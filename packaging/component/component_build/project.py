"""The repository as the build sees it: where things lie, what gdk-config.json and the program say of themselves."""

from __future__ import annotations

import json
import os
import re
from typing import NamedTuple

from component_build.refusal import Refusal

__all__ = ["ARTIFACT", "RECIPE", "ROOT", "VARIANTS", "Component", "program_version", "read_component"]

COMPONENT_FOLDER = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(os.path.dirname(COMPONENT_FOLDER))
ARTIFACT = "s3-file-uploader.zip"
RECIPE = "recipe.yaml"  # `publish` looks for the name that the source has


class Variant(NamedTuple):
    """`folder` has gdk-config.json and recipe.yaml, and gets greengrass-build/, as the GDK has it."""

    folder: str
    requirements: str


VARIANTS = {
    "stream-manager": Variant(ROOT, os.path.join(ROOT, "requirements", "component.txt")),
    "direct": Variant(
        os.path.join(COMPONENT_FOLDER, "direct"), os.path.join(ROOT, "requirements", "component-direct.txt")
    ),
}

# Versions as Greengrass has them, and the GDK's word for "one more than the last that was published".
_VERSION = (
    r"(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?|NEXT_PATCH"
)


class Component(NamedTuple):
    name: str
    version: str
    author: str


def read_component(folder: str) -> Component:
    """From gdk-config.json. Refusal where that says less than a build needs."""
    path = os.path.join(folder, "gdk-config.json")
    try:
        with open(path, encoding="utf-8") as file:
            [(name, said)] = json.load(file)["component"].items()
        component = Component(name, said["version"], said["author"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise Refusal(
            f"{path} is no configuration of one component: {error!r}", f"git checkout -- {path}"
        ) from error
    if not re.fullmatch(_VERSION, component.version):
        raise Refusal(
            f"{path}: version is {component.version!r}", "three numbers with dots, like 1.2.3, or NEXT_PATCH"
        )
    return component


def program_version() -> str:
    with open(os.path.join(ROOT, "src", "s3_file_uploader", "__init__.py"), encoding="utf-8") as file:
        found = re.search(r'^__version__ = "([^"]+)"$', file.read(), re.MULTILINE)
    if found is None:
        raise Refusal(
            "src/s3_file_uploader/__init__.py says no __version__", "the file as it is in the repository"
        )
    return found[1]
