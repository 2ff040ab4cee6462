"""`check`: what it finds on the disk and the machine, and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.cli.check_command import exit_code_of
from s3_file_uploader.cli.doctor.finding import Finding, Level, fail, ok, warn
from s3_file_uploader.cli.doctor.folders import examine_folders
from s3_file_uploader.cli.doctor.machine import (
    examine_disk,
    examine_ledger,
    examine_limits,
    examine_versions,
)
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.config import Rule
from s3_file_uploader.ledger import Ledger
from s3_file_uploader.ledger.database import DATABASE
from support.other_owner import OTHER_UID, owned_folder

if TYPE_CHECKING:
    from pathlib import Path


def rule(path_name: object, **more: object) -> Rule:
    return Rule("default", str(path_name), "bucket", **more)  # type: ignore[arg-type]  # any setting


def said(findings: list[Finding], area: str) -> Finding:
    [found] = [finding for finding in findings if finding.area.startswith(area)]
    return found


def test_a_folder_in_order_is_all_ok(tmp_path: Path) -> None:
    (tmp_path / "a.csv").touch()

    findings = list(examine_folders(rule(tmp_path / "*.csv")))

    assert {finding.level for finding in findings} == {Level.OK}
    assert "read leases tell" in said(findings, "writers").text
    assert os.listdir(tmp_path) == ["a.csv"]


def test_without_a_file_the_evidence_is_unknown_and_no_file_is_made(tmp_path: Path) -> None:
    findings = list(examine_folders(rule(tmp_path / "*.csv")))

    assert said(findings, "writers").text.startswith("unknown")
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_to_come_is_waited_for(tmp_path: Path) -> None:
    [finding] = examine_folders(rule(tmp_path / "later" / "*.csv"))

    assert (finding.level, "does not exist" in finding.text) == (Level.WARN, True)


def test_a_done_marker_is_evidence_enough(tmp_path: Path) -> None:
    findings = list(examine_folders(rule(tmp_path / "*", done_marker=".ok")))

    assert "DoneMarker" in said(findings, "writers").text


def test_watching_switched_off_is_said(tmp_path: Path) -> None:
    findings = list(examine_folders(rule(tmp_path / "*", watch=False)))

    assert "scans alone, every 10 s" in said(findings, "inotify").text


_AS_OTHER = """
import json, os, sys
from s3_file_uploader.cli.doctor.folders import examine_folders
from s3_file_uploader.config import Rule
if os.getuid() == 0:  # only now: the interpreter's own files may be closed to that user
    os.setgroups([])
    os.setgid(int(sys.argv[2]))
    os.setuid(int(sys.argv[2]))
found = examine_folders(Rule("default", sys.argv[1] + "/*", "bucket", after_upload=sys.argv[3]))
print(json.dumps([[one.level.value, one.area, one.text] for one in found]))
"""


def as_other(folder: object, after_upload: str = "delete") -> list[list[str]]:
    """What somebody else than root finds; as an ordinary user, what that user finds."""
    answer = subprocess.run(
        [sys.executable, "-c", _AS_OTHER, str(folder), str(OTHER_UID), after_upload],
        capture_output=True,
        text=True,
        check=True,
    )
    found: list[list[str]] = json.loads(answer.stdout)
    return found


def test_files_of_another_owner_leave_time_and_inotify_as_evidence() -> None:
    with owned_folder() as folder:
        path = os.path.join(os.fsencode(folder), b"a.csv")
        with open(path, "wb"):
            pass
        os.chmod(path, 0o644)
        [writers] = [one for one in as_other(folder) if one[1].startswith("writers")]

    if os.getuid() == 0:
        assert writers[0] == "warn"
        assert "SettleTimeUnverified (10 s)" in writers[2]
    else:  # nobody but root can give a file away: it is our own
        assert writers[0] == "ok"


def test_missing_rights_are_named() -> None:
    with owned_folder() as folder:
        os.chmod(folder, 0o555)
        removing = [one for one in as_other(folder) if one[1].startswith("folder")]
        keeping = [one for one in as_other(folder, "keep") if one[1].startswith("folder")]
        os.chmod(folder, 0o700)

    assert [(level, "write" in text) for level, _, text in removing] == [("fail", True)]
    assert [level for level, _, _ in keeping] == ["ok"]


def test_a_folder_that_is_mounted_read_only_is_not_called_a_missing_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system's two answers on such a mount; making one takes root."""
    may = os.access
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    monkeypatch.setattr(
        os, "access", lambda path, mode, **more: not mode & os.W_OK and may(path, mode, **more)
    )

    findings = [
        finding.text for finding in examine_folders(rule(tmp_path / "*")) if finding.level is Level.FAIL
    ]

    assert findings == [f"{tmp_path} is mounted read-only"]


def test_a_sound_ledger_a_damaged_one_and_none(tmp_path: Path) -> None:
    assert said(list(examine_ledger(str(tmp_path / "none"))), "ledger").text.endswith("will be made")

    ledger = Ledger.open(str(tmp_path), "sound")
    findings = list(examine_ledger(ledger.folder))
    assert said(findings, "ledger").text.endswith("sound")
    assert f"process {os.getpid()}" in said(findings, "daemon").text
    ledger.close()

    (tmp_path / "sound" / DATABASE).write_bytes(b"damaged" * 1000)
    damaged = said(list(examine_ledger(ledger.folder)), "ledger")
    assert (damaged.level, "set-aside" in damaged.advice) == (Level.FAIL, True)


@pytest.mark.parametrize(
    ("scheme", "host", "said_of_it", "advice"),
    [
        ("https", "127.0.0.1", "does not speak TLS on that port", "http:// or another port"),
        ("http", "nowhere.invalid", "the name nowhere.invalid cannot be resolved", "DNS"),
    ],
)
def test_a_store_that_does_not_answer_is_told_as_uploads_would_tell_it(
    monkeypatch: pytest.MonkeyPatch, scheme: str, host: str, said_of_it: str, advice: str
) -> None:
    from s3_file_uploader.cli.doctor.store import examine_store
    from support.scripted_s3 import ScriptedS3

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with ScriptedS3(lambda line: line.send(b"HTTP/1.0 400 Bad Request\r\n\r\n")) as store:
        there = rule("/d/*", region="eu-test-1", endpoint_url=f"{scheme}://{host}:{store.port}")
        [finding] = [one for one in examine_store(there, probe=False) if one.level is Level.FAIL]

    assert said_of_it in finding.text
    assert advice in (finding.advice or "")
    assert finding.of_destination


def test_a_certificate_bundle_that_cannot_be_used_is_no_fault_of_the_destination() -> None:
    from s3_file_uploader.cli.doctor.store import examine_store

    wrong = rule("/d/*", region="x", endpoint_url="https://127.0.0.1:1", ca_bundle="/nowhere.pem")
    [finding] = examine_store(wrong, probe=False)

    assert (finding.level, finding.of_destination) == (Level.FAIL, False)


def test_each_disk_is_told_once(tmp_path: Path) -> None:
    findings = list(examine_disk([str(tmp_path), str(tmp_path / "later"), str(tmp_path)]))

    assert len(findings) == 1
    assert "free" in findings[0].text


def test_limits_and_versions_are_told() -> None:
    assert "open files" in said(list(examine_limits()), "limits").text
    versions = said(list(examine_versions()), "versions")
    assert (versions.level, "SQLite 3." in versions.text) == (Level.OK, True)


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([ok("a", "")], ExitCode.DONE),
        ([ok("a", ""), warn("b", "", "try")], ExitCode.DONE),
        ([fail("a", "", "try")], ExitCode.SOME_FAILED),
        ([fail("a", "", "try", of_destination=True)], ExitCode.DESTINATION),
        ([fail("a", "", "try", of_destination=True), fail("b", "", "try")], ExitCode.SOME_FAILED),
    ],
)
def test_the_exit_code_tells_whether_only_the_destination_fails(
    findings: list[Finding], code: ExitCode
) -> None:
    assert exit_code_of(findings) == code
