from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.errors import (
    AccessDenied,
    AlreadyExists,
    Concern,
    DeliveryError,
    Misconfigured,
    Refused,
    Throttled,
    TransferFault,
    Unproven,
    Unreachable,
)
from s3_file_uploader.transport.s3.fault_table import BY_CODE, BY_STATUS
from s3_file_uploader.transport.s3.faults import (
    ClockSkewed,
    ContentRejected,
    CredentialsExpired,
    CredentialsRefused,
    Outage,
    ServerFault,
    SignatureRefused,
    UploadGone,
    WrongRegion,
    delivery_error,
    server_seconds,
)
from s3_file_uploader.transport.s3.xml import ServiceError


def fault(
    status: int,
    code: str = "",
    *,
    operation: str = "PutObject",
    headers: dict[str, str] | None = None,
    message: str = "",
    region: str = "",
    extra: dict[str, str] | None = None,
    now: float | None = None,
) -> DeliveryError:
    error = ServiceError(code=code, message=message, region=region, extra=extra or {}) if code else None
    return delivery_error(
        status, error, operation=operation, bucket="b", key="a/k", headers=headers or {}, now=now
    )


@pytest.mark.parametrize(
    ("status", "code", "kind", "concern", "retryable"),
    [
        (500, "InternalError", ServerFault, Concern.FILE, True),
        (500, "", ServerFault, Concern.FILE, True),
        (502, "", ServerFault, Concern.FILE, True),
        (504, "", ServerFault, Concern.FILE, True),
        (599, "", ServerFault, Concern.FILE, True),
        (200, "InternalError", ServerFault, Concern.FILE, True),
        (200, "SomethingNew", ServerFault, Concern.FILE, True),
        (503, "SlowDown", Throttled, Concern.DESTINATION, True),
        (503, "ServiceUnavailable", Throttled, Concern.DESTINATION, True),
        (503, "", Throttled, Concern.DESTINATION, True),
        (429, "", Throttled, Concern.DESTINATION, True),
        (200, "SlowDown", Throttled, Concern.DESTINATION, True),
        (400, "KMS.ThrottlingException", Throttled, Concern.DESTINATION, True),
        (400, "RequestTimeout", TransferFault, Concern.FILE, True),
        (408, "", TransferFault, Concern.FILE, True),
        (400, "IncompleteBody", TransferFault, Concern.FILE, True),
        (409, "OperationAborted", TransferFault, Concern.FILE, True),
        (409, "", TransferFault, Concern.FILE, True),
        (400, "BadDigest", ContentRejected, Concern.FILE, False),
        (400, "XAmzContentChecksumMismatch", ContentRejected, Concern.FILE, False),
        (400, "XAmzContentSHA256Mismatch", ContentRejected, Concern.FILE, False),
        (403, "AccessDenied", AccessDenied, Concern.UNCERTAIN, False),
        (403, "", AccessDenied, Concern.UNCERTAIN, False),
        (400, "KMS.DisabledException", AccessDenied, Concern.UNCERTAIN, False),
        (403, "SignatureDoesNotMatch", SignatureRefused, Concern.UNCERTAIN, False),
        (403, "InvalidAccessKeyId", CredentialsRefused, Concern.DESTINATION, False),
        (400, "InvalidToken", CredentialsRefused, Concern.DESTINATION, False),
        (401, "", CredentialsRefused, Concern.DESTINATION, False),
        (400, "ExpiredToken", CredentialsExpired, Concern.DESTINATION, True),
        (403, "RequestTimeTooSkewed", ClockSkewed, Concern.DESTINATION, True),
        (404, "NoSuchBucket", Misconfigured, Concern.DESTINATION, False),
        (404, "", Misconfigured, Concern.DESTINATION, False),
        (405, "MethodNotAllowed", Misconfigured, Concern.DESTINATION, False),
        (501, "NotImplemented", Misconfigured, Concern.DESTINATION, False),
        (301, "PermanentRedirect", WrongRegion, Concern.DESTINATION, False),
        (400, "AuthorizationHeaderMalformed", WrongRegion, Concern.DESTINATION, False),
        (302, "", WrongRegion, Concern.DESTINATION, False),
        (307, "TemporaryRedirect", Unreachable, Concern.DESTINATION, True),
        (507, "XMinioStorageFull", Unreachable, Concern.DESTINATION, True),
        (511, "", Unreachable, Concern.DESTINATION, True),
        (404, "NoSuchUpload", UploadGone, Concern.FILE, True),
        (400, "InvalidPart", UploadGone, Concern.FILE, True),
        (400, "EntityTooLarge", Refused, Concern.FILE, False),
        (413, "", Refused, Concern.FILE, False),
        (400, "KeyTooLongError", Refused, Concern.FILE, False),
        (400, "InvalidRequest", Refused, Concern.FILE, False),
        (400, "SomethingNew", Refused, Concern.FILE, False),
        (418, "", Refused, Concern.FILE, False),
        (412, "PreconditionFailed", AlreadyExists, Concern.FILE, False),
    ],
)
def test_each_answer_is_the_error_it_stands_for(
    status: int, code: str, kind: type[DeliveryError], concern: Concern, retryable: bool
) -> None:
    error = fault(status, code)

    assert type(error) is kind
    assert error.concern is concern
    assert error.retryable is retryable
    assert error.code == (code or str(status))
    assert error.advice


def test_the_engines_own_errors_are_of_the_public_tree() -> None:
    assert issubclass(UploadGone, TransferFault)
    assert issubclass(ContentRejected, Unproven)
    assert issubclass(CredentialsExpired, Misconfigured)
    assert issubclass(ClockSkewed, Misconfigured)


@pytest.mark.parametrize("operation", ["UploadPart", "CompleteMultipartUpload", "ListParts"])
def test_a_part_of_an_upload_that_is_not_found_means_the_upload_is_gone(operation: str) -> None:
    assert type(fault(404, operation=operation)) is UploadGone
    assert type(fault(404, "NoSuchBucket", operation=operation)) is Misconfigured


def test_the_message_says_what_where_and_in_whose_words() -> None:
    error = fault(403, "AccessDenied", message="no\x1b[31m", headers={"x-amz-request-id": "R1"})

    assert str(error) == "PutObject s3://b/a/k: 403 AccessDenied: no\\x1b[31m (request R1)"


def test_the_region_of_the_bucket_is_in_the_advice() -> None:
    by_header = fault(301, "", headers={"x-amz-bucket-region": "eu-west-1"})
    by_body = fault(400, "AuthorizationHeaderMalformed", region="eu-west-2")
    by_endpoint = fault(301, "PermanentRedirect", extra={"Endpoint": "b.s3.amazonaws.com"})

    assert isinstance(by_header, WrongRegion)
    assert by_header.region == "eu-west-1"
    assert "eu-west-1" in by_header.advice
    assert "eu-west-2" in by_body.advice
    assert "b.s3.amazonaws.com" in by_endpoint.advice


DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
DATE_SECONDS = 1767323045.0


@pytest.mark.parametrize(
    ("headers", "extra", "now", "offset"),
    [
        ({"date": DATE}, {}, DATE_SECONDS + 3600, -3600.0),
        ({}, {"ServerTime": "2026-01-02T03:04:05Z"}, DATE_SECONDS - 5, 5.0),
        ({"date": DATE}, {"RequestTime": "20260102T030400Z"}, None, 5.0),
        ({}, {"ServerTime": "2026-01-02T03:04:05.123Z", "RequestTime": "20260102T030400Z"}, None, 5.0),
        ({"date": "nonsense"}, {"ServerTime": "today"}, 5.0, None),
        ({"date": DATE}, {}, None, None),
    ],
)
def test_a_skewed_clock_tells_by_how_much(
    headers: dict[str, str], extra: dict[str, str], now: float | None, offset: float | None
) -> None:
    error = fault(403, "RequestTimeTooSkewed", headers=headers, extra=extra, now=now)

    assert isinstance(error, ClockSkewed)
    assert error.offset_seconds == offset


def test_the_clock_of_the_store_is_read_from_any_answer() -> None:
    assert server_seconds({"date": DATE}) == DATE_SECONDS
    assert server_seconds({}) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "soon",
        "Fri, 31 Feb 2026 03:04:05 GMT",
        "Fri, 02 Foo 2026 03:04:05 GMT",
        "Fri, 02 Jan 0000 03:04:05 GMT",
    ],
)
def test_a_date_that_does_not_exist_is_no_clock(text: str) -> None:
    assert server_seconds({"date": text}) is None


@given(st.integers(0, 4102444800))
def test_every_date_of_http_is_read(seconds: int) -> None:
    assert server_seconds({"date": formatdate(seconds, usegmt=True)}) == seconds


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "99999999999999"}, 3600.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:15 GMT", "date": DATE}, 10.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:00:00 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:15 GMT"}, 0.0),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_store_may_say_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert fault(503, "SlowDown", headers=headers).retry_after_seconds == seconds


@given(
    status=st.integers(100, 999),
    code=st.sampled_from(["", *BY_CODE]) | st.text(),
    message=st.text(),
    region=st.text(),
    key=st.text(),
    operation=st.sampled_from(["PutObject", "UploadPart", "CompleteMultipartUpload"]),
    headers=st.dictionaries(
        st.sampled_from(["date", "retry-after", "x-amz-bucket-region", "x-amz-request-id"]), st.text()
    ),
)
def test_whatever_a_store_answers_is_a_delivery_error_in_one_printable_line(
    status: int, code: str, message: str, region: str, key: str, operation: str, headers: dict[str, str]
) -> None:
    error = delivery_error(
        status,
        ServiceError(code=code, message=message, region=region),
        operation=operation,
        bucket="b",
        key=key,
        headers=headers,
        now=0.0,
    )

    assert str(error).isprintable()
    assert error.advice.isprintable()
    assert error.advice


def test_every_row_has_advice() -> None:
    for row in [*BY_CODE.values(), *BY_STATUS.values()]:
        assert row.advice or row.kind.advice


def test_one_object_that_the_store_fails_on_is_that_files_fault() -> None:
    outage = Outage(threshold=3)
    error = fault(500, "InternalError")

    assert [outage.judge(error, "same key") for _ in range(10)] == [error] * 10


def test_a_store_that_fails_on_different_files_in_a_row_is_unreachable() -> None:
    outage = Outage(threshold=3)
    error = fault(500, "InternalError")

    judged = [outage.judge(error, f"key {number}") for number in range(4)]

    assert [type(one) for one in judged] == [ServerFault, ServerFault, Unreachable, Unreachable]


def test_a_success_in_between_shows_that_the_store_is_up() -> None:
    outage = Outage(threshold=2)
    error = fault(500, "InternalError")

    outage.judge(error, "one")
    outage.succeeded()

    assert outage.judge(error, "two") is error


def test_other_faults_say_nothing_about_the_store_as_a_whole() -> None:
    outage = Outage(threshold=1)
    error = fault(400, "EntityTooLarge")

    assert outage.judge(error, "one") is error
