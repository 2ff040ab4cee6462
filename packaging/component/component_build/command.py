"""The command: arguments, the order of the steps, what is said."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from typing import TYPE_CHECKING

from component_build.archive import artifact_content, write_archive
from component_build.pins import installer_among, read_pins
from component_build.project import ARTIFACT, RECIPE, VARIANTS, program_version, read_component
from component_build.recipe import built_recipe
from component_build.refusal import Refusal
from component_build.wheels import fetch_installer, fetch_wheels, read_targets

if TYPE_CHECKING:
    from component_build.project import Variant

__all__ = ["main"]


def main(arguments: list[str]) -> int:
    said = _parse(arguments)
    variant = VARIANTS[said.variant]
    try:
        _build(variant, said.wheels)
    except (Refusal, OSError) as error:
        # The GDK goes on whatever the exit code says: without a recipe it cannot publish what is not there.
        shutil.rmtree(_output(variant), ignore_errors=True)
        sys.stdout.flush()
        sys.stderr.write(f"\nTHE COMPONENT WAS NOT BUILT: {error}\n")
        return 1
    return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="build.py", description="Build the Greengrass component.")
    parser.add_argument(
        "--variant",
        choices=sorted(VARIANTS),
        default="stream-manager",
        help="through Stream Manager (default), or straight to S3",
    )
    parser.add_argument(
        "--wheels",
        default=os.environ.get("WHEELS", ""),
        metavar="TARGETS",
        help='bring the packages along, for devices without a package index: "linux/aarch64 linux/x86_64 '
        'py3.10-3.13" (default: $WHEELS, else none)',
    )
    return parser.parse_args(arguments)


def _build(variant: Variant, wheels: str) -> None:
    component, version = read_component(variant.folder), program_version()
    print(f"building {component.name} {component.version}", flush=True)
    if component.version not in (version, "NEXT_PATCH"):
        print(
            f"  note: the program is version {version}; gdk-config.json says {component.version} of the component"
        )
    with open(os.path.join(variant.folder, RECIPE), encoding="utf-8") as file:
        recipe = built_recipe(file.read(), component)
    content = _content(variant.requirements, version, wheels)
    recipes = os.path.join(_output(variant), "recipes")
    artifacts = os.path.join(_output(variant), "artifacts", component.name, component.version)
    for folder in (recipes, artifacts):
        shutil.rmtree(folder, ignore_errors=True)
        os.makedirs(folder)
    write_archive(content, os.path.join(artifacts, ARTIFACT))
    with open(os.path.join(recipes, RECIPE), "w", encoding="utf-8") as file:
        file.write(recipe)
    _tell(os.path.join(artifacts, ARTIFACT), len(content))
    _tell(os.path.join(recipes, RECIPE), None)


def _content(requirements: str, version: str, wheels: str) -> dict[str, bytes]:
    pins = read_pins(requirements)
    installer = installer_among(pins)
    rest = [pin for pin in pins if pin is not installer]
    found, targets = {}, read_targets(wheels)
    print(f"  pip {installer.version}, the installer on the device", flush=True)
    installer_wheel = fetch_installer(installer)
    for target in targets:
        print(f"  wheels for {target}", flush=True)
        found.update({os.path.basename(path): path for path in fetch_wheels(rest, target)})
    if not targets:
        print("  no wheels: the device needs a package index (WHEELS brings them along)")
    return artifact_content(
        version=version,
        pins=rest,
        installer=installer_wheel,
        wheels=list(found.values()),
        bundled=[str(target) for target in targets],
    )


def _output(variant: Variant) -> str:
    return os.path.join(variant.folder, "greengrass-build")


def _tell(path: str, files: int | None) -> None:
    size = os.path.getsize(path)
    amount = f"{size / 1e6:.1f} MB, {files} files" if files else f"{size} bytes"
    print(f"  {os.path.relpath(path)}: {amount}", flush=True)
