"""The real S3 server that most tests use: the demo's SeaweedFS, with botocore to look at it.

Each pytest process starts one, with the first test that asks (0.8 s), rather than all sharing one: no
lock, no worker waits for another, and a worker that dies takes its own server along.
"""

from __future__ import annotations

from s3_file_uploader.demo import seaweed
from support.looked_at import LookedAt, fresh_bucket

__all__ = ["SeaweedFS", "fresh_bucket"]


class SeaweedFS(LookedAt, seaweed.SeaweedFS):
    """`client()` is botocore's, so what a test finds in the store was read by somebody else's code."""

    def stop(self) -> None:
        self.close_clients()
        super().stop()
