"""Object names: the prefix, placeholders, and the reversible escape."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_file_uploader.keys import (
    MAX_KEY_BYTES,
    STRICT_FORBIDDEN,
    KeyProblem,
    escape,
    next_key,
    object_key,
    prefix_problem,
    unescape,
)
from s3_file_uploader.placeholders import TIMESTAMP_LETTERS, names_used

# 2024-02-09 03:04:05.678901234 UTC
MTIME_NS = 1_707_447_845_678_901_234


@dataclass
class Rule:
    object_key_prefix: str = ""
    key_escape: str = "auto"
    transport: str = "s3"


def key(
    name: bytes, prefix: str = "", *, relative: bytes = b"", key_escape: str = "auto", **more: object
) -> str:
    return object_key(
        Rule(prefix, key_escape),  # type: ignore[arg-type]  # only the two settings matter to a key
        relative=relative,
        name=name,
        mtime_ns=int(str(more.get("mtime_ns", MTIME_NS))),
        environment={"AWS_IOT_THING_NAME": "truck-7"} if more.get("thing", True) else {},
        hostname="edge01",
    )


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("", "a.csv"),
        ("/", "a.csv"),
        ("logs", "logs/a.csv"),
        ("logs/", "logs/a.csv"),
        ("/logs", "logs/a.csv"),
        ("//logs//", "logs/a.csv"),
        ("logs/2024", "logs/2024/a.csv"),
        ("logs//2024", "logs//2024/a.csv"),
        ("Müll und Öl", "Müll und Öl/a.csv"),
    ],
)
def test_the_key_is_the_prefix_a_slash_and_the_name(prefix: str, expected: str) -> None:
    assert key(b"a.csv", prefix) == expected


@pytest.mark.parametrize(
    ("relative", "expected"),
    [
        (b"", "p/a"),
        (b"cam1", "p/cam1/a"),
        (b"cam1/x", "p/cam1/x/a"),
        (b"cam1/", "p/cam1/a"),
        (b"c\xff", "p/c!FF/a"),
    ],
)
def test_files_below_a_wildcard_folder_keep_their_path(relative: bytes, expected: str) -> None:
    assert key(b"a", "p", relative=relative) == expected


@pytest.mark.parametrize(
    ("name", "auto", "strict"),
    [
        (b"plain-name_1.csv", "plain-name_1.csv", "plain-name_1.csv"),
        ("grün/ß.csv".encode(), "grün/ß.csv", "grün/ß.csv"),
        (b"my file#1[2]~%.csv", "my file#1[2]~%.csv", "my!20file!231!5B2!5D!7E!25.csv"),
        (b"a%20b", "a%20b", "a!2520b"),
        (b"wow!.csv", "wow!.csv", "wow!.csv"),
        (b"a!20b", "a!2120b", "a!2120b"),
        (b"a!2fb", "a!2fb", "a!2fb"),
        (b"!{timestamp:yyyy}", "!{timestamp:yyyy}", "!!7Btimestamp:yyyy!7D"),
        (b"line\nbreak", "line!0Abreak", "line!0Abreak"),
        (b"back\\slash", "back!5Cslash", "back!5Cslash"),
        (b"\xff\xfe", "!FF!FE", "!FF!FE"),
        (b"\xed\xa0\x80", "!ED!A0!80", "!ED!A0!80"),
        ("\uffff".encode(), "!EF!BF!BF", "!EF!BF!BF"),
        (b"..", "!2E!2E", "!2E!2E"),
        (b"a/./b", "a/!2E/b", "a/!2E/b"),
        (b"a//b", "a/!2Fb", "a/!2Fb"),
        (b"/a/", "!2Fa!2F", "!2Fa!2F"),
        (b"...", "...", "..."),
        (b"!\x01", "!!01", "!!01"),
        (b"!4\\", "!4!5C", "!4!5C"),
    ],
)
def test_the_documented_examples_hold(name: bytes, auto: str, strict: str) -> None:
    assert escape(name) == auto
    assert escape(name, strict=True) == strict


NAMES = st.one_of(
    st.binary(max_size=40),
    st.text("!0A2Ff./\\ \x01é\udcff", max_size=12).map(lambda text: text.encode("utf-8", "surrogateescape")),
)


@given(name=NAMES, strict=st.booleans())
@example(name=b"!21", strict=False)
@example(name=b"!!21", strict=False)
@example(name=b"!2\xff1", strict=False)
@example(name=b"", strict=False)
def test_every_name_comes_back_byte_for_byte(name: bytes, strict: bool) -> None:
    carried = escape(name, strict=strict)
    assert unescape(carried) == name
    carried.encode("utf-8")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff\\]", carried)
    assert name == b"" or not {"", ".", ".."} & set(carried.split("/"))


@given(one=NAMES, other=NAMES, strict=st.booleans())
def test_two_names_never_meet_in_one_key(one: bytes, other: bytes, strict: bool) -> None:
    assert (escape(one, strict=strict) == escape(other, strict=strict)) == (one == other)


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="!\\/."), min_size=1))
def test_a_name_that_needs_no_escape_stays_as_it_is(name: str) -> None:
    assert escape(name.encode()) == name


# The pattern that Stream Manager's clients hold keys against.
STREAM_MANAGER_KEY = re.compile(r"^([^\\{ }%`\[\]\"'><~#^?|]|!\{[a-zA-Z]+:[a-zA-Z/]+\})*$")


@given(NAMES)
def test_a_strict_key_is_one_that_stream_manager_takes(name: bytes) -> None:
    carried = escape(name, strict=True)
    assert STREAM_MANAGER_KEY.match(carried)
    assert not set(carried) & set(STRICT_FORBIDDEN)


@pytest.mark.parametrize(
    ("name", "told"),
    [(b"a\xffb", "0xff"), (b"a\nb", "U+000A"), (b"..", "segment"), (b"a//b", "empty segment")],
)
def test_without_escaping_a_name_that_cannot_be_carried_parks_with_its_reason(name: bytes, told: str) -> None:
    with pytest.raises(KeyProblem, match=re.escape(told)) as caught:
        key(name, key_escape="off")
    assert caught.value.advice
    assert not caught.value.retryable


@pytest.mark.parametrize("name", [b"a!20b", b"back\\slash", b"50% [x].csv"])
def test_without_escaping_all_else_is_left_alone(name: bytes) -> None:
    assert key(name, key_escape="off") == name.decode()


@pytest.mark.parametrize(
    ("name", "fits"), [(b"x" * 1022, True), (b"x" * 1023, False), ("é".encode() * 512, False)]
)
def test_a_key_is_measured_in_bytes_of_utf8(name: bytes, fits: bool) -> None:
    if fits:
        assert len(key(name, "p")) == MAX_KEY_BYTES
    else:
        with pytest.raises(KeyProblem, match="bytes long"):
            key(name, "p")


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("!{thingName}", "truck-7/a"),
        ("fleet/!{thingName}/!{hostname}", "fleet/truck-7/edge01/a"),
        ("!{timestamp:yyyy/MM/dd}", "2024/02/09/a"),
        ("!{timestamp:yy-M-d_H.m.s}", "24-2-9_3.4.5/a"),
        ("!{timestamp:HHmmss.SSS}", "030405.678/a"),
        ("!{timestamp:DDD}", "040/a"),
        ("!{timestamp:'day='dd'''s'}", "day=09's/a"),
        ("!{timestamp:yyyy''MM}", "2024'02/a"),
        ("year=!{timestamp:yyyy}/month=!{timestamp:MM}", "year=2024/month=02/a"),
    ],
)
def test_placeholders_become_the_thing_the_machine_and_the_files_own_time(prefix: str, expected: str) -> None:
    assert prefix_problem(prefix) == ""
    assert key(b"a", prefix) == expected


def test_a_name_never_becomes_a_placeholder() -> None:
    assert key(b"!{hostname}", "!{hostname}") == "edge01/!{hostname}"


def test_a_time_before_the_epoch_is_a_date_too() -> None:
    assert key(b"a", "!{timestamp:yyyy-MM-dd HH:mm:ss.SSS}", mtime_ns=-1) == "1969-12-31 23:59:59.999/a"


@pytest.mark.parametrize("mtime_ns", [2**63 * 1000, -(2**63) * 1000, 10**40, 253_402_300_800 * 10**9])
def test_a_time_without_a_date_parks_only_where_a_date_is_asked_for(mtime_ns: int) -> None:
    assert key(b"a", "p", mtime_ns=mtime_ns) == "p/a"
    with pytest.raises(KeyProblem, match="modification time"):
        key(b"a", "!{timestamp:yyyy}", mtime_ns=mtime_ns)


def test_a_missing_thing_name_is_said() -> None:
    with pytest.raises(KeyProblem, match="AWS_IOT_THING_NAME"):
        key(b"a", "!{thingName}", thing=False)


@pytest.mark.parametrize(
    ("prefix", "told"),
    [
        ("!{thingname}", "did you mean !{thingName}?"),
        ("!{host}", "did you mean !{hostname}?"),
        ("!{nonsense}", "known are !{thingName}"),
        ("!{hostname:x}", "nothing behind a colon"),
        ("!{timestamp}", "needs a pattern"),
        ("!{timestamp:YYYY/MM/dd}", "write yyyy"),
        ("!{timestamp:yyyy/MMM}", "`MMM`"),
        ("!{timestamp:yyyy'x}", "quote"),
        ("!{timestamp:[yyyy]}", "must stand in quotes"),
        ("logs/!{hostname", "no `}` closes"),
        ("a/../b", "segment"),
        ("a\nb", "U+000A"),
        ("a\udcffb", "0xff"),
        ("x" * 1024, "no room"),
    ],
)
def test_a_prefix_that_cannot_work_is_refused_with_the_reason(prefix: str, told: str) -> None:
    assert told in prefix_problem(prefix)


def test_a_strict_prefix_holds_only_what_stream_manager_takes() -> None:
    assert prefix_problem("logs of today") == ""
    assert "strict" in prefix_problem("logs of today", strict=True)
    assert prefix_problem("logs/!{timestamp:yyyy/MM}", strict=True) == ""


def test_every_letter_of_the_table_is_a_pattern_of_its_own() -> None:
    for letters in TIMESTAMP_LETTERS:
        assert prefix_problem(f"!{{timestamp:{letters}}}") == ""
        assert key(b"a", f"!{{timestamp:{letters}}}").removesuffix("/a").isdigit()


def test_names_used_tells_what_a_prefix_needs() -> None:
    assert names_used("a/!{thingName}/!{timestamp:yyyy}") == {"thingName", "timestamp"}
    assert names_used("a") == frozenset()


DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "docs", "reference")


def test_the_examples_of_the_documentation_are_true() -> None:
    with open(os.path.join(DOCS, "keys.md"), encoding="utf-8") as page:
        text = page.read()
    exec(text.split("```python\n")[1].split("```")[0], {})
    for letters in TIMESTAMP_LETTERS:
        assert f"`{letters}`" in text


# --- Another name, where an object has the name already ------------------------------------------------

STAMP = "20240209T030405-678901234Z"


@pytest.mark.parametrize(
    ("first", "renamed"),
    [
        ("a.csv", f"a-{STAMP}.csv"),
        ("p/2024.05/a", f"p/2024.05/a-{STAMP}"),
        ("p/.hidden", f"p/.hidden-{STAMP}"),
        ("a.csv.gz", f"a-{STAMP}.csv.gz"),
        ("a.tar", f"a-{STAMP}.tar"),
        ("v1.2.bin", f"v1.2-{STAMP}.bin"),
        ("a.", f"a-{STAMP}."),
    ],
)
def test_a_name_that_is_taken_gets_the_time_of_the_file(first: str, renamed: str) -> None:
    assert next_key(first, MTIME_NS) == renamed


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.integers(-(10**20), 10**20),
)
def test_each_further_name_is_new_the_same_each_time_and_there_is_an_end(first: str, mtime_ns: int) -> None:
    names = [first]
    for _ in range(9):
        assert next_key(names[-1], mtime_ns) == next_key(names[-1], mtime_ns)
        names.append(next_key(names[-1], mtime_ns))
    assert len(set(names)) == len(names)
    with pytest.raises(KeyProblem, match="other objects have the names"):
        next_key(names[-1], mtime_ns)


def test_a_further_name_has_a_number_behind_the_time() -> None:
    assert next_key(f"p/a-{STAMP}.csv", MTIME_NS) == f"p/a-{STAMP}-2.csv"
    assert next_key(f"p/a-{STAMP}-2.csv", MTIME_NS) == f"p/a-{STAMP}-3.csv"


def test_only_characters_that_every_store_takes_are_added() -> None:
    assert escape(next_key("a.csv", MTIME_NS).encode(), strict=True) == f"a-{STAMP}.csv"


def test_a_name_without_room_for_the_time_is_refused() -> None:
    with pytest.raises(KeyProblem, match="too long"):
        next_key("\u00e9" * (MAX_KEY_BYTES // 2), MTIME_NS)
