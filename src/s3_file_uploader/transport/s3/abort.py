"""Taking a multipart upload back, so that its parts cost nobody money."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from s3_file_uploader.errors import Refused
from s3_file_uploader.transport.s3.checkpoint import place_in
from s3_file_uploader.transport.s3.faults import UploadGone

if TYPE_CHECKING:
    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.s3.store import Store

__all__ = ["abandon", "abort_upload"]


async def abort_upload(store: Store, key: str, upload_id: str) -> None:
    """Ends once the store says that the upload is not there any more."""
    with contextlib.suppress(UploadGone):  # it went by itself, or by an abort whose answer was lost
        await store.request("AbortMultipartUpload", "DELETE", key, query=(("uploadId", upload_id),))


async def abandon(store: Store, bucket: str, checkpoint: Checkpoint) -> None:
    """Abort what a checkpoint leads to. One that is none of ours leads to nothing here."""
    place = place_in(checkpoint)
    if place is None:
        return
    if place.bucket != bucket:
        raise Refused(f"the upload is in the bucket {place.bucket}, and this is the way to {bucket}")
    await abort_upload(store, place.key, place.upload_id)
