"""Lanes to a Stream Manager, for tests of the transport without the uploader around it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from s3_file_uploader.transport.stream_manager.aliases import Aliases
from s3_file_uploader.transport.stream_manager.disks import Disks
from s3_file_uploader.transport.stream_manager.lane import Lane
from s3_file_uploader.transport.stream_manager.link import Deadlines, Link
from s3_file_uploader.transport.stream_manager.outlets import Shape
from s3_file_uploader.transport.stream_manager.sdk import task_payload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

__all__ = ["IMPATIENT", "OWNER", "open_lane"]

OWNER = "0123456789ab"
IMPATIENT: dict[str, float] = {
    "connect": 2.0,
    "request": 2.0,
    "wait": 0.2,
    "pause": 0.02,
    "patience": 0.5,
    "check": 0.05,
}


@asynccontextmanager
async def open_lane(
    port: int,
    folder: Path,
    *,
    bucket: str = "bucket",
    shape: Shape | None = None,
    deadlines: dict[str, float] | None = None,
    **more: Any,
) -> AsyncIterator[Lane]:
    """`folder` is for its aliases."""
    link, disks = Link(port, deadlines=Deadlines(**(deadlines or IMPATIENT))), Disks()

    async def close() -> None:
        await link.close()
        disks.close()

    values: dict[str, Any] = {
        "owner": OWNER,
        "rule": "cameras",
        "bucket": bucket,
        "shape": shape or Shape(parts=2, max_size=1 << 20, flush_on_write=False),
        "metadata": {},
        "payload_of": task_payload,
        "close": close,
        "status_timeout_seconds": 0.2,
    }
    lane = Lane(link, disks, Aliases(str(folder / "aliases")), **{**values, **more})
    try:
        yield lane
    finally:
        await lane.close()
