"""What a nucleus has in its configuration, as settings."""

from __future__ import annotations

from typing import Any

import pytest

from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.greengrass.configuration import LEDGER_NAME, settings_of

_ENVIRONMENT = {
    "AWS_REGION": "eu-central-1",
    "AWS_IOT_THING_NAME": "car7",
    "STATE_DIRECTORY": "/greengrass/v2/work/x",
}
_LEAST = {"PathName": "/data/*.csv", "BucketName": "fleet-data"}


def test_text_and_numbers_give_the_same_settings() -> None:
    as_text = {"Interval": "5", "Concurrency": "8", "Watch": "false", "Metadata": {"retry": "1"}}
    as_numbers = {"Interval": 5.0, "Concurrency": 8.0, "Watch": False, "Metadata": {"retry": 1.0}}

    assert settings_of({**_LEAST, **as_text}, _ENVIRONMENT) == settings_of(
        {**_LEAST, **as_numbers}, _ENVIRONMENT
    )


def test_the_policy_of_access_is_the_nucleus_s_own() -> None:
    configuration = {**_LEAST, "accessControl": {"aws.greengrass.ipc.pubsub": {}}}

    assert settings_of(configuration, _ENVIRONMENT) == settings_of(_LEAST, _ENVIRONMENT)


@pytest.mark.parametrize("said", [{}, {"Name": ""}, {"Name": None}])
def test_the_ledger_has_one_name_whatever_the_rules_are(said: dict[str, Any]) -> None:
    assert settings_of({**_LEAST, **said}, _ENVIRONMENT).name == LEDGER_NAME
    assert settings_of({**_LEAST, **said, "BucketName": "other"}, _ENVIRONMENT).name == LEDGER_NAME


def test_the_ledger_lies_in_the_component_s_work_folder() -> None:
    assert settings_of(_LEAST, _ENVIRONMENT).state_directory == "/greengrass/v2/work/x"


def test_rules_override_what_stands_beside_their_list() -> None:
    rules = [{"Name": "a", "PathName": "/data/a/*"}, {"Name": "b", "PathName": "/data/b/*", "Interval": 20.0}]

    settings = settings_of(
        {"PathName": "", "BucketName": "fleet-data", "Interval": 5, "Rules": rules}, _ENVIRONMENT
    )

    assert [(rule.path_name, rule.interval_seconds) for rule in settings.rules] == [
        ("/data/a/*", 5.0),
        ("/data/b/*", 20.0),
    ]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"Intervals": 5}, "component configuration: unknown key Intervals; did you mean Interval?"),
        ({"BucketName": ""}, "component configuration: BucketName is missing"),
        ({"Rules": [{"PathName": "/x/*"}]}, "component configuration, rule 1: Name is missing"),
        ({"TelemetryTopic": "a" * 257}, "longer than 256 bytes"),
        ({"TelemetryTopic": "fleet/+/x"}, "wildcards"),
        ({"TelemetryTopic": "!{timestamp:yyyy}"}, "cannot stand in a topic"),
        ({"TelemetryInterval": 1}, "TelemetryInterval is 1"),
        ({"UpdateDeferral": "2 h"}, "UpdateDeferral is '2 h'"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed_and_where_to_mend_it(
    wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigurationError) as refused:
        settings_of({**_LEAST, **wrong}, _ENVIRONMENT)

    assert said in str(refused.value)
    assert "allowed" in str(refused.value) or "did you mean" in str(refused.value)
    assert "deployment" in refused.value.advice


def test_a_topic_with_the_thing_s_name_needs_one() -> None:
    environment = {name: value for name, value in _ENVIRONMENT.items() if name != "AWS_IOT_THING_NAME"}
    with pytest.raises(ConfigurationError, match="AWS_IOT_THING_NAME is not set"):
        settings_of({**_LEAST, "TelemetryTopic": "fleet/!{thingName}"}, environment)
