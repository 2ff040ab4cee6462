"""The names of streams, and who we are in them."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.transport.stream_manager.identity import owner_of, read_owner
from s3_file_uploader.transport.stream_manager.streams import StreamName, part_of, rule_digest

if TYPE_CHECKING:
    from pathlib import Path

_SDK_PATTERN = re.compile(r"^[\w ,.\-_]*$")  # of a stream's name, in AWS's client
hex_digits = st.text("0123456789abcdef")


@given(rule=st.text(), bucket=st.text(), parts=st.one_of(st.none(), st.integers(1, 999)), data=st.data())
def test_a_name_says_what_it_was_made_of_and_is_one_that_stream_manager_takes(
    rule: str, bucket: str, parts: int | None, data: st.DataObject
) -> None:
    part = None if parts is None else data.draw(st.integers(0, parts - 1))
    name = StreamName.of("0123456789ab", rule, bucket, "01234567", part=part, parts=parts)
    assert StreamName.parse(str(name)) == name
    assert _SDK_PATTERN.match(str(name))
    assert str(name).isascii()
    assert len(str(name)) <= 255
    assert name.digest == rule_digest(rule, bucket)


@given(st.one_of(st.text(), st.from_regex(r"s3fu-[0-9a-f]{12}-[a-z]{3}-[0-9a-f]{12}-[0-9]+of[0-9]+-.*")))
def test_what_is_read_as_ours_is_written_as_ours(name: str) -> None:
    parsed = StreamName.parse(name)
    assert parsed is None or str(parsed) == name


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
def test_two_rules_or_buckets_never_share_a_digest(one: tuple[str, str], other: tuple[str, str]) -> None:
    if "\0" in "".join((*one, *other)):
        return  # in no name of either
    assert (one == other) == (rule_digest(*one) == rule_digest(*other))


@given(st.binary(), st.integers(1, 64))
def test_a_file_has_one_stream(path: bytes, parts: int) -> None:
    assert part_of(path, parts) == part_of(path, parts) < parts


def test_files_are_spread_over_all_streams() -> None:
    counts = [0] * 4
    for number in range(4000):
        counts[part_of(b"/data/%d.csv" % number, 4)] += 1
    assert min(counts) > 800


def test_a_ledger_keeps_its_owner_and_two_never_share_one(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    assert read_owner(one) == ""
    owner = owner_of(one)
    assert owner == owner_of(one) == read_owner(one)
    assert re.fullmatch("[0-9a-f]{12}", owner)
    assert owner_of(other) != owner
    assert sorted(os.listdir(one)) == ["stream-manager-owner"]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 13, b"0123456789AB\n"])
def test_an_owner_that_cannot_be_read_is_made_anew(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "stream-manager-owner").write_bytes(content)
    assert read_owner(str(tmp_path)) == ""
    assert owner_of(str(tmp_path)) == read_owner(str(tmp_path)) != ""


def test_an_owner_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigurationError, match="stream-manager-owner cannot be written"):
        owner_of(str(tmp_path / "file"))
