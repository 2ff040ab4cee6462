"""Signed requests to one bucket: knows the way there, the credentials and the store's clock.

It tries a request again only where the first answer says exactly what was wrong and it can be put
right on the spot: credentials that expired, a device whose clock is off, a bucket that AWS has in another
region. Each is put right once. Everything else is raised as the error it stands for; when to try again is
the pipeline's affair.
"""

from __future__ import annotations

import hashlib
import logging
from typing import TYPE_CHECKING

from s3_file_uploader import __version__
from s3_file_uploader.errors import AccessDenied
from s3_file_uploader.transport.s3.faults import (
    ClockSkewed,
    CredentialsExpired,
    CredentialsRefused,
    Outage,
    WrongRegion,
    delivery_error,
    sent_elsewhere,
    server_seconds,
)
from s3_file_uploader.transport.s3.http1 import request_head
from s3_file_uploader.transport.s3.sigv4 import EMPTY_SHA256, UNSIGNED_PAYLOAD, Signer, canonical_query
from s3_file_uploader.transport.s3.xml import error_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from s3_file_uploader.errors import DeliveryError
    from s3_file_uploader.transport.s3.cargo import FileSlice
    from s3_file_uploader.transport.s3.connection import Deadlines
    from s3_file_uploader.transport.s3.credentials import Credentials, CredentialSource
    from s3_file_uploader.transport.s3.endpoint import Endpoint
    from s3_file_uploader.transport.s3.exchange import Exchanger
    from s3_file_uploader.transport.s3.http1 import Response
    from s3_file_uploader.transport.s3.reactor import Reactor

__all__ = ["Store", "StoreClock"]

# Looked at often at first, as most providers answer in milliseconds, then more rarely.
FIRST_LOOK_SECONDS = 0.005
LAST_LOOK_SECONDS = 0.25
MOST_MENDED = 8  # faults of one request that were put right
# S3 refuses what is signed 15 minutes off; some stores call that a plain denial.
SUSPICIOUS_SKEW_SECONDS = 300.0
_log = logging.getLogger(__name__)
_WITH_BODY = ("PUT", "POST")
_USER_AGENT = f"s3-file-uploader/{__version__}"


class StoreClock:
    """The device's clock, put right by what the store says. Shared by the engines of a transport."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.device = clock
        self.offset_seconds = 0.0

    def now(self) -> float:
        return self.device() + self.offset_seconds


class Store:
    """One bucket at one endpoint, for one engine."""

    def __init__(
        self,
        reactor: Reactor,
        exchanger: Exchanger,
        endpoint: Endpoint,
        *,
        signer: Signer,
        credentials: CredentialSource,
        clock: StoreClock,
        deadlines: Deadlines,
        headers: Mapping[str, str] | None = None,
        always_signs_payload: bool = False,
    ) -> None:
        """`headers` go with every request."""
        self._reactor = reactor
        self._exchanger = exchanger
        self._endpoint = endpoint
        self._signer = signer
        self._credentials = credentials
        self._clock = clock
        self._deadlines = deadlines
        self._outage = Outage()
        self.last_headers: Mapping[str, str] = {}  # of the last answer, whatever its status
        self.complete_seconds = deadlines.complete
        # Over plain HTTP anybody on the way can change the bytes; over TLS a hash buys nothing.
        self.signs_payload = always_signs_payload or (not endpoint.tls and not endpoint.is_loopback)
        self._headers = {**(headers or {}), "user-agent": _USER_AGENT}

    async def request(
        self,
        operation: str,
        method: str,
        key: str,
        *,
        query: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes | FileSlice = b"",
        payload_hash: str = "",
        seconds: float = 0.0,
    ) -> Response:
        """The answer, always a 2xx; DeliveryError otherwise."""
        mended: set[tuple[type[DeliveryError], Credentials | None]] = set()
        while True:
            asked = await self._current_credentials()
            region = self._endpoint.region
            head, expects = self._head(
                method, key, query, headers or {}, body, payload_hash=payload_hash, credentials=asked
            )
            response = await self._exchanger.exchange(method, head, body, expects=expects, seconds=seconds)
            self.last_headers = response.headers
            if 200 <= response.status < 300:  # noqa: PLR2004  (HTTP's own class of success)
                self._outage.succeeded()
                return response
            error = delivery_error(
                response.status,
                error_of(response.body),
                operation=operation,
                bucket=self._endpoint.bucket,
                key=key,
                headers=response.headers,
                now=self._clock.device(),
            )
            # Once each; of credentials, each once: some are good for a minute only, and many files wait.
            is_of_them = isinstance(error, CredentialsExpired | CredentialsRefused)
            trouble = (type(error), asked if is_of_them else None)
            if trouble not in mended and len(mended) < MOST_MENDED:
                mended.add(trouble)
                if await self._is_put_right(error, response.headers, asked, region):
                    continue
            if isinstance(error, WrongRegion) and error.region == region:
                error = sent_elsewhere(error, response.status)
            raise self._outage.judge(error, key)

    def _head(
        self,
        method: str,
        key: str,
        query: tuple[tuple[str, str], ...],
        headers: Mapping[str, str],
        body: bytes | FileSlice,
        *,
        payload_hash: str,
        credentials: Credentials,
    ) -> tuple[bytes, bool]:
        """The signed head of a request, and whether it asks for `100 Continue`."""
        fields = {**headers, **self._headers}
        expects = False
        if method in _WITH_BODY:
            size = len(body) if isinstance(body, bytes) else body.size
            fields["content-length"] = str(size)
            expects = self._exchanger.expects(size)
            if expects:
                fields["expect"] = "100-continue"
        path = self._endpoint.target(key)
        query_text = canonical_query(query) if query else ""
        signed = self._signer.sign(
            method,
            self._endpoint.host_header,
            path,
            query_text,
            fields,
            credentials=credentials,
            payload_hash=payload_hash or self._payload_hash(body),
            now=self._clock.now(),
        )
        return request_head(method, f"{path}?{query_text}" if query_text else path, signed), expects

    def _payload_hash(self, body: bytes | FileSlice) -> str:
        if not isinstance(body, bytes):
            return UNSIGNED_PAYLOAD
        return hashlib.sha256(body).hexdigest() if body else EMPTY_SHA256

    async def _current_credentials(self) -> Credentials:
        """What signs now; waits a bounded time for the first ones, unless it is known why there are none."""
        credentials = self._credentials.current()
        looks = self._looks() if credentials is None else iter(())
        while credentials is None:
            seconds = next(looks, 0.0)
            if self._credentials.last_error or not seconds:
                raise self._credentials.failure()
            await self._reactor.sleep(seconds)
            credentials = self._credentials.current()
        return credentials

    def _looks(self) -> Iterator[float]:
        """Pauses between looks at the credentials, until it has been long enough."""
        until = self._reactor.now + self._deadlines.credentials
        pause = FIRST_LOOK_SECONDS
        while self._reactor.now < until:
            yield pause
            pause = min(LAST_LOOK_SECONDS, pause * 2)

    async def _renewed(self, reason: str, refused: Credentials) -> bool:
        """True once there are other credentials than those that the store refused."""
        if self._credentials.current() == refused:
            self._credentials.refresh(reason)
        for seconds in self._looks():
            if not self._credentials.is_refreshing:
                break
            await self._reactor.sleep(seconds)
        return self._credentials.current() != refused

    async def _is_put_right(
        self, error: DeliveryError, headers: Mapping[str, str], asked: Credentials, region: str
    ) -> bool:
        """Mend what this answer, to a request for `region`, complains of; False if it is not ours to mend."""
        if isinstance(error, CredentialsExpired | CredentialsRefused):
            return await self._renewed(error.code, asked)
        if isinstance(error, WrongRegion):
            return error.region != region and self._follow(error.region)
        if isinstance(error, ClockSkewed):
            return self._adopt(error.offset_seconds)
        if isinstance(error, AccessDenied):
            seen = server_seconds(headers)
            if seen is not None and abs(seen - self._clock.now()) > SUSPICIOUS_SKEW_SECONDS:
                return self._adopt(seen - self._clock.device())
        return False

    def _follow(self, region: str) -> bool:
        """Ask for the bucket in the region where AWS has it, from now on."""
        if region == self._endpoint.region:  # another request found out first
            return True
        endpoint = self._endpoint.in_region(region)
        if endpoint is None:
            return False
        reason = f"the bucket is in region {region}, not in {self._endpoint.region}"
        fields = {"bucket": endpoint.bucket, "reason": reason, "try": f"Set Region to {region}."}
        _log.warning("redirected", extra={"fields": fields})
        self._endpoint, self._signer = endpoint, Signer(region)
        self._exchanger.lead_to(endpoint)
        return True

    def _adopt(self, offset_seconds: float | None) -> bool:
        if offset_seconds is None:
            return False
        self._clock.offset_seconds = offset_seconds
        return True
