"""Sound answers, damaged at random: what is read never depends on the cuts, and nothing worse than an error comes of it.

`tests/fuzz/answers.py` does the same for as long as one likes.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_file_uploader.transport.s3.http1 import (
    CHUNK_LIMIT,
    CHUNK_LINE_LIMIT_BYTES,
    HEAD_LIMIT_BYTES,
    AnswerReader,
    NotHttp,
)
from support.answers import METHODS, mutated, verdict_on_bytes, verdict_on_document

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


@settings(max_examples=300)
@given(
    seed=st.integers(0, 2**64),
    method=st.sampled_from(METHODS),
    cuts=st.lists(st.integers(1, 2000), max_size=50),
)
def test_a_damaged_answer_is_read_the_same_however_it_is_cut(seed: int, method: str, cuts: list[int]) -> None:
    data = mutated(Random(seed))
    assert verdict_on_bytes(data, method, cuts) is None
    assert verdict_on_document(data) is None


def outcome(data: bytes, *, in_pieces: bool) -> object:
    reader = AnswerReader()
    try:
        for piece in [data[at : at + 1] for at in range(len(data))] if in_pieces else [data]:
            response = reader.feed(piece)
            if response is not None:
                return response.body
    except NotHttp:
        return "not HTTP"
    return "unfinished"


@pytest.mark.parametrize("excess", [-1, 0, 1, 2, 3, 4])
def test_a_limit_is_the_same_limit_for_bytes_that_come_one_by_one(excess: int) -> None:
    head = b"HTTP/1.1 200 " + b"x" * (HEAD_LIMIT_BYTES - 13 - 19 + excess) + b"\r\nContent-Length: 0\r\n\r\n"
    line = CHUNKED + b"1;" + b"x" * (CHUNK_LINE_LIMIT_BYTES - 2 + excess) + b"\r\na\r\n0\r\n\r\n"
    assert outcome(head, in_pieces=True) == outcome(head, in_pieces=False)
    assert outcome(head, in_pieces=False) == (b"" if excess <= 0 else "not HTTP")
    assert outcome(line, in_pieces=True) == outcome(line, in_pieces=False)
    assert outcome(line, in_pieces=False) == (b"a" if excess <= 0 else "not HTTP")


def test_blanks_within_a_header_cost_no_more_than_other_bytes() -> None:
    """Found by the fuzzer: once this took three seconds of a processor, within the limit of a head."""
    data = OK + b"x:" + b" " * 32_000 + b"y" + b" \t" * 100 + b"\r\nContent-Length: 0\r\n\r\n"
    assert verdict_on_bytes(data, "PUT", [1] * 500) is None
    response = AnswerReader().feed(data)
    assert response is not None
    assert response.headers["x"] == "y"


def test_a_chunk_longer_than_its_size_is_refused_at_once() -> None:
    with pytest.raises(NotHttp):
        AnswerReader().feed(CHUNKED + b"1\r\nabc")


def test_more_chunks_than_any_answer_has_are_refused() -> None:
    reader = AnswerReader()
    reader.feed(CHUNKED)
    with pytest.raises(NotHttp):
        reader.feed(b"1\r\nx\r\n" * (CHUNK_LIMIT + 1))


def test_what_follows_the_yes_to_connect_is_no_body() -> None:
    response = AnswerReader("CONNECT").feed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    assert response is not None
    assert response.body == b""
    assert AnswerReader("CONNECT").feed(b"HTTP/1.1 407 No\r\nContent-Length: 9\r\n\r\n") is None


def test_the_fuzzer_runs() -> None:
    program = Path(__file__).parents[2] / "fuzz" / "answers.py"
    done = subprocess.run(
        [sys.executable, str(program), "0.3", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing found" in done.stdout
