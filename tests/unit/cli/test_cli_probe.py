"""`check --probe`: what it concludes from what a store does, and that it leaves nothing unsaid behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from s3_file_uploader.cli.doctor.finding import Finding, Level
from s3_file_uploader.cli.doctor.store import examine_store
from s3_file_uploader.cli.doctor.support import Answer, Proof, Support, findings_of
from s3_file_uploader.config import Rule
from support.dialects import Dialect
from support.scripted_s3 import Line, ScriptedS3

_OF_A_LARGE_ONE = {"lists_parts": Answer.YES, "aborts": Answer.YES, "takes_unsigned": Answer.YES}
_BOTH_GIVEN = Support({"crc64nvme": Proof.GIVEN}, {"crc64nvme": Proof.GIVEN}, Answer.YES, **_OF_A_LARGE_ONE)
_MD5_ALONE = Support(
    {"crc64nvme": Proof.MISSING, "crc32c": Proof.MISSING, "md5": Proof.GIVEN},
    {"crc64nvme": Proof.MISSING, "crc32c": Proof.MISSING, "md5": Proof.GIVEN},
    Answer.NO,
    **_OF_A_LARGE_ONE,
)
_NONE = Support({"md5": Proof.WRONG}, {"md5": Proof.WRONG})
_SMALL_ALONE = Support({"crc64nvme": Proof.GIVEN}, {"crc64nvme": Proof.REFUSED})


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize(
    ("support", "asked", "levels", "settings"),
    [
        (_BOTH_GIVEN, {}, {"ok"}, {"ChecksumAlgorithm": "crc64nvme"}),
        (_BOTH_GIVEN, {"on_existing": "skip"}, {"ok"}, {"ChecksumAlgorithm": "crc64nvme"}),
        (_BOTH_GIVEN, {"checksum": "off"}, {"ok", "warn"}, {"ChecksumAlgorithm": "crc64nvme"}),
        (_MD5_ALONE, {}, {"ok", "fail"}, {"ChecksumAlgorithm": "md5", "OnExisting": "overwrite"}),
        (_MD5_ALONE, {"checksum": "md5"}, {"ok"}, {"ChecksumAlgorithm": "md5", "OnExisting": "overwrite"}),
        (
            _MD5_ALONE,
            {"checksum": "md5", "on_existing": "rename"},
            {"ok", "fail"},
            {"ChecksumAlgorithm": "md5", "OnExisting": "overwrite"},
        ),
        (_NONE, {}, {"fail"}, {"ChecksumAlgorithm": "off"}),
        (_NONE, {"checksum": "off"}, {"ok"}, {"ChecksumAlgorithm": "off"}),
        (_SMALL_ALONE, {}, {"fail"}, {}),
        (Support(takes_unsigned=Answer.NO), {}, {"fail"}, {"SignPayload": "always"}),
        (Support(lists_parts=Answer.DENIED), {}, {"warn"}, {}),
        (Support(aborts=Answer.NO), {}, {"warn"}, {}),
        (Support(), {}, set(), {}),
    ],
)
def test_settings_follow_from_what_a_store_supports(
    support: Support, asked: dict[str, Any], levels: set[str], settings: dict[str, str]
) -> None:
    findings = list(findings_of(support, area="store", **asked))

    assert {finding.level.value for finding in findings} == levels
    assert {name: value for one in findings for name, value in one.settings.items()} == settings
    for finding in findings:
        assert finding.advice if finding.level is not Level.OK else not finding.advice
        assert finding.of_destination == (finding.level is Level.FAIL)


def examined(dialect: Dialect, **settings: Any) -> tuple[list[Finding], ScriptedS3]:
    with ScriptedS3(dialect) as store:
        where: dict[str, Any] = {"object_key_prefix": "pre/!{hostname}", "endpoint_url": store.url}
        rule = Rule("r", "/d/*", "bucket", **where, **settings)
        return list(examine_store(rule, probe=True)), store


def said(findings: list[Finding]) -> str:
    return "\n".join(f"{one.level.value} {one.text} | {one.advice}" for one in findings)


def settings_of(findings: list[Finding]) -> dict[str, str]:
    return {name: value for one in findings for name, value in one.settings.items()}


def test_of_a_store_that_does_it_all_there_is_nothing_to_set_and_nothing_left() -> None:
    dialect = Dialect()
    findings, store = examined(dialect)

    assert {one.level for one in findings} == {Level.OK}
    assert settings_of(findings) == {"ChecksumAlgorithm": "crc64nvme"}
    assert "what the probe made was removed" in findings[-1].text
    assert not store.objects
    assert not store.uploads
    assert {request.path.rpartition("-")[0].rpartition("-")[0] for request in store.requests[1:]} <= {
        "/bucket/pre/.s3fu",
        "/bucket/pre/.s3fu-probe",
    }


def test_a_store_that_replaces_is_told_by_the_answer_about_conditions_and_all_else_is_asked_too() -> None:
    findings, store = examined(Dialect(ignores_conditions=True), on_existing="skip")

    assert "ok a probe object arrived and was proven" in said(findings)
    assert settings_of(findings) == {"ChecksumAlgorithm": "crc64nvme", "OnExisting": "overwrite"}
    assert not store.objects


def test_a_store_that_tells_checksums_back_unseen_is_not_believed() -> None:
    findings, store = examined(Dialect(is_parrot=True))

    assert "told back without a look at the bytes" in said(findings)
    assert settings_of(findings)["ChecksumAlgorithm"] == "md5"
    assert not store.objects
    assert not store.uploads


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        (Dialect(computes=("crc32c",)), {"ChecksumAlgorithm": "crc32c"}),
        (Dialect(computes=()), {"ChecksumAlgorithm": "md5"}),
        (Dialect(computes=(), etag_is_md5=False), {"ChecksumAlgorithm": "off"}),
        (
            Dialect(ignores_conditions=True),
            {"ChecksumAlgorithm": "crc64nvme", "OnExisting": "overwrite"},
        ),
        (Dialect(wants_signed=True), {"ChecksumAlgorithm": "crc64nvme", "SignPayload": "always"}),
    ],
    ids=["crc32c", "md5", "none", "no conditions", "signed payloads"],
)
def test_each_dialect_gets_the_settings_that_suit_it(dialect: Dialect, expected: dict[str, str]) -> None:
    findings, store = examined(dialect)

    assert settings_of(findings) == expected
    assert not store.objects
    assert not store.uploads


def denied(line: Line) -> None:
    line.refuse(403, "AccessDenied")


def refused(line: Line) -> None:
    line.refuse(501, "NotImplemented")


def broken(line: Line) -> None:
    line.reset()


def garbled(line: Line) -> None:
    line.answer(200, body=b"<Welcome/>")


def test_without_the_right_to_delete_it_says_what_stays_and_that_uploads_need_no_such_right() -> None:
    findings, store = examined(Dialect(faults={"DeleteObject": denied}))

    left = [one for one in findings if one.level is Level.WARN]
    assert len(store.objects) == len(left) == 2
    for path, finding in zip(store.objects, left, strict=True):
        assert f"Remove s3:/{path} by hand" in finding.advice
        assert "need no right to delete" in finding.advice


def test_an_upload_that_cannot_be_aborted_is_named() -> None:
    findings, store = examined(Dialect(faults={"AbortMultipartUpload": denied}))

    for upload_id in store.uploads:
        assert f"Abort upload {upload_id} by hand" in said(findings)
    assert store.uploads
    assert "s3:AbortMultipartUpload" in said(findings)
    assert store.objects == {}


@pytest.mark.parametrize("fault", [broken, garbled])
def test_an_upload_whose_id_never_came_is_told_of(fault: Any) -> None:
    findings, store = examined(Dialect(faults={"CreateMultipartUpload": fault}))

    assert "may have begun, and its id is not known" in said(findings)
    assert "not all that the store supports could be found out" in said(findings)
    assert store.objects == {}


@pytest.mark.parametrize(
    ("operation", "fault", "expected"),
    [
        ("ListParts", denied, "s3:ListMultipartUploadParts"),
        ("CreateMultipartUpload", refused, "large files refused"),
        ("CompleteMultipartUpload", refused, "large files refused"),
        ("UploadPart", broken, "not all that the store supports could be found out"),
        ("PutObject", denied, "Allow s3:PutObject"),
    ],
)
def test_whatever_breaks_in_the_middle_the_rest_is_told_and_nothing_stays(
    operation: str, fault: Any, expected: str
) -> None:
    findings, store = examined(Dialect(faults={operation: fault}))

    assert expected in said(findings)
    assert not store.objects
    assert not store.uploads


def test_a_bucket_that_keeps_versions_is_said_to_keep_those_of_the_probe() -> None:
    findings, _ = examined(Dialect(delete_headers={"x-amz-delete-marker": "true"}))

    assert "as the bucket keeps versions" in findings[-1].text


# -- interrupted


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def number(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.parametrize("at", ["PutObject", "CreateMultipartUpload", "UploadPart", "ListParts"])
def test_an_interruption_leaves_nothing_in_the_bucket(at: str, number: int, tmp_path: Any) -> None:
    running: list[subprocess.Popen[str]] = []

    def interrupt(operation: str) -> None:
        if operation == at and running:
            running.pop().send_signal(number)

    (tmp_path / "files").mkdir()
    dialect = Dialect(on_request=interrupt)
    with ScriptedS3(dialect) as store:
        settings = ["--endpoint-url", store.url, "--state-directory", str(tmp_path / "state")]
        settings += [str(tmp_path / "files"), "s3://bucket/pre", "--probe", "--json"]
        check = subprocess.Popen(
            [sys.executable, "-m", "s3_file_uploader", "check", *settings],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "AWS_REGION": "x"},
        )
        running.append(check)
        out, err = check.communicate(timeout=60)

    assert not running, "it was never asked"
    assert err == ""
    assert check.returncode == (130 if number == signal.SIGINT else -signal.SIGTERM)
    assert not store.objects
    assert not store.uploads
    assert "DeleteObject" in dialect.operations
    if number == signal.SIGINT:
        assert json.loads(out)["exit_code"] == 130
