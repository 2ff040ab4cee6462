from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_file_uploader.transport.s3.xml import (
    LARGEST_ANSWER_BYTES,
    CompleteResult,
    MalformedAnswer,
    Part,
    ServiceError,
    complete_body,
    complete_result_of,
    error_of,
    parts_of,
    upload_id_of,
)

DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE = b' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
ERROR = DECLARATION + (
    b"<Error><Code>SignatureDoesNotMatch</Code><Message>The request\n signature &lt;differs&gt;.</Message>"
    b"<AWSAccessKeyId>THE-ID</AWSAccessKeyId><StringToSign>AWS4 THE-STRING</StringToSign>"
    b"<CanonicalRequest>x-amz-security-token:THE-TOKEN</CanonicalRequest><Token-0>THE-TOKEN</Token-0>"
    b"<Region>eu-west-1</Region><ServerTime>2026-01-02T03:04:05Z</ServerTime>"
    b"<RequestId>4442587FB7D0A2F9</RequestId></Error>"
)
PARTS = (
    DECLARATION
    + b"<ListPartsResult"
    + NAMESPACE
    + b"><Bucket>b</Bucket><Key>k</Key><UploadId>u</UploadId><NextPartNumberMarker>7</NextPartNumberMarker>"
    b"<MaxParts>2</MaxParts><IsTruncated>true</IsTruncated>"
    b"<Part><PartNumber>2</PartNumber><ETag>&quot;aa&quot;</ETag><Size>5242880</Size>"
    b"<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME></Part>"
    b"<Part><PartNumber>7</PartNumber><ETag>&quot;bb&quot;</ETag><Size>0</Size></Part></ListPartsResult>"
)


def test_an_error_is_taken_over_without_what_could_be_a_credential() -> None:
    error = error_of(ERROR)

    assert error == ServiceError(
        code="SignatureDoesNotMatch",
        message="The request signature <differs>.",
        request_id="4442587FB7D0A2F9",
        region="eu-west-1",
        extra={"ServerTime": "2026-01-02T03:04:05Z"},
    )
    assert not [secret for secret in ("THE-ID", "THE-STRING", "THE-TOKEN") if secret in repr(error)]


@pytest.mark.parametrize("body", [b"", b"<html><body>502 Bad Gateway</html>", b"{}", b"\xff\xfe", b"<a/>"])
def test_an_error_answer_that_is_not_of_s3_is_an_error_without_words(body: bytes) -> None:
    assert error_of(body) == ServiceError()


def test_a_wrapped_error_is_found() -> None:
    assert error_of(b"<ErrorResponse><Error><Code>X</Code></Error></ErrorResponse>").code == "X"


def test_the_upload_id_is_found_with_and_without_a_namespace() -> None:
    for namespace in (b"", NAMESPACE):
        inner = b"<Bucket>b</Bucket><UploadId> VXBsb2Fk&amp;SUQ </UploadId>"
        body = b"<InitiateMultipartUploadResult%s>%s</InitiateMultipartUploadResult>" % (namespace, inner)
        assert upload_id_of(DECLARATION + body) == "VXBsb2Fk&SUQ"


@pytest.mark.parametrize(
    "body", [b"", ERROR, PARTS, b"<InitiateMultipartUploadResult/>", b"<UploadId>x</UploadId>"]
)
def test_an_answer_without_an_upload_id_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        upload_id_of(body)


def test_a_completed_upload_tells_its_checksum() -> None:
    body = (
        b"   \n \n"  # what keeps the connection alive
        + DECLARATION
        + b"<CompleteMultipartUploadResult"
        + NAMESPACE
        + b"><ETag>&quot;e-2&quot;</ETag><ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME>"
        b"<ChecksumType>FULL_OBJECT</ChecksumType></CompleteMultipartUploadResult>"
    )

    assert complete_result_of(body) == CompleteResult('"e-2"', "rosUhgp5mIg=", "FULL_OBJECT")


def test_an_error_in_a_completed_upload_is_an_error() -> None:
    answer = complete_result_of(DECLARATION + b"\n  <Error><Code>InternalError</Code></Error>")

    assert answer == ServiceError(code="InternalError")


def test_a_page_of_parts_is_read_with_what_comes_next() -> None:
    assert parts_of(PARTS) == (
        [Part(2, 5_242_880, '"aa"', "rosUhgp5mIg="), Part(7, 0, '"bb"')],
        7,
    )


def test_the_last_page_of_parts_has_nothing_next() -> None:
    assert parts_of(PARTS.replace(b"true", b"false"))[1] is None
    assert parts_of(b"<ListPartsResult><IsTruncated>false</IsTruncated></ListPartsResult>") == ([], None)


def test_a_forgotten_or_stuck_marker_means_the_last_part() -> None:
    marker = b"<NextPartNumberMarker>7</NextPartNumberMarker>"

    assert parts_of(PARTS.replace(marker, b""))[1] == 7
    assert parts_of(PARTS.replace(marker, b"<NextPartNumberMarker>0</NextPartNumberMarker>"))[1] == 7


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<PartNumber>2<", b"<PartNumber>0<"),
        (b"<PartNumber>2<", b"<PartNumber>10001<"),
        (b"<PartNumber>2<", b"<PartNumber><"),
        (b"<Size>0<", b"<Size>-1<"),
        (b"<Size>0<", b"<Size>\xd9\xa1<"),
        (b"<Size>0<", b"<Size>" + b"9" * 5000 + b"<"),
    ],
)
def test_parts_that_cannot_exist_are_malformed(old: bytes, new: bytes) -> None:
    with pytest.raises(MalformedAnswer):
        parts_of(PARTS.replace(old, new))


def test_more_parts_promised_than_sent_are_malformed() -> None:
    with pytest.raises(MalformedAnswer):
        parts_of(b"<ListPartsResult><IsTruncated>true</IsTruncated></ListPartsResult>")


LAUGHS = b'<!DOCTYPE Error [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><Error><Code>&b;</Code></Error>'
OUTSIDE = b'<!DOCTYPE Error [<!ENTITY a SYSTEM "file:///etc/passwd">]><Error><Code>&a;</Code></Error>'


@pytest.mark.parametrize(
    "body",
    [
        LAUGHS,
        OUTSIDE,
        b"<!DOCTYPE Error><Error/>",
        b'<?xml version="1.0" encoding="rot13"?><!DOCTYPE x><Error/>',
        b"<Error><Code>&undefined;</Code></Error>",
        b"<a>" * 100 + b"</a>" * 100,
        b"<Error>" + b"<Code/>" * 60_000 + b"</Error>",
        b"<Error><Code>" + b"x" * 20_000 + b"</Code></Error>",
        b" " * (LARGEST_ANSWER_BYTES + 1),
        b"<Error>\x00</Error>",
        b"<Error>",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_hostile_answers_are_malformed_and_nothing_worse(body: bytes) -> None:
    for read in (upload_id_of, complete_result_of, parts_of):
        with pytest.raises(MalformedAnswer):
            read(body)
    assert error_of(body) == ServiceError()


TAGS = [b"<Error>", b"</Error>", b"<Code>", b"</Code>", b"<ListPartsResult>", b"<Part>", b"<Size>", b"&lt;"]


@given(body=st.binary(max_size=200) | st.lists(st.sampled_from(TAGS) | st.binary(max_size=5)).map(b"".join))
@example(body=b'<?xml version="1.0" encoding="foo"?><a/>')
@example(body=b"\xff\xfe<\x00a\x00/\x00>\x00")
@example(body=b"<a>&#xD800;</a>")
def test_any_bytes_are_an_answer_or_malformed(body: bytes) -> None:
    assert isinstance(error_of(body), ServiceError)
    for read in (upload_id_of, complete_result_of, parts_of):
        problem = ""
        try:
            read(body)
        except MalformedAnswer as error:
            problem = str(error)
        assert not problem or problem.isprintable()


@given(data=st.data())
def test_a_damaged_answer_is_an_answer_or_malformed(data: st.DataObject) -> None:
    damaged = bytearray(PARTS)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        parts, _next = parts_of(bytes(damaged))
    except MalformedAnswer:
        return
    assert all(1 <= part.number <= 10_000 and part.size >= 0 for part in parts)


def test_the_body_that_completes_an_upload_names_every_part() -> None:
    body = complete_body([Part(1, 5, '"a"', "rosUhgp5mIg="), Part(2, 5, "<&>")])

    assert body == (
        b'<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b'<Part><PartNumber>1</PartNumber><ETag>"a"</ETag>'
        b"<ChecksumCRC64NVME>rosUhgp5mIg=</ChecksumCRC64NVME></Part>"
        b"<Part><PartNumber>2</PartNumber><ETag>&lt;&amp;&gt;</ETag></Part></CompleteMultipartUpload>"
    )


def test_answers_under_the_names_that_other_stores_give_them_are_read() -> None:
    begun = b"<InitiateMultipartUpload><UploadId>u</UploadId></InitiateMultipartUpload>"

    assert upload_id_of(begun) == "u"
    assert parts_of(PARTS.replace(b"ListPartsResult", b"ListPartsResponse")) == parts_of(PARTS)
