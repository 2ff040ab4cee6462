"""The real S3 server of the tests: the demo's SeaweedFS, with botocore to look at it.

Each pytest process starts one, with the first test that asks (0.8 s), rather than all sharing one: no
lock, no worker waits for another, and a worker that dies takes its own server along.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

from s3_file_uploader.demo import seaweed

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["SeaweedFS", "fresh_bucket"]


class SeaweedFS(seaweed.SeaweedFS):
    """`client()` is botocore's, so what a test finds in the store was read by somebody else's code."""

    def __init__(self) -> None:
        super().__init__()
        self._clients: dict[str, Any] = {}

    def client(self, **settings: Any) -> Any:
        """A botocore S3 client, path-style, that tries each request once.

        Ours to close: whoever asks again with the same settings gets the same one.
        """
        name = repr(sorted(settings.items()))
        if name not in self._clients:
            self._clients[name] = self._new_client(settings)
        return self._clients[name]

    def _new_client(self, settings: dict[str, Any]) -> Any:
        options: dict[str, Any] = {
            "s3": {"addressing_style": "path"},
            "retries": {"mode": "standard", "total_max_attempts": 1},
            **settings,
        }
        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint_url,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name=self.region,
            config=Config(**options),
        )

    def list_objects(self, bucket: str, prefix: str = "") -> dict[str, int]:
        """The size in bytes of every object, by key."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return {entry["Key"]: entry["Size"] for page in pages for entry in page.get("Contents", [])}

    def read_object(self, bucket: str, key: str) -> bytes:
        body = self.client().get_object(Bucket=bucket, Key=key)["Body"]
        with body:
            content: bytes = body.read()
        return content

    def open_uploads(self, bucket: str) -> list[tuple[str, str]]:
        """The key and upload id of every multipart upload that was begun and not ended."""
        answer = self.client().list_multipart_uploads(Bucket=bucket)
        return [(upload["Key"], upload["UploadId"]) for upload in answer.get("Uploads", [])]

    def stop(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()
        super().stop()


@contextmanager
def fresh_bucket(server: SeaweedFS) -> Iterator[str]:
    """The name of an empty bucket, which goes with all it holds at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    server.client().create_bucket(Bucket=name)
    yield name
    server.client().delete_bucket(Bucket=name)
