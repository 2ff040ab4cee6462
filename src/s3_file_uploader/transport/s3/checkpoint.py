"""What is saved of a multipart upload, and whether what was saved is of any use now. Pure decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from s3_file_uploader.model import Fingerprint

if TYPE_CHECKING:
    from collections.abc import Collection

    from s3_file_uploader.model import Checkpoint
    from s3_file_uploader.transport.contract import Delivery

__all__ = [
    "PUT_LIMIT_BYTES",
    "Partition",
    "Place",
    "checkpoint_of",
    "leads_here",
    "part_size_in",
    "part_size_of",
    "place_in",
    "smallest_part_size_of",
    "upload_id_in",
    "with_arrived",
]

_MIB = 1024 * 1024
PUT_LIMIT_BYTES = 16 * _MIB
MOST_PARTS = 10_000
USUAL_PART_BYTES = 8 * _MIB
LEAST_PART_BYTES = 5 * _MIB  # of S3
_KIND = "s3-multipart"


def part_size_of(size: int) -> int:
    """In bytes: 8 MiB, 16 for what is above 1 GiB, more only where 10 000 parts would not do."""
    least = -(-size // MOST_PARTS)
    usual = USUAL_PART_BYTES if size <= 1024 * _MIB else 2 * USUAL_PART_BYTES
    return usual if least <= usual else -(-least // _MIB) * _MIB


def smallest_part_size_of(size: int) -> int:
    """In bytes: what stores take at least, more only where 10 000 parts would not do."""
    least = -(-size // MOST_PARTS)
    return LEAST_PART_BYTES if least <= LEAST_PART_BYTES else -(-least // _MIB) * _MIB


@dataclass(frozen=True, slots=True)
class Partition:
    """Where a caller decides it: a file larger than `put_limit_bytes` goes in parts of `part_bytes`."""

    put_limit_bytes: int
    part_bytes: int

    def part_size_of(self, size: int) -> int:
        """In bytes: more than was asked for only where 10 000 parts would not do."""
        least = -(-size // MOST_PARTS)
        return self.part_bytes if least <= self.part_bytes else -(-least // _MIB) * _MIB


def checkpoint_of(delivery: Delivery, upload_id: str, part_size: int) -> Checkpoint:
    fingerprint = delivery.source.fingerprint
    return {
        "kind": _KIND,
        "bucket": delivery.bucket,
        "key": delivery.key,
        "upload_id": upload_id,
        "part_size": part_size,
        "fingerprint": list(fingerprint),
    }


def with_arrived(checkpoint: Checkpoint, sizes: Collection[int]) -> Checkpoint:
    """The same, saying how much of the file has arrived: for people, as the store itself is asked on resuming."""
    return {**checkpoint, "parts_arrived": len(sizes), "bytes_arrived": sum(sizes)}


class Place(NamedTuple):
    """Where a checkpoint leads."""

    bucket: str
    key: str
    upload_id: str


def place_in(checkpoint: Checkpoint | None) -> Place | None:
    """None where the checkpoint is not one of ours."""
    if not isinstance(checkpoint, dict) or checkpoint.get("kind") != _KIND:
        return None
    names = [checkpoint.get(name) for name in Place._fields]
    if not all(isinstance(name, str) and name for name in names):
        return None
    return Place(*map(str, names))


def leads_here(checkpoint: Checkpoint | None, delivery: Delivery) -> bool:
    """False for an upload of ours that is of another object."""
    place = place_in(checkpoint)
    return place is None or (place.bucket, place.key) == (delivery.bucket, delivery.key)


def upload_id_in(checkpoint: Checkpoint | None, delivery: Delivery) -> str:
    """Empty where the checkpoint is not one of ours, or leads elsewhere."""
    place = place_in(checkpoint)
    return place.upload_id if place is not None and leads_here(checkpoint, delivery) else ""


def part_size_in(checkpoint: Checkpoint, fingerprint: Fingerprint) -> int:
    """The size of its parts, in bytes, or 0 where the checkpoint is of other content or senseless."""
    part_size = checkpoint.get("part_size")
    if not _is_of(checkpoint, fingerprint) or not isinstance(part_size, int):
        return 0
    is_possible = part_size >= LEAST_PART_BYTES and -(-fingerprint.size // part_size) <= MOST_PARTS
    return part_size if is_possible else 0


def _is_of(checkpoint: Checkpoint, fingerprint: Fingerprint) -> bool:
    """A device number that changed alone (a reboot) is no other content: its parts are hashed again anyway."""
    numbers: Any = checkpoint.get("fingerprint")
    if not isinstance(numbers, list) or len(numbers) != 5:  # noqa: PLR2004  (the fields of a fingerprint)
        return False
    was = Fingerprint(*numbers)
    return was == fingerprint or was.differs_only_in_device(fingerprint)
