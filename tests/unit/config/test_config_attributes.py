"""The attributes of objects as people write them: what S3 would refuse is refused here, by its name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Rule, as_json, load, manner_of, place_of, show
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = {"AWS_REGION": "eu-west-1", "HOME": "/nobody"}


def loaded(environment: dict[str, str] | None = None, **flags: Any) -> Rule:
    flags = {"PathName": "/data/*", "BucketName": "bbb", **flags}
    [rule] = load(flags=flags, environment={**ENVIRONMENT, **(environment or {})}).settings.rules
    return rule


def from_file(tmp_path: Path, **said: Any) -> Rule:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"PathName": "/data/*", "BucketName": "bbb", **said}))
    [rule] = load(file=str(file), environment=ENVIRONMENT).settings.rules
    return rule


def test_maps_are_keys_and_values_in_a_file_and_pairs_on_the_command_line(tmp_path: Path) -> None:
    expected = (("site", "hall 7"), ("lap", "12"))
    assert loaded(Tags=["site=hall 7", "lap=12"]).tags == expected
    assert from_file(tmp_path, Tags={"site": "hall 7", "lap": 12}).tags == expected
    assert from_file(tmp_path, Tags="site=hall 7").tags == expected[:1]
    assert from_file(tmp_path, Metadata={"Unit": "a=b"}).metadata == (("unit", "a=b"),)


def test_a_map_of_a_rule_replaces_that_of_all(tmp_path: Path) -> None:
    rules = [{"Name": "a", "PathName": "/a/*", "Tags": {}}, {"Name": "b", "PathName": "/b/*"}]
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"BucketName": "bbb", "Tags": {"x": "y"}, "Rules": rules}))
    first, second = load(file=str(file), environment=ENVIRONMENT).settings.rules
    assert (first.tags, second.tags) == ((), (("x", "y"),))


def test_attributes_survive_being_shown(tmp_path: Path) -> None:
    flags = {
        "PathName": "/data/*",
        "BucketName": "arn:aws:s3:eu-west-1:123456789012:accesspoint/cars",
        "Tags": ["größe=1 + 1", "null=true"],
        "Metadata": ['note=it\'s "so": yes'],
        "MetadataFromFile": "mtime",
        "ServerSideEncryption": "AWS:KMS",
        "KmsKeyId": "alias/fleet",
        "KmsEncryptionContext": ["a=b"],
        "BucketKeyEnabled": "true",
        "StorageClass": "glacier_ir",
        "ContentType": "text/csv; charset=utf-8",
        "CacheControl": "max-age=60, private",
        "ExpectedBucketOwner": "012345678901",
    }
    first = load(flags=flags, environment=ENVIRONMENT)
    assert first.settings.rules[0].storage_class == "GLACIER_IR"
    file = tmp_path / "shown.yaml"
    file.write_text(show(first), encoding="utf-8")
    assert load(file=str(file), environment={}).settings == first.settings
    told = as_json(first)["Rules"][0]
    assert told["Tags"] == {"value": {"größe": "1 + 1", "null": "true"}, "origin": "flag --tags"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"Tags": [f"k{number}=v" for number in range(11)]}, "at most 10 tags, and these are 11"),
        ({"Tags": ["=v"]}, "0 characters"),
        ({"Tags": ["k" * 129 + "=v"]}, "129 characters"),
        ({"Tags": ["k=" + "v" * 257]}, "longer than 256"),
        ({"Tags": ["aws:k=v"]}, "aws:"),
        ({"Tags": ["k=a&b"]}, "other characters"),
        ({"Tags": ["k=a\nb"]}, "other characters"),
        ({"Tags": ["word"]}, "key=value"),
        ({"Tags": ["k=1", "k=2"]}, "stands twice"),
        ({"Metadata": ["K=1", "k=2"]}, "stands twice"),
        ({"Metadata": ["größe=1"]}, "not made of letters"),
        ({"Metadata": ["k=größe"]}, "printable ASCII"),
        ({"Metadata": ["k= v"]}, "spaces at its ends"),
        ({"Metadata": ["k=a\r\nx-amz-acl: public-read"]}, "printable ASCII"),
        ({"Metadata": ["k=" + "v" * 2048]}, "bytes together"),
        ({"MetadataFromFile": "ctime"}, "allowed: one of mtime"),
        ({"StorageClass": "cold storage"}, "StorageClass"),
        ({"ServerSideEncryption": "AES128"}, "AES256, aws:kms, aws:kms:dsse"),
        ({"KmsKeyId": "alias/fleet"}, "KmsKeyId needs ServerSideEncryption"),
        ({"KmsEncryptionContext": ["a=b"]}, "KmsEncryptionContext needs"),
        ({"KmsKeyId": "a b", "ServerSideEncryption": "aws:kms"}, "KmsKeyId is"),
        ({"BucketKeyEnabled": "true"}, "BucketKeyEnabled needs"),
        ({"BucketKeyEnabled": "true", "ServerSideEncryption": "aws:kms:dsse"}, "BucketKeyEnabled needs"),
        ({"ChecksumAlgorithm": "md5", "ServerSideEncryption": "aws:kms"}, "is not the MD5"),
        ({"ChecksumAlgorithm": "off", "OnExisting": "skip"}, "ChecksumAlgorithm cannot be off"),
        ({"ChecksumAlgorithm": "sha1"}, "one of crc64nvme, crc32c, md5, off"),
        ({"Metadata": ["mtime=1"], "MetadataFromFile": ["mtime"]}, "both say mtime"),
        ({"ContentType": "csv"}, "ContentType"),
        ({"ContentType": "text/csv\r\nx: y"}, "ContentType"),
        ({"CacheControl": "no\ncache"}, "CacheControl"),
        ({"ContentEncoding": "größe"}, "ContentEncoding"),
        ({"Acl": "public"}, "public-read"),
        ({"ExpectedBucketOwner": "1234"}, "12 digits"),
        ({"RequestPayer": "me"}, "one of owner, requester"),
        ({"OnExisting": "append"}, "one of overwrite, skip, rename"),
    ],
)
def test_what_s3_would_refuse_with_every_file_is_refused_before(said: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(**said)
    assert expected in str(caught.value)
    assert next(iter(said)) in str(caught.value)


def test_the_limits_themselves_are_allowed() -> None:
    tags = [f"{number}{'k' * 127}={'v' * 256}" for number in range(10)]
    assert len(loaded(Tags=tags).tags) == 10
    assert loaded(Metadata=["k=" + "v" * 2000]).metadata[0][1] == "v" * 2000


def test_the_environment_of_aws_tools_chooses_addresses() -> None:
    rule = loaded({"AWS_USE_DUALSTACK_ENDPOINT": "true", "AWS_USE_FIPS_ENDPOINT": "false"})
    assert (rule.use_dual_stack, rule.use_fips) == (True, False)


@pytest.mark.parametrize(
    ("destination", "bucket", "prefix"),
    [
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/cars/a/b", "accesspoint/cars", "a/b"),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint/cars", "accesspoint/cars", ""),
        ("arn:aws:s3:eu-west-1:123456789012:accesspoint:cars/a", "accesspoint:cars", "a"),
    ],
)
def test_dst_may_name_an_access_point(destination: str, bucket: str, prefix: str) -> None:
    found = load(source="/tmp/*", destination=f"s3://{destination}", environment=ENVIRONMENT)
    [rule] = found.settings.rules
    assert rule.bucket_name.endswith(bucket)
    assert rule.object_key_prefix == prefix


def test_rules_share_a_place_but_for_what_a_connection_needs() -> None:
    plain = loaded()
    assert place_of(loaded(Tags=["a=b"], ObjectKeyPrefix="p")) == place_of(plain)
    assert manner_of(loaded(Tags=["a=b"])) != manner_of(plain)
    for other in (
        loaded(SignPayload="always"),
        loaded(ExpectedBucketOwner="123456789012"),
        loaded(Profile="p"),
    ):
        assert place_of(other) != place_of(plain)
        assert manner_of(other) == manner_of(plain)
