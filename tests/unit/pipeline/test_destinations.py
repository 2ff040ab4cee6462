"""What pauses together: rules of one place and prefix whose objects are alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3_file_uploader.pipeline.rules import destination_of
from support.pipelines import rule


def destinations(*wanted: dict[str, Any]) -> list[str]:
    rules = [
        rule(Path(f"/data/{name}"), name=name, **more) for name, more in zip("abc", wanted, strict=False)
    ]
    return [destination_of(one, rules) for one in rules]


def test_rules_of_one_bucket_and_prefix_pause_together() -> None:
    assert destinations({"region": "r"}, {"region": "r"}) == ["s3://bucket r"] * 2
    assert destinations({"region": "r"}) == ["s3://bucket r"]


def test_what_one_rule_wants_of_its_objects_pauses_no_other() -> None:
    assert destinations({}, {"storage_class": "GLACIER"}, {}) == [
        "s3://bucket (a, c)",
        "s3://bucket (b)",
        "s3://bucket (a, c)",
    ]


def test_a_prefix_that_a_policy_denies_pauses_no_other_prefix() -> None:
    prefixes = [{"object_key_prefix": prefix} for prefix in ("car7", "car8", "car7")]
    assert destinations(*prefixes) == ["s3://bucket (a, c)", "s3://bucket (b)", "s3://bucket (a, c)"]


def test_another_way_to_the_same_bucket_is_another_destination() -> None:
    assert destinations({}, {"expected_bucket_owner": "123456789012"}) == [
        "s3://bucket (a)",
        "s3://bucket (b)",
    ]
