"""What `!{timestamp:…}` becomes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_manager_local.export.placeholders import BadPlaceholder, resolved

# Thursday, 1 January 2026, 00:05:09.120 UTC: year and week of the year agree, the hour is Java's 24.
NEW_YEAR = 1_767_225_909.125
# Sunday, 31 December 2023, 23:59:59 UTC.
NEW_YEARS_EVE = 1_704_067_199.0


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("yyyy/MM/dd", "2026/01/01"),
        ("YYYY/MM/DD", "2026/01/01"),
        ("yy", "26"),
        ("u", "2026"),
        ("yyyyy", "02026"),
        ("M", "1"),
        ("MMM", "Jan"),
        ("MMMM", "January"),
        ("LLLLL", "J"),
        ("d/D/DDD", "1/1/001"),
        ("Q/QQQ/QQQQ", "1/Q1/1st quarter"),
        ("w/ww", "1/01"),
        ("E/EEEE/e/ee", "Thu/Thursday/4/04"),
        ("HH/H/K/h/k/a", "00/0/0/12/24/AM"),
        ("mm/ss/SSS", "05/09/125"),
        ("S/SSSSSSSSS", "1/125000000"),
        ("A/N/n", "309125/309125000000/125000000"),
        ("VV/z/O/X/xxx/Z", "UTC/UTC/GMT/Z/+00:00/+0000"),
        ("G", "AD"),
    ],
)
def test_letters_mean_what_they_mean_in_java(pattern: str, text: str) -> None:
    assert resolved(f"a/!{{timestamp:{pattern}}}/b", NEW_YEAR) == f"a/{text}/b"


def test_the_year_of_the_week_is_not_the_year_around_new_year() -> None:
    assert resolved("!{timestamp:yyyy/w}", NEW_YEARS_EVE) == "2023/52"
    assert resolved("!{timestamp:YYYY}", 1_735_603_200.0) == "2025"  # Tuesday, 31 December 2024
    assert resolved("!{timestamp:h/a}", NEW_YEARS_EVE) == "11/PM"


def test_a_key_may_have_several_placeholders_or_none() -> None:
    assert resolved("!{timestamp:yyyy}-!{timestamp:MM}.csv", NEW_YEAR) == "2026-01.csv"
    assert resolved("plain!/key", NEW_YEAR) == "plain!/key"


@pytest.mark.parametrize(
    "pattern", ["b", "yyyy/f", "ddd", "HHH", "i", "VVV", "p", "SSSSSSSSSS", "MMMMMM", "aa"]
)
def test_what_java_refuses_is_refused_with_the_letters_that_are_wrong(pattern: str) -> None:
    wrong = pattern.rpartition("/")[2]
    with pytest.raises(BadPlaceholder, match=f"`{wrong}` in !{{timestamp:{pattern}}}"):
        resolved(f"!{{timestamp:{pattern}}}", NEW_YEAR)


def test_there_is_no_other_placeholder() -> None:
    with pytest.raises(BadPlaceholder, match=r"no placeholder !\{hostname:"):
        resolved("!{hostname:x}", NEW_YEAR)


@given(
    st.text(alphabet="GuyYDMLdQqwWEecFaAhKkHmsSnNVzOXxZBbgp/", min_size=1, max_size=40),
    st.floats(min_value=0, max_value=4e9),
)
def test_every_pattern_is_resolved_or_refused(pattern: str, seconds: float) -> None:
    try:
        text = resolved(f"!{{timestamp:{pattern}}}", seconds)
    except BadPlaceholder as problem:
        text = str(problem)
    assert text
