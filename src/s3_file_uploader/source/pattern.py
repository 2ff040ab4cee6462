"""Which files a PathName means: Python's glob, parsed once and asked about one path at a time.

A pattern has a fixed part, `base`, and the parts below it. A walk through folders carries a set of
places in those parts (an int, one bit each: "all before this part is behind us"), so that `**`
costs no more than `*` and nobody goes down where nothing can match. This module touches no disk:
whether a PathName is a folder, and what `~` stands for, is settled before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from s3_file_uploader.source.overlap import Part, TooComplex, find
from s3_file_uploader.source.segment import RECURSIVE, Segment, as_bytes, as_text, escape

__all__ = ["Pattern"]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A parsed PathName.

    `base` is the absolute folder before the first part with a wildcard; `segments` are the parts
    below it, the last of which names files.
    """

    base: bytes
    segments: tuple[Segment, ...]
    start: int = field(init=False, compare=False, repr=False, default=0)  # the places at `base`

    def __post_init__(self) -> None:
        object.__setattr__(self, "start", self._and_beyond(1))

    @classmethod
    def parse(cls, path_name: str | bytes) -> Pattern:
        """Raise ValueError with what is wrong and what would be right."""
        parts = _parts(path_name)
        fixed = []
        segments = [Segment.parse(part) for part in parts]
        while len(segments) > 1 and segments[0].literal is not None:
            fixed.append(segments.pop(0).literal)
        return cls(b"/" + b"/".join(name for name in fixed if name is not None), tuple(segments))

    @classmethod
    def of_folder(cls, folder: str | bytes) -> Pattern:
        """Everything in one folder, whose name is taken as it is, brackets and stars too."""
        path = as_bytes(folder) if isinstance(folder, str) else folder
        return cls.parse(escape(path).rstrip("/") + "/*")

    @property
    def text(self) -> str:
        """The pattern in its plainest spelling."""
        return escape(_inside(self.base)) + "/".join(segment.text for segment in self.segments)

    @property
    def is_recursive(self) -> bool:
        return any(segment.is_recursive for segment in self.segments)

    @property
    def folder_has_wildcard(self) -> bool:
        """Whether files come from more than one folder and keep their path below `base`."""
        return len(self.segments) > 1

    def folder_at(self, relative: bytes) -> bytes:
        """The folder whose path below `base` is `relative`."""
        return _inside(self.base) + relative if relative else self.base

    @property
    def depth(self) -> int:
        """How many folders `base` is below the root."""
        return len(_names(self.base))

    def matches(self, path: bytes) -> bool:
        """Whether an absolute path, written without `//` and `..`, is one of this pattern's."""
        folder, _, name = path.rpartition(b"/")
        return self.holds_files(self.places(folder or b"/")) and self.matches_name(name)

    def matches_name(self, name: bytes) -> bool:
        """Whether the last part matches, in a folder that is known to be right."""
        return bool(name) and self.segments[-1].matches(name)

    def relative_folder(self, folder: bytes) -> bytes:
        """The path of `folder` below `base` if files keep theirs, else nothing."""
        return b"/".join(self._below(folder) or ()) if self.folder_has_wildcard else b""

    def could_contain_folder(self, folder: bytes) -> bool:
        """Whether a scan would open this folder, to look for files or to go further down.

        Ask it of the folder that files are really put into: a folder above `base` is only passed.
        """
        return self.places(folder) != 0

    def rebased(self, folder: bytes) -> Pattern:
        """What becomes of this pattern's files when they move to `folder` with their relative path."""
        return Pattern(folder.rstrip(b"/") or b"/", self.segments)

    def overlaps(self, other: Pattern) -> bool:
        """Whether some file may match both; a doubt is answered with yes."""
        shared = self.shared_base(other)
        if shared is None:
            return False
        try:
            return find([[self.parts(shared)], [other.parts(shared)]]) is not None
        except TooComplex:
            return True

    def shared_base(self, other: Pattern) -> int | None:
        """How many folders both start with; None where their bases part ways."""
        pairs = list(zip(_names(self.base), _names(other.base), strict=False))
        return len(pairs) if all(mine == theirs for mine, theirs in pairs) else None

    def parts(self, skipped: int = 0) -> tuple[Part, ...]:
        """The language of this pattern's paths, without the first `skipped` folders of `base`."""
        return (*self.fixed_parts(skipped), *map(Part.of, self.segments))

    def fixed_parts(self, skipped: int = 0) -> tuple[Part, ...]:
        return tuple(Part.free(escape(name)) for name in _names(self.base)[skipped:])

    def places(self, folder: bytes) -> int:
        """Where in the pattern a walk stands in `folder`; 0 where it would never come."""
        names = self._below(folder)
        places = 0 if names is None else self.start
        for name in names or ():
            places = self.step(places, name)
        return places

    def step(self, places: int, name: bytes) -> int:
        """The places in the folder `name` of a folder with these; 0: do not go down there."""
        after = 0
        for index, segment in enumerate(self.segments[:-1]):
            if not places >> index & 1:
                continue
            if segment.is_recursive:
                after |= 0 if name.startswith(b".") else 1 << index
            elif segment.matches(name):
                after |= 1 << index + 1
        return self._and_beyond(after)

    def holds_files(self, places: int) -> bool:
        """Whether the files of a folder with these places are candidates."""
        return bool(places >> len(self.segments) - 1 & 1)

    def holds_folders(self, places: int) -> bool:
        """Whether folders below a folder with these places may be opened."""
        return bool(places & (1 << len(self.segments) - 1) - 1)

    def _and_beyond(self, places: int) -> int:
        """`**` stands for no folder as well."""
        for index, segment in enumerate(self.segments):
            if segment.is_recursive and places >> index & 1:
                places |= 1 << index + 1
        return places

    def _below(self, folder: bytes) -> list[bytes] | None:
        if folder == self.base:
            return []
        if not folder.startswith(_inside(self.base)):
            return None
        return _names(folder)[len(_names(self.base)) :]


def _names(folder: bytes) -> list[bytes]:
    return [name for name in folder.split(b"/") if name]


def _inside(folder: bytes) -> bytes:
    return folder if folder.endswith(b"/") else folder + b"/"


def _parts(path_name: str | bytes) -> list[str]:
    text = as_text(path_name) if isinstance(path_name, bytes) else path_name
    if not text:
        raise ValueError("is empty: give an absolute folder or pattern, such as /data/*.csv")
    if "\0" in text:
        raise ValueError("holds a NUL character, which no file name can")
    if not text.startswith("/"):
        raise ValueError(f"{text!r} is relative: give an absolute folder or pattern, such as /data/*.csv")
    try:
        as_bytes(text)
    except UnicodeEncodeError:
        raise ValueError(f"{text!r} holds half a character (a lone surrogate), which no name can") from None
    parts = [part for part in text.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"{text!r} holds '..': write the path that it leads to")
    if text.endswith("/") or not parts or parts[-1] == RECURSIVE:
        parts.append("*")
    repeated = [part == after == RECURSIVE for part, after in zip(parts, [*parts[1:], ""], strict=True)]
    return [part for part, is_repeated in zip(parts, repeated, strict=True) if not is_repeated]
