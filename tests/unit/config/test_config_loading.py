"""Where a value comes from, how it is converted, and how what is wrong is said."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Loaded, Rule, load
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

MINIMAL = {"PathName": "/data/*.csv", "BucketName": "my-bucket", "Region": "eu-west-1"}


def loaded(flags: dict[str, Any] | None = None, **more: Any) -> Loaded:
    environment = {"HOME": "/nobody", **more.pop("environment", {})}
    return load(flags={**MINIMAL, **(flags or {})}, environment=environment, **more)


def rule(flags: dict[str, Any] | None = None, **more: Any) -> Rule:
    return loaded(flags, **more).settings.rules[0]


def refusal(flags: dict[str, Any] | None = None, **more: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        loaded(flags, **more)
    assert caught.value.advice
    return str(caught.value)


# --- Values --------------------------------------------------------------------------------------------


def test_the_defaults_are_those_of_the_design() -> None:
    assert rule() == Rule(
        name="default", path_name="/data/*.csv", bucket_name="my-bucket", region="eu-west-1"
    )
    assert rule().interval_seconds == 10
    assert rule().active_file == "newest"
    assert rule().after_upload == "delete"
    settings = loaded().settings
    assert (settings.concurrency, settings.max_bandwidth, settings.log_level) == (None, None, "INFO")


@pytest.mark.parametrize(
    ("key", "raw", "attribute", "value"),
    [
        ("Interval", "5", "interval_seconds", 5.0),
        ("Interval", "0.5", "interval_seconds", 0.5),
        ("Interval", "5 min", "interval_seconds", 300.0),
        ("SettleTime", "0", "settle_seconds", 0.0),
        ("SettleTimeUnverified", "30s", "settle_unverified_seconds", 30.0),
        ("ActiveFile", "NONE", "active_file", "none"),
        ("ActiveFileTimeout", "never", "active_file_timeout_seconds", None),
        ("ActiveFileTimeout", "2h", "active_file_timeout_seconds", 7200.0),
        ("Watch", "false", "watch", False),
        ("Watch", "1", "watch", True),
        ("EndpointUrl", "https://host/storage/v1/s3/", "endpoint_url", "https://host/storage/v1/s3"),
        ("FollowSymlinks", "Yes", "follow_symlinks", True),
        ("MaxAttempts", "3", "max_attempts", 3),
        ("MaxAttempts", "auto", "max_attempts", None),
        ("PathStyle", "true", "path_style", True),
        ("PathStyle", "Auto", "path_style", "auto"),
        ("Exclude", "a,b", "exclude", ("a,b",)),
        ("Exclude", ["*.tmp", "x/*.part"], "exclude", ("*.tmp", "x/*.part")),
        ("EndpointUrl", "http://127.0.0.1:8333/", "endpoint_url", "http://127.0.0.1:8333"),
        ("KeyEscape", "off", "key_escape", "off"),
        ("RetryBackoffMax", "1 h", "retry_backoff_max_seconds", 3600.0),
    ],
)
def test_text_becomes_the_typed_value(key: str, raw: object, attribute: str, value: object) -> None:
    assert getattr(rule({key: raw}), attribute) == value


def test_settings_of_the_process_are_typed_too() -> None:
    settings = loaded(
        {"Concurrency": "8", "MaxBandwidth": "2 MB/s", "LogLevel": "warn", "LogFormat": "json"}
    ).settings
    assert (settings.concurrency, settings.max_bandwidth) == (8, 2_000_000)
    assert (settings.log_level, settings.log_format) == ("WARNING", "json")


@pytest.mark.parametrize(
    ("key", "raw", "told"),
    [
        ("Interval", "0", "at least 0.1 s"),
        ("Interval", "often", "not a time"),
        ("Interval", "5 fortnights", "no unit of time"),
        ("ActiveFileTimeout", "-1", "or never"),
        ("AfterUpload", "archived", "did you mean archive"),
        ("LogLevel", "chatty", "one of DEBUG, INFO"),
        ("MaxAttempts", "0", "at least 1"),
        ("MaxAttempts", "2.5", "a whole number"),
        ("Concurrency", "5000", "at most 1024"),
        ("MaxBandwidth", "10", "at least 1024"),
        ("Watch", "maybe", "true or false"),
        ("BucketName", "My_Bucket", "lower-case"),
        ("PathName", "", "empty"),
        ("EndpointUrl", "localhost:8333", "http:// or https://"),
        ("EndpointUrl", "https://host/path?x", "http:// or https://"),
        ("EndpointUrl", "ftp://host", "http:// or https://"),
        ("Profile", ["x"], "any name"),
        ("CaBundle", "/a\0b", "NUL"),
        ("StateDirectory", 5, "absolute path"),
        ("Region", "eu west", "like eu-west-1"),
        ("PathStyle", "maybe", "auto, true or false"),
        ("Watch", "1.5", "true or false"),
        ("DoneMarker", "a/b", "slash"),
        ("Exclude", [""], "is empty"),
        ("Exclude", "/abs", "absolute"),
        ("ObjectKeyPrefix", "!{thingname}", "did you mean !{thingName}"),
        ("ObjectKeyPrefix", "!{timestamp:YYYY}", "write yyyy"),
        ("Name", "../up", "letters, digits"),
        ("Transport", "stream_manager", "did you mean stream-manager?"),
        ("Streams", "0", "at least 1"),
        ("Streams", "65", "at most 64"),
        ("StreamMaxSize", "1 KiB", "at least 65536"),
        ("StreamManagerPort", "70000", "at most 65535"),
        ("Verify", "yes", "one of trust, head"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_allowed(key: str, raw: object, told: str) -> None:
    message = refusal({key: raw})
    assert key in message
    assert told in message


def test_a_refusal_names_place_key_value_and_what_is_allowed() -> None:
    assert refusal({"AfterUpload": "archived"}) == (
        "flag --after-upload: AfterUpload is 'archived'; "
        "allowed: one of delete, archive, keep; did you mean archive?"
    )


def test_all_problems_are_said_at_once() -> None:
    message = refusal({"Interval": "x", "LogLevel": "y", "PathName": "", "BucketName": "-Z"})
    assert message.startswith("4 problems")
    assert all(key in message for key in ("Interval", "LogLevel", "PathName", "BucketName"))


def test_a_password_in_an_endpoint_is_refused_and_never_repeated() -> None:
    message = refusal({"EndpointUrl": "https://user:hunter2@host"})
    assert "credentials" in message
    assert "hunter2" not in message


def test_an_unknown_key_is_refused_with_the_one_that_was_meant() -> None:
    assert "did you mean Interval?" in refusal({"Intervals": "5"})


# --- Precedence ----------------------------------------------------------------------------------------


def test_flags_beat_the_file_which_beats_the_environment_which_beats_the_default(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    environment = {"HOME": str(tmp_path), "AWS_REGION": "env-1", "AWS_DEFAULT_REGION": "env-2"}
    where = {"PathName": "/data/*", "BucketName": "bbb"}

    def region(flags: dict[str, str], **more: Any) -> tuple[str, str]:
        found = load(flags={**where, **flags}, **more)
        return found.settings.rules[0].region, found.origins["default", "Region"]

    file.write_text('{"Region": "file-1"}')
    assert region({"Region": "flag-1"}, file=str(file), environment=environment) == (
        "flag-1",
        "flag --region",
    )
    assert region({}, file=str(file), environment=environment) == ("file-1", f"file {file}")
    assert region({}, environment=environment) == ("env-1", "environment AWS_REGION")
    del environment["AWS_REGION"]
    assert region({}, environment=environment) == ("env-2", "environment AWS_DEFAULT_REGION")
    del environment["AWS_DEFAULT_REGION"]
    assert region({"EndpointUrl": "http://h"}, environment=environment)[0] == "us-east-1"


@pytest.mark.parametrize(
    ("variable", "value", "attribute"),
    [
        ("AWS_ENDPOINT_URL_S3", "http://s3.local", "endpoint_url"),
        ("AWS_ENDPOINT_URL", "http://all.local", "endpoint_url"),
        ("AWS_CA_BUNDLE", "/etc/ca.pem", "ca_bundle"),
        ("AWS_PROFILE", "edge", "profile"),
    ],
)
def test_the_aws_environment_counts(variable: str, value: str, attribute: str) -> None:
    found = loaded(environment={variable: value})
    assert getattr(found.settings.rules[0], attribute) == value
    assert f"environment {variable}" in found.origins.values()


def test_the_s3_endpoint_beats_the_one_of_all_services() -> None:
    both = {"AWS_ENDPOINT_URL_S3": "http://s3.local", "AWS_ENDPOINT_URL": "http://all.local"}
    assert rule(environment=both).endpoint_url == "http://s3.local"


def test_a_store_of_ones_own_may_name_its_buckets_otherwise() -> None:
    assert rule({"BucketName": "My_Bucket", "EndpointUrl": "http://h"}).bucket_name == "My_Bucket"


@pytest.mark.parametrize("url", ["https://s3.eu-west-1.amazonaws.com", "https://amazonaws.com.cn:443/"])
def test_an_endpoint_of_aws_needs_its_region(url: str) -> None:
    flags = {"PathName": "/d/*", "BucketName": "bbb", "EndpointUrl": url}
    with pytest.raises(ConfigurationError, match="Region is missing"):
        load(flags=flags, environment={"HOME": "/nobody"})


def test_an_empty_variable_says_nothing() -> None:
    assert rule(environment={"AWS_PROFILE": ""}).profile == ""


@pytest.mark.parametrize(("profile", "expected"), [("", "eu-central-1"), ("edge", "ap-south-1")])
def test_the_region_may_come_from_the_profile(tmp_path: Path, profile: str, expected: str) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "config").write_text(
        "[default]\nregion = eu-central-1\n[profile edge]\nregion = ap-south-1\ncredential_process = x %s\n"
    )
    found = load(
        flags={"PathName": "/d/*", "BucketName": "bbb", "Profile": profile},
        environment={"HOME": str(tmp_path)},
    )
    assert found.settings.rules[0].region == expected
    assert found.origins["default", "Region"].startswith("profile")


@pytest.mark.parametrize("content", ["no section\n", "[default]\noutput = json\n", "\xff"])
def test_a_profile_without_a_usable_region_leaves_it_missing(tmp_path: Path, content: str) -> None:
    config = tmp_path / "config"
    config.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigurationError, match="Region is missing: give --region"):
        load(
            flags={"PathName": "/d/*", "BucketName": "bbb"},
            environment={"HOME": "/nobody", "AWS_CONFIG_FILE": str(config)},
        )


# --- What is missing -----------------------------------------------------------------------------------


def test_a_missing_place_or_bucket_is_said_with_the_ways_to_give_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(environment={})
    assert "PathName is missing: give SRC, --path-name" in str(caught.value)
    assert "BucketName is missing: give DST, --bucket-name" in str(caught.value)


def test_commands_that_only_read_need_no_region_no_thing_and_with_a_name_no_rules() -> None:
    flags = {"PathName": "/d/*", "BucketName": "bbb", "ObjectKeyPrefix": "!{thingName}"}
    with pytest.raises(ConfigurationError, match=r"(?s)Region.*AWS_IOT_THING_NAME"):
        load(flags=flags, environment={"HOME": "/nobody"})
    assert load(flags=flags, environment={"HOME": "/nobody"}, reading=True).settings.rules[0].region == ""
    named = load(flags={"Name": "gate-7"}, environment={}, reading=True).settings
    assert (named.name, named.rules) == ("gate-7", ())


def test_an_empty_value_means_not_set_unless_it_says_something() -> None:
    found = load(
        flags={**MINIMAL, "Region": "", "Profile": "", "Interval": ""},
        environment={"AWS_REGION": "env-1", "AWS_PROFILE": "edge", "HOME": "/nobody"},
    )
    assert found.settings.rules[0].region == "env-1"
    assert found.settings.rules[0].profile == "edge"
    assert found.settings.rules[0].interval_seconds == 10


# --- SRC and DST ---------------------------------------------------------------------------------------


def said(source: str, destination: str = "s3://bbb/p") -> Rule:
    return load(source=source, destination=destination, environment={"AWS_REGION": "r"}).settings.rules[0]


def test_a_folder_means_everything_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "in[1]"
    folder.mkdir()
    escaped = str(folder).replace("[", "[[]") + "/*"
    assert said(str(folder)).path_name == escaped
    assert said(f"{folder}/").path_name == escaped
    assert said(f"{tmp_path}/later/").path_name == f"{tmp_path}/later/*"


def test_a_pattern_stays_one_and_an_existing_file_is_meant_literally(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").touch()
    assert said(f"{tmp_path}/*.csv").path_name == f"{tmp_path}/*.csv"
    assert said(f"{tmp_path}/a[1].csv").path_name == f"{tmp_path}/a[[]1].csv"


def test_relative_paths_and_the_tilde_are_as_in_a_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert said("x/../*.csv").path_name == f"{tmp_path}/*.csv"
    assert said("~/*.csv").path_name == f"{tmp_path}/*.csv"
    assert loaded({"StateDirectory": "state"}).settings.state_directory == f"{tmp_path}/state"


def test_a_path_that_is_not_utf8_keeps_its_bytes(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/\xff"
    os.mkdir(folder)
    assert os.fsencode(said(os.fsdecode(folder)).path_name) == folder + b"/*"


@pytest.mark.parametrize(
    ("destination", "bucket", "prefix"),
    [
        ("s3://bbb", "bbb", ""),
        ("s3://bbb/", "bbb", ""),
        ("s3://bbb/a/b", "bbb", "a/b"),
        ("s3://bbb/a/", "bbb", "a/"),
    ],
)
def test_a_destination_is_a_bucket_and_a_prefix(destination: str, bucket: str, prefix: str) -> None:
    found = said("/data/*", destination)
    assert (found.bucket_name, found.object_key_prefix) == (bucket, prefix)


def test_a_destination_without_a_prefix_means_the_root_of_the_bucket(tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    file.write_text('{"ObjectKeyPrefix": "from-file"}')
    environment = {"AWS_REGION": "r"}
    found = load(file=str(file), source="/d/*", destination="s3://bbb", environment=environment)
    assert found.settings.rules[0].object_key_prefix == ""
    assert found.origins["default", "ObjectKeyPrefix"] == "argument DST"


@pytest.mark.parametrize(
    ("source", "destination", "told"),
    [
        ("", "s3://bbb", "SRC is empty"),
        ("s3://bbb/x", "s3://bbb", "never back"),
        ("/nowhere/at-all", "s3://bbb", "/nowhere/at-all/ with a slash"),
        ("/data/*", "bbb/prefix", "s3://bucket/prefix"),
        ("/data/*", "s3://", "s3://bucket/prefix"),
        ("/data/*", "s3:///x", "argument DST is 's3:///x'"),
        ("/data/*", "s3://Bad_Bucket", "argument DST: BucketName is 'Bad_Bucket'"),
    ],
)
def test_bad_arguments_are_refused_with_the_right_form(source: str, destination: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        said(source, destination)
    assert told in str(caught.value)


def test_an_argument_and_a_flag_for_the_same_setting_contradict_each_other() -> None:
    assert "argument SRC and flag --path-name both say PathName" in refusal(source="/data/*")


# --- The ledger's name and folder ----------------------------------------------------------------------


def test_the_name_of_the_ledger_is_stable_readable_and_only_about_what_goes_where() -> None:
    name = loaded().settings.name
    assert name.startswith("data-my-bucket-")
    assert loaded({"Interval": "99", "MaxAttempts": "3"}).settings.name == name
    assert loaded({"ObjectKeyPrefix": "x"}).settings.name != name
    assert loaded({"PathName": "/data/*.txt"}).settings.name != name
    assert loaded({"Name": "mine"}).settings.name == "mine"


@pytest.mark.parametrize(
    ("environment", "user_id", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b", "XDG_STATE_HOME": "/x"}, 5, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/x"}, 5, "/x/s3-file-uploader"),
        ({"XDG_STATE_HOME": "relative"}, 5, "/home/u/.local/state/s3-file-uploader"),
        ({}, 5, "/home/u/.local/state/s3-file-uploader"),
        ({}, 0, "/var/lib/s3-file-uploader"),
        ({"XDG_STATE_HOME": "/x"}, 0, "/x/s3-file-uploader"),
    ],
)
def test_the_state_directory_is_systemds_else_xdgs(
    environment: dict[str, str], user_id: int, expected: str
) -> None:
    found = loaded(environment={"HOME": "/home/u", **environment}, user_id=user_id)
    assert found.settings.state_directory == expected
    assert found.origins["", "StateDirectory"]


def test_every_value_has_an_origin() -> None:
    found = loaded({"Interval": "5", "DoneMarker": ".done"})
    assert found.origins["default", "Interval"] == "flag --interval"
    assert found.origins["default", "SettleTime"] == "default"
    assert found.origins["default", "ActiveFile"] == "implied by DoneMarker"
    assert found.origins["", "Name"] == "derived from the rules"
    assert all(found.origins.values())


def test_what_concerns_a_nucleus_is_refused_where_none_has_started_us() -> None:
    with pytest.raises(ConfigurationError, match="TelemetryTopic has no effect: no Greengrass nucleus"):
        load(
            flags={"TelemetryTopic": "fleet/x"},
            source="/data/*.csv",
            destination="s3://fleet-data",
            environment={"AWS_REGION": "eu-central-1"},
        )
