"""The headers that a rule's attributes become, and the type that a name tells."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Rule
from s3_file_uploader.transport.s3.attributes import attributes_of, bucket_headers, mtime_text
from s3_file_uploader.transport.s3.content_types import content_type_of
from support.deliveries import Courier

if TYPE_CHECKING:
    from pathlib import Path


def headers(tmp_path: Path, name: str = "a.csv", **settings: Any) -> dict[str, str]:
    async def made() -> dict[str, str]:
        path = tmp_path / "file"
        path.write_bytes(b"")
        rule = Rule(name="r", path_name="/data/*", bucket_name="bucket", **settings)
        return attributes_of(rule).headers_of(Courier("bucket").delivery(str(path), name))

    return asyncio.run(made())


def test_nothing_is_sent_that_was_not_asked_for_but_the_type(tmp_path: Path) -> None:
    assert headers(tmp_path) == {"content-type": "text/csv"}
    assert headers(tmp_path, "a.unheard-of") == {}
    assert headers(tmp_path, content_type="off") == {}
    assert headers(tmp_path, content_type="text/plain") == {"content-type": "text/plain"}
    rule = Rule(name="r", path_name="/data/*", bucket_name="bucket")
    assert bucket_headers(rule) == {}


def test_tags_are_encoded_as_in_a_query(tmp_path: Path) -> None:
    tags = (("site", "hall 7/b"), ("größe", "1 + 1 = 2"))
    assert headers(tmp_path, "a", tags=tags) == {
        "x-amz-tagging": "site=hall%207%2Fb&gr%C3%B6%C3%9Fe=1%20%2B%201%20%3D%202"
    }


def test_a_bucket_key_can_be_refused_too(tmp_path: Path) -> None:
    found = headers(tmp_path, "a", server_side_encryption="aws:kms", bucket_key_enabled=False)
    assert found == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-bucket-key-enabled": "false",
    }


@pytest.mark.parametrize(
    ("mtime_ns", "text"),
    [
        (0, "0.000000000"),
        (1_700_000_000_123_456_789, "1700000000.123456789"),
        (-1, "-0.000000001"),
        (-1_500_000_000, "-1.500000000"),
    ],
)
def test_a_modification_time_is_written_exactly(mtime_ns: int, text: str) -> None:
    assert mtime_text(mtime_ns) == text


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "text/csv"),
        ("folder.json/a", ""),
        ("folder/a.JPG", "image/jpeg"),
        ("a.csv.gz", "application/gzip"),  # never text/csv with an encoding: a client would unpack it
        ("folder/.csv", ""),
        (".csv", ""),
        ("csv", ""),
        ("a.", ""),
        ("a.ts", ""),  # TypeScript or a video: nobody can tell
    ],
)
def test_a_type_is_guessed_by_the_ending(name: str, kind: str) -> None:
    assert content_type_of(name) == kind
