"""The recipe that is published: without comments, because nucleus lite refuses one of more than about 8 KB."""

from __future__ import annotations

from typing import TYPE_CHECKING

from component_build.refusal import Refusal

if TYPE_CHECKING:
    from component_build.project import Component

__all__ = ["MOST_BYTES", "built_recipe"]

MOST_BYTES = 7_999


def built_recipe(source: str, component: Component) -> str:
    """What the GDK fills in when it builds is filled in; what it fills in when it publishes stays.

    That is the artifact's address, `s3://BUCKET_NAME/COMPONENT_NAME/COMPONENT_VERSION/…`. Comments stand on
    lines of their own, those in scripts too.
    """
    lines = [line.rstrip() for line in source.splitlines()]
    text = "".join(f"{line}\n" for line in lines if line and not line.lstrip().startswith("#"))
    filled = {
        "{COMPONENT_NAME}": component.name,
        "{COMPONENT_VERSION}": component.version,
        "{COMPONENT_AUTHOR}": component.author,
    }
    for placeholder, value in filled.items():
        text = text.replace(placeholder, value)
    if "{COMPONENT_" in text:
        raise Refusal(
            "recipe.yaml has a placeholder that nobody fills in: {COMPONENT_…}", f"one of {', '.join(filled)}"
        )
    size = len(text.encode())
    if size > MOST_BYTES:
        raise Refusal(
            f"the recipe has {size} bytes; nucleus lite refuses more than {MOST_BYTES}",
            "fewer settings in DefaultConfiguration (those that are left out have their default), or shorter scripts",
        )
    return text
