"""AWS Signature Version 4 for S3, ours because it runs once per file and must cost microseconds.

Pure: no clock (`now` is a parameter), no socket, no credentials of its own. The signing key of a day
is derived once per secret and kept; a new session token with the same secret needs no new key, and a
new day or a new secret never finds an old one. It signs headers, not presigned URLs, not streamed
(aws-chunked) bodies, and never encodes a path twice: S3 is the one service that wants it once.
"""

from __future__ import annotations

import hashlib
import time
from hmac import digest
from typing import TYPE_CHECKING
from urllib.parse import quote

from s3_file_uploader.errors import Misconfigured, Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from s3_file_uploader.transport.s3.credentials import Credentials

__all__ = [
    "ALL_REGIONS",
    "EMPTY_SHA256",
    "UNSIGNED_HEADERS",
    "UNSIGNED_PAYLOAD",
    "Signer",
    "canonical_query",
    "encode_key",
]

UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()

_TOKEN = "x-amz-security-token"  # noqa: S105 - the name of a header
_ALGORITHM = "AWS4-HMAC-SHA256"
ALL_REGIONS = "*"  # what is signed for all of them is signed by `sigv4a`
# Hop-by-hop, or rewritten by proxies and gateways on the way: a signature over them breaks there.
UNSIGNED_HEADERS = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "expect",
        "transfer-encoding",
        "user-agent",
        "x-amzn-trace-id",
    }
)
_INNER_PAD = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD = bytes(byte ^ 0x5C for byte in range(256))
_KEPT_DAY_KEYS = 8  # yesterday and today, of the secrets before and after a rotation


def encode_key(key: str) -> str:
    """The key as it stands in a request's path: percent-encoded once (RFC 3986), slashes kept."""
    try:
        return quote(key, safe="/-_.~")
    except UnicodeEncodeError:
        raise Refused(
            f"the object name {key!a} is not valid Unicode, so no S3 request can carry it",
            advice="Rename the file, or set KeyEscape so that such bytes are escaped.",
        ) from None


def canonical_query(items: Iterable[tuple[str, str]]) -> str:
    """The query string both for the request line and for its signature: encoded, then sorted."""
    encoded = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in items)
    return "&".join(f"{name}={value}" for name, value in encoded)


class Signer:
    """Signs requests to one region; may be used from several threads at once."""

    __slots__ = ("_day_keys", "_moment", "_plain_token", "_region", "_service")

    def __init__(self, region: str, service: str = "s3") -> None:
        self._region = region
        self._service = service
        self._day_keys: dict[tuple[str, str], _DayKey] = {}
        self._plain_token = ""  # the last token that needed no work
        self._moment = (-1, "", "")  # replaced as a whole, so that threads see one second's values

    def __repr__(self) -> str:
        return f"Signer(region={self._region!r}, service={self._service!r})"

    def sign(
        self,
        method: str,
        host: str,
        path: str,
        query: str,
        headers: dict[str, str],
        *,
        credentials: Credentials,
        payload_hash: str,
        now: float,
    ) -> dict[str, str]:
        """All headers to send, with lower-case names.

        `path` is percent-encoded (`encode_key`), `query` comes from `canonical_query` or is empty,
        `payload_hash` is a hexadecimal SHA-256 or UNSIGNED_PAYLOAD, `now` is epoch seconds as the
        server sees them (the device's clock plus the known offset).
        """
        stamp, day = self._stamps(int(now))
        sent = {name.lower(): value for name, value in headers.items()}
        sent["host"] = host
        sent["x-amz-content-sha256"] = payload_hash
        sent["x-amz-date"] = stamp
        if credentials.session_token:
            sent[_TOKEN] = credentials.session_token

        names = sorted(sent.keys() - UNSIGNED_HEADERS)
        lines = self._canonical_lines(names, sent)
        signed_names = ";".join(names)
        request = f"{method}\n{path}\n{query}\n{lines}\n\n{signed_names}\n{payload_hash}"
        scope = f"{day}/{self._region}/{self._service}/aws4_request"
        request_hash = hashlib.sha256(request.encode("ascii")).hexdigest()
        to_sign = f"{_ALGORITHM}\n{stamp}\n{scope}\n{request_hash}"
        signature = self._day_key(credentials, day).sign(to_sign.encode("ascii"))
        sent["authorization"] = (
            f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
            f"SignedHeaders={signed_names}, Signature={signature}"
        )
        return sent

    def _stamps(self, second: int) -> tuple[str, str]:
        moment = self._moment
        if moment[0] != second:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
            moment = self._moment = (second, stamp, stamp[:8])
        return moment[1], moment[2]

    def _day_key(self, credentials: Credentials, day: str) -> _DayKey:
        secret = credentials.secret_access_key
        key = self._day_keys.get((secret, day))
        if key is None:
            derived = digest(b"AWS4" + secret.encode("utf-8"), day.encode("ascii"), "sha256")
            for part in (self._region, self._service, "aws4_request"):
                derived = digest(derived, part.encode("utf-8"), "sha256")
            if len(self._day_keys) >= _KEPT_DAY_KEYS:
                self._day_keys.clear()
            key = self._day_keys[secret, day] = _DayKey(derived)
        return key

    def _canonical_lines(self, names: list[str], sent: dict[str, str]) -> str:
        """The lines as the far side will canonicalise them: values trimmed, white space folded."""
        # One look at all values; only if one of them may need work is each looked at. A token is long
        # and stays the same for hours: it is looked at when it is new.
        joined = "|".join([sent[name] for name in names if name != _TOKEN])
        is_plain = joined.isascii() and joined.isprintable() and "  " not in f" {joined} "
        token = sent.get(_TOKEN, "")
        if is_plain and token is self._plain_token and " |" not in joined and "| " not in joined:
            return "\n".join([f"{name}:{sent[name]}" for name in names])
        values = {name: _canonical_value(name, sent[name]) for name in names}
        if values.get(_TOKEN, "") == token:
            self._plain_token = token
        return "\n".join([f"{name}:{value}" for name, value in values.items()])


class _DayKey:
    """HMAC-SHA256 with one key, its two padded halves hashed once: a third of the time of `hmac`."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        block = key.ljust(64, b"\0")  # a derived key is 32 bytes, shorter than a block of SHA-256
        self._inner = hashlib.sha256(block.translate(_INNER_PAD))
        self._outer = hashlib.sha256(block.translate(_OUTER_PAD))

    def sign(self, message: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()


def _canonical_value(name: str, value: str) -> str:
    if value.isascii() and value.replace("\t", " ").isprintable():
        return " ".join(value.split())
    # The value may be a secret (a token): name the header only.
    raise Misconfigured(
        f"the header {name} has a value with characters that HTTP headers cannot carry",
        advice="Only printable ASCII can be sent in headers: look at metadata, tags and credentials.",
    )
