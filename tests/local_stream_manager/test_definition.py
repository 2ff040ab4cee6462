"""What a definition may say, checked by the server as AWS's clients do before they send."""

from __future__ import annotations

from typing import Any

import pytest

from stream_manager_local.protocol.codes import Status, StrategyOnFull
from stream_manager_local.protocol.definition import S3Export, StatusConfig, StreamDefinition
from stream_manager_local.protocol.errors import Refused

LEAST = {"name": "s", "strategyOnFull": 0}


def _with_s3(**more: Any) -> dict[str, Any]:
    return {"exportDefinition": {"s3TaskExecutor": [{"identifier": "e", **more}]}}


def _with_http(**more: Any) -> dict[str, Any]:
    return {"exportDefinition": {"http": [{"identifier": "e", "uri": "u", **more}]}}


WRONG = [
    ({"name": None}, "definition.name is missing: it must be a text"),
    ({"name": ""}, "definition.name is '': it must have at least 1 character"),
    ({"name": "x" * 256}, "it has 256 characters, and at most 255 are allowed"),
    ({"name": "a/b"}, "definition.name is 'a/b': a name is made of"),
    ({"name": "größe"}, "definition.name is 'größe': a name is made of"),
    ({"name": 5}, "definition.name is 5: it must be a text"),
    ({"strategyOnFull": None}, "definition.strategyOnFull is missing"),
    ({"strategyOnFull": 2}, "definition.strategyOnFull is 2: it must be at most 1"),
    ({"strategyOnFull": True}, "definition.strategyOnFull is True: it must be an integer"),
    ({"persistence": -1}, "definition.persistence is -1: it must be at least 0"),
    ({"flushOnWrite": 1}, "definition.flushOnWrite is 1: it must be true or false"),
    ({"maxSize": 1023}, "definition.maxSize is 1023: it must be at least 1024"),
    ({"maxSize": 2**63}, "definition.maxSize is 9223372036854775808: it must be at most 9223372036854775807"),
    ({"maxSize": "big"}, "definition.maxSize is 'big': it must be an integer"),
    ({"maxSize": 10**5000}, "definition.maxSize is"),
    ({"streamSegmentSize": 1023}, "definition.streamSegmentSize is 1023: it must be at least 1024"),
    ({"maxSize": 2**40, "streamSegmentSize": 2**31}, "definition.streamSegmentSize is 2147483648"),
    (
        {"maxSize": 2048, "streamSegmentSize": 2049},
        "definition.streamSegmentSize is 2049: it must be at most definition.maxSize, which is 2048",
    ),
    ({"timeToLiveMillis": 59_999}, "definition.timeToLiveMillis is 59999: it must be at least 60000"),
    ({"timeToLiveMillis": 9_223_372_036_855}, "definition.timeToLiveMillis is 9223372036855: it must be at most"),
    ({"exportDefinition": []}, "definition.exportDefinition is []: it must be a map"),
    ({"exportDefinition": {"kinesis": {}}}, "definition.exportDefinition.kinesis is {}: it must be a list of maps"),
    ({"exportDefinition": {"kinesis": [1]}}, "definition.exportDefinition.kinesis is [1]: it must be a list of maps"),
    (_with_s3(identifier=""), "definition.exportDefinition.s3TaskExecutor[0].identifier is ''"),
    (_with_s3(priority=0), "s3TaskExecutor[0].priority is 0: it must be at least 1"),
    (_with_s3(priority=11), "s3TaskExecutor[0].priority is 11: it must be at most 10"),
    (_with_s3(disabled="no"), "s3TaskExecutor[0].disabled is 'no'"),
    (
        _with_s3(sizeThresholdForMultipartUploadBytes=5242879),
        "s3TaskExecutor[0].sizeThresholdForMultipartUploadBytes is 5242879: it must be at least 5242880",
    ),
    (_with_s3(statusConfig=3), "s3TaskExecutor[0].statusConfig is 3: it must be a map"),
    (_with_s3(statusConfig={"statusLevel": 5}), "statusConfig.statusLevel is 5: it must be at most 4"),
    (_with_s3(statusConfig={"statusStreamName": ""}), "statusConfig.statusStreamName is ''"),
    (_with_http(uri=""), "http[0].uri is '': it must have at least 1 character"),
    (_with_http(uri=None), "http[0].uri is missing"),
    (_with_http(batchSize=501), "http[0].batchSize is 501: it must be at most 500"),
    (_with_http(batchSize=0), "http[0].batchSize is 0: it must be at least 1"),
    (_with_http(batchIntervalMillis=59_999), "http[0].batchIntervalMillis is 59999"),
    (_with_http(startSequenceNumber=-1), "http[0].startSequenceNumber is -1"),
    (_with_http(exportFormat=2), "http[0].exportFormat is 2"),
    (
        {"exportDefinition": {"iotAnalytics": [{"identifier": "e", "iotChannel": "c", "iotMsgIdPrefix": "x" * 33}]}},
        "iotMsgIdPrefix is",
    ),
    (
        {"exportDefinition": {"iotAnalytics": [{"identifier": "e", "iotChannel": "c", "batchSize": 101}]}},
        "batchSize is 101: it must be at most 100",
    ),
    (
        {"exportDefinition": {"kinesis": [{"identifier": "e"}]}},
        "definition.exportDefinition.kinesis[0].kinesisStreamName is missing",
    ),
    (
        {"exportDefinition": {"IotSitewise": [{"identifier": "e", "batchSize": 11}]}},
        "definition.exportDefinition.IotSitewise[0].batchSize is 11: it must be at most 10",
    ),
    (
        {"exportDefinition": {"IotSitewise": [{"identifier": "e"}], "s3TaskExecutor": [{"identifier": "e"}]}},
        "definition.exportDefinition has 2 exports with the identifier 'e'",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("change", "said"), WRONG)
def test_what_is_not_allowed_is_refused_with_the_name_of_the_property(
    change: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refused) as refusal:
        StreamDefinition.from_wire({**LEAST, **change})

    assert refusal.value.status == Status.INVALID_REQUEST
    assert said in refusal.value.text
    assert len(refusal.value.text) < 500


def test_defaults_are_those_of_the_clients() -> None:
    definition = StreamDefinition.from_wire(LEAST)

    assert definition == StreamDefinition(name="s", strategy_on_full=StrategyOnFull.REJECT_NEW_DATA)
    assert definition.to_wire() == {
        "name": "s",
        "maxSize": 268435456,
        "streamSegmentSize": 16777216,
        "strategyOnFull": 0,
        "persistence": 0,
        "flushOnWrite": False,
    }


@pytest.mark.parametrize(
    "allowed",
    [
        {"name": "x" * 255},
        {"name": "a stream, no. 1_b-c"},
        {"name": ".."},
        {"maxSize": 2**63 - 1, "streamSegmentSize": 2**31 - 1},
        {"maxSize": 1024, "streamSegmentSize": 1024},
        {"timeToLiveMillis": 60_000},
        {"timeToLiveMillis": 9_223_372_036_854},
        _with_s3(priority=10, sizeThresholdForMultipartUploadBytes=2**40),
        _with_http(batchSize=500, priority=1, startSequenceNumber=2**63 - 1),
    ],
)
def test_the_limits_themselves_are_allowed(allowed: dict[str, Any]) -> None:
    definition = StreamDefinition.from_wire({**LEAST, **allowed})

    assert StreamDefinition.from_wire(definition.to_wire()) == definition


def test_an_s3_export_without_more_has_the_documented_defaults() -> None:
    definition = StreamDefinition.from_wire({**LEAST, **_with_s3(statusConfig={})})

    assert definition.exports == (S3Export("e", 5 << 20, None, disabled=False, status=StatusConfig()),)
    assert definition.to_wire()["exportDefinition"] == {
        "s3TaskExecutor": [
            {
                "identifier": "e",
                "sizeThresholdForMultipartUploadBytes": 5242880,
                "disabled": False,
                "statusConfig": {"statusLevel": 2},
            }
        ]
    }
