"""Sizes of parts, and which checkpoints are of use."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.model import Fingerprint
from s3_file_uploader.transport.s3.checkpoint import MOST_PARTS, Partition, part_size_in, part_size_of

MIB = 1024 * 1024
FILE = Fingerprint(1, 2, 100 * MIB, 4, 5)
SAVED: dict[str, Any] = {"part_size": 8 * MIB, "fingerprint": list(FILE)}


@given(st.integers(min_value=1, max_value=50 * 1024**4))
def test_no_file_of_any_size_needs_too_many_parts(size: int) -> None:
    assert -(-size // part_size_of(size)) <= MOST_PARTS
    assert part_size_of(size) >= 8 * MIB


@pytest.mark.parametrize(
    ("size", "part_size"),
    [(17 * MIB, 8), (1024 * MIB, 8), (1025 * MIB, 16), (160_000 * MIB, 16), (160_001 * MIB, 17)],
)
def test_parts_are_no_larger_than_they_need_to_be(size: int, part_size: int) -> None:
    assert part_size_of(size) == part_size * MIB


@given(
    st.integers(min_value=1, max_value=50 * 1024**4), st.integers(min_value=5 * MIB, max_value=5 * 1024**3)
)
def test_parts_that_a_caller_asked_for_are_larger_only_where_too_many_would_be_needed(
    size: int, part_bytes: int
) -> None:
    chosen = Partition(put_limit_bytes=5 * MIB, part_bytes=part_bytes).part_size_of(size)
    assert -(-size // chosen) <= MOST_PARTS
    assert chosen == part_bytes or (chosen > part_bytes and size > part_bytes * MOST_PARTS)


def test_a_checkpoint_of_this_content_is_of_use() -> None:
    assert part_size_in(SAVED, FILE) == 8 * MIB


def test_a_device_that_was_only_numbered_anew_holds_the_same_content() -> None:
    assert part_size_in(SAVED, FILE._replace(device=9)) == 8 * MIB


@pytest.mark.parametrize("field", ["inode", "size", "mtime_ns", "ctime_ns"])
def test_a_checkpoint_of_other_content_is_of_no_use(field: str) -> None:
    assert part_size_in(SAVED, FILE._replace(**{field: 17 * MIB})) == 0


@pytest.mark.parametrize(
    "broken",
    [
        {"fingerprint": None},
        {"fingerprint": [1, 2]},
        {"part_size": "8"},
        {"part_size": 0},
        {"part_size": -1},
        {"part_size": 10},
    ],
)
def test_a_checkpoint_that_makes_no_sense_is_of_no_use(broken: dict[str, Any]) -> None:
    assert part_size_in({**SAVED, **broken}, FILE) == 0
