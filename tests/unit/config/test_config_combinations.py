"""Settings that do not go together, within a rule and between rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Settings, load
from s3_file_uploader.config.fields import RULE_FIELDS
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.transport.registry import TRANSPORTS

if TYPE_CHECKING:
    from pathlib import Path


def settings(tmp_path: Path, *rules: dict[str, Any], **top: Any) -> Settings:
    import json

    file = tmp_path / "configuration.json"
    named = [{"Name": f"rule{place}", **rule} for place, rule in enumerate(rules)]
    document = {"BucketName": "bbb", "Region": "r", "StateDirectory": "/state", "Rules": named, **top}
    file.write_text(json.dumps(document))
    return load(file=str(file), environment={}).settings


def refusal(tmp_path: Path, *rules: dict[str, Any], **top: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        settings(tmp_path, *rules, **top)
    return str(caught.value)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({"AfterUpload": "archive"}, "ArchiveDirectory must say where to"),
        ({"ArchiveDirectory": "/sent"}, "ArchiveDirectory has no effect: AfterUpload is delete"),
        ({"ArchiveMaxBytes": "1 GiB", "AfterUpload": "keep"}, "ArchiveMaxBytes has no effect"),
        ({"ArchiveMaxAge": "7 d"}, "ArchiveMaxAge has no effect"),
        ({"DoneMarker": ".done", "ActiveFile": "newest"}, "ActiveFile can only be none"),
        ({"RetryBackoff": "10 min"}, "RetryBackoffMax is shorter"),
        ({"KeyEscape": "strict", "ObjectKeyPrefix": "a b"}, "as KeyEscape strict does"),
        ({"ObjectKeyPrefix": "!{thingName}"}, "AWS_IOT_THING_NAME is not set"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(tmp_path: Path, rule: dict[str, Any], told: str) -> None:
    assert told in refusal(tmp_path, {"PathName": "/data/*", **rule})


def test_a_done_marker_implies_that_no_file_is_active(tmp_path: Path) -> None:
    assert settings(tmp_path, {"PathName": "/data/*", "DoneMarker": ".done"}).rules[0].active_file == "none"


def test_a_default_for_all_rules_may_leave_out_those_that_do_not_archive(tmp_path: Path) -> None:
    archiving = {"PathName": "/a/*", "AfterUpload": "archive"}
    found = settings(tmp_path, archiving, {"PathName": "/b/*"}, ArchiveDirectory="/sent")
    assert [rule.after_upload for rule in found.rules] == ["archive", "delete"]


def test_a_folder_as_path_name_is_refused_with_what_to_write(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    assert f"{folder}/*" in refusal(tmp_path, {"PathName": str(folder)})
    assert settings(tmp_path, {"PathName": f"{folder}/"}).rules


@pytest.mark.parametrize(
    ("one", "other", "do_meet"),
    [
        ({"PathName": "/data/*.csv"}, {"PathName": "/data/*.csv"}, True),
        ({"PathName": "/data/*.csv"}, {"PathName": "/data/a*"}, True),
        ({"PathName": "/data/*.csv"}, {"PathName": "/data/*.txt"}, False),
        ({"PathName": "/data/**/*.csv"}, {"PathName": "/data/x/y/*"}, True),
        ({"PathName": "/data/cam*/*"}, {"PathName": "/data/log/*"}, False),
        ({"PathName": "/data/"}, {"PathName": "/data/*.csv"}, True),
        ({"PathName": "/data/", "Exclude": "*.csv"}, {"PathName": "/data/*.csv"}, False),
        ({"PathName": "/data/*", "Include": ["*.a"]}, {"PathName": "/data/*", "Include": ["*.b"]}, False),
        ({"PathName": "/data/*", "DoneMarker": ".ok"}, {"PathName": "/data/*.ok"}, True),
        ({"PathName": "/data/*"}, {"PathName": "/data2/*"}, False),
    ],
)
def test_rules_that_would_claim_the_same_file_are_refused(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any], do_meet: bool
) -> None:
    if do_meet:
        assert "rules rule0 and rule1 would claim the same files" in refusal(tmp_path, one, other)
    else:
        assert len(settings(tmp_path, one, other).rules) == 2


def test_rules_that_meet_through_a_link_are_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    told = refusal(tmp_path, {"PathName": f"{tmp_path}/real/*.csv"}, {"PathName": f"{tmp_path}/link/*"})
    assert "would claim the same files" in told


def test_two_rules_of_one_name_are_refused(tmp_path: Path) -> None:
    told = refusal(tmp_path, {"Name": "x", "PathName": "/a/*"}, {"Name": "x", "PathName": "/b/*"})
    assert "two rules are called x" in told


@pytest.mark.parametrize(
    ("path_name", "archive", "is_scanned"),
    [
        ("/data/*.csv", "/data", True),
        ("/data/*.csv", "/data/", True),
        ("/data/*.csv", "/data/sent", False),
        ("/data/**/*.csv", "/data/sent", True),
        ("/data/*/*.csv", "/data/sent", True),
        ("/data/*/*.csv", "/sent", False),
        ("/data/in/*.csv", "/data", False),
        ("/data/in/**/*.csv", "/data", True),
    ],
)
def test_an_archive_that_a_rule_scans_is_refused(
    tmp_path: Path, path_name: str, archive: str, is_scanned: bool
) -> None:
    rule = {"PathName": path_name, "AfterUpload": "archive", "ArchiveDirectory": archive}
    if is_scanned:
        assert "archived files would be sent again" in refusal(tmp_path, rule)
    else:
        assert settings(tmp_path, rule).rules


def test_an_archive_that_another_rule_scans_is_refused(tmp_path: Path) -> None:
    archiving = {"PathName": "/a/*", "AfterUpload": "archive", "ArchiveDirectory": "/b"}
    assert "which rule rule1 scans" in refusal(tmp_path, archiving, {"PathName": "/b/*"})


def test_an_archive_behind_a_link_into_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "sent").symlink_to("in")
    rule = {"PathName": f"{tmp_path}/in/*", "AfterUpload": "archive", "ArchiveDirectory": f"{tmp_path}/sent"}
    assert "sent again" in refusal(tmp_path, rule)


@pytest.mark.parametrize(
    ("path_name", "state", "is_scanned"),
    [
        ("/data/*", "/data", True),
        ("/data/**", "/data/state", True),
        ("/data/*", "/data/state", False),
        ("/state/x/*.db", "/state", True),
        ("/state/*/*.db", "/state", True),
        ("/state2/*", "/state", False),
    ],
)
def test_a_state_directory_that_a_rule_scans_is_refused(
    tmp_path: Path, path_name: str, state: str, is_scanned: bool
) -> None:
    if is_scanned:
        assert "give it another place" in refusal(tmp_path, {"PathName": path_name}, StateDirectory=state)
    else:
        assert settings(tmp_path, {"PathName": path_name}, StateDirectory=state).rules


def test_the_transports_that_can_be_asked_for_are_those_of_the_registry() -> None:
    [field] = (each for each in RULE_FIELDS if each.key == "Transport")
    assert set(field.words) == set(TRANSPORTS)


def test_what_is_wrong_in_one_rule_does_not_hide_what_is_wrong_in_others(tmp_path: Path) -> None:
    told = refusal(
        tmp_path,
        {"PathName": "/a/*", "Interval": "x"},
        {"PathName": "/b/*", "AfterUpload": "archive"},
        {"PathName": "/b/*.csv"},
        LogLevel="loud",
    )
    assert "4 problems" in told
