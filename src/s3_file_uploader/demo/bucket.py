"""A look at a bucket that owes nothing to the engine that filled it.

The demo compares what arrived with what was produced. What compares must not share the code that
uploads, so this speaks plain HTTP with the standard library; only the signature is the engine's.
It is for a server on this machine and refuses nothing, retries nothing and verifies no TLS.
"""

from __future__ import annotations

import hashlib
import http.client
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote_plus, urlsplit
from xml.etree import ElementTree as ET

from s3_file_uploader.transport.s3.credentials import Credentials
from s3_file_uploader.transport.s3.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    Signer,
    canonical_query,
    encode_key,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Bucket", "BucketAnswer", "Content"]

_CHUNK_BYTES = 1 << 20
_DEADLINE_SECONDS = 30.0


class BucketAnswer(Exception):
    """The server answered with an error; `status` is the HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"HTTP {status}: {text[:300]}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Content:
    """What bytes are: their number and their SHA-256 in hexadecimal."""

    size_bytes: int
    sha256: str


class Bucket:
    """One bucket, path-style, over one connection that is opened anew when it broke."""

    def __init__(
        self, endpoint_url: str, name: str, *, access_key: str, secret_key: str, region: str
    ) -> None:
        self.name = name
        self._host = urlsplit(endpoint_url).netloc
        self._credentials = Credentials(access_key, secret_key)
        self._signer = Signer(region)
        self._connection = http.client.HTTPConnection(self._host, timeout=_DEADLINE_SECONDS)

    def create(self) -> None:
        """Make the bucket; that it is there already is as good."""
        try:
            self._request("PUT", "")
        except BucketAnswer as answer:
            if answer.status != http.client.CONFLICT:
                raise

    def put(self, key: str, body: bytes) -> None:
        self._request("PUT", key, body=body)

    def content(self, key: str) -> Content:
        """Read the whole object."""
        answer = self._send("GET", key)
        digest = hashlib.sha256()
        size_bytes = 0
        while chunk := answer.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
        return Content(size_bytes, digest.hexdigest())

    def objects(self, *, page_length: int = 1000) -> Iterator[tuple[str, int]]:
        """The key and the size in bytes of every object, in the order of the listing."""
        token = ""
        while True:
            query = {"list-type": "2", "encoding-type": "url", "max-keys": str(page_length)}
            if token:
                query["continuation-token"] = token
            page = _Listing(self._request("GET", "", query=query))
            yield from page.objects
            token = page.next_token
            if not token:
                return

    def close(self) -> None:
        self._connection.close()

    def _request(
        self, method: str, key: str, *, query: dict[str, str] | None = None, body: bytes = b""
    ) -> bytes:
        return self._send(method, key, query=query, body=body).read()

    def _send(
        self, method: str, key: str, *, query: dict[str, str] | None = None, body: bytes = b""
    ) -> http.client.HTTPResponse:
        path = f"/{self.name}/{encode_key(key)}" if key else f"/{self.name}"
        encoded_query = canonical_query((query or {}).items())
        headers = self._signer.sign(
            method,
            self._host,
            path,
            encoded_query,
            {"content-length": str(len(body))},
            credentials=self._credentials,
            payload_hash=UNSIGNED_PAYLOAD if body else EMPTY_SHA256,
            now=time.time(),
        )
        target = f"{path}?{encoded_query}" if encoded_query else path
        try:
            self._connection.request(method, target, body=body, headers=headers)
            answer = self._connection.getresponse()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next request connects anew
            raise
        if answer.status >= http.client.MULTIPLE_CHOICES:
            raise BucketAnswer(answer.status, answer.read().decode("utf-8", "replace"))
        return answer


class _Listing:
    """One page of ListObjectsV2."""

    def __init__(self, body: bytes) -> None:
        root = ET.fromstring(body)  # noqa: S314 - the server is ours, on this machine
        self.next_token = _text(root, "NextContinuationToken")
        self.objects = [
            (unquote_plus(_text(element, "Key")), int(_text(element, "Size")))
            for element in root.iter()
            if _local_name(element) == "Contents"
        ]


def _text(element: ET.Element, name: str) -> str:
    found = next((child for child in element if _local_name(child) == name), None)
    return (found.text or "") if found is not None else ""


def _local_name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
