"""What two configurations differ in, by the keys and in the notation that people write them with.

Pure: says what is different and not what follows from it. Settings hold no secret.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS, Field

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3_file_uploader.config.settings import Rule, Settings

__all__ = ["Change", "Difference", "difference"]

_MOST_CHARACTERS = 60  # of one value
_NOTHING = "(nothing)"


@dataclass(frozen=True, slots=True)
class Change:
    """One setting of one owner: a rule's name, or "" for the process. Values as a person writes them."""

    owner: str
    key: str
    before: str
    after: str

    def __str__(self) -> str:
        return f"{self.key} {_shortened(self.before)} → {_shortened(self.after)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """`added` and `removed` are names of rules; `changes` those of rules in both, and of the process."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changes)

    @property
    def changed(self) -> tuple[str, ...]:
        """The names of the rules that are in both and not the same."""
        return tuple(dict.fromkeys(change.owner for change in self.changes if change.owner))

    def changes_in_words(self) -> str:
        """`MaxBandwidth unlimited → 1 MB/s; csv: Interval 10 s → 20 s, Watch true → false`."""
        owners = dict.fromkeys(change.owner for change in self.changes)
        return "; ".join(
            (f"{owner}: " if owner else "")
            + ", ".join(str(change) for change in self.changes if change.owner == owner)
            for owner in owners
        )


def difference(before: Settings, after: Settings) -> Difference:
    """From `before` to `after`. The order of rules means nothing."""
    old = {rule.name: rule for rule in before.rules}
    new = {rule.name: rule for rule in after.rules}
    changes = list(_changes("", PROCESS_FIELDS, before, after))
    for name, rule in new.items():
        if name in old:
            changes += _changes(name, RULE_FIELDS, old[name], rule)
    return Difference(
        tuple(name for name in new if name not in old),
        tuple(name for name in old if name not in new),
        tuple(changes),
    )


def _changes(
    owner: str, table: Iterable[Field], before: Rule | Settings, after: Rule | Settings
) -> Iterable[Change]:
    for each in table:
        was, now = getattr(before, each.attribute), getattr(after, each.attribute)
        if was != now:
            yield Change(owner, each.key, _written(each, was), _written(each, now))


def _written(each: Field, value: Any) -> str:
    return each.write(value) or _NOTHING


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 1] + "…"
