"""YAML and JSON files: rules, defaults of all rules, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.config import Settings, load
from s3_file_uploader.config.document import MAX_FILE_BYTES, read_document
from s3_file_uploader.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Write = "Callable[[str], str]"
ENVIRONMENT = {"AWS_REGION": "eu-west-1", "HOME": "/nobody"}


@pytest.fixture
def yaml_file(tmp_path: Path) -> Callable[[str], str]:
    return lambda text: _written(tmp_path / "c.yaml", text)


@pytest.fixture
def json_file(tmp_path: Path) -> Callable[[str], str]:
    return lambda text: _written(tmp_path / "c.json", text)


def _written(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def settings(file: str, **flags: str) -> Settings:
    return load(file=file, flags=flags, environment=ENVIRONMENT).settings


def refusal(file: str, **flags: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings(file, **flags)
    return str(caught.value)


SAMPLE = """
PathName: "/home/ggc_user/upload/*.txt"
BucketName: my-bucket
ObjectKeyPrefix: ""
Interval: 10
LogLevel: INFO
"""


def test_the_samples_five_keys_keep_their_meaning(yaml_file: Callable[[str], str]) -> None:
    found = settings(yaml_file(SAMPLE))
    [rule] = found.rules
    assert (rule.path_name, rule.bucket_name) == ("/home/ggc_user/upload/*.txt", "my-bucket")
    assert (rule.object_key_prefix, rule.interval_seconds, found.log_level) == ("", 10.0, "INFO")


TWO_RULES = """
BucketName: my-bucket
Interval: 30 s
AfterUpload: archive
ArchiveDirectory: /var/sent
Name: both
Rules:
  - Name: logs
    PathName: /logs/*.log
    ObjectKeyPrefix: logs
  - Name: images
    PathName: /images/*.jpg
    Interval: 1
    AfterUpload: keep
"""


def test_top_level_keys_are_the_defaults_of_all_rules(yaml_file: Callable[[str], str]) -> None:
    found = settings(yaml_file(TWO_RULES))
    logs, images = found.rules
    assert found.name == "both"
    assert (logs.name, logs.interval_seconds, logs.after_upload) == ("logs", 30.0, "archive")
    assert (images.name, images.interval_seconds, images.after_upload) == ("images", 1.0, "keep")
    assert {logs.bucket_name, images.bucket_name} == {"my-bucket"}


def test_a_flag_holds_for_all_rules(yaml_file: Callable[[str], str]) -> None:
    found = settings(yaml_file(TWO_RULES), Interval="7")
    assert [rule.interval_seconds for rule in found.rules] == [7, 7]


def test_one_path_on_the_command_line_does_not_fit_a_file_of_several_rules(
    yaml_file: Callable[[str], str],
) -> None:
    assert "the file has 2 rules" in refusal(yaml_file(TWO_RULES), PathName="/other/*")


def test_a_rule_may_take_back_a_prefix_that_all_have(yaml_file: Callable[[str], str]) -> None:
    text = TWO_RULES.replace("Interval: 30 s", "ObjectKeyPrefix: all").replace(
        "Interval: 1", 'ObjectKeyPrefix: ""'
    )
    assert [rule.object_key_prefix for rule in settings(yaml_file(text)).rules] == ["logs", ""]


def test_null_says_nothing(yaml_file: Callable[[str], str]) -> None:
    [rule] = settings(yaml_file(SAMPLE.replace("Interval: 10", "Interval:\nProfile: ~"))).rules
    assert (rule.interval_seconds, rule.profile) == (10.0, "")


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("KeyEscape: off", "key_escape", "off"),
        ("Watch: off", "watch", False),
        ("Watch: no", "watch", False),
        ("PathStyle: yes", "path_style", True),
        ("Profile: 007", "profile", "007"),
        ("Profile: 2024-01-01", "profile", "2024-01-01"),
        ("Profile: 1e3", "profile", "1e3"),
        ("DoneMarker: on", "done_marker", "on"),
        ("Exclude: '*.tmp'", "exclude", ("*.tmp",)),
        ("Exclude: ['*.tmp', 1]", "exclude", ("*.tmp", "1")),
    ],
)
def test_plain_yaml_words_mean_what_they_look_like(
    yaml_file: Callable[[str], str], line: str, attribute: str, value: object
) -> None:
    [rule] = settings(yaml_file(f"{SAMPLE}\n{line}\n")).rules
    assert getattr(rule, attribute) == value


def test_json_keeps_its_types_and_strings_are_converted(json_file: Callable[[str], str]) -> None:
    text = (
        '{"PathName": "/d/*", "BucketName": "bbb", "Interval": 0.5, "Watch": false, "MaxAttempts": "3",'
        ' "ObjectKeyPrefix": 2024, "Include": ["*.a"], "PathStyle": true, "ActiveFileTimeout": null}'
    )
    [rule] = settings(json_file(text)).rules
    assert (rule.interval_seconds, rule.watch, rule.max_attempts) == (0.5, False, 3)
    assert (rule.object_key_prefix, rule.include, rule.path_style) == ("2024", ("*.a",), True)
    assert rule.active_file_timeout_seconds is None


def test_anchors_and_merges_are_yaml_too(yaml_file: Callable[[str], str]) -> None:
    text = """
BucketName: bbb
Rules:
  - &first
    Name: one
    PathName: /one/*
    Interval: 3
  - <<: *first
    Name: two
    PathName: /two/*
"""
    assert [(r.name, r.interval_seconds) for r in settings(yaml_file(text)).rules] == [("one", 3), ("two", 3)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Interval: 5\nInterval: 6\n", "line 2, column 1: the key Interval stands twice"),
        ("Rules:\n  - Name: a\n    Name: b\n", "the key Name stands twice"),
        ("- a\n- b\n", "the top level must be keys and values"),
        ("just words\n", "the top level must be keys and values"),
        ("a: [1\n", "line 2"),
        ("? [a]\n: b\n", "a key must be a word"),
        ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        ("Interval: !!int x\n", "not YAML"),
        ("a: \x01\n", "not YAML"),
    ],
)
def test_what_is_no_configuration_is_refused_with_its_place(
    yaml_file: Callable[[str], str], text: str, told: str
) -> None:
    assert told in refusal(yaml_file(text))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"Interval": 5, "Interval": 6}', "the key Interval stands twice"),
        ('{"Interval": NaN}', "NaN is no value"),
        ('{"Interval": ', "not JSON"),
        ("[1]", "the top level must be keys and values"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_bad_json_is_refused(json_file: Callable[[str], str], text: str, told: str) -> None:
    assert told in refusal(json_file(text))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert "No such file" in refusal(str(tmp_path / "none.yaml"))
    assert "directory" in refusal(str(tmp_path))
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff")
    assert "not UTF-8" in refusal(str(tmp_path / "latin.yaml"))
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    assert "no configuration" in refusal(str(tmp_path / "big.yaml"))


@pytest.mark.parametrize("name", ["empty.yaml", "empty.json"])
def test_an_empty_file_says_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("\n")
    assert read_document(str(tmp_path / name)) == {}


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(b"\xef\xbb\xbfInterval: 5\n")
    assert read_document(str(tmp_path / "c.yaml")) == {"Interval": "5"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SAMPLE + "Intervals: 5\n", "unknown key Intervals; did you mean Interval?"),
        (SAMPLE + "interval: 5\n", "unknown key interval; did you mean Interval?"),
        (SAMPLE + "AwsSecretAccessKey: abc123\n", "credentials come from AWS's own environment"),
        (SAMPLE + "Zzz: 1\n", "known are Name, StateDirectory"),
        (SAMPLE + "Rules: []\n", "a list of rules, one at least"),
        (SAMPLE + "Rules: x\n", "a list of rules, one at least"),
        (SAMPLE + "Rules: [x]\n", "rule 1: 'x' is no rule"),
        (SAMPLE + "Rules:\n  - Interval: 3\n", "rule 1: Name is missing"),
        (SAMPLE + "Rules:\n  - Name: a\n    LogLevel: INFO\n", "rule a: LogLevel stands in a rule"),
        (SAMPLE + "Rules:\n  - Name: a\n    Interval: x\n", "rule a: Interval is 'x'"),
        (SAMPLE + "Rules:\n  - Name: a\n    Watchh: x\n", "rule a: unknown key Watchh; did you mean Watch?"),
        (SAMPLE + "Rules:\n  - Name: 'a b'\n", "rule a b: Name is 'a b'"),
        ("PathName: data/*.csv\nBucketName: bbb\n", "relative"),
        ("PathName: /a/../*.csv\nBucketName: bbb\n", "'..'"),
        (SAMPLE + "StateDirectory: state\n", "relative"),
        (SAMPLE + "Exclude: {a: b}\n", "patterns of the file's name"),
    ],
)
def test_a_refusal_names_the_file_the_rule_and_the_key(
    yaml_file: Callable[[str], str], text: str, told: str
) -> None:
    file = yaml_file(text)
    message = refusal(file)
    assert told in message
    assert file in message
    assert "abc123" not in message


def test_a_bad_default_of_all_rules_is_said_once(yaml_file: Callable[[str], str]) -> None:
    assert refusal(yaml_file(TWO_RULES.replace("my-bucket", "My Bucket"))).count("My Bucket") == 1


def test_yaml_is_imported_only_for_a_yaml_file(json_file: Callable[[str], str]) -> None:
    file = json_file('{"PathName": "/d/*", "BucketName": "bbb", "Region": "r"}')
    program = (
        "import sys; from s3_file_uploader.config import load\n"
        f"load(file={file!r}, environment={{}})\n"
        "print(sorted({'yaml', 'argparse', 'difflib', 'configparser', 'reprlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "yaml" not in done.stdout
    assert "argparse" not in done.stdout
