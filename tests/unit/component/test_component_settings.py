"""The configuration that a recipe brings along: it shows the settings, and changes none."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import load
from s3_file_uploader.config.fields import PROCESS_FIELDS, RULE_FIELDS

if TYPE_CHECKING:
    from pathlib import Path

    from component.recipes import Recipe

_SAID = {"PathName": "/data/*.csv", "BucketName": "some-bucket"}
_ENVIRONMENT = {"AWS_REGION": "eu-west-1"}


def test_no_key_stands_twice(recipe: Recipe) -> None:
    defaults = recipe.text.partition("DefaultConfiguration:")[2].partition("accessControl:")[0]
    keys = re.findall(r"^    ([A-Z]\w+):", defaults, re.MULTILINE)

    assert keys == list(recipe.defaults)


def test_the_samples_keys_have_defaults_that_upload_nothing(recipe: Recipe) -> None:
    assert {key: recipe.defaults[key] for key in list(recipe.defaults)[:5]} == {
        "PathName": "",
        "BucketName": "",
        "ObjectKeyPrefix": "",
        "Interval": 10,
        "LogLevel": "INFO",
    }


def test_every_default_is_a_setting(recipe: Recipe) -> None:
    assert set(recipe.defaults) <= {each.key for each in (*RULE_FIELDS, *PROCESS_FIELDS)}


def test_no_default_is_a_map_which_a_deployment_could_not_replace(recipe: Recipe) -> None:
    assert not [key for key, value in recipe.defaults.items() if isinstance(value, dict) or value is None]


def _loaded(recipe: Recipe, tmp_path: Path, said: dict[str, Any], *, as_text: bool) -> tuple[Any, Any]:
    defaults = {**recipe.defaults, **said}
    if as_text:  # as a local deployment hands scalars over
        defaults = {key: _as_text(value) for key, value in defaults.items()}
    found = []
    for number, document in enumerate((defaults, {"Transport": recipe.defaults["Transport"], **said})):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        environment = {**_ENVIRONMENT, "STATE_DIRECTORY": "/gg/work", "STREAM_MANAGER_SERVER_PORT": "9090"}
        found.append(load(file=str(path), environment=environment).settings)
    return found[0], found[1]


def _as_text(value: object) -> object:
    return value if isinstance(value, str | list | dict) else json.dumps(value)


@pytest.mark.parametrize("as_text", [False, True], ids=["typed", "as text"])
@pytest.mark.parametrize(
    "said",
    [
        _SAID,
        {**_SAID, "DoneMarker": ".done"},
        {**_SAID, "Include": ["a*"], "Metadata": {"a": "b"}},
        {**_SAID, "AfterUpload": "archive", "ArchiveDirectory": "/sent"},
        {**_SAID, "Verify": "head", "Transport": "stream-manager"},
        {**_SAID, "Transport": "s3", "StorageClass": "STANDARD_IA", "MaxBandwidth": "1 MB/s"},
        {
            "BucketName": "some-bucket",
            "Rules": [{"Name": "a", "PathName": "/a/*"}, {"Name": "b", "PathName": "/b/*"}],
        },
    ],
    ids=["least", "done marker", "lists and maps", "archive", "head", "straight", "rules"],
)
def test_the_defaults_of_the_recipe_change_no_setting(
    built: Recipe, tmp_path: Path, said: dict[str, Any], as_text: bool
) -> None:
    with_defaults, without = _loaded(built, tmp_path, said, as_text=as_text)

    assert with_defaults == without


def test_every_setting_with_a_constant_default_is_shown_and_no_other(recipe: Recipe) -> None:
    constant = {
        each.key
        for each in (*RULE_FIELDS, *PROCESS_FIELDS)
        if not (each.required or each.setting.derived or each.setting.environment or each.is_map)
    }

    assert set(recipe.defaults) == constant - {"ActiveFile", "KeyEscape"} | {"PathName", "BucketName"}


# ---- access control ------------------------------------------------------------------------------


def _policies(recipe: Recipe) -> dict[str, dict[str, dict[str, Any]]]:
    control = recipe.content["ComponentConfiguration"]["DefaultConfiguration"]["accessControl"]
    assert isinstance(control, dict)
    return control


def test_it_may_publish_telemetry_and_nothing_else(recipe: Recipe) -> None:
    allowed = {
        service: [(policy["operations"], policy["resources"]) for policy in policies.values()]
        for service, policies in _policies(recipe).items()
    }

    assert allowed == {
        "aws.greengrass.ipc.pubsub": [(["aws.greengrass#PublishToTopic"], ["s3-file-uploader/*"])],
        "aws.greengrass.ipc.mqttproxy": [(["aws.greengrass#PublishToIoTCore"], ["s3-file-uploader/*"])],
    }


def test_the_names_of_policies_are_the_components_own(built: Recipe) -> None:
    names = [name for policies in _policies(built).values() for name in policies]

    assert len(set(names)) == len(names) == 2
    assert all(name.startswith(f"{built.content['ComponentName']}:") for name in names)
