"""A component's configuration as a nucleus keeps it: maps are merged, leaves and lists replaced.

Pure: what a change comes to is a list of steps, one for each leaf that becomes different. A nucleus takes
them one after the other and tells of each, so whoever reads in between sees half a change.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

__all__ = ["MISSING", "Step", "as_strings", "find", "merge_steps", "pointer", "reset_steps", "take"]

Path = tuple[str, ...]


class _Missing:
    """No value, which is not the same as null."""


MISSING = _Missing()


@dataclass(frozen=True)
class Step:
    """The leaf at `path` becomes `value`; MISSING removes it."""

    path: Path
    value: Any


def find(configuration: Mapping[str, Any], path: Sequence[str]) -> Any:
    """What is at `path`, or MISSING."""
    found: Any = configuration
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return MISSING
        found = found[key]
    return found


def pointer(text: str) -> Path:
    """The path that a JSON pointer names, as deployments and recipes write it."""
    if text and not text.startswith("/"):
        raise ValueError(f"no JSON pointer: {text!r}")
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:] if part)


def merge_steps(configuration: Mapping[str, Any], merged: Mapping[str, Any], path: Path = ()) -> list[Step]:
    """What differs once `merged` is merged in at `path`. A leaf set to what it is already is no step."""
    return list(_merge_steps(find(configuration, path), merged, path))


def _merge_steps(now: Any, merged: Any, path: Path) -> Iterator[Step]:
    if not isinstance(merged, dict):
        if type(now) is not type(merged) or now != merged:
            yield Step(path, copy.deepcopy(merged))
        return
    if not merged and not isinstance(now, dict):
        yield Step(path, {})
    for key, value in merged.items():
        inner = now[key] if isinstance(now, dict) and key in now else MISSING
        yield from _merge_steps(inner, value, (*path, key))


def reset_steps(
    configuration: Mapping[str, Any], defaults: Mapping[str, Any], pointers: Iterable[str]
) -> list[Step]:
    """A key that is reset takes its default again; one without a default goes."""
    steps: list[Step] = []
    for text in pointers:
        path = pointer(text)
        now, default = find(configuration, path), find(defaults, path)
        steps += _removals(now, default, path)
        if default is not MISSING:
            steps += _merge_steps(now, default, path)
    return steps


def _removals(now: Any, default: Any, path: Path) -> Iterator[Step]:
    if now is MISSING:
        return
    if default is MISSING:
        yield Step(path, MISSING)
    elif isinstance(now, dict) and isinstance(default, dict):
        for key, value in now.items():
            yield from _removals(value, default.get(key, MISSING), (*path, key))


def take(configuration: dict[str, Any], step: Step) -> None:
    """Take one step, in place. A leaf in the way of a deeper path gives way."""
    if not step.path:
        raise ValueError("the configuration itself is a map")
    inner = configuration
    for key in step.path[:-1]:
        if not isinstance(inner.get(key), dict):
            inner[key] = {}
        inner = inner[key]
    if step.value is MISSING:
        inner.pop(step.path[-1], None)
    else:
        inner[step.path[-1]] = copy.deepcopy(step.value)


def as_strings(value: Any) -> Any:
    """As the scalars of a YAML recipe arrive that lite was given locally: each of them a string."""
    if isinstance(value, dict):
        return {key: as_strings(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [as_strings(inner) for inner in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None else str(value)
