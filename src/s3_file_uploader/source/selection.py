"""Which files one rule takes: its PathName, the Include and Exclude patterns after it, and no others.

Two kinds of files are never taken, whatever the patterns say: done markers, which only speak for
their file, and files in the middle of their removal (`hidden`). No disk is touched here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_file_uploader.source.hidden import is_hidden
from s3_file_uploader.source.overlap import ANY_FOLDERS, Language, Part, TooComplex, find
from s3_file_uploader.source.pattern import Pattern
from s3_file_uploader.source.segment import RECURSIVE, Segment, as_bytes, escape, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["Filter", "Selection"]

_LONGEST_NAME = 255  # bytes, on every Linux file system of note


@dataclass(frozen=True, slots=True)
class Filter:
    """One Include or Exclude pattern.

    Without a slash it is about the file's name; with one, about its path below the fixed part of
    the rule's PathName. Leading dots are as in PathName: `*` does not match them.
    """

    segments: tuple[Segment, ...]

    @classmethod
    def parse(cls, text: str) -> Filter:
        """Raise ValueError with what is wrong and what would be right."""
        if text.startswith("/"):
            raise ValueError(f"{text!r} is absolute: write it relative to the fixed part of PathName")
        if text.endswith("/"):
            raise ValueError(f"{text!r} ends in a slash: write {text + '*'!r} or {text + '**'!r}")
        if not text:
            raise ValueError("is empty: give a pattern, such as *.tmp")
        if text == RECURSIVE:
            return cls((Segment.parse("*"),))
        pattern = Pattern.parse("/" + text)
        fixed = [Segment.parse(escape(name)) for name in pattern.base.split(b"/") if name]
        return cls((*fixed, *pattern.segments))

    def chooser(self, relative: bytes) -> Callable[[bytes], bool]:
        """Tells, for the files of one folder, which names match."""
        if len(self.segments) == 1 or self._pattern.holds_files(self._pattern.places(b"/" + relative)):
            return self.segments[-1].matches
        return _never

    def parts(self, fixed: tuple[Part, ...]) -> tuple[Part, ...]:
        """The language of the paths that match, below a folder that is spelled `fixed`."""
        own = tuple(map(Part.of, self.segments))
        return (ANY_FOLDERS, *own) if len(own) == 1 else (*fixed, *own)

    @property
    def _pattern(self) -> Pattern:
        return Pattern(b"/", self.segments)


@dataclass(frozen=True, slots=True)
class Selection:
    """What a rule takes. `include`: if there are any, one must match; `exclude`: none may."""

    pattern: Pattern
    include: tuple[Filter, ...] = ()
    exclude: tuple[Filter, ...] = ()
    done_marker: bytes = b""

    @classmethod
    def parse(
        cls,
        path_name: str | bytes,
        *,
        include: Iterable[str] = (),
        exclude: Iterable[str] = (),
        done_marker: str = "",
    ) -> Selection:
        """Raise ValueError with what is wrong and what would be right."""
        if "/" in done_marker or "\0" in done_marker:
            raise ValueError(f"{done_marker!r} cannot end a file's name: give a suffix, such as .done")
        return cls(
            Pattern.parse(path_name),
            tuple(map(Filter.parse, include)),
            tuple(map(Filter.parse, exclude)),
            as_bytes(done_marker),
        )

    def selects(self, relative: bytes, name: bytes) -> bool:
        """Whether a file of this name is taken in the folder `relative` (below the fixed part)."""
        places = self.pattern.places(self.pattern.folder_at(relative))
        return self.pattern.holds_files(places) and bool(name) and self.chooser(relative)(name)

    def chooser(self, relative: bytes) -> Callable[[bytes], bool]:
        """Tells, for the files of one folder that the pattern reaches, which names are taken."""
        matches = self.pattern.segments[-1].matches
        may_be_hidden = self.pattern.segments[-1].takes_dot
        if not (self.include or self.exclude or self.done_marker or may_be_hidden):
            return matches
        include = [wanted.chooser(relative) for wanted in self.include]
        exclude = [unwanted.chooser(relative) for unwanted in self.exclude]
        marker = self.done_marker

        def takes(name: bytes) -> bool:
            return (
                matches(name)
                and not (marker and name.endswith(marker))
                and not is_hidden(name)
                and (not include or any(wanted(name) for wanted in include))
                and not any(unwanted(name) for unwanted in exclude)
            )

        return takes

    def marked(self, name: bytes) -> bytes | None:
        """The file for which a file of this name is the done marker."""
        if self.done_marker and name.endswith(self.done_marker):
            return name[: -len(self.done_marker)] or None
        return None

    def overlaps(self, other: Selection) -> bool:
        """Whether one may take a file, or the done marker of a file, that the other takes.

        A doubt is answered with yes.
        """
        shared = self.pattern.shared_base(other.pattern)
        if shared is None:
            return False
        endings = {(b"", b""), (self.done_marker, b""), (b"", other.done_marker)}
        try:
            return any(self._meets(other, shared, mine, theirs) for mine, theirs in endings)
        except TooComplex:
            return True

    def _meets(self, other: Selection, skipped: int, mine: bytes, theirs: bytes) -> bool:
        """Whether a file of this selection with `mine` after its name is one of the other's with `theirs`."""
        wanted = [*self._wanted(skipped, mine), *other._wanted(skipped, theirs)]
        unwanted = [*self._unwanted(skipped, mine), *other._unwanted(skipped, theirs)]
        return find(wanted, unwanted) is not None

    def name_for(self, identifier: str, relative: bytes = b"") -> bytes:
        """A name for a file whose own was lost, one that this selection takes in that folder.

        `recovered-<identifier>` with whatever the patterns want around it; without those words where
        a pattern leaves no room for them.
        """
        for shape in (f"*recovered-{identifier}*", f"*{identifier}*", "*"):
            name = self._shortest(shape, relative)
            if name is not None and len(name) <= _LONGEST_NAME and self.selects(relative, name):
                return name
        return as_bytes(f"recovered-{identifier}")

    def _shortest(self, shape: str, relative: bytes) -> bytes | None:
        depth = self.pattern.depth
        folders = [Part.free(escape(name)) for name in relative.split(b"/") if name]
        try:
            path = find([*self._wanted(depth), [(*folders, Part.free(shape))]], self._unwanted(depth))
        except TooComplex:
            return None
        return None if path is None else as_bytes(path.rpartition("/")[2])

    def _wanted(self, skipped: int, ending: bytes = b"") -> list[Language]:
        fixed = self.pattern.fixed_parts(skipped)
        languages: list[Language] = [[_ending_in(ending, self.pattern.parts(skipped))]]
        if self.include:
            languages.append([_ending_in(ending, one.parts(fixed)) for one in self.include])
        return languages

    def _unwanted(self, skipped: int, ending: bytes = b"") -> list[Language]:
        fixed = self.pattern.fixed_parts(skipped)
        unwanted = [one.parts(fixed) for one in self.exclude]
        if self.done_marker:
            unwanted.append((ANY_FOLDERS, Part.free("*" + escape(self.done_marker))))
        return [[_ending_in(ending, parts) for parts in unwanted]] if unwanted else []


def _ending_in(ending: bytes, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The language of the same paths with something more at the end of each."""
    *folders, last = parts
    return (*folders, Part(last.tokens + tokens(escape(ending)), last.takes_dot))


def _never(_name: bytes) -> bool:
    return False
