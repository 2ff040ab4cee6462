"""What was produced, against what is in the bucket and what is left on disk. Pure: it reads nothing.

The one question is whether any content is lost or altered. A file that was not sent yet is no fault:
it is still there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.demo.view import count, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.demo.bucket import Content

__all__ = ["Comparison", "compare"]

_HIDDEN = ".s3fu-"
_NAMES_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Comparison:
    """The outcome, by file name; `problems` are sentences, and empty when all is well."""

    produced: Mapping[str, Content]
    delivered: Mapping[str, Content]  # produced here, and in the bucket with that very content
    waiting: Mapping[str, Content]  # produced here, not in the bucket, unaltered on disk
    others: Mapping[str, Content]  # in the bucket, and not the producer's: dropped in by a person
    left: Mapping[str, Content]  # everything on disk
    problems: tuple[str, ...]

    @property
    def is_consistent(self) -> bool:
        return not self.problems

    def lines(self) -> list[str]:
        """The summary, as a person reads it."""
        lines = [
            f"  produced       {_amount(self.produced, 'file')}",
            f"  in the bucket  {_amount(self.delivered, 'object')}  each read back, equal byte for byte",
            f"  left on disk   {_amount(self.left, 'file')}",
        ]
        if self.others:
            lines.append(f"  your own       {_amount(self.others, 'object')}  in the bucket")
        lines += [f"  PROBLEM        {problem}" for problem in self.problems]
        return [*lines, "", self._verdict()]

    def _verdict(self) -> str:
        if self.problems:
            return "Something is wrong: see above."
        if self.waiting:
            number = count(len(self.waiting), "file")
            return f"Nothing is lost: {number} not sent yet, still in the folder, unaltered."
        if not self.produced:
            return "Nothing was produced."
        return "Everything that was produced is in the bucket; nothing is lost, nothing is left over."


def compare(
    produced: Mapping[str, Content], in_bucket: Mapping[str, Content], on_disk: Mapping[str, Content]
) -> Comparison:
    """Each mapping is from the file name to what its bytes are."""
    delivered = {name: content for name, content in produced.items() if in_bucket.get(name) == content}
    waiting = {
        name: content
        for name, content in produced.items()
        if name not in in_bucket and on_disk.get(name) == content
    }
    altered = [name for name in produced if name in in_bucket and name not in delivered]
    damaged = [name for name in produced if name in on_disk and on_disk[name] != produced[name]]
    accounted = {*delivered, *waiting, *altered, *damaged}
    lost = [name for name in produced if name not in accounted]
    hidden = [name for name in on_disk if name.startswith(_HIDDEN)]
    problems = [
        _problem(lost, "neither in the bucket nor on disk"),
        _problem(altered, "in the bucket with other bytes than were produced"),
        _problem(damaged, "on disk with other bytes than were produced"),
        _problem(hidden, "left on disk under a hidden name"),
    ]
    return Comparison(
        produced=produced,
        delivered=delivered,
        waiting=waiting,
        others={name: content for name, content in in_bucket.items() if name not in produced},
        left=on_disk,
        problems=tuple(problem for problem in problems if problem),
    )


def _problem(names: list[str], what: str) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > _NAMES_SHOWN else ""
    return f"{count(len(names), 'file')} {what}: {', '.join(sorted(names)[:_NAMES_SHOWN])}{more}"


def _amount(contents: Mapping[str, Content], noun: str) -> str:
    total = sum(content.size_bytes for content in contents.values())
    return f"{count(len(contents), noun):>14}  {size(total):>9}"
