"""Whether some path can match several patterns at once, and an example of one.

Two rules that would claim the same file are refused, and rules that never can must not be: this
needs an answer, not a guess. Each pattern is walked as an automaton over the characters of a path;
all of them step together, and the first path that every wanted language accepts and no unwanted one
does is the shortest such path. Only one character of each kind is tried ("some letter that no
pattern mentions"). A search that grows beyond `LIMIT` gives up, and whoever asked assumes the worst.
"""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from s3_file_uploader.source.segment import Segment, tokens

__all__ = ["ANY_FOLDERS", "LIMIT", "Language", "Part", "TooComplex", "find"]

LIMIT = 10_000  # steps of the joint walk: far beyond any pattern that a person would write

_HALF_CHARACTERS = range(0xD800, 0xDC80)  # they stand for no byte
_LAST_CHARACTER = 0x10FFFF


class TooComplex(Exception):
    """The search was given up without an answer."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one name of a path may be; `repeats`: any number of names of any spelling instead."""

    tokens: tuple[str, ...]
    takes_dot: bool
    repeats: bool = False

    @classmethod
    def of(cls, segment: Segment) -> Part:
        if segment.is_recursive:
            return cls((), segment.takes_dot, repeats=True)
        return cls(tokens(segment.text), segment.takes_dot)

    @classmethod
    def free(cls, text: str) -> Part:
        """A part without the dot rule."""
        return cls(tokens(text), takes_dot=True)


ANY_FOLDERS = Part((), takes_dot=True, repeats=True)

# What any one of several patterns matches; a pattern is a sequence of parts, the last one of which
# does not repeat.
Language = Sequence[tuple[Part, ...]]

# Where one pattern stands: which pattern of its language, which part of it, how many of the part's
# tokens are behind, and whether the name has yet to begin.
_Place = tuple[int, int, int, bool]
_Places = frozenset[_Place]

_NO_NAMES: Language = ((ANY_FOLDERS, Part.free(".")), (ANY_FOLDERS, Part.free("..")))


def find(wanted: Sequence[Language], unwanted: Iterable[Language] = ()) -> str | None:
    """The shortest path that is in each wanted language and in no unwanted one; None if there is none.

    Raises TooComplex when that cannot be said with bounded effort.
    """
    characters = _characters([*wanted, *unwanted])
    accepted = _Characters(characters)
    positive = [_Automaton(language, accepted) for language in wanted]
    negative = [_Automaton(language, accepted) for language in (*unwanted, _NO_NAMES)]
    return _search(positive, negative, "/" + characters)


def _search(positive: list[_Automaton], negative: list[_Automaton], characters: str) -> str | None:
    everyone = positive + negative
    start = tuple(automaton.start for automaton in everyone)
    came_from: dict[tuple[_Places, ...], tuple[tuple[_Places, ...], str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        here = waiting.popleft()
        if all(map(_Automaton.accepts, positive, here)) and not any(
            map(_Automaton.accepts, negative, here[len(positive) :])
        ):
            return _spelled(came_from, here)
        for character in characters:
            after = _together(everyone, len(positive), here, character)
            if after is not None and after not in came_from:
                came_from[after] = here, character
                waiting.append(after)
        if len(came_from) > LIMIT:
            raise TooComplex
    return None


def _together(
    everyone: list[_Automaton], needed: int, here: tuple[_Places, ...], character: str
) -> tuple[_Places, ...] | None:
    """One step of all; None as soon as one that is needed cannot take it."""
    after = []
    for number, (automaton, places) in enumerate(zip(everyone, here, strict=True)):
        reached = automaton.step(places, character)
        if not reached and number < needed:
            return None
        after.append(reached)
    return tuple(after)


def _spelled(
    came_from: dict[tuple[_Places, ...], tuple[tuple[_Places, ...], str] | None], end: tuple[_Places, ...]
) -> str:
    path = []
    step = came_from[end]
    while step is not None:
        path.append(step[1])
        step = came_from[step[0]]
    return "".join(reversed(path))


class _Automaton:
    """One language, read a character at a time; it may stand in many places at once."""

    def __init__(self, language: Language, accepted: _Characters) -> None:
        self._language = language
        self._accepted = accepted
        self._known: dict[tuple[_Places, str], _Places] = {}
        self.start = frozenset(
            place for number in range(len(language)) for place in self._and_beyond((number, 0, 0, True))
        )

    def accepts(self, places: _Places) -> bool:
        for number, index, behind, is_fresh in places:
            parts = self._language[number]
            if index == len(parts) - 1 and behind == len(parts[index].tokens) and not is_fresh:
                return True
        return False

    def step(self, places: _Places, character: str) -> _Places:
        known = self._known.get((places, character))
        if known is None:
            move = self._next_name if character == "/" else self._next_character
            known = frozenset(
                beyond
                for place in places
                for after in move(place, character)
                for beyond in self._and_beyond(after)
            )
            self._known[places, character] = known
        return known

    def _next_name(self, place: _Place, _slash: str) -> Iterator[_Place]:
        number, index, behind, is_fresh = place
        parts = self._language[number]
        if is_fresh:
            return  # a name has one character at least
        if parts[index].repeats:
            yield number, index, 0, True
        elif behind == len(parts[index].tokens) and index + 1 < len(parts):
            yield number, index + 1, 0, True

    def _next_character(self, place: _Place, character: str) -> Iterator[_Place]:
        number, index, behind, is_fresh = place
        part = self._language[number][index]
        if is_fresh and character == "." and not part.takes_dot:
            return
        if part.repeats:
            yield number, index, 0, False
        elif behind < len(part.tokens):
            expected = part.tokens[behind]
            if expected == "*":
                yield number, index, behind, False
            elif character in self._accepted[expected]:
                yield number, index, behind + 1, False

    def _and_beyond(self, place: _Place) -> Iterator[_Place]:
        """The place, and those reached from it without reading: `*` and `**` may stand for nothing."""
        yield place
        number, index, behind, is_fresh = place
        part = self._language[number][index]
        if part.repeats and is_fresh:
            yield from self._and_beyond((number, index + 1, 0, True))
        elif behind < len(part.tokens) and part.tokens[behind] == "*":
            yield from self._and_beyond((number, index, behind + 1, is_fresh))


class _Characters(dict[str, frozenset[str]]):
    """Which of the characters that are tried a token accepts: fnmatch itself is asked."""

    def __init__(self, characters: str) -> None:
        super().__init__()
        self._tried = characters

    def __missing__(self, token: str) -> frozenset[str]:
        match = re.compile(fnmatch.translate(token)).match
        self[token] = frozenset(character for character in self._tried if match(character))
        return self[token]


def _characters(languages: Iterable[Language]) -> str:
    """One character of each kind that the languages can tell apart, the readable ones first.

    Two characters with no mentioned one at or between them are of one kind: a set only changes at
    the characters that it spells out.
    """
    parts = [part for language in languages for parts in language for part in parts]
    sets = sorted({token for part in parts for token in part.tokens} - {"*"})
    edges = {1, ord("."), ord(".") + 1, ord("/"), ord("/") + 1, 0xD800, 0xDC80, _LAST_CHARACTER + 1}
    edges |= {ord(character) + more for token in sets for character in token for more in (0, 1)}
    ranges = itertools.pairwise(sorted(edges))
    tried = (_readable(first, end) for first, end in ranges if first not in (*_HALF_CHARACTERS, ord("/")))
    return "".join(_one_of_each(sorted(tried, key=_reading_order), sets))


def _one_of_each(characters: list[str], sets: list[str]) -> Iterator[str]:
    accepted = _Characters("".join(characters))
    kinds = set()
    for character in characters:
        kind = (character == ".", *(character in accepted[one] for one in sets))
        if kind not in kinds:
            kinds.add(kind)
            yield character


def _readable(first: int, end: int) -> str:
    for preferred in "x0a_":
        if first <= ord(preferred) < end:
            return preferred
    return chr(first)


def _reading_order(character: str) -> tuple[bool, bool, int]:
    return not character.isalnum(), not character.isprintable(), ord(character)
