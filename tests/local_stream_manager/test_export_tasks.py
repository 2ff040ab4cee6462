"""What a message must be to be a task, and which path its input URL means."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_manager_local.export.task import BadTask, Task, paths_of, task_of

GOOD: dict[str, Any] = {"inputUrl": "file:///data/a.csv", "bucket": "bucket", "key": "a.csv"}


def read(**changes: Any) -> Task:
    return task_of(json.dumps({**GOOD, **changes}).encode())


def test_a_task_is_read_and_repeated_as_it_was_given() -> None:
    task = read(userMetadata={"Unit": "7"})
    assert (task.input_url, task.bucket, task.key) == ("file:///data/a.csv", "bucket", "a.csv")
    assert task.metadata == {"unit": "7"}
    assert task.wire == {**GOOD, "userMetadata": {"Unit": "7"}}


def test_what_is_not_known_is_ignored_and_null_is_as_good_as_absent() -> None:
    assert read(color="red", userMetadata=None).wire == GOOD


def test_metadata_that_is_no_text_becomes_one() -> None:
    task = read(userMetadata={"retry": 1, "ratio": 0.5, "last": True, "none": None})
    assert task.metadata == {"retry": "1", "ratio": "0.5", "last": "true"}
    assert task.wire["userMetadata"] == task.metadata


@pytest.mark.parametrize(
    ("metadata", "told"),
    [
        ({"$aws-gg-x": "1"}, r"\$aws-gg- are reserved"),
        ({"$AWS-GG-x": "1"}, r"\$aws-gg- are reserved"),
        ({"a b": "1"}, "'a b' is no name of a header"),
        ({"": "1"}, "'' is no name of a header"),
        ({"a": "naïve"}, "not printable ASCII"),
        ({"a": "1\r\nx-amz-acl: public-read"}, "not printable ASCII"),
        ({"a": {"b": 1}}, "'a' must be a text"),
        ({"a": "1", "A": "2"}, "'a' twice"),
        (["a"], "must be an object"),
    ],
)
def test_metadata_that_no_object_can_have_is_refused(metadata: object, told: str) -> None:
    with pytest.raises(BadTask, match=told) as refused:
        read(userMetadata=metadata)
    assert refused.value.wire == GOOD


@pytest.mark.parametrize("name", ["inputUrl", "bucket", "key"])
@pytest.mark.parametrize("value", [None, "", 7, ["x"]])
def test_a_task_without_one_of_its_texts_is_refused(name: str, value: object) -> None:
    with pytest.raises(BadTask, match=name) as refused:
        read(**{name: value})
    assert refused.value.wire == {each: GOOD[each] for each in GOOD if each != name or value == ""} | (
        {name: ""} if value == "" else {}
    )


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"\xff", b"[]", b"7", b"null", b"[" * 100_000, b'"text"', b"\x00"]
)
def test_what_is_no_json_object_is_refused(payload: bytes) -> None:
    with pytest.raises(BadTask, match="the message is"):
        task_of(payload)


@pytest.mark.parametrize(
    "bucket",
    ["ab", "x" * 64, "Bucket", "under_score", "-a-", "a..b", "192.168.0.1", "a b c", "abc\n", "../x"],
)
def test_a_bucket_has_a_name_that_a_bucket_can_have(bucket: str) -> None:
    with pytest.raises(BadTask, match=f"bucket {re.escape(repr(bucket))} is no name of a bucket"):
        read(bucket=bucket)


@pytest.mark.parametrize("character", list("\\{} %`[]\"'><~#^?|"))
def test_a_key_holds_nothing_that_the_clients_refuse(character: str) -> None:
    with pytest.raises(BadTask, match=re.escape(f"holds {character!r}")):
        read(key=f"a{character}b")


@pytest.mark.parametrize(
    "key", ["größe/日本.csv", "a!b", "!{timestamp:yyyy/MM/dd}/x", "x" * 1024, "a+b=c&d;e,f@g:h$(i)*"]
)
def test_a_key_may_hold_everything_else(key: str) -> None:
    assert read(key=key).key == key


def test_a_message_that_no_task_needs_is_not_even_read() -> None:
    with pytest.raises(BadTask, match="a task has at most 262144"):
        task_of(b" " * (256 << 10) + b"{}")


@pytest.mark.parametrize("name", ["inputUrl", "bucket", "key"])
def test_what_is_said_of_a_task_is_short_however_long_the_task_is(name: str) -> None:
    with pytest.raises(BadTask) as refused:
        paths_of(read(**{name: "?" * 100_000}).input_url, "never")
    assert len(str(refused.value)) < 1000


@pytest.mark.parametrize("key", ["x" * 1025, "ü" * 513, "\ud800"])
def test_a_key_has_at_most_1024_bytes_of_text(key: str) -> None:
    with pytest.raises(BadTask, match="key "):
        read(key=key)


@pytest.mark.parametrize("placeholder", ["!{timestamp}", "!{timestamp:yyyy-MM}", "!{}", "!{timestamp:}"])
def test_a_placeholder_that_the_clients_refuse_is_refused(placeholder: str) -> None:
    with pytest.raises(BadTask, match="a placeholder looks like"):
        read(key=placeholder)


@given(st.binary(max_size=200) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*GOOD, "userMetadata"]), inner),
    max_leaves=8,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_every_message_is_a_task_or_refused(payload: bytes) -> None:
    try:
        wire = task_of(payload).wire
    except BadTask as problem:
        wire = problem.wire
    json.dumps(wire)


# --- Paths ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("file:/data/x", b"/data/x"),
        ("file:///data/x", b"/data/x"),
        ("FILE:///data/x", b"/data/x"),
        ("file://localhost/data/x", b"/data/x"),
        ("file:////data/x", b"//data/x"),
        ("file:///data/größe 日本", "/data/größe 日本".encode()),
        ("file:///data/a?b#c", b"/data/a?b#c"),
        ("file:///data/a b", b"/data/a b"),
        ("file:///data/\udcff", b"/data/\xff"),
        ("file:///C:/data/x", b"/C:/data/x"),
    ],
)
@pytest.mark.parametrize("policy", ["literal-first", "decode-first", "never"])
def test_urls_without_a_percent_sign_mean_one_path(url: str, path: bytes, policy: str) -> None:
    assert paths_of(url, policy) == (path,)


@pytest.mark.parametrize(
    ("policy", "paths"),
    [
        ("literal-first", (b"/data/%41%2g", b"/data/A%2g")),
        ("decode-first", (b"/data/A%2g", b"/data/%41%2g")),
        ("never", (b"/data/%41%2g",)),
    ],
)
def test_a_percent_sign_is_read_as_the_policy_says(policy: str, paths: tuple[bytes, ...]) -> None:
    assert paths_of("file:///data/%41%2g", policy) == paths


@pytest.mark.parametrize(
    "url",
    [
        "/data/x",
        "data",
        "http://host/x",
        "file:",
        "file://",
        "file:x",
        "file://host/x",
        "file:///a\0b",
        "file:///%00",
        "file:///\ud800",
        "",
    ],
)
def test_what_is_no_local_path_is_refused(url: str) -> None:
    with pytest.raises(BadTask, match="inputUrl"):
        paths_of(url, "literal-first")
