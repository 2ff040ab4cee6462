"""Attributes of objects that are fine one by one and refused together, by S3 or by what they would mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from s3_file_uploader.config.problems import Problems
    from s3_file_uploader.config.settings import Rule

__all__ = ["check_attributes"]

_KMS = ("aws:kms", "aws:kms:dsse")


def check_attributes(rule: Rule, problems: Problems) -> None:
    """What is wrong with the attributes of one rule, whatever it is loaded for."""
    for problem in (*_encryption(rule), *_proof(rule), *_metadata(rule)):
        problems.add(f"rule {rule.name}: {problem}")


def _encryption(rule: Rule) -> Iterator[str]:
    chosen = rule.server_side_encryption
    if chosen not in _KMS:
        for key, value in (
            ("KmsKeyId", rule.kms_key_id),
            ("KmsEncryptionContext", rule.kms_encryption_context),
        ):
            if value:
                yield f"{key} needs ServerSideEncryption aws:kms or aws:kms:dsse; it is {chosen}"
    if rule.bucket_key_enabled is True and chosen != "aws:kms":
        yield f"BucketKeyEnabled needs ServerSideEncryption aws:kms; it is {chosen}"
    if rule.bucket_key_enabled is False and chosen not in _KMS:
        yield f"BucketKeyEnabled false needs ServerSideEncryption aws:kms or aws:kms:dsse; it is {chosen}"


def _proof(rule: Rule) -> Iterator[str]:
    if rule.checksum_algorithm == "md5" and rule.server_side_encryption in _KMS:
        yield (
            f"ChecksumAlgorithm md5 is proven by an ETag, which with ServerSideEncryption "
            f"{rule.server_side_encryption} is not the MD5: take crc64nvme or crc32c"
        )
    if rule.checksum_algorithm == "off" and rule.on_existing != "overwrite":
        yield (
            f"OnExisting {rule.on_existing} needs a checksum to tell an object that we sent ourselves from "
            "another: ChecksumAlgorithm cannot be off"
        )


def _metadata(rule: Rule) -> Iterator[str]:
    if "mtime" in rule.metadata_from_file and any(key == "mtime" for key, _ in rule.metadata):
        yield "Metadata and MetadataFromFile both say mtime: give one"
