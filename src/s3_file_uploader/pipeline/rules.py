"""A rule at work: its settings, its number in the ledger, what it selects, and where its files go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.source.selection import Selection

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.config import Rule, Settings

__all__ = ["ActiveRule", "active_rules", "destination_of"]


def destination_of(rule: Rule) -> str:
    """What pauses and resumes together: one bucket behind one endpoint with one set of credentials."""
    parts = [f"s3://{rule.bucket_name}", rule.endpoint_url or rule.region, rule.profile]
    return " ".join(part for part in parts if part)


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
            destination_of(rule),
        )
        for rule in settings.rules
    ]
