"""The reference page of the settings, written from the table; docs/reference/configuration.md holds it.

`python -m s3_file_uploader.config.reference` prints it. A test compares the page with what is printed.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from s3_file_uploader.config.declaration import Group
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS, Field

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["markdown"]

_BEFORE = """\
<!-- Written by `make docs` from the table in config/settings.py and the files beside it. -->

# Configuration

A setting is said in one of four places. The first that says it holds:

1. a flag, or SRC and DST: `s3-file-uploader run '/data/*.csv' s3://bucket/prefix --interval 5`;
2. the configuration file, YAML or JSON: `--config FILE`;
3. the environment of AWS's tools, for the settings that name a variable below;
4. the default.

`s3-file-uploader config show` prints what is in force and where each value came from, in a form that is
a configuration file again. `s3-file-uploader config schema` prints the JSON Schema.

## A file

```yaml
PathName: /data/incoming/*.csv
BucketName: my-bucket
ObjectKeyPrefix: fleet/!{thingName}/!{timestamp:yyyy/MM/dd}
```

Several rules stand in a list. What stands beside the list is the default of all of them:

```yaml
BucketName: my-bucket
Interval: 30 s
Rules:
  - Name: logs
    PathName: /var/log/robot/*.log
    ObjectKeyPrefix: logs
  - Name: images
    PathName: /data/cam*/*.jpg
    ObjectKeyPrefix: images
    DoneMarker: .done
    AfterUpload: archive
    ArchiveDirectory: /data/sent
    ArchiveMaxBytes: 20 GiB
```

- Every value may also be text (`"5"`, `"true"`), as Greengrass hands it over. Words are read in any case.
- Times are seconds or have a unit: `0.5`, `1500 ms`, `90 s`, `5 min`, `1h30m`, `2 d`.
- Sizes are bytes or have a unit: `KB`, `MB`, `GB`, `TB` count in thousands; `KiB`, `MiB`, `GiB`, `TiB`
  and the bare letters `K`, `M`, `G`, `T` in 1024. Rates are the same per second, or `kbit/s`, `Mbit/s`,
  `Gbit/s`.
- A value of `null` says nothing: the next place is asked. So does `""`, except where it says something
  itself: ObjectKeyPrefix and DoneMarker.
- Maps (Tags, Metadata, KmsEncryptionContext) are keys and values in a file, and `--tags key=value`, several
  times, on the command line. A map that is given replaces the whole of a weaker one.
- In YAML plain words stay what they look like: `off` is the word, `012` the text, `1:30` no number.
- Paths in a file are absolute. On the command line they may be relative, and `~` is the home folder.
- An unknown key, a key that stands twice, a value that is not allowed and settings that contradict each
  other are refused, all of them at once, with what is allowed.

## What does not go together

- Two rules that could claim the same file, by their patterns or because a link leads one into the other;
  two rules of one Name.
- AfterUpload `archive` without ArchiveDirectory; ArchiveDirectory, ArchiveMaxBytes or ArchiveMaxAge without
  AfterUpload `archive`.
- An ArchiveDirectory or StateDirectory that a rule scans.
- DoneMarker with ActiveFile `newest`.
- SRC or `--path-name` with a file of several rules.
- KmsKeyId or KmsEncryptionContext without ServerSideEncryption `aws:kms` or `aws:kms:dsse`; BucketKeyEnabled
  without `aws:kms`.
- ChecksumAlgorithm `md5` with KMS, where an ETag is not the MD5; ChecksumAlgorithm `off` with OnExisting `skip`
  or `rename`, which could not tell our own object from another.
- Metadata `mtime` with MetadataFromFile `mtime`.
- UseAccelerate with EndpointUrl, PathStyle `true`, UseFips, or a bucket with dots; UseFips or UseDualStack with
  EndpointUrl; the ARN of an access point with EndpointUrl, PathStyle `true` or UseAccelerate.
- Transport `stream-manager` with what Stream Manager cannot carry: every setting under *What the objects are like*
  but Metadata and MetadataFromFile; SignPayload, RequestPayer, ExpectedBucketOwner and UseAccelerate; MaxBandwidth,
  which Stream Manager has a setting of its own for; the others under *The store*, unless Verify is `head`.
- Settings under *Stream Manager* with Transport `s3`.
"""

_AFTER = """
## SRC and DST

SRC stands for PathName: a folder (everything in it but dotfiles), a file, or a pattern in quotes. What exists
under exactly the name that is given is meant literally, wildcards and all. A folder that is yet to come is
written with a slash at its end. DST is `s3://bucket/prefix`: BucketName and ObjectKeyPrefix.
"""


def markdown() -> str:
    """The whole page."""
    return _BEFORE + "".join(part for group in Group for part in _section(group)) + _AFTER


def _section(group: Group) -> Iterator[str]:
    owned = [(each, "each rule") for each in RULE_FIELDS] + [(each, "process") for each in PROCESS_FIELDS]
    yield f"\n## {group.value}\n"
    for each, scope in owned:
        if each.setting.group is group:
            yield _entry(each, scope)


def _entry(each: Field, scope: str) -> str:
    is_rule_name = each.key == "Name" and scope == "each rule"
    facts = {
        "flag": "none: a list of Rules only" if is_rule_name else f"`{_flag(each)}`",
        "default": _default(each, is_rule_name=is_rule_name),
        "allowed": each.allowed,
        "environment": ", ".join(f"`{variable}`" for variable in each.setting.environment),
        "concerns": scope,
    }
    lines = "".join(f"- {word}: {fact}\n" for word, fact in facts.items() if fact)
    return f"\n### {each.key}{' of a rule' if is_rule_name else ''}\n\n{each.setting.help}\n\n{lines}"


def _flag(each: Field) -> str:
    return f"{each.flag}`, `--no-{each.flag[2:]}" if each.is_switch else each.flag


def _default(each: Field, *, is_rule_name: bool) -> str:
    if is_rule_name:
        return "`default` where there is no list of Rules; required in the list"
    if each.setting.derived:
        return each.setting.derived
    if each.required:
        return "none: required"
    return f"`{each.default_text}`" if each.default_text else "empty"


if __name__ == "__main__":
    sys.stdout.write(markdown())
