from __future__ import annotations

import fnmatch
import glob
import os
import tempfile
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3_file_uploader.source.overlap import TooComplex, find
from s3_file_uploader.source.pattern import Pattern
from s3_file_uploader.source.segment import Segment, as_bytes, as_text, escape, tokens

# Few characters, so that random patterns and random names meet; é takes two bytes, \udcff is a byte
# that is not UTF-8.
PIECES = [
    "a",
    "b",
    "c",
    ".",
    "é",
    "\udcff",
    "-",
    "!",
    "]",
    "[",
    "\n",
    "*",
    "*",
    "*",
    "?",
    "?",
    "[ab]",
    "[!a]",
]
PIECES += [
    "[a-c]",
    "[c-a]",
    "[]a]",
    "[!]]",
    "[*]",
    "[.]",
    "[!.]",
    "[é]",
    "[a-é]",
    "[",
    "[!",
    "**",
    "\\",
    "[[]",
]
PARTS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
SEGMENTS = PARTS.filter(lambda part: part not in (".", "..", "**"))
ANY_SEGMENTS = st.one_of(SEGMENTS, st.sampled_from(["**", "*", "?", "a*", ".*", "a"]))
NAMES = st.text(st.sampled_from("abc.é\udcff-!][\n*\\"), min_size=1, max_size=4).filter(
    lambda name: name not in (".", "..")
)


def matches_as_glob(name: str, part: str) -> bool:
    is_shielded = name.startswith(".") and not part.startswith(".")
    return fnmatch.fnmatchcase(name, part) and not is_shielded


@given(SEGMENTS, NAMES)
@example("[!a]", "é")
@example("?", "é")
@example("*é", "\udcc3é")
@example("\udcc3*", "é")
@example("[.]a", ".a")
@example("*.a", ".a")
@example(".*", ".a")
def test_a_part_matches_what_glob_matches(part: str, name: str) -> None:
    assert Segment.parse(part).matches(as_bytes(name)) == matches_as_glob(as_text(as_bytes(name)), part)


@given(SEGMENTS)
def test_the_tokens_of_a_part_are_the_part(part: str) -> None:
    without_doubles = part
    while "**" in without_doubles:
        without_doubles = without_doubles.replace("**", "*")
    joined = "".join(tokens(part))

    assert joined == without_doubles or "[" in part  # a star in brackets stays as it is


@given(NAMES)
def test_an_escaped_name_matches_itself_alone(name: str) -> None:
    segment = Segment.parse(escape(as_bytes(name)))

    assert segment.literal == as_bytes(name)
    assert segment.matches(as_bytes(name))
    assert not segment.matches(as_bytes(name) + b"a")
    assert escape(as_bytes(name)) == glob.escape(as_text(as_bytes(name)))


@settings(max_examples=60)
@given(
    st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=8),
    st.lists(ANY_SEGMENTS, min_size=1, max_size=3),
)
@example([["a", "b"], ["b"]], ["**", "b"])
@example([["a", "b", "c"], ["a", ".b", "c"]], ["**"])
@example([["a", "b"]], ["[a]", "b"])
def test_a_pattern_matches_the_files_that_glob_finds(paths: list[list[str]], parts: list[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="pattern[") as root:
        files = {path for names in paths if (path := make_file(root, names))}
        text = os.path.join(glob.escape(root), *parts)
        found = {path for path in glob.glob(text, recursive=True) if os.path.isfile(path)}
        pattern = Pattern.parse(text)

        assert {path for path in files if pattern.matches(os.fsencode(path))} == found


def make_file(root: str, names: list[str]) -> str:
    path = os.fsdecode(as_bytes(os.path.join(root, *names)))
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "x"):
            return path
    except OSError:
        return ""  # a file stands where a folder should, or the other way round


@pytest.mark.parametrize(
    ("text", "base", "segments"),
    [
        ("/data/*.csv", b"/data", ["*.csv"]),
        ("/data/x.csv", b"/data", ["x.csv"]),
        ("/*", b"/", ["*"]),
        ("/", b"/", ["*"]),
        ("/data/", b"/data", ["*"]),
        ("/data//in/./*.csv", b"/data/in", ["*.csv"]),
        ("/data/cam*/raw/*.jpg", b"/data", ["cam*", "raw", "*.jpg"]),
        ("/data/**", b"/data", ["**", "*"]),
        ("/data/**/**/x", b"/data", ["**", "x"]),
        ("/data/line[[]1]/*.csv", b"/data/line[1]", ["*.csv"]),
        ("/dät/*", "/dät".encode(), ["*"]),
    ],
)
def test_a_pattern_has_a_fixed_part_and_parts_below_it(text: str, base: bytes, segments: list[str]) -> None:
    pattern = Pattern.parse(text)

    assert pattern.base == base
    assert [segment.text for segment in pattern.segments] == segments
    assert pattern.is_recursive == ("**" in segments)
    assert Pattern.parse(pattern.text) == pattern
    assert Pattern.parse(as_bytes(text)) == pattern


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("data/*.csv", "relative"),
        ("*.csv", "relative"),
        ("~/x", "relative"),
        ("/data/\0", "NUL"),
        ("/data/../x", r"'\.\.'"),
        ("/data/*/..", r"'\.\.'"),
        ("/data/\ud800", "half a character"),
    ],
)
def test_a_bad_pattern_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Pattern.parse(text)


def test_a_folder_is_taken_as_it_is_named() -> None:
    pattern = Pattern.of_folder("/data/run[1]*")

    assert pattern.base == b"/data/run[1]*"
    assert pattern.matches(b"/data/run[1]*/x")
    assert not pattern.matches(b"/data/run1x/x")
    assert Pattern.of_folder(b"/") == Pattern.parse("/*")


def test_star_does_not_match_dotfiles_nor_go_into_dot_folders() -> None:
    assert not Pattern.parse("/d/*").matches(b"/d/.x")
    assert Pattern.parse("/d/.*").matches(b"/d/.x")
    assert not Pattern.parse("/d/**/x").matches(b"/d/.git/x")
    assert Pattern.parse("/d/.*/x").matches(b"/d/.git/x")


def test_files_keep_their_folder_only_below_a_wildcard() -> None:
    assert Pattern.parse("/d/in/*.csv").relative_folder(b"/d/in") == b""
    assert Pattern.parse("/d/**/*.csv").relative_folder(b"/d") == b""
    assert Pattern.parse("/d/**/*.csv").relative_folder(b"/d/a/b") == b"a/b"
    assert Pattern.parse("/*/x").relative_folder(b"/a") == b"a"
    assert Pattern.parse("/d/cam*/raw/*").relative_folder(b"/d/cam1/raw") == b"cam1/raw"


@pytest.mark.parametrize(
    ("text", "folder", "answer"),
    [
        ("/d/*.csv", b"/d", True),
        ("/d/*.csv", b"/d/archive", False),
        ("/d/*.csv", b"/", False),
        ("/d/*.csv", b"/da", False),
        ("/d/*/*.csv", b"/d/archive", True),
        ("/d/*/*.csv", b"/d/.archive", False),
        ("/d/*/*.csv", b"/d/archive/2024", False),
        ("/d/cam*/*.csv", b"/d/archive", False),
        ("/d/*/raw/*.csv", b"/d/archive", True),
        ("/d/**/*.csv", b"/d/a/b/c", True),
        ("/d/**/*.csv", b"/d/a/.b/c", False),
        ("/**", b"/var/lib", True),
    ],
)
def test_it_is_known_which_folders_a_scan_would_open(text: str, folder: bytes, answer: bool) -> None:
    assert Pattern.parse(text).could_contain_folder(folder) is answer


def test_where_files_go_when_they_keep_their_relative_path_can_be_compared_too() -> None:
    pattern = Pattern.parse("/d/in/**/*.csv")

    assert pattern.rebased(b"/d").overlaps(pattern)
    assert not pattern.rebased(b"/archive").overlaps(pattern)
    assert not pattern.rebased(b"/d/in/.archive/").overlaps(pattern)


@pytest.mark.parametrize(
    ("one", "other", "answer"),
    [
        ("/d/*.csv", "/d/*.jpg", False),
        ("/d/*.csv", "/e/*.csv", False),
        ("/d/*.csv", "/d/*.csv", True),
        ("/d/*.csv", "/d/a*", True),
        ("/d/*.csv", "/d/*", True),
        ("/d/*", "/d/.*", False),
        ("/d/*.csv", "/d/.*", False),
        ("/d/**/*.csv", "/d/x/y/*.csv", True),
        ("/d/**/*.csv", "/d/x/.y/*.csv", False),
        ("/d/**/*.csv", "/d/*/*.csv", True),
        ("/d/*/*.csv", "/d/*.csv", False),
        ("/d/[a-m]*", "/d/[n-z]*", False),
        ("/d/[a-n]*", "/d/[n-z]*", True),
        ("/d/[!a]*", "/d/a*", False),
        ("/d/cam1/*", "/d/cam[!1]/*", False),
        ("/d/*/x", "/d/y/*", True),
        ("/d/a?", "/d/a??", False),
        ("/d/a*b", "/d/a", False),
        ("/d/a*a", "/d/a", False),
        ("/**", "/any/where/deep", True),
        ("/d/é*", "/d/e*", False),
        ("/d/?.csv", "/d/é.csv", True),
        ("/d/[[]*", "/d/[*]*", False),
        ("/d/in/*", "/d/i*/*", True),
    ],
)
def test_two_patterns_overlap_only_if_a_file_can_match_both(one: str, other: str, answer: bool) -> None:
    assert Pattern.parse(one).overlaps(Pattern.parse(other)) is answer
    assert Pattern.parse(other).overlaps(Pattern.parse(one)) is answer


SMALL_NAMES = ["".join(letters) for n in (1, 2, 3) for letters in product("ab.", repeat=n)]
SMALL_NAMES = [name for name in SMALL_NAMES if name not in (".", "..")]
SMALL_PATHS = [f"/{name}" for name in SMALL_NAMES]
SMALL_PATHS += [f"/{'/'.join(pair)}" for pair in product(SMALL_NAMES[:12], repeat=2)]
SMALL_PATHS += [f"/{'/'.join(three)}" for three in product(["a", "b", ".a", "ab"], repeat=3)]
SMALL_PIECES = st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "[!.]", "[.]"])
SMALL_PARTS = st.one_of(
    st.just("**"),
    st.lists(SMALL_PIECES, min_size=1, max_size=4).map("".join).filter(lambda part: part not in (".", "..")),
)
SMALL_PATTERNS = st.lists(SMALL_PARTS, min_size=1, max_size=3).map(lambda parts: "/" + "/".join(parts))


@given(SMALL_PATTERNS, SMALL_PATTERNS)
def test_overlap_agrees_with_trying_all_short_paths(one: str, other: str) -> None:
    mine, others = Pattern.parse(one), Pattern.parse(other)
    is_found = any(mine.matches(path.encode()) and others.matches(path.encode()) for path in SMALL_PATHS)

    assert mine.overlaps(others) or not is_found


@given(SMALL_PATTERNS, SMALL_PATTERNS)
def test_an_overlap_is_proved_by_a_path_that_matches_both(one: str, other: str) -> None:
    mine, others = Pattern.parse(one), Pattern.parse(other)
    path = find([[mine.parts()], [others.parts()]])

    assert (path is not None) == mine.overlaps(others)
    if path is not None:
        assert mine.matches(as_bytes("/" + path))
        assert others.matches(as_bytes("/" + path))


def test_a_question_too_hard_is_answered_with_a_doubt() -> None:
    one = Pattern.parse("/d/*a" + "?" * 18)
    other = Pattern.parse("/d/*b" + "?" * 19)

    with pytest.raises(TooComplex):
        find([[one.parts()], [other.parts()]])
    assert one.overlaps(other)
