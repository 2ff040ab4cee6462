"""Settings with Transport stream-manager: what is carried, what is refused, what follows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Loaded, Rule, load, show
from s3_file_uploader.config.declaration import Group
from s3_file_uploader.config.fields import RULE_FIELDS
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.pipeline.rules import destination_of
from s3_file_uploader.transport.registry import opener

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

THROUGH = {"Transport": "stream-manager"}

# A value other than the default for each setting that a rule cannot have here.
NOT_CARRIED: dict[str, Any] = {
    "OnExisting": "skip",
    "StorageClass": "GLACIER",
    "ServerSideEncryption": "AES256",
    "KmsKeyId": "alias/x",
    "KmsEncryptionContext": {"a": "b"},
    "BucketKeyEnabled": "true",
    "Tags": {"a": "b"},
    "ContentType": "text/csv",
    "ContentEncoding": "gzip",
    "CacheControl": "no-store",
    "Acl": "private",
    "ChecksumAlgorithm": "md5",
    "UseAccelerate": "true",
    "ExpectedBucketOwner": "123456789012",
    "RequestPayer": "requester",
    "SignPayload": "always",
}
ADDRESSES: dict[str, Any] = {
    "Region": "eu-west-1",
    "EndpointUrl": "http://store:9000",
    "PathStyle": "true",
    "CaBundle": "/ca.pem",
    "Profile": "p",
    "UseDualStack": "true",
    "UseFips": "true",
}


def loaded(said: Mapping[str, Any], environment: Mapping[str, str] | None = None, **extra: Any) -> Loaded:
    flags = {
        key: [f"{name}={one}" for name, one in value.items()] if isinstance(value, dict) else value
        for key, value in said.items()
    }
    return load(
        flags=flags, source="/data/*", destination="s3://bucket/p", environment=environment or {}, **extra
    )


def rule_of(said: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> Rule:
    [rule] = loaded({**THROUGH, **said}, environment).settings.rules
    return rule


def refusal(said: Mapping[str, Any]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded({**THROUGH, **said})
    return str(caught.value)


def from_file(tmp_path: Path, document: Mapping[str, Any]) -> Loaded:
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps(document))
    return load(file=str(file), environment={})


def test_a_rule_through_stream_manager_needs_neither_region_nor_credentials() -> None:
    rule = rule_of({})
    assert (rule.streams, rule.stream_max_size_bytes, rule.stream_manager_port) == (4, 256 << 20, 8088)
    assert (rule.stream_flush_on_write, rule.verify, rule.region) == (True, "trust", "")


@pytest.mark.parametrize("key", NOT_CARRIED)
def test_what_stream_manager_cannot_carry_is_refused_with_key_place_and_reason(key: str) -> None:
    told = refusal({key: NOT_CARRIED[key]})
    assert f": {key} is " in told
    assert "Stream Manager cannot carry it" in told
    assert "flag --" in told


def test_every_setting_of_objects_and_requests_is_either_carried_or_known_to_be_refused() -> None:
    concerned = {each.key for each in RULE_FIELDS if each.setting.group in (Group.OBJECT, Group.STORE)}
    assert concerned == {*NOT_CARRIED, *ADDRESSES, "Metadata", "MetadataFromFile"}


def test_metadata_is_carried() -> None:
    rule = rule_of({"Metadata": {"unit": "car7"}, "MetadataFromFile": ["mtime"]})
    assert rule.metadata == (("unit", "car7"),)


@pytest.mark.parametrize("key", ADDRESSES)
def test_the_store_address_is_of_use_only_to_verify_head(key: str) -> None:
    told = refusal({key: ADDRESSES[key]})
    assert f"{key} has no effect" in told
    verifying = {"Verify": "head", "Region": "eu-west-1", key: ADDRESSES[key]}
    assert rule_of(verifying).verify == "head"


def test_verify_head_needs_a_region() -> None:
    assert "Region is missing" in refusal({"Verify": "head"})


def test_what_aws_environment_says_of_the_store_is_passed_over() -> None:
    said = {"AWS_REGION": "eu-west-1", "AWS_PROFILE": "p", "AWS_ENDPOINT_URL": "http://store:9000"}
    rule = rule_of({}, said)
    assert (rule.region, rule.profile, rule.endpoint_url) == ("", "", "")
    assert rule_of({"Verify": "head"}, said).region == "eu-west-1"


def test_the_port_comes_from_the_environment_that_greengrass_gives() -> None:
    said = {"STREAM_MANAGER_SERVER_PORT": "9999"}
    assert rule_of({}, said).stream_manager_port == 9999
    assert rule_of({"StreamManagerPort": "7777"}, said).stream_manager_port == 7777
    direct = loaded({"Region": "r"}, said).settings.rules[0]
    assert direct.stream_manager_port == 8088


def test_settings_of_stream_manager_have_no_effect_on_the_way_straight_to_s3() -> None:
    for key, value in {"Streams": "8", "Verify": "head", "StreamFlushOnWrite": "false"}.items():
        with pytest.raises(ConfigurationError, match=f"{key} has no effect: Transport is s3"):
            loaded({"Region": "r", key: value})


def test_a_default_for_all_rules_may_leave_out_those_it_is_of_no_use_to(tmp_path: Path) -> None:
    rules = [
        {"Name": "direct", "PathName": "/a/*"},
        {"Name": "through", "PathName": "/b/*", "Transport": "stream-manager"},
    ]
    shared = {"BucketName": "bucket", "Region": "eu-west-1", "Streams": 8, "Rules": rules}
    assert len(from_file(tmp_path, shared).settings.rules) == 2
    with pytest.raises(ConfigurationError, match="StorageClass is 'GLACIER'"):
        from_file(tmp_path, {**shared, "StorageClass": "GLACIER"})


def test_max_bandwidth_is_refused_with_the_setting_that_stream_manager_has_for_it() -> None:
    told = refusal({"MaxBandwidth": "1 MB/s"})
    assert "flag --max-bandwidth" in told
    assert "STREAM_MANAGER_EXPORTER_MAX_BANDWIDTH" in told


@pytest.mark.parametrize("bucket", ["My-Bucket", "b..c", "192.168.1.1", "a-.b", "arn:aws:s3:::x"])
def test_buckets_that_stream_manager_does_not_take_are_refused(bucket: str) -> None:
    with pytest.raises(ConfigurationError, match="BucketName"):
        load(flags=THROUGH, source="/data/*", destination=f"s3://{bucket}/p", environment={})


def test_names_are_escaped_strictly_unless_escaping_is_off() -> None:
    assert rule_of({}).key_escape == "strict"
    assert rule_of({"KeyEscape": "auto"}).key_escape == "strict"
    assert rule_of({"KeyEscape": "off"}).key_escape == "off"
    origins = loaded(THROUGH).origins
    assert origins["default", "KeyEscape"] == "implied by Transport stream-manager"


def test_a_prefix_that_stream_manager_refuses_is_refused_at_start() -> None:
    told = refusal({"KeyEscape": "off", "ObjectKeyPrefix": "a b"})
    assert "ObjectKeyPrefix" in told


def test_what_config_show_prints_is_a_configuration_again(tmp_path: Path) -> None:
    said = {**THROUGH, "Metadata": {"a": "b"}, "Streams": "8"}
    first = loaded(said, {"AWS_REGION": "eu-west-1", "AWS_USE_DUALSTACK_ENDPOINT": "true"})
    file = tmp_path / "shown.yaml"
    file.write_text(show(first))
    assert load(file=str(file), environment={}).settings == first.settings


def test_each_rule_is_a_destination_of_its_own(tmp_path: Path) -> None:
    rules = [{"Name": name, "PathName": f"/{name}/*", **THROUGH} for name in ("one", "two")]
    found = from_file(tmp_path, {"BucketName": "bucket", "Rules": rules}).settings.rules
    one, two = (destination_of(rule, found) for rule in found)
    assert one == "s3://bucket stream-manager:8088 (one)"
    assert one != two


def test_a_missing_sdk_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stream_manager", None)
    with pytest.raises(ConfigurationError, match=r"rule default: .* not installed") as caught:
        opener(loaded(THROUGH).settings)
    assert caught.value.advice == "pip install 's3-file-uploader[stream-manager]'"
