"""Who may do what, by the accessControl of a component's configuration.

service → name of a policy → operations and resources. What no policy allows is refused.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOCAL_TOPICS", "MQTT", "is_allowed", "matches_filter"]

LOCAL_TOPICS = "aws.greengrass.ipc.pubsub"
MQTT = "aws.greengrass.ipc.mqttproxy"


def is_allowed(access_control: Any, service: str, operation: str, resource: str) -> bool:
    policies = access_control.get(service) if isinstance(access_control, dict) else None
    if not isinstance(policies, dict):
        return False
    return any(_allows(policy, service, operation, resource) for policy in policies.values())


def _allows(policy: Mapping[str, Any], service: str, operation: str, resource: str) -> bool:
    operations, resources = policy.get("operations", ()), policy.get("resources", ())
    if "*" not in operations and f"aws.greengrass#{operation}" not in operations:
        return False
    return any(_covers(pattern, service, resource) for pattern in resources)


def _covers(pattern: str, service: str, resource: str) -> bool:
    if re.fullmatch(_as_expression(pattern), resource, re.DOTALL) is not None:
        return True
    # Topics of IoT Core may also be allowed by an MQTT filter.
    return service == MQTT and matches_filter(pattern, resource)


def _as_expression(pattern: str) -> str:
    """`*` is any characters, slashes too; `${*}` is that character itself."""
    parts = re.split(r"(\$\{[^}]*\}|\*)", pattern)
    return "".join(
        ".*" if part == "*" else re.escape(part[2:-1] if part.startswith("${") else part) for part in parts
    )


def matches_filter(topic_filter: str, topic: str) -> bool:
    """As in MQTT: `+` is one level, `#` at the end any number of them."""
    levels, names = topic_filter.split("/"), topic.split("/")
    if levels[-1] == "#":
        levels = levels[:-1]
        names = names[: len(levels)]
    return len(levels) == len(names) and all(
        level in ("+", name) for level, name in zip(levels, names, strict=True)
    )
