from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from s3_file_uploader.source import overlap
from s3_file_uploader.source.hidden import hidden_name
from s3_file_uploader.source.selection import Selection

HIDDEN = hidden_name("0123abcd", 7)


def test_without_more_patterns_the_path_name_decides() -> None:
    selection = Selection.parse("/d/*.csv")

    assert selection.selects(b"", b"a.csv")
    assert not selection.selects(b"", b"a.jpg")
    assert not selection.selects(b"", b".a.csv")
    assert not selection.selects(b"sub", b"a.csv")
    assert not selection.selects(b"", b"")


def test_an_include_pattern_without_a_slash_is_about_the_name() -> None:
    selection = Selection.parse("/d/**/*", include=["*.csv", "*.jpg"])

    assert selection.selects(b"a/b", b"x.csv")
    assert selection.selects(b"", b"x.jpg")
    assert not selection.selects(b"", b"x.tmp")


def test_a_pattern_with_a_slash_is_about_the_path_below_the_fixed_part() -> None:
    selection = Selection.parse("/d/**/*", include=["cam*/*.jpg"], exclude=["cam9/*"])

    assert selection.selects(b"cam1", b"x.jpg")
    assert not selection.selects(b"cam9", b"x.jpg")
    assert not selection.selects(b"other/cam1", b"x.jpg")
    assert not selection.selects(b"", b"x.jpg")


def test_no_exclude_pattern_may_match() -> None:
    selection = Selection.parse("/d/**/*", exclude=["*.tmp", "**/tmp/**"])

    assert selection.selects(b"", b"x.csv")
    assert not selection.selects(b"", b"x.tmp")
    assert not selection.selects(b"a/tmp/b", b"x.csv")
    assert not selection.selects(b"tmp", b"x.csv")


def test_two_stars_alone_exclude_everything_they_match() -> None:
    assert not Selection.parse("/d/*", exclude=["**"]).selects(b"", b"x")


def test_a_literal_folder_in_a_filter_is_compared_as_it_is() -> None:
    selection = Selection.parse("/d/**/*", exclude=["run[[]1]/*"])

    assert not selection.selects(b"run[1]", b"x")
    assert selection.selects(b"run1", b"x")


def test_done_markers_are_never_taken_and_name_their_file() -> None:
    selection = Selection.parse("/d/*", done_marker=".done")

    assert selection.selects(b"", b"a.csv")
    assert not selection.selects(b"", b"a.csv.done")
    assert not selection.selects(b"", b"x.done")
    assert selection.marked(b"a.csv.done") == b"a.csv"
    assert selection.marked(b"a.csv") is None
    assert selection.marked(b".done") is None
    assert Selection.parse("/d/*").marked(b"a.csv") is None


@pytest.mark.parametrize("pattern", ["/d/*", "/d/.*", "/d/.s3fu-*", f"/d/{HIDDEN.decode()}", "/d/**/.*"])
def test_hidden_names_are_never_taken_whatever_the_pattern(pattern: str) -> None:
    assert not Selection.parse(pattern).selects(b"", HIDDEN)
    assert not Selection.parse(pattern, include=[".*"]).selects(b"", HIDDEN)


def test_the_folder_of_everything_can_be_the_root() -> None:
    assert Selection.parse("/*").selects(b"", b"x")
    assert Selection.parse("/*/*").selects(b"etc", b"x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [("/tmp/*", "absolute"), ("tmp/", r"'tmp/\*\*'"), ("", "empty"), ("a/../b", r"\.\.")],
)
def test_a_bad_filter_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Selection.parse("/d/*", exclude=[text])


@pytest.mark.parametrize("marker", ["/done", "done/x", "\0"])
def test_a_bad_done_marker_is_refused(marker: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        Selection.parse("/d/*", done_marker=marker)


def do_overlap(one: Selection, other: Selection) -> bool:
    assert one.overlaps(other) == other.overlaps(one)
    return one.overlaps(other)


def test_rules_kept_apart_by_exclude_do_not_overlap() -> None:
    big = Selection.parse("/d/big*.csv")

    assert do_overlap(Selection.parse("/d/*.csv"), big)
    assert not do_overlap(Selection.parse("/d/*.csv", exclude=["big*"]), big)
    assert do_overlap(Selection.parse("/d/*.csv", exclude=["bigger*"]), big)


def test_rules_kept_apart_by_include_do_not_overlap() -> None:
    images = Selection.parse("/d/**/*", include=["*.jpg", "*.png"])

    assert not do_overlap(images, Selection.parse("/d/**/*", include=["*.csv"]))
    assert do_overlap(images, Selection.parse("/d/**/*", include=["*.csv", "a.*"]))
    assert not do_overlap(images, Selection.parse("/d/x/*.csv"))
    assert do_overlap(images, Selection.parse("/d/x/*.png"))


def test_rules_kept_apart_by_folder_filters_do_not_overlap() -> None:
    rest = Selection.parse("/d/**/*", exclude=["cam1/**"])

    assert not do_overlap(rest, Selection.parse("/d/cam1/*.jpg"))
    assert not do_overlap(rest, Selection.parse("/d/cam1/**/*.jpg"))
    assert do_overlap(rest, Selection.parse("/d/cam2/*.jpg"))


def test_a_rule_that_takes_the_done_markers_of_another_overlaps_it() -> None:
    marked = Selection.parse("/d/*.csv", exclude=["big*"], done_marker=".done")

    assert do_overlap(marked, Selection.parse("/d/*.done"))
    assert do_overlap(marked, Selection.parse("/d/a.csv.done"))
    assert not do_overlap(marked, Selection.parse("/d/*.jpg.done"))
    assert not do_overlap(marked, Selection.parse("/d/big*.done"))
    assert not do_overlap(marked, Selection.parse("/d/*.jpg", done_marker=".done"))


def test_a_question_too_hard_counts_as_an_overlap() -> None:
    one, other = Selection.parse("/d/*a" + "?" * 18), Selection.parse("/d/*b" + "?" * 19)

    assert do_overlap(one, other)


@pytest.mark.parametrize(
    ("selection", "name"),
    [
        (Selection.parse("/d/*.csv"), b"recovered-00c0ffee.csv"),
        (Selection.parse("/d/*"), b"recovered-00c0ffee"),
        (Selection.parse("/d/.*"), b".recovered-00c0ffee"),
        (Selection.parse("/d/é*.dat"), "érecovered-00c0ffee.dat".encode()),
        (Selection.parse("/d/*_[0-9].csv"), b"recovered-00c0ffee_0.csv"),
        (Selection.parse("/d/latest.csv"), b"latest.csv"),
        (Selection.parse("/d/????????.csv"), b"00c0ffee.csv"),
        (Selection.parse("/d/*", include=["*.jpg"]), b"recovered-00c0ffee.jpg"),
        (Selection.parse("/d/*", exclude=["recovered*"]), b"0recovered-00c0ffee"),
        (Selection.parse("/d/*", done_marker="ee"), b"recovered-00c0ffee0"),
        (Selection.parse("/d/[.]x"), b"recovered-00c0ffee"),
    ],
)
def test_a_lost_name_is_replaced_by_one_that_the_rule_takes(selection: Selection, name: bytes) -> None:
    assert selection.name_for("00c0ffee") == name


def test_a_lost_name_is_replaced_also_when_no_fitting_one_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "LIMIT", 5)

    assert Selection.parse("/d/*.csv").name_for("00c0ffee") == b"recovered-00c0ffee"


def test_a_lost_name_fits_the_filters_of_its_folder() -> None:
    selection = Selection.parse("/d/*/*", include=["cam1/*.jpg", "cam2/*.png"])

    assert selection.name_for("7", b"cam1") == b"recovered-7.jpg"
    assert selection.name_for("7", b"cam2") == b"recovered-7.png"


PIECES = st.sampled_from(["a", "data", "_", ".", "-", "é", "[0-9]", "[!x]", "?", "*", "[[]"])
PARTS = st.tuples(st.lists(PIECES, max_size=4).map("".join), st.lists(PIECES, max_size=4).map("".join)).map(
    "*".join
)


@settings(max_examples=30)
@given(PARTS, st.integers(0, 2**64 - 1))
def test_a_lost_name_is_always_replaced_by_one_that_matches(part: str, identifier: int) -> None:
    assume(part not in ("**", "..*"))
    selection = Selection.parse(f"/d/{part}")
    name = selection.name_for(f"{identifier:016x}")

    assert selection.selects(b"", name)
    assert f"{identifier:016x}".encode() in name
    assert len(name) <= 255
