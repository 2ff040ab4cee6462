"""Every operation, as AWS's own SDK does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stream_manager import (
    ExportDefinition,
    HTTPConfig,
    InvalidRequestException,
    IoTAnalyticsConfig,
    IoTSiteWiseConfig,
    KinesisConfig,
    MessageStreamDefinition,
    NotEnoughMessagesException,
    Persistence,
    ReadMessagesOptions,
    ResourceNotFoundException,
    S3ExportTaskExecutorConfig,
    StatusConfig,
    StatusLevel,
    StrategyOnFull,
    StreamManagerClient,
    UpdateNotAllowedException,
)

if TYPE_CHECKING:
    from typing import Any


def _defined(name: str, **more: Any) -> MessageStreamDefinition:
    return MessageStreamDefinition(name=name, strategy_on_full=StrategyOnFull.RejectNewData, **more)


def test_messages_are_numbered_from_zero_and_come_back_as_they_were(
    client: StreamManagerClient, stream_name: str
) -> None:
    client.create_message_stream(_defined(stream_name))
    payloads = [b"\x00", bytes(range(256)), "ö".encode(), b"x" * 100_000]

    numbers = [client.append_message(stream_name, payload) for payload in payloads]
    messages = client.read_messages(stream_name, ReadMessagesOptions(max_message_count=100))

    assert numbers == [0, 1, 2, 3]
    assert [(each.sequence_number, each.payload) for each in messages] == list(enumerate(payloads))
    assert {each.stream_name for each in messages} == {stream_name}
    times = [each.ingest_time for each in messages]
    assert times == sorted(times)
    assert times[0] > 1_500_000_000_000  # milliseconds


def test_every_operation_is_done(client: StreamManagerClient, stream_name: str) -> None:
    exports = ExportDefinition(
        http=[HTTPConfig(identifier="h", uri="http://127.0.0.1:9/")],
        iot_analytics=[IoTAnalyticsConfig(identifier="a", iot_channel="c")],
        kinesis=[KinesisConfig(identifier="k", kinesis_stream_name="n")],
        iot_sitewise=[IoTSiteWiseConfig(identifier="w")],
        s3_task_executor=[
            S3ExportTaskExecutorConfig(
                identifier="s", disabled=True, status_config=StatusConfig(StatusLevel.TRACE, "status of it")
            )
        ],
    )
    client.create_message_stream(_defined(stream_name, export_definition=exports, time_to_live_millis=60_000))
    assert stream_name in client.list_streams()

    info = client.describe_message_stream(stream_name)
    assert info.definition.export_definition.as_dict()["IotSitewise"] == [{"identifier": "w"}]
    assert (
        info.definition.export_definition.s3_task_executor[0].status_config.status_level == StatusLevel.TRACE
    )
    assert {each.export_config_identifier for each in info.export_statuses} == set("hakws")

    info.definition.strategy_on_full = StrategyOnFull.OverwriteOldestData
    info.definition.export_definition = None
    client.update_message_stream(info.definition)
    after = client.describe_message_stream(stream_name)
    assert after.definition.strategy_on_full == StrategyOnFull.OverwriteOldestData
    assert after.definition.time_to_live_millis == 60_000
    assert after.export_statuses == []

    client.delete_message_stream(stream_name)
    assert stream_name not in client.list_streams()


def test_each_refusal_is_the_exception_that_programs_catch(
    client: StreamManagerClient, stream_name: str
) -> None:
    client.create_message_stream(_defined(stream_name))

    with pytest.raises(InvalidRequestException, match="stream already exists"):
        client.create_message_stream(_defined(stream_name))
    with pytest.raises(UpdateNotAllowedException, match="persistence"):
        client.update_message_stream(_defined(stream_name, persistence=Persistence.Memory))
    with pytest.raises(NotEnoughMessagesException, match="up to -1"):
        client.read_messages(stream_name)
    for ask in (client.delete_message_stream, client.describe_message_stream, client.read_messages):
        with pytest.raises(ResourceNotFoundException, match="does not exist"):
            ask("no such stream")
    with pytest.raises(ResourceNotFoundException, match="does not exist"):
        client.append_message("no such stream", b"x")
    with pytest.raises(ResourceNotFoundException, match="does not exist"):
        client.update_message_stream(_defined("no such stream"))


def test_a_read_timeout_is_waited_for(client: StreamManagerClient, stream_name: str) -> None:
    client.create_message_stream(_defined(stream_name))
    client.append_message(stream_name, b"one")

    with pytest.raises(NotEnoughMessagesException):
        client.read_messages(stream_name, ReadMessagesOptions(min_message_count=2, read_timeout_millis=200))
    assert len(client.read_messages(stream_name, ReadMessagesOptions(max_message_count=2**31 - 1))) == 1
