"""Object names for Stream Manager, held against the validation of AWS's own client."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from stream_manager import S3ExportTaskDefinition, ValidationException
from stream_manager.util import Util

from s3_file_uploader.keys import KeyProblem, is_carried, object_key, prefix_problem, unescape

MTIME_NS = 1_707_447_845_678_901_234
ODD = b" \\{}%`[]\"'><~#^?|!:/.\n\0\x7f\xff"


@dataclass
class Rule:
    object_key_prefix: str = ""
    key_escape: str = "strict"
    transport: str = "stream-manager"


def key_of(name: bytes, *, prefix: str = "", key_escape: str = "strict", thing: str = "truck-7") -> str:
    return object_key(
        Rule(prefix, key_escape),  # type: ignore[arg-type]  # only these settings matter to a key
        relative=b"",
        name=name,
        mtime_ns=MTIME_NS,
        environment={"AWS_IOT_THING_NAME": thing},
        hostname="edge01",
    )


def key_or_problem(name: bytes, *, key_escape: str) -> str | KeyProblem:
    try:
        return key_of(name, key_escape=key_escape)
    except KeyProblem as problem:
        return problem


def is_taken(key: str) -> bool:
    """Whether the SDK would hand this key over."""
    try:
        Util.validate_and_serialize_to_json_bytes(S3ExportTaskDefinition("file:///a", "bucket", key))
    except ValidationException:
        return False
    return True


LIKELY = st.one_of(st.sampled_from([bytes([byte]) for byte in ODD]), st.binary(min_size=1, max_size=1))
NAMES = st.one_of(
    st.binary(min_size=1, max_size=255),
    st.lists(LIKELY, min_size=1, max_size=60).map(b"".join),
    st.text(min_size=1, max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from(
        [b"!{timestamp:yyyy/MM/dd}", b"!{a:b}", b"!{a:b", b"!!{a:b}", b"a" * 1024, b"\xc3\xa9" * 512]
    ),
).filter(lambda name: b"/" not in name and b"\0" not in name)


@pytest.mark.parametrize("key_escape", ["strict", "auto"])
@given(name=NAMES)
@example(name=b"!{timestamp:yyyy/MM/dd}".replace(b"/", b"!2F"))
@example(name=b"a\n")
@example(name=b"!7B")
def test_every_name_gives_a_key_that_the_sdk_takes_and_that_decodes_back(
    name: bytes, key_escape: str
) -> None:
    key = key_or_problem(name, key_escape=key_escape)
    if isinstance(key, KeyProblem):
        assert "bytes long" in str(key)
        return
    assert is_taken(key)
    assert len(key.encode()) <= 1024
    assert "!{" not in key
    assert unescape(key) == name


@given(name=NAMES)
def test_without_escaping_a_name_goes_as_it_is_or_is_parked_with_its_reason(name: bytes) -> None:
    key = key_or_problem(name, key_escape="off")
    if isinstance(key, KeyProblem):
        assert str(key)
        assert key.advice
        assert not key.retryable
        return
    assert is_taken(key)
    assert "!{" not in key
    assert key.encode() == name


@pytest.mark.parametrize("name", [b"a b", b"50%", b"a#b", b"[1]", b"it's", b"~x", b"!{timestamp:yyyy}"])
def test_without_escaping_what_only_stream_manager_refuses_is_said_to_be_its_refusal(name: bytes) -> None:
    with pytest.raises(
        KeyProblem, match=r"which Stream Manager refuses in an object name, and KeyEscape is off"
    ):
        key_of(name, key_escape="off")


def test_placeholders_are_resolved_before_anything_is_handed_over() -> None:
    prefix = "!{thingName}/!{hostname}/!{timestamp:yyyy/MM/dd}"
    assert key_of(b"a.csv", prefix=prefix) == "truck-7/edge01/2024/02/09/a.csv"


def test_a_placeholder_that_becomes_what_stream_manager_refuses_parks_the_file() -> None:
    with pytest.raises(KeyProblem, match=re.escape("!{thingName}")) as caught:
        key_of(b"a.csv", prefix="!{thingName}", thing="!{timestamp:yyyy}")
    assert "Stream Manager refuses" in str(caught.value)


@pytest.mark.parametrize(
    "prefix", ["!{timestamp:yyyy' 'MM}", "!{timestamp:'!{'yyyy':MM'}", "!{timestamp:yyyy''}", "a b"]
)
def test_a_prefix_that_can_never_be_taken_is_refused_at_start(prefix: str) -> None:
    assert "which Stream Manager refuses" in prefix_problem(prefix, strict=True)
    assert not prefix_problem(prefix)


def test_a_name_made_for_another_transport_is_recognised() -> None:
    rule = Rule()
    assert not is_carried(rule, "a b")  # type: ignore[arg-type]  # as above
    assert is_carried(rule, "a!20b")  # type: ignore[arg-type]  # as above
    assert is_carried(Rule(transport="s3"), "a b")  # type: ignore[arg-type]  # as above
