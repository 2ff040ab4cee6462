"""What is said of two configurations that differ: keys and values as people write them."""

from __future__ import annotations

from dataclasses import replace

from s3_file_uploader.config import Rule, Settings, difference

CSV = Rule(name="csv", path_name="/data/*.csv", bucket_name="bucket")
LOGS = Rule(name="logs", path_name="/log/*", bucket_name="bucket")
BEFORE = Settings(name="n", state_directory="/state", rules=(CSV, LOGS))


def test_equal_configurations_differ_in_nothing_whatever_the_order_of_their_rules() -> None:
    found = difference(BEFORE, replace(BEFORE, rules=(LOGS, CSV)))
    assert not found
    assert found.changes_in_words() == ""


def test_rules_that_came_and_went_are_named() -> None:
    other = replace(LOGS, name="other")
    found = difference(BEFORE, replace(BEFORE, rules=(CSV, other)))
    assert (found.added, found.removed, found.changed) == (("other",), ("logs",), ())


def test_each_changed_setting_is_said_in_the_notation_of_the_configuration() -> None:
    changed = replace(CSV, interval_seconds=90.0, active_file_timeout_seconds=300.0, watch=False)
    found = difference(BEFORE, replace(BEFORE, rules=(changed, LOGS)))
    assert found.changed == ("csv",)
    assert found.changes_in_words() == (
        "csv: Interval 10 s → 90 s, Watch true → false, ActiveFileTimeout never → 5 min"
    )


def test_settings_of_the_process_come_first_and_without_a_name() -> None:
    after = replace(
        BEFORE,
        concurrency=8,
        max_bandwidth=1_000_000,
        log_level="DEBUG",
        rules=(CSV, replace(LOGS, after_upload="keep")),
    )
    assert difference(BEFORE, after).changes_in_words() == (
        "Concurrency auto → 8, MaxBandwidth unlimited → 1 MB/s, LogLevel INFO → DEBUG; logs: AfterUpload delete → keep"
    )


def test_a_value_that_is_not_there_is_said_so_and_a_long_one_is_cut_off() -> None:
    changed = replace(CSV, object_key_prefix="p" * 200)
    found = difference(BEFORE, replace(BEFORE, rules=(changed, LOGS)))
    assert found.changes_in_words() == f"csv: ObjectKeyPrefix (nothing) → {'p' * 59}…"
    assert found.changes[0].after == "p" * 200
