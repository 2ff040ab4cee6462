"""The far side of the stream-manager transport: stream-manager-local, with SeaweedFS behind it."""

from __future__ import annotations

import secrets
import tempfile
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import KeyProblem
from s3_file_uploader.transport.stream_manager.sdk import task_payload
from support.looked_at import fresh_bucket
from support.scripted_stream_manager import ScriptedStreamManager
from support.stream_manager_lanes import open_lane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from s3_file_uploader.transport.stream_manager.lane import Lane
    from support.local_stream_manager import LocalStreamManager
    from support.looked_at import LookedAt

__all__ = ["StreamManagerPlace", "settings_of", "stream_manager_place"]

_DEADLINES = {"wait": 0.5, "pause": 0.05}


def settings_of(store: LookedAt) -> dict[str, str]:
    """What a Stream Manager needs in its environment to reach a store."""
    return {
        "AWS_ACCESS_KEY_ID": store.access_key,
        "AWS_SECRET_ACCESS_KEY": store.secret_key,
        "AWS_REGION": store.region,
        "AWS_ENDPOINT_URL_S3": store.endpoint_url,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


class StreamManagerPlace:
    refuses_other_bytes = True

    def __init__(self, server: LocalStreamManager, store: LookedAt, bucket: str, folder: Path) -> None:
        self._server = server
        self._store = store
        self._folder = folder
        self._owner = secrets.token_hex(6)
        self.bucket = bucket

    def open(self, bytes_per_second: float | None = None) -> AbstractAsyncContextManager[Lane]:
        return open_lane(
            self._server.port,
            self._folder,
            bucket=self.bucket,
            owner=self._owner,
            deadlines=_DEADLINES,
            status_timeout_seconds=30.0,
        )

    @asynccontextmanager
    async def open_faulty(self, fault: str) -> AsyncIterator[Lane]:
        assert fault == "unreachable", "what is wrong between it and the store is Stream Manager's to say"
        with ScriptedStreamManager() as gone:
            pass
        async with open_lane(gone.port, self._folder, bucket=self.bucket) as lane:
            yield lane

    def objects(self) -> dict[str, int]:
        return self._store.list_objects(self.bucket)

    def content(self, key: str) -> bytes | None:
        try:
            return self._store.read_object(self.bucket, key)
        except self._store.client().exceptions.NoSuchKey:
            return None

    def checksum(self, key: str) -> str:
        raise NotImplementedError("Stream Manager tells none")

    def unfinished(self) -> dict[str, int]:
        return {key: 0 for key, _ in self._store.open_uploads(self.bucket)}

    def uploads(self) -> int:
        return len(self.unfinished())

    def takes(self, key: str) -> bool:
        try:
            task_payload("file:///file", self.bucket, key, {})
        except KeyProblem:
            return False
        return True

    def held_bytes(self) -> int:
        return 0


@contextmanager
def stream_manager_place(ask: Callable[[str], Any]) -> Iterator[StreamManagerPlace]:
    store = ask("seaweed")
    with fresh_bucket(store) as bucket, tempfile.TemporaryDirectory(prefix="aliases-") as folder:
        yield StreamManagerPlace(ask("stream_manager"), store, bucket, Path(folder))
