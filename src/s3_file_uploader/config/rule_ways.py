"""The table of settings, what concerns the way there: the store, and Stream Manager."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from s3_file_uploader.config import attribute_notation, notation
from s3_file_uploader.config.declaration import Group, Setting
from s3_file_uploader.config.rule_objects import Objects

__all__ = ["Ways"]

_STREAM_MANAGER_PORT = 8088  # where Stream Manager listens unless its configuration says otherwise

# The annotations below are read at run time, by get_type_hints: hence names that only they use.
_Streams = Annotated[int, Meta(ge=1, le=64)]
_StreamBytes = Annotated[int, Meta(ge=1 << 16, le=1 << 40)]
_Port = Annotated[int, Meta(ge=1, le=65535)]


@dataclass(frozen=True, slots=True)
class Ways(Objects):
    """A rule's settings, all of them."""

    region: Annotated[
        str,
        Setting(
            Group.STORE,
            notation.REGION,
            "The bucket's region.",
            environment=("AWS_REGION", "AWS_DEFAULT_REGION"),
            derived="the profile's region in ~/.aws/config, else us-east-1 where EndpointUrl is not AWS",
        ),
    ] = ""
    endpoint_url: Annotated[
        str,
        Setting(
            Group.STORE,
            notation.ENDPOINT,
            "The address of a store other than AWS.",
            environment=("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
            derived="AWS's own for the region",
        ),
    ] = ""
    path_style: Annotated[
        Literal["auto"] | bool,
        Setting(
            Group.STORE,
            notation.PATH_STYLE,
            "The bucket stands in the path (`true`) or in the host name (`false`); `auto`: in the host name on "
            "AWS, in the path on other stores and where a dot in the bucket's name breaks TLS.",
        ),
    ] = "auto"
    ca_bundle: Annotated[
        str,
        Setting(
            Group.STORE,
            notation.FOLDER,
            "A file of certificates (PEM) to trust.",
            environment=("AWS_CA_BUNDLE",),
            derived="the system's",
        ),
    ] = ""
    profile: Annotated[
        str,
        Setting(
            Group.STORE,
            notation.NAME,
            "The profile of ~/.aws/credentials and ~/.aws/config to use.",
            environment=("AWS_PROFILE",),
            derived="AWS's chain of credentials",
        ),
    ] = ""
    use_dual_stack: Annotated[
        bool,
        Setting(
            Group.STORE,
            notation.YES_NO,
            "AWS's addresses that have IPv6 too.",
            environment=("AWS_USE_DUALSTACK_ENDPOINT",),
        ),
    ] = False
    use_fips: Annotated[
        bool,
        Setting(
            Group.STORE,
            notation.YES_NO,
            "AWS's addresses with validated cryptography (FIPS 140).",
            environment=("AWS_USE_FIPS_ENDPOINT",),
        ),
    ] = False
    use_accelerate: Annotated[
        bool,
        Setting(
            Group.STORE,
            notation.YES_NO,
            "AWS's Transfer Acceleration, which the bucket must have turned on.",
        ),
    ] = False
    expected_bucket_owner: Annotated[
        str,
        Setting(
            Group.STORE,
            attribute_notation.ACCOUNT,
            "Nothing is sent to a bucket that another account owns.",
        ),
    ] = ""
    request_payer: Annotated[
        Literal["owner", "requester"],
        Setting(
            Group.STORE,
            notation.WORD,
            "Who pays for the requests: the bucket's owner, or whoever's credentials sign them.",
        ),
    ] = "owner"
    sign_payload: Annotated[
        Literal["auto", "always"],
        Setting(
            Group.STORE,
            notation.WORD,
            "Sign the SHA-256 of what is sent too, which costs CPU. `auto`: over plain HTTP to another host "
            "only, as TLS protects the bytes already.",
        ),
    ] = "auto"
    streams: Annotated[
        _Streams,
        Setting(
            Group.STREAM_MANAGER,
            notation.NUMBER,
            "How many streams the rule's files are spread over. Stream Manager sends the files of one stream "
            "one after the other, and those of several at once, as many as its own pool of threads takes (5).",
        ),
    ] = 4
    stream_max_size_bytes: Annotated[
        _StreamBytes,
        Setting(
            Group.STREAM_MANAGER,
            notation.SIZE,
            "How much Stream Manager may keep for each of the streams: the tasks, a few hundred bytes for a "
            "file, never the files. A full stream makes its files wait.",
            key="StreamMaxSize",
        ),
    ] = 256 << 20
    stream_flush_on_write: Annotated[
        bool,
        Setting(
            Group.STREAM_MANAGER,
            notation.YES_NO,
            "Stream Manager writes each task to the disk before it answers. Without this a power cut may lose "
            "tasks, which are handed over again once that shows.",
        ),
    ] = True
    stream_manager_port: Annotated[
        _Port,
        Setting(
            Group.STREAM_MANAGER,
            notation.NUMBER,
            "The port of this machine where Stream Manager listens.",
            environment=("STREAM_MANAGER_SERVER_PORT",),
        ),
    ] = _STREAM_MANAGER_PORT
    verify: Annotated[
        Literal["trust", "head"],
        Setting(
            Group.STREAM_MANAGER,
            notation.WORD,
            "What proves that a file has arrived: Stream Manager's word (`trust`), or also a look at the "
            "object's size, and at its checksum where that can be compared (`head`), which needs credentials, "
            "a region and the right s3:GetObject.",
        ),
    ] = "trust"
