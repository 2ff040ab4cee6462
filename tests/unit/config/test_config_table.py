"""What derives from the table: flags, JSON Schema, `config show`, and the reference page."""

from __future__ import annotations

import argparse
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # it ships no types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.cli import config_command
from s3_file_uploader.config import (
    Rule,
    Settings,
    add_flags,
    as_json,
    flags_given,
    load,
    reference,
    schema,
    show,
)
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS
from s3_file_uploader.config.flags import FLAG_FIELDS
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

# --- The table -----------------------------------------------------------------------------------------

LISTED = """
Name PathName BucketName ObjectKeyPrefix Interval LogLevel Transport StateDirectory SettleTime
SettleTimeUnverified ActiveFile ActiveFileTimeout DoneMarker Include Exclude FollowSymlinks Watch
AfterUpload ArchiveDirectory ArchiveMaxBytes ArchiveMaxAge MaxAttempts RetryBackoff RetryBackoffMax
Concurrency Region EndpointUrl PathStyle CaBundle Profile KeyEscape MaxBandwidth LogFormat
StorageClass ServerSideEncryption KmsKeyId KmsEncryptionContext BucketKeyEnabled Tags Metadata MetadataFromFile
ContentType ContentEncoding CacheControl Acl ExpectedBucketOwner RequestPayer ChecksumAlgorithm SignPayload
OnExisting UseDualStack UseFips UseAccelerate
Streams StreamMaxSize StreamFlushOnWrite StreamManagerPort Verify
LocalTelemetryTopic TelemetryTopic TelemetryInterval UpdateDeferral
"""
KEYS = frozenset(LISTED.split())


def test_every_key_is_declared() -> None:
    assert {each.key for each in (*RULE_FIELDS, *PROCESS_FIELDS)} == KEYS


def test_every_attribute_is_in_the_table() -> None:
    declared = {each.attribute for each in RULE_FIELDS}
    assert declared == {field.name for field in dataclasses.fields(Rule)}
    declared = {each.attribute for each in PROCESS_FIELDS} | {"rules"}
    assert declared == {field.name for field in dataclasses.fields(Settings)}


@pytest.mark.parametrize("each", [*RULE_FIELDS, *PROCESS_FIELDS], ids=lambda each: str(each.attribute))
def test_every_default_is_allowed_and_reads_back_from_how_it_is_written(each: Any) -> None:
    if each.required or each.is_list:
        return
    written = each.write(each.default)
    assert each.is_unset(written) or each.convert(written) == each.default


# --- Flags ---------------------------------------------------------------------------------------------


def parsed(*arguments: str) -> dict[str, str | list[str]]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("words", nargs="*")
    add_flags(parser)
    return flags_given(parser.parse_args(arguments))


def test_a_flag_is_the_key_in_kebab_case() -> None:
    flags = {each.key: each.flag for each in FLAG_FIELDS}
    assert flags["EndpointUrl"] == "--endpoint-url"
    assert flags["SettleTimeUnverified"] == "--settle-time-unverified"
    assert flags["CaBundle"] == "--ca-bundle"
    assert set(flags) == KEYS


def test_flags_come_back_by_key_and_only_those_given() -> None:
    assert parsed("--endpoint-url", "http://h", "--interval=5") == {
        "EndpointUrl": "http://h",
        "Interval": "5",
    }
    assert parsed() == {}


def test_a_switch_takes_no_word_from_what_follows_it() -> None:
    assert parsed("--follow-symlinks", "/data", "--no-watch") == {"FollowSymlinks": "true", "Watch": "false"}


def test_patterns_may_be_given_several_times() -> None:
    assert parsed("--exclude", "*.tmp", "--exclude", "a,b") == {"Exclude": ["*.tmp", "a,b"]}


def test_the_help_names_every_flag_its_default_and_what_is_allowed() -> None:
    parser = argparse.ArgumentParser(formatter_class=lambda prog: argparse.HelpFormatter(prog, width=2000))
    add_flags(parser)
    entries = re.split(r"\n  (?=-)", parser.format_help())
    for each in FLAG_FIELDS:
        [entry] = [entry for entry in entries if entry.startswith((each.flag + " ", each.flag + ","))]
        told = " ".join(entry.split())
        assert each.setting.help in told
        assert each.default_text in told
        assert all(word in told for word in each.words)


# --- JSON Schema ---------------------------------------------------------------------------------------


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(schema())
    assert json.loads(json.dumps(schema())) == schema()


GOOD: list[dict[str, Any]] = [
    {"PathName": "/data/*.csv", "BucketName": "my-bucket", "Interval": 10, "LogLevel": "INFO"},
    {"Interval": "5 min", "ActiveFileTimeout": "never", "MaxAttempts": "auto", "Concurrency": "4"},
    {
        "Interval": 0.5,
        "Watch": False,
        "PathStyle": "auto",
        "MaxBandwidth": "2 MB/s",
        "ArchiveMaxBytes": "1.5G",
    },
    {"Watch": "true", "PathStyle": True, "Exclude": ["*.tmp"], "Include": "*.csv", "ObjectKeyPrefix": 2024},
    {"BucketName": "bbb", "Rules": [{"Name": "a", "PathName": "/a/*"}, {"Name": "b", "PathName": "/b/*"}]},
    {
        "EndpointUrl": "http://127.0.0.1:8333",
        "Region": "eu-west-1",
        "CaBundle": "/etc/ca.pem",
        "DoneMarker": ".ok",
    },
]
BAD: list[dict[str, Any]] = [
    {"Intervals": 5},
    {"Interval": 0},
    {"Interval": "often"},
    {"Interval": True},
    {"ActiveFile": "oldest"},
    {"BucketName": "my bucket"},
    {"PathName": "relative/*"},
    {"Concurrency": 0},
    {"MaxBandwidth": "fast"},
    {"Exclude": [1]},
    {"Rules": []},
    {"Rules": [{"PathName": "/a/*"}]},
    {"Rules": [{"Name": "a", "LogLevel": "INFO"}]},
    {"Name": "../up"},
]


def validates(document: dict[str, Any]) -> bool:
    return bool(jsonschema.Draft202012Validator(schema()).is_valid(document))


@pytest.mark.parametrize("document", GOOD)
def test_the_schema_takes_good_documents(document: dict[str, Any]) -> None:
    assert validates(document)


@pytest.mark.parametrize("document", BAD)
def test_the_schema_refuses_bad_documents(document: dict[str, Any]) -> None:
    assert not validates(document)


VALUES = st.one_of(
    st.sampled_from(
        ["true", "auto", "never", "5 min", "10MB", "1.5G", "INFO", "delete", "/a", "a", "bbb", "", "é"]
    ),
    st.booleans(),
    st.integers(-2, 2000),
    st.floats(-2, 2000, allow_nan=False),
    st.lists(st.sampled_from(["*.tmp", "x"]), max_size=2),
)


class OutsideOfPatterns(Exception):
    """A refusal with a reason of its own: more than a pattern is needed to see it."""


def convert(each: Any, value: object) -> object:
    try:
        return each.convert(value)
    except ValueError as error:
        raise (OutsideOfPatterns if str(error) else AssertionError) from error


@given(st.sampled_from((*RULE_FIELDS, *PROCESS_FIELDS)), VALUES)
def test_what_the_schema_takes_can_be_loaded(each: Any, value: object) -> None:
    if validates({each.key: value}) and not each.is_unset(value):
        with suppress(OutsideOfPatterns):
            convert(each, value)


@pytest.mark.parametrize("each", [*RULE_FIELDS, *PROCESS_FIELDS], ids=lambda each: str(each.attribute))
def test_the_schema_takes_every_default_as_it_is_written(each: Any) -> None:
    properties = schema()["properties"][each.key]
    assert each.required or validates({each.key: properties["default"]})


# --- config show ---------------------------------------------------------------------------------------

ENVIRONMENT = {"AWS_REGION": "eu-west-1", "HOME": "/nobody"}
AWKWARD: dict[str, str | list[str]] = {
    "PathName": "/data: [x]/# *.csv",
    "BucketName": "my-bucket",
    "ObjectKeyPrefix": "null",
    "Exclude": ["a,b", 'it\'s "quoted"', "é*"],
    "ActiveFileTimeout": "90s",
    "MaxBandwidth": "2 MB/s",
    "KeyEscape": "off",
    "DoneMarker": "~",
}


def test_what_is_shown_is_a_configuration_that_gives_the_same_settings(tmp_path: Path) -> None:
    loaded = load(flags=AWKWARD, environment=ENVIRONMENT)
    file = tmp_path / "shown.yaml"
    file.write_text(show(loaded))
    assert load(file=str(file), environment={}).settings == loaded.settings


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_text_survives_being_shown(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    flags = {"PathName": "/data/*", "BucketName": "bbb", "Profile": text}
    loaded = load(flags=flags, environment=ENVIRONMENT, reading=True)
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_text(show(loaded), encoding="utf-8")
    assert load(file=str(file), environment={}, reading=True).settings == loaded.settings


def test_every_value_is_shown_with_its_origin() -> None:
    text = show(load(flags=AWKWARD, environment=ENVIRONMENT))
    assert "Region: eu-west-1" in text
    for line in text.splitlines():
        assert "  # " in line or line == "Rules:"
    assert "# environment AWS_REGION" in text
    assert "# flag --active-file-timeout" in text


def test_programs_get_typed_values_with_their_origin() -> None:
    found = as_json(load(flags=AWKWARD, environment=ENVIRONMENT))
    assert found["MaxBandwidth"] == {"value": 2_000_000, "origin": "flag --max-bandwidth"}
    [rule] = found["Rules"]
    assert rule["ActiveFileTimeout"] == {"value": 90.0, "origin": "flag --active-file-timeout"}
    assert rule["ArchiveMaxBytes"] == {"value": None, "origin": "default"}
    assert json.loads(json.dumps(found)) == found


# --- The command ---------------------------------------------------------------------------------------


def ran(*words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    config_command.add_arguments(parser)
    out = io.StringIO()
    return config_command.run(parser.parse_args(words), out), out.getvalue()


def test_config_show_prints_what_is_in_force() -> None:
    code, text = ran("show", "/data/*.csv", "s3://bbb/p", "--region", "eu-west-1", "--interval", "5")
    assert code == 0
    assert "Interval: 5 s" in text
    assert "# argument SRC" in text
    code, text = ran("show", "/data/*.csv", "s3://bbb/p", "--region", "eu-west-1", "--json")
    assert code == 0
    assert json.loads(text)["Rules"][0]["ObjectKeyPrefix"] == {"value": "p", "origin": "argument DST"}
    assert json.loads(text)["problem"] is None


def test_config_show_shows_what_cannot_deliver_yet_and_says_what_is_missing() -> None:
    code, text = ran("show", "/data/*.csv", "s3://bbb")
    assert code == 2
    assert "PathName:" in text
    assert "# Not ready to deliver: rule default: Region is missing" in text
    code, text = ran("show", "/data/*.csv", "s3://bbb", "--json")
    assert code == 2
    assert "Region is missing" in json.loads(text)["problem"]


def test_config_show_names_the_proxy_in_force_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://me:geheim@proxy.example:3128")
    place = ("show", "/data/*.csv", "s3://bbb", "--region", "eu-west-1")
    proxy = "http://proxy.example:3128 with a login (HTTPS_PROXY)"
    assert f"# Rule default goes through the proxy {proxy}\n" in ran(*place)[1]
    assert json.loads(ran(*place, "--json")[1])["proxies"] == {"default": proxy}
    assert json.loads(ran(*place, "--endpoint-url", "http://a.example", "--json")[1])["proxies"] == {}
    monkeypatch.setenv("HTTPS_PROXY", "socks5://me:geheim@proxy.example:3128")
    text = ran(*place)[1]
    assert "# Rule default: the proxy that HTTPS_PROXY names cannot be used: socks5" in text
    assert "geheim" not in text


def test_config_show_refuses_what_it_cannot_understand() -> None:
    with pytest.raises(ConfigurationError, match="Interval"):
        ran("show", "/data/*.csv", "s3://bbb", "--interval", "often")


def test_config_schema_prints_the_schema() -> None:
    code, text = ran("schema")
    assert code == 0
    assert json.loads(text) == schema()


# --- The reference page --------------------------------------------------------------------------------

DOCS = os.path.join(os.path.dirname(__file__), "..", "..", "..", "docs", "reference")


def test_the_reference_page_is_the_one_that_the_table_writes() -> None:
    with open(os.path.join(DOCS, "configuration.md"), encoding="utf-8") as page:
        assert page.read() == reference.markdown(), "run: python -m s3_file_uploader.config.reference"


def test_the_reference_page_is_printed_by_its_module() -> None:
    command = [sys.executable, "-m", "s3_file_uploader.config.reference"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == reference.markdown()


@pytest.mark.parametrize("block", reference.markdown().split("```yaml\n")[1:])
def test_the_examples_of_the_reference_page_load(tmp_path: Path, block: str) -> None:
    file = tmp_path / "example.yaml"
    file.write_text(block.partition("```")[0])
    environment = {**ENVIRONMENT, "AWS_IOT_THING_NAME": "truck-7"}
    assert load(file=str(file), environment=environment).settings.rules
