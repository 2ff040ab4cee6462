"""The reader of HTTP answers: strict, bounded, and indifferent to how the bytes are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.transport.s3.http1 import (
    BODY_LIMIT_BYTES,
    HEAD_LIMIT_BYTES,
    AnswerReader,
    NotHttp,
    Response,
    request_head,
)

OK = b"HTTP/1.1 200 OK\r\n"

Told = tuple[int, dict[str, str], bytes, bool]


def told(response: Response | None) -> Told | None:
    if response is None:
        return None
    return response.status, response.headers, response.body, response.keeps_alive


def read(*pieces: bytes, method: str = "PUT", ends: bool = False) -> Told | None:
    reader = AnswerReader(method)
    for piece in pieces:
        response = reader.feed(piece)
        if response is not None:
            return told(response)
    return told(reader.end()) if ends else None


ANSWERS: dict[bytes, Told] = {
    OK + b"Content-Length: 0\r\n\r\n": (200, {"content-length": "0"}, b"", True),
    OK + b'ETag:  "x" \t\r\nContent-Length:3\r\n\r\nabc': (
        200,
        {"etag": '"x"', "content-length": "3"},
        b"abc",
        True,
    ),
    b"HTTP/1.1 204\r\n\r\n": (204, {}, b"", True),
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 12\r\n\r\n": (304, {"content-length": "12"}, b"", True),
    b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n": (200, {"content-length": "0"}, b"", False),
    b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 0\r\n\r\n": (
        200,
        {"connection": "Keep-Alive", "content-length": "0"},
        b"",
        True,
    ),
    OK + b"Connection: foo, Close\r\nContent-Length: 0\r\n\r\n": (
        200,
        {"connection": "foo, Close", "content-length": "0"},
        b"",
        False,
    ),
    OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n": (
        200,
        {"transfer-encoding": "chunked"},
        b"abc0123456789",
        True,
    ),
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\n"
    + OK
    + b"Content-Length: 0\r\n\r\n": (
        200,
        {"content-length": "0"},
        b"",
        True,
    ),
    OK + b"x: 1\r\nX: 2\r\nContent-Length: 0\r\n\r\n": (200, {"x": "1, 2", "content-length": "0"}, b"", True),
    OK + b"Content-Length: 1\r\nContent-Length: 1\r\n\r\na": (200, {"content-length": "1, 1"}, b"a", True),
    OK + b"empty:\r\nContent-Length: 0\r\n\r\n": (200, {"empty": "", "content-length": "0"}, b"", True),
    OK + b"Content-Length: 0\r\n\r\nmore than was asked for": (200, {"content-length": "0"}, b"", False),
}


@pytest.mark.parametrize("data", ANSWERS)
def test_an_answer_is_read_for_what_it_says(data: bytes) -> None:
    assert read(data) == ANSWERS[data]


@pytest.mark.parametrize("data", [data for data in ANSWERS if b"more than" not in data])
def test_it_does_not_matter_where_the_bytes_are_cut(data: bytes) -> None:
    assert read(*(data[at : at + 1] for at in range(len(data)))) == ANSWERS[data]
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:]) == ANSWERS[data]


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    assert read(OK + b"\r\nab", b"c", ends=True) == (200, {}, b"abc", False)


def test_an_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    data = OK + b"Content-Length: 99999999999\r\n\r\n"
    assert read(data, method="HEAD") == (200, {"content-length": "99999999999"}, b"", True)


def test_continue_is_noted_and_is_not_the_answer() -> None:
    reader = AnswerReader()
    assert not reader.has_begun
    assert reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n") is None
    assert reader.is_continued
    assert reader.has_begun


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        OK + b"no colon\r\n\r\n",
        OK + b"name : value\r\n\r\n",
        OK + b" folded: value\r\n\r\n",
        OK + b"x: a\x00b\r\n\r\n",
        OK + b"x: a\nb: c\r\n\r\n",
        OK + b": value\r\n\r\n",
        OK + b"Content-Length: -1\r\n\r\n",
        OK + b"Content-Length: 1x\r\n\r\n",
        OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        OK + b"Content-Length: %d\r\n\r\n" % (BODY_LIMIT_BYTES + 1),
        OK + b"Transfer-Encoding: gzip\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFF\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 1000,
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nno header\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        OK + b"x: y\r\n" * 200 + b"\r\n",
        OK + b"x: " + b"y" * HEAD_LIMIT_BYTES,
        OK + b"\r\n" + b"x" * (BODY_LIMIT_BYTES + 1),
    ],
)
def test_what_is_not_http_is_refused(data: bytes) -> None:
    with pytest.raises(NotHttp):
        read(data)


def test_a_chunked_answer_that_never_ends_is_refused() -> None:
    reader = AnswerReader()
    reader.feed(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    for _ in range(BODY_LIMIT_BYTES // 60_000):
        reader.feed(b"ea60\r\n" + b"x" * 60_000 + b"\r\n")
    with pytest.raises(NotHttp):
        reader.feed(b"ea60\r\n" + b"x" * 60_000 + b"\r\n")


@pytest.mark.parametrize("data", [b"", b"HTT", OK, OK + b"Content-Length: 3\r\n\r\nab"])
def test_a_connection_that_ends_within_an_answer_is_refused(data: bytes) -> None:
    with pytest.raises(NotHttp):
        read(data, ends=True)


_PIECES = st.one_of(
    st.sampled_from(
        [
            OK,
            b"HTTP/1.1 ",
            b"\r\n",
            b"\r\n\r\n",
            b"Content-Length: ",
            b"Transfer-Encoding: chunked",
            b"3\r\nabc\r\n",
            b"0\r\n\r\n",
            b"5",
            b"HTTP/1.1 100 Continue\r\n\r\n",
        ]
    ),
    st.binary(max_size=20),
)


@given(st.lists(_PIECES, max_size=20), st.integers(min_value=1, max_value=50))
def test_garbage_ends_as_an_answer_or_as_not_http_however_it_is_cut(pieces: list[bytes], step: int) -> None:
    data = b"".join(pieces)

    def outcome(*cuts: bytes) -> object:
        try:
            response = read(*cuts, ends=True)
        except NotHttp:
            return "not http"
        assert response is not None
        return response[:3]

    assert outcome(data) == outcome(*(data[at : at + step] for at in range(0, len(data), step)))


@given(
    st.lists(st.binary(min_size=1, max_size=300), max_size=6),
    st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=30),
)
def test_any_chunking_carries_the_body(chunks: list[bytes], cuts: list[int]) -> None:
    coded = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    data = OK + b"Transfer-Encoding: chunked\r\n\r\n" + coded + b"0\r\n\r\n"
    reader, at, number = AnswerReader(), 0, 0
    response = None
    while response is None:
        size = cuts[number % len(cuts)]
        response = reader.feed(data[at : at + size])
        at, number = at + size, number + 1
    assert response.body == b"".join(chunks)


def test_a_head_is_written_as_it_is_sent() -> None:
    head = request_head("PUT", "/b/k?x=y", {"host": "h", "content-length": "3"})
    assert head == b"PUT /b/k?x=y HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\n"


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/a\r\nx: y", ""),
        ("/a b", ""),
        ("/a", "b\r\nx: y"),
        ("/a", "b\n"),
        ("/a", "\0"),
        ("/a", "é"),
        ("/a\n", ""),
    ],
)
def test_nothing_can_break_out_of_its_line_in_a_head(target: str, value: str) -> None:
    with pytest.raises(ValueError, match="request head"):
        request_head("PUT", target, {"name": value})
