"""A look into any S3 server of the tests with botocore: what is found there was read by somebody else's code."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import botocore.session
from botocore.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LookedAt", "fresh_bucket"]


class LookedAt:
    """Mixed into a server that has an address and a pair of keys."""

    access_key: str
    secret_key: str
    region: str
    endpoint_url: str
    _clients: dict[str, Any]

    def client(self, **settings: Any) -> Any:
        """A botocore S3 client, path-style, that tries each request once.

        Ours to close: whoever asks again with the same settings gets the same one.
        """
        clients = self.__dict__.setdefault("_clients", {})
        name = repr(sorted(settings.items()))
        if name not in clients:
            clients[name] = self._new_client(settings)
        return clients[name]

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
        client = self.client()
        try:
            answer = client.list_multipart_uploads(Bucket=bucket)
        except client.exceptions.NoSuchUpload:  # what rclone says where there is none
            return []
        return [(upload["Key"], upload["UploadId"]) for upload in answer.get("Uploads", [])]

    def close_clients(self) -> None:
        clients = self.__dict__.setdefault("_clients", {})
        for client in clients.values():
            client.close()
        clients.clear()


@contextmanager
def fresh_bucket(server: LookedAt) -> Iterator[str]:
    """The name of an empty bucket, which goes with all it holds at the end."""
    name = f"test-{uuid.uuid4().hex[:12]}"
    client = server.client()
    client.create_bucket(Bucket=name)
    yield name
    for key, upload_id in server.open_uploads(name):
        client.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload_id)
    for key in server.list_objects(name):
        client.delete_object(Bucket=name, Key=key)
    client.delete_bucket(Bucket=name)
