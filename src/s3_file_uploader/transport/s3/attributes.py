"""What the objects of one rule are like beside their bytes: computed once, sent as headers.

The configuration has refused what S3 would refuse, so nothing is judged here. What differs from file
to file is little: the type that its name tells, and its own modification time where that is asked for.
Attributes belong to the request that makes an object: PutObject, or CreateMultipartUpload.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from s3_file_uploader.transport.s3.checksums import CHECKSUMS, CRC64NVME
from s3_file_uploader.transport.s3.content_types import content_type_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from s3_file_uploader.config import Rule
    from s3_file_uploader.transport.contract import Delivery
    from s3_file_uploader.transport.s3.checkpoint import Partition
    from s3_file_uploader.transport.s3.checksums import Checksum

__all__ = ["PLAIN", "Attributes", "attributes_of", "bucket_headers", "mtime_text"]

_IF_ABSENT = {"if-none-match": "*"}
_NO_CONDITION: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Attributes:
    """`headers` are those of every object; `may_replace`: an object of that name is overwritten.

    `partition` is None where the engine decides what goes in parts, and in how large ones.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    guesses_type: bool = True
    tells_mtime: bool = False
    checksum: Checksum = CRC64NVME
    may_replace: bool = True
    partition: Partition | None = None

    @property
    def condition(self) -> Mapping[str, str]:
        """The headers of the request that makes the object visible."""
        return _NO_CONDITION if self.may_replace else _IF_ABSENT

    def headers_of(self, delivery: Delivery) -> dict[str, str]:
        """The headers of the request that makes this object; the caller's own, to add to."""
        headers = dict(self.headers)
        if self.guesses_type:
            content_type = content_type_of(delivery.key)
            if content_type:
                headers["content-type"] = content_type
        if self.tells_mtime:
            headers["x-amz-meta-mtime"] = mtime_text(delivery.source.fingerprint.mtime_ns)
        return headers


PLAIN = Attributes()


def mtime_text(mtime_ns: int) -> str:
    """Seconds since the epoch with nine decimals, as other tools write and read this metadata."""
    seconds, nanoseconds = divmod(abs(mtime_ns), 1_000_000_000)
    return f"{'-' if mtime_ns < 0 else ''}{seconds}.{nanoseconds:09d}"


def attributes_of(rule: Rule) -> Attributes:
    """What a rule's settings say."""
    return Attributes(
        headers=dict(_headers(rule)),
        guesses_type=rule.content_type == "auto",
        tells_mtime="mtime" in rule.metadata_from_file,
        checksum=CHECKSUMS[rule.checksum_algorithm],
        may_replace=rule.on_existing == "overwrite",
    )


def bucket_headers(rule: Rule) -> dict[str, str]:
    """What every request to the rule's bucket carries, whatever it asks."""
    headers = {}
    if rule.expected_bucket_owner:
        headers["x-amz-expected-bucket-owner"] = rule.expected_bucket_owner
    if rule.request_payer == "requester":
        headers["x-amz-request-payer"] = "requester"
    return headers


def _headers(rule: Rule) -> Iterator[tuple[str, str]]:
    if rule.content_type not in ("auto", "off"):
        yield "content-type", rule.content_type
    if rule.content_encoding:
        yield "content-encoding", rule.content_encoding
    if rule.cache_control:
        yield "cache-control", rule.cache_control
    if rule.storage_class:
        yield "x-amz-storage-class", rule.storage_class
    if rule.acl != "default":
        yield "x-amz-acl", rule.acl
    if rule.tags:
        yield "x-amz-tagging", "&".join(f"{_encoded(key)}={_encoded(value)}" for key, value in rule.tags)
    for key, value in rule.metadata:
        yield f"x-amz-meta-{key}", value
    yield from _encryption(rule)


def _encryption(rule: Rule) -> Iterator[tuple[str, str]]:
    prefix = "x-amz-server-side-encryption"
    if rule.server_side_encryption != "default":
        yield prefix, rule.server_side_encryption
    if rule.kms_key_id:
        yield f"{prefix}-aws-kms-key-id", rule.kms_key_id
    if rule.kms_encryption_context:
        context = json.dumps(dict(rule.kms_encryption_context), separators=(",", ":"))
        yield f"{prefix}-context", base64.b64encode(context.encode("utf-8")).decode("ascii")
    if rule.bucket_key_enabled != "default":
        yield f"{prefix}-bucket-key-enabled", "true" if rule.bucket_key_enabled else "false"


def _encoded(text: str) -> str:
    return quote(text, safe="-_.~")
