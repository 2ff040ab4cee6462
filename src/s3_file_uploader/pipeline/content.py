"""Whether a file still has the content that a receipt is about: hashed here, sent nowhere."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3_file_uploader.errors import DeliveryError
from s3_file_uploader.source.claim import ClaimedSource

if TYPE_CHECKING:
    from s3_file_uploader.model import Candidate
    from s3_file_uploader.source.edge import Edge

__all__ = ["has_content"]

_CHUNK_BYTES = 256 * 1024


def has_content(
    edge: Edge, candidate: Candidate, checksum: str, *, base: bytes, follow_symlinks: bool
) -> bool:
    """Hash the file and compare with a receipt's `crc64nvme:value`. False also where it cannot be told."""
    algorithm, _, value = checksum.partition(":")
    if algorithm != "crc64nvme":
        return False
    source = ClaimedSource(
        edge, candidate.folder, base, candidate.name, candidate.fingerprint, follow_symlinks=follow_symlinks
    )
    try:
        opened = source.open()
    except DeliveryError:
        return False
    try:
        is_same = _crc64nvme(opened.fileno()) == value
        opened.check_unchanged()
    except (OSError, DeliveryError):
        return False
    finally:
        opened.close()
    return is_same


def _crc64nvme(descriptor: int) -> str:
    from s3_file_uploader.transport.s3 import crt  # noqa: PLC0415  # heavy, and wanted here once in a reboot

    value = 0
    while chunk := os.read(descriptor, _CHUNK_BYTES):
        value = crt.crc64nvme(chunk, value)
    return crt.encode_crc64(value)
