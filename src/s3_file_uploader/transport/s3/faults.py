"""What a failed answer of the store means: the one place that maps S3's words to the error tree.

Pure: no clock, no socket, no retry. The engine asks once per failed request; the rows it looks up
are in `fault_table`.

How wide a fault is decided to be:

- 503 and 429 are the store asking everyone to slow down: `Throttled`, the destination.
- 500, 502 and 504 may be one unlucky object (a single slow or broken server behind the front), so they
  are a `ServerFault` of that file. One answer cannot tell more. `Outage` can: when several different
  files in a row met a server fault and none got through in between, it is the service as a whole, and
  the fault becomes `Unreachable`, so that the rule pauses instead of walking through its backlog.
- A signature that does not match may be a wrong secret (the destination) or one odd key that a store
  decodes in another way than it was signed (the file): uncertain, like a denied access, so that one
  file can never stop a rule.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from s3_file_uploader.errors import DeliveryError, Refused, Unreachable
from s3_file_uploader.model import printable
from s3_file_uploader.transport.s3.fault_table import (
    BY_CODE,
    BY_STATUS,
    ClockSkewed,
    ContentRejected,
    CredentialsExpired,
    CredentialsRefused,
    Row,
    ServerFault,
    SignatureRefused,
    UploadGone,
    WrongRegion,
)
from s3_file_uploader.transport.s3.xml import ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ClockSkewed",
    "ContentRejected",
    "CredentialsExpired",
    "CredentialsRefused",
    "Outage",
    "ServerFault",
    "SignatureRefused",
    "UploadGone",
    "WrongRegion",
    "delivery_error",
    "sent_elsewhere",
    "server_seconds",
]

_REGION_ADVICE = "Set Region to the region of the bucket."
_REDIRECTED_ADVICE = (
    "The store sends requests elsewhere for now, as AWS does for hours after a bucket is made; uploads go on"
    " by themselves, or set Region and EndpointUrl to the bucket's own."
)
_SKEWED = frozenset({"RequestTimeTooSkewed", "RequestInTheFuture"})
_REDIRECTED = frozenset(
    {
        "PermanentRedirect",
        "TemporaryRedirect",
        "Redirect",
        "AuthorizationHeaderMalformed",
        "IllegalLocationConstraintException",
        "IncorrectEndpoint",
    }
)
_OF_AN_UPLOAD = frozenset({"UploadPart", "CompleteMultipartUpload", "ListParts", "AbortMultipartUpload"})
_HTTP_DATE = re.compile(
    r"[A-Za-z]{3}, ([0-9]{2}) ([A-Za-z]{3}) ([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) GMT"
)
_ISO_DATE = re.compile(r"(\d{4})-?(\d\d)-?(\d\d)T?(\d\d):?(\d\d):?(\d\d)", re.ASCII)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LONGEST_RETRY_AFTER_SECONDS = 3600.0


def delivery_error(
    status: int,
    error: ServiceError | None,
    *,
    operation: str,
    bucket: str,
    key: str,
    headers: Mapping[str, str],
    now: float | None = None,
) -> DeliveryError:
    """The error that an answer stands for.

    `status` is 200 where the error came in the body of a success. `operation` is S3's name of what was
    asked (`PutObject`, `UploadPart`, …). `headers` have lower-case names. `now`, the device's clock as it
    was used for signing without any offset, lets a skewed clock tell by how much.
    """
    error = error or ServiceError()
    code = error.code or str(status)
    place = f"s3://{_shown(bucket)}/{_shown(key)}"
    message = f"{operation} {place}: {_said(status, error, headers)}"
    if error.code in _SKEWED:
        return ClockSkewed(message, code=code, offset_seconds=_offset_seconds(error, headers, now))
    if error.code in _REDIRECTED or 300 <= status < 400:  # noqa: PLR2004 - redirections
        return _wrong_region(message, code, status, error, headers)
    row = _row(status, error.code, operation)
    return row.kind(message, advice=row.advice, code=code, retry_after_seconds=_retry_after_seconds(headers))


def sent_elsewhere(error: WrongRegion, status: int) -> DeliveryError:
    """What a redirection means where its region is the one that was asked already."""
    if status == 307:  # noqa: PLR2004 - temporary redirect
        return Unreachable(str(error), advice=_REDIRECTED_ADVICE, code=error.code)
    advice = "Region is right, but the bucket has another address: correct or leave out EndpointUrl."
    return WrongRegion(str(error), advice=advice, code=error.code, region=error.region)


def server_seconds(headers: Mapping[str, str]) -> float | None:
    """The store's clock in epoch seconds, from the Date header of any answer."""
    return _epoch_seconds(headers.get("date", ""))


class Outage:
    """Tells a store that is down from one unlucky object. Used from one thread."""

    __slots__ = ("_failed", "_threshold")

    def __init__(self, threshold: int = 8) -> None:
        self._threshold = threshold
        self._failed: set[str] = set()  # never grows beyond the threshold

    def succeeded(self) -> None:
        """A request got through: whatever failed, it is not the service as a whole."""
        self._failed.clear()

    def judge(self, error: DeliveryError, key: str) -> DeliveryError:
        """The error itself, or Unreachable once enough different keys met server faults in a row."""
        if not isinstance(error, ServerFault):
            return error
        if len(self._failed) < self._threshold:
            self._failed.add(key)
        if len(self._failed) < self._threshold:
            return error
        return Unreachable(
            f"the store fails on every file: {error}",
            code=error.code,
            retry_after_seconds=error.retry_after_seconds,
        )


def _row(status: int, code: str, operation: str) -> Row:
    known = BY_CODE.get(code)
    if known is not None:
        return known
    if status == 404 and (code == "NoSuchKey" or operation in _OF_AN_UPLOAD):  # noqa: PLR2004 - not found
        return Row(UploadGone)
    if status in BY_STATUS:
        return BY_STATUS[status]
    # A 200 that carries an error broke after it began; other 4xx are a no to this request.
    return Row(Refused) if 400 <= status < 500 else Row(ServerFault)  # noqa: PLR2004 - client errors


def _said(status: int, error: ServiceError, headers: Mapping[str, str]) -> str:
    words = f"{status} {_shown(error.code)}" if error.code else str(status)
    said = f": {_shown(error.message)}" if error.message else ""
    request_id = error.request_id or headers.get("x-amz-request-id", "")
    return f"{words}{said}" + (f" (request {_shown(request_id)})" if request_id else "")


def _shown(text: str) -> str:
    """The far side's words (and odd keys) as text that can stand in one line of a log."""
    return printable(text.encode("utf-8", "backslashreplace"))


def _wrong_region(
    message: str, code: str, status: int, error: ServiceError, headers: Mapping[str, str]
) -> DeliveryError:
    region = error.region or headers.get("x-amz-bucket-region", "")
    if region:
        shown = _shown(region)
        return WrongRegion(message, advice=f"Set Region to {shown}.", code=code, region=region)
    if status == 307:  # noqa: PLR2004 - temporary redirect
        return Unreachable(message, advice=_REDIRECTED_ADVICE, code=code)
    endpoint = error.extra.get("Endpoint", "")
    advice = _REGION_ADVICE + (
        f" The store names {_shown(endpoint)}." if endpoint else " Look at EndpointUrl too."
    )
    return WrongRegion(message, advice=advice, code=code)


def _offset_seconds(error: ServiceError, headers: Mapping[str, str], now: float | None) -> float | None:
    server = server_seconds(headers)
    if server is None:
        server = _iso_seconds(error.extra.get("ServerTime", ""))
    device = now if now is not None else _iso_seconds(error.extra.get("RequestTime", ""))
    return None if server is None or device is None else server - device


def _retry_after_seconds(headers: Mapping[str, str]) -> float:
    """From Retry-After: seconds, or a date taken relative to the answer's own Date."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), _LONGEST_RETRY_AFTER_SECONDS)
    until, sent = _epoch_seconds(text), server_seconds(headers)
    if until is None or sent is None:
        return 0.0
    return min(max(0.0, until - sent), _LONGEST_RETRY_AFTER_SECONDS)


def _epoch_seconds(text: str) -> float | None:
    """An HTTP date, `Fri, 02 Jan 2026 03:04:05 GMT`, in the one form that may be sent."""
    found = _HTTP_DATE.fullmatch(text.strip())
    if found is None or found[2] not in _MONTHS:
        return None
    day, _month, year, *time_of_day = found.groups()
    return _seconds_of([year, str(_MONTHS.index(found[2]) + 1), day, *time_of_day])


def _iso_seconds(text: str) -> float | None:
    """2026-01-02T03:04:05Z (and AWS's compact 20260102T030405Z), as errors of S3 write times."""
    found = _ISO_DATE.match(text)
    return _seconds_of(found.groups()) if found is not None else None


def _seconds_of(fields: Sequence[str]) -> float | None:
    """From year, month, day, hour, minute and second in UTC."""
    year, month, day, hour, minute, second = map(int, fields)
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc).timestamp()
    except (ValueError, OverflowError):  # the 31st of February
        return None
