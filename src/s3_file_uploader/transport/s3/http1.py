"""HTTP/1.1 as this program speaks it: one request head out, one answer in. Bytes only, no sockets.

The reader is strict and bounded, because what it reads may come from anything that listens on a port:
an answer it does not understand to the last byte is `NotHttp`, never a guess. It refuses
bare line feeds, folded headers, contradicting lengths, codings other than chunked, and any head or
body larger than S3 ever needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from s3_file_uploader.errors import TransferFault

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["AnswerReader", "NotHttp", "Response", "request_head"]

HEAD_LIMIT_BYTES = 32 * 1024
HEADER_LIMIT = 100
BODY_LIMIT_BYTES = 4 * 1024 * 1024  # a page of ListParts is the largest thing that we ask for
CHUNK_LINE_LIMIT_BYTES = 256
CHUNK_LIMIT = 100_000  # S3 keeps a connection alive with single spaces, seconds apart
INTERIM_LIMIT = 16  # 1xx answers before the real one

_STATUS_LINE = re.compile(r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
# White space around the value is taken off afterwards: to have the expression do it takes time that grows
# with the square of a long run of blanks.
_HEADER = re.compile(r"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):([^\x00-\x08\x0a-\x1f\x7f]*)")
# A header that is the whole of its line: what stands before and after it is a line's end.
_HEADERS = re.compile(rf"(?:(?<=\r\n)|\A){_HEADER.pattern}(?=\r\n|\Z)")
_DIGITS = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\x00-\x08\x0a-\x1f\x7f]*)?")


class NotHttp(TransferFault):
    """What came is not an answer of HTTP/1.x, or larger than any that we ask for."""

    advice = (
        "Something else may listen on that port, or answer on the way: look at EndpointUrl and the proxy."
    )


class Response:
    """One final answer. Header names are lower-case; a repeated header's values are joined by a comma."""

    __slots__ = ("body", "headers", "keeps_alive", "status")

    def __init__(self, status: int, headers: dict[str, str], body: bytes, *, keeps_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        self.keeps_alive = keeps_alive

    def __repr__(self) -> str:
        return f"Response({self.status}, {len(self.body)} bytes)"


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """The request line and headers, as sent. ValueError for what would break out of its line."""
    lines = [f"{method} {target} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(lines)
    breaks = len(lines) - 1
    if text.count("\n") != breaks or text.count("\r") != breaks or "\0" in text:
        raise ValueError("a line break in a request head")
    if " " in target or not text.isascii():
        raise ValueError("a request head carries ASCII only, and no space in its target")
    return f"{text}\r\n\r\n".encode("ascii")


class AnswerReader:
    """Feed it what arrives until it returns the answer; tell it when the connection ended.

    `is_continued` turns true on a 100 Continue, `has_begun` on the first byte. One reader per request.
    What it costs grows with what arrives, however small the pieces.
    """

    __slots__ = (
        "_at",
        "_body",
        "_buffer",
        "_chunks",
        "_headers",
        "_interim",
        "_keeps_alive",
        "_left",
        "_method",
        "_mode",
        "_status",
        "_trailer_size",
        "has_begun",
        "is_continued",
    )

    def __init__(self, method: str = "PUT") -> None:
        self._method = method
        self._buffer = b""
        self._at = 0  # what stands before it in the buffer has been read
        self._mode = _HEAD
        self._interim = 0
        self._body = bytearray()
        self._left = 0  # of the body, or of the chunk
        self._chunks = 0
        self._trailer_size = 0
        self._status = 0
        self._headers: dict[str, str] = {}
        self._keeps_alive = False
        self.has_begun = False
        self.is_continued = False

    def feed(self, data: bytes) -> Response | None:
        """The answer, once its last byte is here."""
        if data:
            self.has_begun = True
            self._buffer = self._buffer[self._at :] + data
            self._at = 0
        while self._mode == _HEAD:
            if not self._read_head():
                return None
        if self._mode > _UNTIL_CLOSE:
            return self._answer() if self._read_chunked() else None
        self._take()
        # What lasts until the connection ends always has something left.
        return None if self._left else self._answer()

    def end(self) -> Response:
        """The connection ended: the answer, if its end was to be told that way."""
        if self._mode != _UNTIL_CLOSE:
            raise NotHttp("the connection ended in the middle of an answer")
        return self._answer()

    @property
    def is_amid(self) -> bool:
        """Something of the answer itself, not only of interim ones, was read."""
        return self._mode != _HEAD or self._at < len(self._buffer)

    def _answer(self) -> Response:
        # Bytes after the answer belong to no request of ours: such a connection is not used again.
        keeps_alive = self._keeps_alive and self._at == len(self._buffer)
        return Response(self._status, self._headers, bytes(self._body), keeps_alive=keeps_alive)

    def _read_head(self) -> bool:
        """True when a head was read, be it of an interim answer."""
        end = self._buffer.find(b"\r\n\r\n", self._at)
        size = (len(self._buffer) if end < 0 else end) - self._at
        # Of an end that is not whole yet, up to three bytes are here.
        if size > HEAD_LIMIT_BYTES + (3 if end < 0 else 0) or not _may_begin(self._buffer, self._at):
            raise NotHttp("the answer is not HTTP: no head of an HTTP answer")
        if end < 0:
            return False
        status, minor, headers = _parse_head(self._buffer[self._at : end].decode("latin-1"))
        self._at = end + 4
        if status < 200:  # noqa: PLR2004  (HTTP's own classes of status)
            self._skip_interim(status)
        else:
            self._status, self._headers = status, headers
            self._frame(minor)
        return True

    def _skip_interim(self, status: int) -> None:
        self._interim += 1
        if self._interim > INTERIM_LIMIT or status == 101:  # noqa: PLR2004 - another protocol
            raise NotHttp(f"the answer is not HTTP: an interim answer {status} that was not asked for")
        self.is_continued = self.is_continued or status == 100  # noqa: PLR2004 - 100 Continue

    def _frame(self, minor: int) -> None:
        """Decide, once the head is known, how the body ends and whether the connection lives on."""
        headers = self._headers
        connection = headers.get("connection")
        self._keeps_alive = minor == 1 if connection is None else _keeps_alive(connection, minor)
        coding, length = headers.get("transfer-encoding"), headers.get("content-length")
        if coding is not None and (coding.lower() != "chunked" or length is not None or minor == 0):
            raise NotHttp("the answer is not HTTP: a transfer coding that cannot be trusted")
        size = None if length is None else _length(length)
        if _is_bodiless(self._method, self._status):
            self._mode, self._left = _SIZED, 0
        elif coding is not None:
            self._mode = _CHUNK_LINE
        elif size is not None:
            if size > BODY_LIMIT_BYTES:
                raise NotHttp(f"the answer is not HTTP: an answer of {size} bytes")
            self._mode, self._left = _SIZED, size
        else:
            self._mode, self._left, self._keeps_alive = _UNTIL_CLOSE, BODY_LIMIT_BYTES + 1, False

    def _take(self) -> None:
        """Of the body, what is here and still belongs to it."""
        piece = self._buffer[self._at : self._at + self._left]
        self._at += len(piece)
        self._left -= len(piece)
        self._body += piece
        if len(self._body) > BODY_LIMIT_BYTES:
            raise NotHttp("the answer is not HTTP: an answer that is too long")

    def _read_chunked(self) -> bool:
        """True when the last chunk and its trailers are here."""
        while True:
            if self._mode == _CHUNK_DATA:
                self._take()
                if self._left:
                    return False
                self._mode = _CHUNK_END
            line = self._line(_LINE_LIMITS[self._mode])
            if line is None:
                return False
            if self._mode == _CHUNK_LINE:
                self._begin_chunk(line)
            elif self._mode == _CHUNK_END:
                self._mode = _CHUNK_LINE
            elif not line:
                return True
            else:
                self._check_trailer(line)

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_SIZE.fullmatch(line)
        self._chunks += 1
        if match is None or self._chunks > CHUNK_LIMIT:
            raise NotHttp("the answer is not HTTP: a chunk without a size, or too many chunks")
        self._left = int(match[1], 16)
        if len(self._body) + self._left > BODY_LIMIT_BYTES:
            raise NotHttp("the answer is not HTTP: an answer that is too long")
        self._mode = _CHUNK_DATA if self._left else _TRAILERS

    def _check_trailer(self, line: bytes) -> None:
        self._trailer_size += len(line)
        if self._trailer_size > HEAD_LIMIT_BYTES or not _HEADER.fullmatch(line.decode("latin-1")):
            raise NotHttp("the answer is not HTTP: a trailer that is no header")

    def _line(self, limit: int) -> bytes | None:
        end = self._buffer.find(b"\r\n", self._at)
        size = (len(self._buffer) if end < 0 else end) - self._at
        if size > limit + (1 if end < 0 else 0):  # the first byte of its end may be here
            raise NotHttp("the answer is not HTTP: a line that is too long, or a chunk longer than its size")
        if end < 0:
            return None
        line = self._buffer[self._at : end]
        self._at = end + 2
        return line


_HEAD, _SIZED, _UNTIL_CLOSE, _CHUNK_LINE, _CHUNK_DATA, _CHUNK_END, _TRAILERS = range(7)
_LINE_LIMITS = {_CHUNK_LINE: CHUNK_LINE_LIMIT_BYTES, _CHUNK_END: 0, _TRAILERS: HEAD_LIMIT_BYTES}


def _is_bodiless(method: str, status: int) -> bool:
    """What follows a proxy's yes to CONNECT is no body, but the other side's own bytes."""
    return method == "HEAD" or status in (204, 304) or (method == "CONNECT" and status < 300)  # noqa: PLR2004 - those that have none


def _may_begin(data: bytes, at: int) -> bool:
    start = b"HTTP/1."
    begin = data[at : at + len(start)]
    return begin == start[: len(begin)]


def _parse_head(text: str) -> tuple[int, int, dict[str, str]]:
    """Status, minor version and headers of `text`, which ends before the empty line."""
    first, _, rest = text.partition("\r\n")
    match = _STATUS_LINE.fullmatch(first)
    if match is None:
        raise NotHttp("the answer is not HTTP: no status line of HTTP/1.x")
    lines = rest.split("\r\n") if rest else []
    found = _HEADERS.findall(rest) if rest else []
    # Two calls into C for all of them, instead of one for each: every line must have been found.
    if len(found) != len(lines) or len(lines) > HEADER_LIMIT:
        raise NotHttp("the answer is not HTTP: a line in its head is no header, or there are too many")
    headers = {name.lower(): value.strip(" \t") for name, value in found}
    if len(headers) != len(found):
        headers = _joined(found)
    return int(match[2]), int(match[1]), headers


def _keeps_alive(connection: str, minor: int) -> bool:
    tokens = connection.lower().replace(" ", "").split(",")
    return "close" not in tokens and (minor == 1 or "keep-alive" in tokens)


def _joined(found: list[tuple[str, str]]) -> dict[str, str]:
    """Headers of which some are repeated."""
    headers: dict[str, str] = {}
    for name, value in found:
        lower, value = name.lower(), value.strip(" \t")  # noqa: PLW2901  (as it counts)
        headers[lower] = f"{headers[lower]}, {value}" if lower in headers else value
    return headers


def _length(text: str) -> int:
    """Content-Length, which may be repeated as long as it says the same."""
    if _DIGITS.fullmatch(text):
        return int(text)
    values = {value.strip() for value in text.split(",")}
    value = values.pop()
    if values or not _DIGITS.fullmatch(value):
        raise NotHttp("the answer is not HTTP: contradicting or senseless lengths")
    return int(value)
