"""A component as its nucleus knows it: a name, a configuration with its policies, and a token for each life."""

from __future__ import annotations

import base64
import copy
import secrets
import string
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from support.nucleus.configuration import merge_steps, take
from support.nucleus.kinds import LITE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.nucleus.configuration import Step

__all__ = ["TOKEN_EXCHANGE", "Component", "component_of", "fresh_token"]

TOKEN_EXCHANGE = "aws.greengrass.TokenExchangeService"


@dataclass
class Component:
    name: str
    configuration: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    uses_token_exchange: bool = False
    changed_at: dict[tuple[str, ...], float] = field(default_factory=dict)  # seconds since 1970

    def take(self, step: Step, timestamp: float) -> None:
        take(self.configuration, step)
        self.changed_at[step.path] = timestamp


def component_of(
    name: str,
    recipe: Mapping[str, Any] | None = None,
    configuration: Mapping[str, Any] | None = None,
    access_control: Mapping[str, Any] | None = None,
) -> Component:
    """The recipe's defaults, with `configuration` merged in as by the deployment that brought it.

    `access_control` is for tests without a recipe: its place is in the configuration as well.
    """
    recipe = recipe or {}
    defaults = copy.deepcopy(recipe.get("ComponentConfiguration", {}).get("DefaultConfiguration", {}))
    if access_control is not None:
        defaults["accessControl"] = copy.deepcopy(dict(access_control))
    current = copy.deepcopy(defaults)
    for step in merge_steps(current, dict(configuration or {})):
        take(current, step)
    uses_token_exchange = TOKEN_EXCHANGE in recipe.get("ComponentDependencies", {})
    return Component(name, current, defaults, uses_token_exchange)


def fresh_token(kind: str) -> str:
    """16 characters on both: random capitals and digits on classic, base64 on lite."""
    if kind == LITE:
        return base64.b64encode(secrets.token_bytes(12)).decode()
    return "".join(secrets.choice(string.ascii_uppercase + string.digits) for _ in range(16))
