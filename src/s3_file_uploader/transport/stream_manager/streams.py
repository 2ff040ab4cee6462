"""The names of our streams in Stream Manager: what each is for, and whose it is. Pure.

    s3fu-<owner>-<slug>-<digest>-<part>of<parts>-<nonce>    takes the tasks of a rule
    s3fu-<owner>-<slug>-<digest>-status-<nonce>             tells what came of them

Streams have one name space on a device, for all components. The owner is random for each ledger, and
the digest is of the rule's name and its bucket, so that two components, rules or buckets can never
share a stream; the slug is for people. The nonce is new for each stream that is made: sequence numbers
begin at 0 with each, so a stream that was wiped and made anew under its old name would let the status
of an old task pass for that of a new one.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

__all__ = ["StreamName", "part_of", "rule_digest"]

_NAME = re.compile(
    r"s3fu-([0-9a-f]{12})-([A-Za-z0-9_.]{0,32})-([0-9a-f]{12})-(?:([0-9]{1,4})of([0-9]{1,4})|status)-([0-9a-f]{8})"
)
_NOT_IN_SLUGS = re.compile(r"[^A-Za-z0-9_.]")
_LONGEST_SLUG = 32


@dataclass(frozen=True, slots=True)
class StreamName:
    """`part` counts from 0 below `parts`; both are None for the stream of statuses."""

    owner: str
    slug: str
    digest: str
    part: int | None
    parts: int | None
    nonce: str

    def __str__(self) -> str:
        kind = "status" if self.part is None else f"{self.part}of{self.parts}"
        return f"s3fu-{self.owner}-{self.slug}-{self.digest}-{kind}-{self.nonce}"

    @property
    def is_status(self) -> bool:
        return self.part is None

    @classmethod
    def of(
        cls,
        owner: str,
        rule: str,
        bucket: str,
        nonce: str,
        *,
        part: int | None = None,
        parts: int | None = None,
    ) -> StreamName:
        """For a rule's name and bucket. `owner` is 12, `nonce` 8 hex digits."""
        slug = _NOT_IN_SLUGS.sub("_", rule)[:_LONGEST_SLUG]
        return cls(owner, slug, rule_digest(rule, bucket), part, parts, nonce)

    @classmethod
    def parse(cls, name: str) -> StreamName | None:
        """None for a stream that is not ours."""
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        owner, slug, digest, part, parts, nonce = found.groups()
        if part is None:
            return cls(owner, slug, digest, None, None, nonce)
        number, count = int(part), int(parts)
        is_written_as_we_do = (str(number), str(count)) == (part, parts)
        if number >= count or not is_written_as_we_do:
            return None
        return cls(owner, slug, digest, number, count, nonce)


def rule_digest(rule: str, bucket: str) -> str:
    """12 hex digits that stand for a rule and its bucket."""
    said = f"{rule}\0{bucket}".encode("utf-8", "surrogateescape")
    return hashlib.sha256(said).hexdigest()[:12]


def part_of(path: bytes, parts: int) -> int:
    """Which of so many streams takes the tasks of a file: always the same one.

    Stream Manager works on a stream's tasks one after the other, so a task that was forgotten about is
    over before a newer one of its file begins. In two streams the old one might end last, having read
    half of what the file is now, and would leave that under the file's key.
    """
    return int.from_bytes(hashlib.blake2s(path, digest_size=8).digest(), "big") % parts
