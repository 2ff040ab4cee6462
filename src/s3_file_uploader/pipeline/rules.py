"""A rule at work: its settings, its number in the ledger, what it selects, and where its files go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.config import manner_of, place_of
from s3_file_uploader.source.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from s3_file_uploader.config import Rule, Settings

__all__ = ["ActiveRule", "active_rules", "destination_of", "store_of"]


def destination_of(rule: Rule, among: Iterable[Rule] = ()) -> str:
    """What pauses and resumes together: one prefix of one bucket behind one endpoint with one set of credentials.

    A store may refuse what one rule wants of its objects, or their prefix, and take another's: rules
    `among` which some want or reach the same bucket otherwise are told apart by their names.
    """
    parts = [f"s3://{rule.bucket_name}", rule.endpoint_url or rule.region, rule.profile]
    shown = " ".join(part for part in parts if part)
    others = [one for one in among if destination_of(one) == shown]
    alike = [one.name for one in others if _identity(one) == _identity(rule)]
    return shown if len(alike) == len(others) else f"{shown} ({', '.join(alike)})"


def store_of(rule: Rule) -> tuple[str, str]:
    """Where object names are one space, whoever sends there."""
    return rule.bucket_name, rule.endpoint_url


def _identity(rule: Rule) -> tuple[object, ...]:
    return place_of(rule), manner_of(rule), rule.object_key_prefix


@dataclass(slots=True)
class ActiveRule:
    """`looked_at` is when its first whole scan of this run ended, on the running clock; None before."""

    setting: Rule
    id: int
    selection: Selection
    destination: str
    looked_at: float | None = None

    @property
    def name(self) -> str:
        return self.setting.name

    @property
    def base(self) -> bytes:
        return self.selection.pattern.base

    @property
    def store(self) -> tuple[str, str]:
        return store_of(self.setting)

    @property
    def selected_by(self) -> str:
        """By what it selects, as one text: when that changes, files may no longer be its own."""
        setting = self.setting
        return repr((setting.path_name, setting.include, setting.exclude, setting.done_marker))

    def takes(self, folder: bytes, name: bytes) -> bool:
        pattern = self.selection.pattern
        return pattern.holds_files(pattern.places(folder)) and self.selection.selects(
            pattern.relative_folder(folder), name
        )


def active_rules(settings: Settings, numbers: Mapping[str, int]) -> list[ActiveRule]:
    """The configuration's rules with their numbers in the ledger."""
    return [
        ActiveRule(
            rule,
            numbers[rule.name],
            Selection.parse(
                rule.path_name, include=rule.include, exclude=rule.exclude, done_marker=rule.done_marker
            ),
            destination_of(rule, settings.rules),
        )
        for rule in settings.rules
    ]
