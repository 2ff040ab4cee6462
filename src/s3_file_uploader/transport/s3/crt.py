"""The one place that imports awscrt: checksums, SigV4A, and AWS's standard chain of credentials.

It adds nothing to either; when to ask for credentials again is decided in `credentials`. Each fetch
builds its own event loop and lets it go: between fetches awscrt costs no thread, and a chain kept
alive would hand out what it has cached even after the store called it expired.
"""

from __future__ import annotations

import base64
import time
from concurrent.futures import TimeoutError as FutureTimeout
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Protocol

from awscrt.auth import (
    AwsCredentialsProvider,
    AwsSignatureType,
    AwsSignedBodyHeaderType,
    AwsSigningAlgorithm,
    AwsSigningConfig,
    aws_sign_request,
)
from awscrt.checksums import combine_crc32c as _combine_crc32c
from awscrt.checksums import combine_crc64nvme as _combine_crc64nvme
from awscrt.checksums import crc32c as _crc32c
from awscrt.checksums import crc64nvme as _crc64nvme
from awscrt.exceptions import AwsCrtError
from awscrt.http import HttpHeaders, HttpRequest
from awscrt.io import (
    ClientBootstrap,
    DefaultHostResolver,
    EventLoopGroup,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = [
    "ChainError",
    "combine_crc32c",
    "combine_crc64nvme",
    "crc32c",
    "crc64nvme",
    "encode_crc64",
    "fetch_credentials",
    "sign_for_regions",
]


_SIGNING_SECONDS = 10.0


class _Checksum(Protocol):
    def __call__(self, data: bytes | bytearray | memoryview, previous: int = 0, /) -> int: ...


# Bound once under typed names: a wrapper would cost more than the checksum of a small file.
crc64nvme: _Checksum = _crc64nvme
crc32c: _Checksum = _crc32c
combine_crc64nvme: Callable[[int, int, int], int] = _combine_crc64nvme
combine_crc32c: Callable[[int, int, int], int] = _combine_crc32c


class ChainError(Exception):
    """No provider of the chain gave credentials; the text is awscrt's, and holds no secret."""


def encode_crc64(value: int) -> str:
    """A CRC64 as S3 writes it in headers and answers: base64 of its eight bytes, big-endian."""
    return base64.b64encode(value.to_bytes(8, "big")).decode("ascii")


def fetch_credentials(profile: str, timeout_seconds: float) -> tuple[str, str, str | None, float | None]:
    """Access key id, secret, token and expiry (epoch seconds) from the chain; blocks.

    With a profile: from that profile alone. Raises ChainError.
    """
    group = EventLoopGroup(1)
    bootstrap = ClientBootstrap(group, DefaultHostResolver(group, 1))
    until = time.monotonic() + timeout_seconds
    trouble = ""
    reasons: list[str] = []
    for make in _makers(profile, bootstrap):
        try:
            found = make().get_credentials().result(max(0.0, until - time.monotonic()))
        except FutureTimeout:
            raise ChainError(f"no answer within {timeout_seconds:g} s") from None
        except AwsCrtError as error:
            trouble = f"{error.name}: {error.message}"
        except RuntimeError as error:  # no such file, profile or key
            reasons.append(str(error))
        else:
            return _told(found)
    raise ChainError(trouble or "; ".join(dict.fromkeys(reasons)))


def _told(found: Any) -> tuple[str, str, str | None, float | None]:
    expiry = found.expiration
    return (
        found.access_key_id,
        found.secret_access_key,
        found.session_token or None,
        expiry.timestamp() if expiry is not None else None,
    )


def _makers(profile: str, bootstrap: Any) -> list[Callable[[], Any]]:
    """Awscrt's default chain, with the `credential_process` of a profile, which it leaves out.

    Environment and profile stand before it a second time so that a process does not overtake them. Each
    is made only when those before it had nothing: the default chain reads all the certificates of the
    system, and takes two megabytes from then on.
    """
    new = AwsCredentialsProvider
    if profile:
        return [
            lambda: new.new_profile(bootstrap, profile_name=profile),
            lambda: new.new_process(profile),
        ]
    return [
        new.new_environment,
        lambda: new.new_profile(bootstrap),
        new.new_process,
        lambda: new.new_default_chain(bootstrap),
    ]


def sign_for_regions(
    regions: str,
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    secret: tuple[str, str, str | None],
    payload_hash: str,
    now: int,
) -> dict[str, str]:
    """All headers of a request, with lower-case names, signed by SigV4A; all that are given are signed.

    `target` is percent-encoded, `secret` are access key id, secret key and token, `now` is in epoch seconds.
    """
    config = AwsSigningConfig(
        algorithm=AwsSigningAlgorithm.V4_ASYMMETRIC,
        signature_type=AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=AwsCredentialsProvider.new_static(*secret),
        region=regions,
        service="s3",
        date=datetime.fromtimestamp(now, timezone.utc),
        use_double_uri_encode=False,
        should_normalize_uri_path=False,
        signed_body_value=payload_hash,
        signed_body_header_type=AwsSignedBodyHeaderType.X_AMZ_CONTENT_SHA_256,
    )
    request = HttpRequest(method, target, HttpHeaders(list(headers.items())))
    # With credentials at hand it is done when the call returns.
    signed = aws_sign_request(request, config).result(_SIGNING_SECONDS)
    return {name.lower(): value for name, value in signed.headers}
