"""Each rule of a recipe is tested for both variants, as the source stands there and as it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from component import recipes
from component_build.project import VARIANTS

if TYPE_CHECKING:
    from component.recipes import Recipe


@pytest.fixture(
    params=[(variant, state) for variant in VARIANTS for state in ("source", "built")], ids="-".join
)
def recipe(request: pytest.FixtureRequest) -> Recipe:
    variant, state = request.param
    return recipes.source(variant) if state == "source" else recipes.built(variant)


@pytest.fixture(params=VARIANTS)
def built(request: pytest.FixtureRequest) -> Recipe:
    return recipes.built(request.param)
