"""The table of settings, what concerns the objects that files become."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from s3_file_uploader.config import attribute_notation, notation
from s3_file_uploader.config.declaration import Group, Setting
from s3_file_uploader.config.rule_device import DeviceSide

__all__ = ["Objects"]


@dataclass(frozen=True, slots=True)
class Objects(DeviceSide):
    """A rule's settings up to what its objects are like."""

    on_existing: Annotated[
        Literal["overwrite", "skip", "rename"],
        Setting(
            Group.OBJECT,
            notation.WORD,
            "Where another object has the name already: `overwrite` it; `skip`: park the file; `rename`: send "
            "the file under a name with its modification time in it. The last two need a store that knows "
            "If-None-Match.",
        ),
    ] = "overwrite"
    storage_class: Annotated[
        str,
        Setting(
            Group.OBJECT,
            attribute_notation.STORAGE_CLASS,
            "The storage class of the objects.",
            derived="STANDARD, or what the store has",
        ),
    ] = ""
    server_side_encryption: Annotated[
        Literal["default", "AES256", "aws:kms", "aws:kms:dsse"],
        Setting(
            Group.OBJECT,
            attribute_notation.ENCRYPTION,
            "How the store encrypts: with its own keys (`AES256`), with KMS, or twice with KMS "
            "(`aws:kms:dsse`); `default`: as the bucket says.",
        ),
    ] = "default"
    kms_key_id: Annotated[
        str,
        Setting(
            Group.OBJECT,
            attribute_notation.KMS_KEY,
            "The KMS key; needs ServerSideEncryption with KMS.",
            derived="the account's own key for S3",
        ),
    ] = ""
    kms_encryption_context: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            Group.OBJECT,
            attribute_notation.ENCRYPTION_CONTEXT,
            "What KMS binds to the data key; needs ServerSideEncryption with KMS.",
        ),
    ] = ()
    bucket_key_enabled: Annotated[
        Literal["default"] | bool,
        Setting(
            Group.OBJECT,
            attribute_notation.DEFAULT_OR_YES_NO,
            "Use the bucket's key, which saves requests to KMS; needs ServerSideEncryption `aws:kms`. "
            "`default`: as the bucket says.",
        ),
    ] = "default"
    tags: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            Group.OBJECT, attribute_notation.TAGS, "Tags of the objects; need the right s3:PutObjectTagging."
        ),
    ] = ()
    metadata: Annotated[
        tuple[tuple[str, str], ...],
        Setting(
            Group.OBJECT,
            attribute_notation.METADATA,
            "Metadata of the objects, `x-amz-meta-…`. Keys are written in lower case.",
        ),
    ] = ()
    metadata_from_file: Annotated[
        tuple[Literal["mtime"], ...],
        Setting(
            Group.OBJECT,
            notation.WORDS,
            "Metadata that the file gives. `mtime`: its modification time, as seconds since 1970 in UTC with "
            "nine decimals (`x-amz-meta-mtime: 1700000000.123456789`).",
        ),
    ] = ()
    content_type: Annotated[
        str,
        Setting(
            Group.OBJECT,
            attribute_notation.CONTENT_TYPE,
            "The Content-Type of the objects. `auto`: by the ending of the name, from a table that is the same "
            "on every device, and none for an ending that is not in it; `off`: none.",
        ),
    ] = "auto"
    content_encoding: Annotated[
        str,
        Setting(
            Group.OBJECT,
            attribute_notation.HEADER_TEXT,
            "The Content-Encoding of the objects, for files that are compressed already. Nothing is compressed.",
        ),
    ] = ""
    cache_control: Annotated[
        str,
        Setting(Group.OBJECT, attribute_notation.HEADER_TEXT, "The Cache-Control of the objects."),
    ] = ""
    acl: Annotated[
        Literal[
            "default",
            "private",
            "public-read",
            "public-read-write",
            "authenticated-read",
            "aws-exec-read",
            "bucket-owner-read",
            "bucket-owner-full-control",
        ],
        Setting(
            Group.OBJECT,
            notation.WORD,
            "The canned ACL of the objects; needs the right s3:PutObjectAcl and a bucket that has ACLs. "
            "`default`: none is sent.",
        ),
    ] = "default"
    checksum_algorithm: Annotated[
        Literal["crc64nvme", "crc32c", "md5", "off"],
        Setting(
            Group.OBJECT,
            notation.WORD,
            "What proves that the store holds the file. `md5`: for stores that echo no CRC; their ETag must be "
            "the MD5. `off`: nothing but the size is compared, so bytes that were damaged on the way go "
            "unnoticed.",
        ),
    ] = "crc64nvme"
