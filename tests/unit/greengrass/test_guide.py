"""What an operator pastes from the guide works."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from s3_file_uploader import __version__
from s3_file_uploader.greengrass.configuration import settings_of
from s3_file_uploader.greengrass.telemetry import message
from s3_file_uploader.observe.snapshot import RuleSnapshot, Snapshot

_GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "greengrass.md").read_text(encoding="utf-8")
_JSON = [found[1] for found in re.finditer(r"^```json\n(.*?)^```", _GUIDE, re.MULTILINE | re.DOTALL)]
_ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "AWS_IOT_THING_NAME": "car7",
    "STATE_DIRECTORY": "/greengrass/v2/work/x",
}
_LEAST = {"PathName": "/data/outbox/*.csv", "BucketName": "fleet-data", "Transport": "stream-manager"}


def _loaded(text: str) -> Any:
    return json.loads(text if text.lstrip().startswith("{") else "{" + text + "}")


def _the(key: str) -> Any:
    [found] = [one for one in map(_loaded, _JSON) if key in one]
    return found


@pytest.mark.parametrize("text", _JSON)
def test_each_block_is_json(text: str) -> None:
    assert _loaded(text)


def test_the_deployment_names_this_version_and_its_configuration_is_one() -> None:
    [(name, component)] = _the("targetArn")["components"].items()
    merged = json.loads(component["configurationUpdate"]["merge"])

    assert name == "aws.greengrass.labs.s3.file.Uploader"
    assert component["componentVersion"] == __version__
    assert settings_of({**_LEAST, "PathName": "", **merged}, _ENVIRONMENT).telemetry_topic


@pytest.mark.parametrize("key", ["Rules", "accessControl"])
def test_a_configuration_that_is_shown_can_be_taken(key: str) -> None:
    assert settings_of({**_LEAST, **_the(key)}, _ENVIRONMENT).rules


def test_the_message_that_is_shown_has_the_fields_of_a_message() -> None:
    snapshot = Snapshot("/ledger", is_running=True, pid=1, rules=[RuleSnapshot("default", {}, {})])
    made = message(
        snapshot,
        now=1.0,
        thing="car7",
        program=__version__,
        up_seconds=1.0,
        in_flight=0,
        troubles=0,
        trouble=None,
        configuration_problem="",
    )
    shown = _the("delivered_files")

    assert list(shown) == list(made)
    assert list(shown["rules"][0]) == list(made["rules"][0])


def test_the_policy_allows_what_uploads_need_and_no_more() -> None:
    upload, fetch = _the("Statement")["Statement"]

    assert upload["Action"] == ["s3:PutObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    assert upload["Resource"].endswith("/devices/${credentials-iot:ThingName}/*")
    assert fetch["Action"] == "s3:GetObject"
