"""The one table of settings. Each is declared once, here: its name, type, bounds, default and meaning.

Everything else derives from these two classes: the reading of files and the environment, the flags, the
JSON Schema, the reference page and `config show`. To add a setting, add a field; `make docs`
writes the page. The key is the attribute in PascalCase without `_seconds`: `interval_seconds` is `Interval`, and
`--interval` on the command line.

A field's annotation holds its type, msgspec's bounds, and a Setting. A value is a str that may hold
lone surrogates (`os.fsdecode`) where it names something on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from s3_file_uploader.config import attribute_notation, notation
from s3_file_uploader.config.declaration import Group, Setting

__all__ = ["SINGLE_RULE_NAME", "Rule", "Settings"]

SINGLE_RULE_NAME = "default"
_TEN_YEARS_IN_SECONDS = 315_360_000.0


# The annotations below are read at run time, by get_type_hints: hence names that only they use.
_Seconds = Annotated[float, Meta(ge=0.0, le=_TEN_YEARS_IN_SECONDS)]
_IntervalSeconds = Annotated[float, Meta(ge=0.1, le=_TEN_YEARS_IN_SECONDS)]
_BackoffSeconds = Annotated[float, Meta(ge=0.01, le=_TEN_YEARS_IN_SECONDS)]
_OneOrMore = Annotated[int, Meta(ge=1)]
_FilesInFlight = Annotated[int, Meta(ge=1, le=1024)]
_BytesPerSecond = Annotated[int, Meta(ge=1024)]


@dataclass(frozen=True, slots=True)
class Rule:
    """One PathName and where its files go."""

    name: Annotated[
        str,
        Setting(Group.FILES, notation.LABEL, "The rule's name, in logs and on the command line."),
    ]
    path_name: Annotated[
        str,
        Setting(
            Group.FILES,
            notation.PATH_NAME,
            "Which files: a path with wildcards as in Python's glob (`*` matches no dotfiles, `**` any "
            "depth), or a folder with a slash at its end: everything in it.",
        ),
    ]
    bucket_name: Annotated[str, Setting(Group.FILES, notation.BUCKET, "The bucket they go to.")]
    object_key_prefix: Annotated[
        str,
        Setting(
            Group.FILES,
            notation.TEXT,
            "What object names begin with: `<ObjectKeyPrefix>/<file name>`. May hold !{thingName}, "
            "!{hostname} and !{timestamp:yyyy/MM/dd}, the file's own modification time in UTC.",
        ),
    ] = ""
    include: Annotated[
        tuple[str, ...],
        Setting(Group.FILES, notation.PATTERNS, "Only files that match one of these patterns too."),
    ] = ()
    exclude: Annotated[
        tuple[str, ...],
        Setting(Group.FILES, notation.PATTERNS, "Not files that match one of these patterns, like `*.tmp`."),
    ] = ()
    follow_symlinks: Annotated[
        bool,
        Setting(
            Group.FILES,
            notation.YES_NO,
            "Also send what symbolic links point to; then the link is removed, never its target.",
        ),
    ] = False
    key_escape: Annotated[
        Literal["auto", "strict", "off"],
        Setting(
            Group.FILES,
            notation.WORD,
            "How names that an object name cannot carry are written: `auto` escapes those only, `strict` all "
            "that Stream Manager would refuse too, `off` parks such files.",
        ),
    ] = "auto"
    interval_seconds: Annotated[
        _IntervalSeconds, Setting(Group.READINESS, notation.DURATION, "Time between scans of the folder.")
    ] = 10.0
    watch: Annotated[
        bool,
        Setting(
            Group.READINESS,
            notation.YES_NO,
            "Be woken by inotify between scans. Scans alone find everything too, only later.",
        ),
    ] = True
    settle_seconds: Annotated[
        _Seconds,
        Setting(
            Group.READINESS,
            notation.DURATION,
            "A file waits until it has not changed for this long.",
            key="SettleTime",
        ),
    ] = 1.0
    settle_unverified_seconds: Annotated[
        _Seconds,
        Setting(
            Group.READINESS,
            notation.DURATION,
            "The same, where nothing can tell whether some process still has the file open for writing.",
            key="SettleTimeUnverified",
        ),
    ] = 10.0
    active_file: Annotated[
        Literal["newest", "none"],
        Setting(
            Group.READINESS,
            notation.WORD,
            "`newest`: the newest file of each folder stays, as its producer may still be writing; `none`: "
            "it goes too.",
        ),
    ] = "newest"
    active_file_timeout_seconds: Annotated[
        _Seconds | None,
        Setting(
            Group.READINESS,
            notation.DURATION,
            "The newest file goes too once it has not changed for this long and nobody has it open.",
            none="never",
        ),
    ] = None
    done_marker: Annotated[
        str,
        Setting(
            Group.READINESS,
            notation.SUFFIX,
            "A file goes only when `<name><DoneMarker>` exists and is not older than it; implies ActiveFile "
            "`none`.",
        ),
    ] = ""
    after_upload: Annotated[
        Literal["delete", "archive", "keep"],
        Setting(
            Group.AFTER_UPLOAD,
            notation.WORD,
            "What happens to a file once its upload is proven: `delete` it, move it to ArchiveDirectory "
            "(`archive`), or `keep` it where it is.",
        ),
    ] = "delete"
    archive_directory: Annotated[
        str, Setting(Group.AFTER_UPLOAD, notation.FOLDER, "Where AfterUpload `archive` moves files.")
    ] = ""
    archive_max_bytes: Annotated[
        _OneOrMore | None,
        Setting(
            Group.AFTER_UPLOAD,
            notation.SIZE,
            "The oldest archived files are removed beyond this size.",
            none="unlimited",
        ),
    ] = None
    archive_max_age_seconds: Annotated[
        _Seconds | None,
        Setting(
            Group.AFTER_UPLOAD,
            notation.DURATION,
            "Archived files are removed after this time.",
            none="never",
        ),
    ] = None
    transport: Annotated[
        Literal["s3", "stream-manager"],
        Setting(
            Group.DELIVERY,
            notation.WORD,
            "What carries the files: straight to S3 (`s3`), or Greengrass Stream Manager (`stream-manager`).",
        ),
    ] = "s3"
    max_attempts: Annotated[
        _OneOrMore | None,
        Setting(
            Group.DELIVERY,
            notation.NUMBER,
            "Attempts before a file is parked; `auto`: without end for what is transient, 5 for what is "
            "refused.",
            none="auto",
        ),
    ] = None
    retry_backoff_seconds: Annotated[
        _BackoffSeconds,
        Setting(
            Group.DELIVERY, notation.DURATION, "Longest wait before the second attempt; doubles each time."
        ),
    ] = 1.0
    retry_backoff_max_seconds: Annotated[
        _BackoffSeconds,
        Setting(Group.DELIVERY, notation.DURATION, "Longest wait between two attempts."),
    ] = 300.0
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


@dataclass(frozen=True, slots=True)
class Settings:
    """All that is in force: what concerns the process, and the rules."""

    name: Annotated[
        str,
        Setting(
            Group.PROCESS,
            notation.LABEL,
            "Names this configuration's ledger, a folder below StateDirectory.",
            derived="a short name that PathName, BucketName and ObjectKeyPrefix of the rules make",
        ),
    ]
    state_directory: Annotated[
        str,
        Setting(
            Group.PROCESS,
            notation.FOLDER,
            "Where the ledger lives.",
            derived="$STATE_DIRECTORY, else $XDG_STATE_HOME/s3-file-uploader, else "
            "~/.local/state/s3-file-uploader (root: /var/lib/s3-file-uploader)",
        ),
    ]
    rules: tuple[Rule, ...]
    concurrency: Annotated[
        _FilesInFlight | None,
        Setting(
            Group.PROCESS,
            notation.NUMBER,
            "At most this many files in flight; `auto`: chosen from the machine.",
            none="auto",
        ),
    ] = None
    max_bandwidth: Annotated[
        _BytesPerSecond | None,
        Setting(Group.PROCESS, notation.RATE, "The uplink's share, all rules together.", none="unlimited"),
    ] = None
    log_level: Annotated[
        Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"],
        Setting(Group.PROCESS, notation.LEVEL, "The least important lines that are logged."),
    ] = "INFO"
    log_format: Annotated[
        Literal["text", "json"],
        Setting(Group.PROCESS, notation.WORD, "Log lines as key=value text, or as one JSON object each."),
    ] = "text"
