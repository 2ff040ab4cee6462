"""Every operation, as AWS's own SDK does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stream_manager import (
    MessageStreamDefinition,
    ReadMessagesOptions,
    StrategyOnFull,
    StreamManagerClient,
)

if TYPE_CHECKING:
    from typing import Any


def _definition(name: str, **more: Any) -> MessageStreamDefinition:
    return MessageStreamDefinition(name=name, strategy_on_full=StrategyOnFull.RejectNewData, **more)


def test_messages_are_numbered_from_zero_and_come_back_as_they_were(
    client: StreamManagerClient, stream_name: str
) -> None:
    client.create_message_stream(_definition(stream_name))
    payloads = [b"\x00", bytes(range(256)), "ö".encode(), b"x" * 100_000]

    numbers = [client.append_message(stream_name, payload) for payload in payloads]
    messages = client.read_messages(stream_name, ReadMessagesOptions(max_message_count=100))

    assert numbers == [0, 1, 2, 3]
    assert [(each.sequence_number, each.payload) for each in messages] == list(enumerate(payloads))
    assert {each.stream_name for each in messages} == {stream_name}
    times = [each.ingest_time for each in messages]
    assert times == sorted(times)
    assert times[0] > 1_500_000_000_000  # milliseconds
