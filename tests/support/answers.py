"""Answers of a store, sound ones and what they become when they are damaged, and what must hold of all.

For the property tests and for the fuzzer in tests/fuzz. A verdict is None, or what is wrong in words.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from s3_file_uploader.errors import DeliveryError
from s3_file_uploader.transport.s3.faults import delivery_error
from s3_file_uploader.transport.s3.http1 import (
    BODY_LIMIT_BYTES,
    CHUNK_LINE_LIMIT_BYTES,
    HEAD_LIMIT_BYTES,
    AnswerReader,
    NotHttp,
)
from s3_file_uploader.transport.s3.xml import (
    MalformedAnswer,
    complete_result_of,
    error_of,
    parts_of,
    upload_id_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from s3_file_uploader.transport.s3.http1 import Response

__all__ = ["CORPUS", "METHODS", "mutated", "verdict_on_bytes", "verdict_on_document"]

METHODS = ("PUT", "POST", "GET", "HEAD", "DELETE", "CONNECT")
MOST_SECONDS_OF_CPU = 2.0  # what needs so long grows faster than its input

_OK = b"HTTP/1.1 200 OK\r\n"
_XML = b'<?xml version="1.0" encoding="UTF-8"?>\n'
_NAMESPACE = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'

DOCUMENTS: tuple[bytes, ...] = (
    _XML + b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message>"
    b"<RequestId>4442587FB7D0A2F9</RequestId><HostId>abc=</HostId></Error>",
    _XML + b"<Error><Code>AuthorizationHeaderMalformed</Code><Message>the region 'us-east-1' is wrong;"
    b" expecting 'eu-west-1'</Message><Region>eu-west-1</Region><Token-0>THE-SECRET</Token-0></Error>",
    b"<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>",
    _XML + b"<InitiateMultipartUploadResult" + _NAMESPACE + b"><Bucket>b</Bucket><Key>k</Key>"
    b"<UploadId>VXBsb2FkIElE&amp;</UploadId></InitiateMultipartUploadResult>",
    b"  \n " + _XML + b"<CompleteMultipartUploadResult" + _NAMESPACE + b"><ETag>&quot;e-2&quot;</ETag>"
    b"<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>"
    b"</CompleteMultipartUploadResult>",
    _XML + b"<ListPartsResult" + _NAMESPACE + b"><IsTruncated>true</IsTruncated>"
    b"<NextPartNumberMarker>7</NextPartNumberMarker><Part><PartNumber>2</PartNumber><Size>5242880</Size>"
    b"<ETag>&quot;aa&quot;</ETag><ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME></Part>"
    b"<Part><PartNumber>7</PartNumber><Size>0</Size><ETag>e</ETag></Part></ListPartsResult>",
    b'<!DOCTYPE Error [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code></Error>',
    b"<html><head><title>502 Bad Gateway</title></head><body><hr>nginx</body></html>",
    b"",
)
_HEADS: tuple[bytes, ...] = (
    b"HTTP/1.1 204\r\n\r\n",
    _OK + b'ETag: "e"\r\nx-amz-checksum-crc64nvme: rosUhgp5mIg=\r\nContent-Length: 0\r\n\r\n',
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nx: y\r\n\r\n"
    + _OK
    + b"Content-Length: 0\r\n\r\n",
    _OK + b"Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-t: 1\r\n\r\n",
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://b.s3-eu-west-1.amazonaws.com/k\r\n\r\n",
    b"HTTP/1.1 403 Forbidden\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Length: 1\r\n\r\nx",
    b"HTTP/1.1 429 Slow\r\nRetry-After: Fri, 31 Feb 9999 99:99:99 GMT\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
)


def _with_length(body: bytes) -> bytes:
    return b"HTTP/1.1 400 Bad\r\nDate: Fri, 02 Jan 2026 03:04:05 GMT\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )


def _chunked(body: bytes) -> bytes:
    pieces = (body[at : at + 50] for at in range(0, len(body), 50))
    coded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return _OK + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + coded + b"0\r\n\r\n"


CORPUS: tuple[bytes, ...] = (
    *_HEADS,
    *(_with_length(body) for body in DOCUMENTS),
    *(_chunked(body) for body in DOCUMENTS),
    *(b"HTTP/1.0 500 Oops\r\nServer: x\r\n\r\n" + body for body in DOCUMENTS),
    *DOCUMENTS,
)

_TOKENS: tuple[bytes, ...] = (
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"\x85",
        b"\xff\xfe",
        b"\xed\xa0\x80",
    ),
    *(
        b"HTTP/1.1 ",
        b"HTTP/1.0 ",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 101 x\r\n\r\n",
        b"HTTP/2 200\r\n",
    ),
    *(b"Content-Length: 5\r\n", b"Content-Length: 99999999999999999999\r\n", b"Content-Length: +1\r\n"),
    *(b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: gzip, chunked\r\n", b"Connection: close\r\n"),
    *(b"0\r\n\r\n", b"0\r\n", b"ffffffff\r\n", b"-1\r\n", b"1;" + b"x" * 300, b"fffffffffffffff\r\n"),
    *(
        b"<",
        b">",
        b"/>",
        b"<a>",
        b"</a>",
        b"&amp;",
        b"&#0;",
        b"&#x10FFFF;",
        b"&#xD800;",
        b"&x;",
        b"<![CDATA[",
        b"]]>",
    ),
    *(
        b"<!--",
        b"-->",
        b"<?x?>",
        b"<!DOCTYPE a>",
        b'<?xml version="1.0" encoding="utf-16"?>',
        b'<!ENTITY a "b">',
    ),
    *(
        b"<Error>",
        b"</Error>",
        b"<Part>",
        b"</Part>",
        b"<Code>",
        b"</Code>",
        b"<Region>",
        b"\xd9\xa1",
        b"9" * 20,
    ),
    b"x-amz-bucket-region: eu-north-1\r\n",
)
_SIZES = (1, 2, 7, 100, CHUNK_LINE_LIMIT_BYTES, HEAD_LIMIT_BYTES, BODY_LIMIT_BYTES)


def mutated(random: Random, *, most: int = 6) -> bytes:
    """One of the corpus, damaged a few times; now and then huge."""
    data = random.choice(CORPUS)
    for _ in range(random.randint(0, most)):
        data = random.choice(_MUTATIONS)(random, data)
    return data


def _flip(random: Random, data: bytes) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _cut(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[end:]


def _repeat(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    times = random.choice((1, 1, 2, 30, 300))
    return data[:start] + data[start:end] * min(times, 1 + 200_000 // max(1, end - start)) + data[end:]


def _insert(random: Random, data: bytes) -> bytes:
    at = random.randint(0, len(data))
    return data[:at] + random.choice(_TOKENS) + data[at:]


def _splice(random: Random, data: bytes) -> bytes:
    other = random.choice(CORPUS)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _truncate(random: Random, data: bytes) -> bytes:
    return data[: random.randint(0, len(data))]


def _pad(random: Random, data: bytes) -> bytes:
    """Around one of the limits, rarely the large one."""
    size = _SIZES[min(random.randrange(len(_SIZES)), random.randrange(len(_SIZES)))]
    at = random.randint(0, len(data))
    return (
        data[:at]
        + random.choice((b"x", b" ", b"<a>", b"0")) * max(0, size + random.randint(-4, 4))
        + data[at:]
    )


def _span(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 2, 5, 20, 100)))


_MUTATIONS: tuple[Callable[[Random, bytes], bytes], ...] = (
    _flip,
    _cut,
    _repeat,
    _insert,
    _insert,
    _splice,
    _truncate,
    _pad,
)


def _read(pieces: Sequence[bytes], method: str) -> Response | str:
    reader = AnswerReader(method)
    try:
        for piece in pieces:
            response = reader.feed(piece)
            if response is not None:
                return response
        return reader.end()
    except NotHttp as error:
        return "not HTTP" if str(error).isprintable() else f"unprintable: {error!r}"


def _said(outcome: Response | str) -> object:
    if isinstance(outcome, str):
        return outcome
    return outcome.status, outcome.headers, outcome.body


def verdict_on_bytes(data: bytes, method: str, cuts: Sequence[int]) -> str | None:
    """What an answer says must not depend on how it is cut, and never be more than there is."""
    started = time.process_time()
    whole = _read([data], method)
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(data[at : at + cut])
        at += cut
    again = _read([*pieces, data[at:]], method)
    if _said(whole) != _said(again):
        return f"cut in pieces it is {again!r}, whole it is {whole!r}"
    if time.process_time() - started > MOST_SECONDS_OF_CPU:
        return "it takes too long"
    if isinstance(whole, str):
        return None if whole == "not HTTP" else whole
    if len(whole.body) > len(data):
        return "its body is longer than all of it"
    return _verdict_on_fault(whole) or verdict_on_document(whole.body)


def _verdict_on_fault(response: Response) -> str | None:
    error = delivery_error(
        response.status,
        error_of(response.body),
        operation="PutObject",
        bucket="bucket",
        key="key",
        headers=response.headers,
        now=0.0,
    )
    text = f"{error} {error.advice} {error.code}"
    if not str(error).isprintable() or not error.advice.isprintable():
        return f"its error cannot stand in a line: {text!r}"
    return f"its error tells a secret: {text!r}" if "THE-SECRET" in text else None


def verdict_on_document(body: bytes) -> str | None:
    """XML is what S3 says, or malformed, within bounds of time."""
    started = time.process_time()
    error_of(body)
    for read in (upload_id_of, complete_result_of, parts_of):
        try:
            read(body)
        except MalformedAnswer as error:
            if not str(error).isprintable() or not isinstance(error, DeliveryError):
                return f"{error!r} cannot stand in a line"
    if time.process_time() - started > MOST_SECONDS_OF_CPU:
        return "it takes too long"
    return None
