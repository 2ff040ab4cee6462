"""Times, sizes and rates: what people write, and what we write back."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.config import units


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5", 5),
        ("0.5", 0.5),
        (".5", 0.5),
        ("1s", 1),
        (" 5 min ", 300),
        ("5 Minutes", 300),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1 h 30 min", 5400),
        ("1500ms", 1.5),
        ("2 d", 172_800),
        ("0", 0),
    ],
)
def test_a_time_is_seconds_or_has_a_unit(text: str, seconds: float) -> None:
    assert units.read_duration(text) == pytest.approx(seconds)
    assert re.search(units.DURATION_PATTERN, text)


@pytest.mark.parametrize(
    "text", ["", "soon", "5 parsecs", "-1", "1e3", "nan", "inf", "5 5 min", "min", "1,5", "\u0665"]
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        units.read_duration(text)
    assert not re.search(units.DURATION_PATTERN, text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("1048576", 1_048_576),
        ("256 MiB", 268_435_456),
        ("10MB", 10_000_000),
        ("1.5G", 1_610_612_736),
        ("1k", 1024),
        ("1 kB", 1000),
        ("0.5 Ki", 512),
        ("2TB", 2_000_000_000_000),
        ("7 bytes", 7),
    ],
)
def test_a_size_is_bytes_or_has_a_unit(text: str, size_bytes: int) -> None:
    assert units.read_size(text) == size_bytes
    assert re.search(units.SIZE_PATTERN, text)


@pytest.mark.parametrize("text", ["", "big", "10 XB", "-1", "1e6", "10 MB/s", "10 Mbit"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        units.read_size(text)
    assert not re.search(units.SIZE_PATTERN, text)


@pytest.mark.parametrize(
    ("text", "bytes_per_second"),
    [
        ("2 MB/s", 2_000_000),
        ("2MiB / s", 2_097_152),
        ("250000", 250_000),
        ("10 Mbit/s", 1_250_000),
        ("8kbit", 1000),
    ],
)
def test_a_rate_is_a_size_per_second_or_in_bits(text: str, bytes_per_second: int) -> None:
    assert units.read_rate(text) == bytes_per_second
    assert re.search(units.RATE_PATTERN, text)


@given(st.floats(0, 1e9).filter(lambda seconds: seconds == 0 or seconds > 1e-4))
def test_a_time_that_is_written_reads_back_the_same(seconds: float) -> None:
    assert units.read_duration(units.write_duration(seconds)) == seconds


@given(st.integers(0, 2**60))
def test_a_size_and_a_rate_that_are_written_read_back_the_same(count: int) -> None:
    assert units.read_size(units.write_size(count)) == count
    assert units.read_rate(units.write_rate(count)) == count


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (units.write_duration(300.0), "5 min"),
        (units.write_duration(0.5), "0.5 s"),
        (units.write_duration(5400.0), "90 min"),
        (units.write_size(268_435_456), "256 MiB"),
        (units.write_size(10_000_000), "10 MB"),
        (units.write_size(1023), "1023"),
        (units.write_rate(2_000_000), "2 MB/s"),
    ],
)
def test_values_are_written_as_a_person_would(written: str, expected: str) -> None:
    assert written == expected
