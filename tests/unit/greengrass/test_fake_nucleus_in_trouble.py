"""The fake nucleus when things go wrong: what AWS's real client notices of it."""

from __future__ import annotations

import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from awsiot.eventstreamrpc import AccessDeniedError, LifecycleHandler
from awsiot.greengrasscoreipc import connect, model

from support.nucleus import CLASSIC, LITE, FakeNucleus
from support.nucleus.client import Heard, connected
from support.nucleus.frames import Frame, Header, Unframing, encode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

_SECONDS = 20.0
EVERYTHING = {
    service: {"all": {"operations": ["*"], "resources": ["*"]}}
    for service in ("aws.greengrass.ipc.pubsub", "aws.greengrass.ipc.mqttproxy")
}


@pytest.fixture(params=[CLASSIC, LITE])
def nucleus(request: pytest.FixtureRequest) -> Iterator[FakeNucleus]:
    with FakeNucleus(request.param, configuration={"a": 1}, access_control=EVERYTHING) as started:
        yield started


@pytest.fixture
def lite() -> Iterator[FakeNucleus]:
    with FakeNucleus(LITE, configuration={"a": 1}, access_control=EVERYTHING) as started:
        yield started


class Life(LifecycleHandler):  # type: ignore[misc]
    """Tells when the connection has ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()

    def on_disconnect(self, reason: Exception | None) -> None:
        self.ended.set()


def refused(nucleus: FakeNucleus, token: str) -> BaseException:
    with pytest.raises(Exception) as caught:  # what it is the caller looks at
        connect(ipc_socket=nucleus.socket_path, authtoken=token, timeout=_SECONDS)
    return caught.value


# -- who may connect


def test_a_token_that_is_not_known_is_refused_with_a_word_on_classic_and_without_on_lite(
    nucleus: FakeNucleus,
) -> None:
    error = refused(nucleus, "AAAAAAAAAAAAAAAA")
    assert isinstance(error, AccessDeniedError) == (nucleus.kind.name == CLASSIC)
    assert nucleus.record.connects[-1].component is None


def test_a_token_is_its_component_s(nucleus: FakeNucleus) -> None:
    nucleus.add_component("com.example.Other", configuration={"b": 2})
    with connected(nucleus, nucleus.token("com.example.Other")) as client:
        assert client.get_configuration().value == {"b": 2}


def test_after_a_restart_connections_are_gone_and_old_tokens_refused_for_ever(nucleus: FakeNucleus) -> None:
    heard, life, old = Heard(), Life(), nucleus.token()
    with connected(nucleus, old, life) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        nucleus.restart()
        heard.wait_until_closed()
        assert life.ended.wait(_SECONDS)
    for _ in range(2):
        assert refused(nucleus, old) is not None
    with connected(nucleus) as client:
        assert client.get_configuration(key_path=["a"]).value == {"a": 1}


# -- what ends


def test_closed_streams_leave_their_connection(nucleus: FakeNucleus) -> None:
    first, second, life = Heard(), Heard(), Life()
    with connected(nucleus, lifecycle=life) as client:
        client.subscribe_to_configuration_update(**first.callbacks)
        client.subscribe_to_topic(topic="t", **second.callbacks)
        nucleus.close_streams()
        first.wait_until_closed()
        second.wait_until_closed()
        assert client.get_configuration(key_path=["a"]).value == {"a": 1}
        assert not life.ended.is_set()
        assert nucleus.subscriptions() == []
        client.subscribe_to_configuration_update(**first.callbacks)
        nucleus.deploy({"a": 2})
        first.wait_for_events(1)


def test_a_subscription_that_the_client_closes_gets_no_more_events(nucleus: FakeNucleus) -> None:
    heard, other = Heard(), Heard()
    with connected(nucleus) as client:
        _, operation = client.subscribe_to_configuration_update(**heard.callbacks)
        client.subscribe_to_configuration_update(**other.callbacks)
        operation.close().result(_SECONDS)
        nucleus.record.wait_for(lambda: len(nucleus.subscriptions()) == 1)
        nucleus.deploy({"a": 2})
        other.wait_for_events(1)
    assert heard.events == []


def test_a_dropped_connection_ends_its_streams_and_the_token_still_holds(nucleus: FakeNucleus) -> None:
    heard, life, token = Heard(), Life(), nucleus.token()
    with connected(nucleus, token, life) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        nucleus.drop()
        heard.wait_until_closed()
        assert life.ended.wait(_SECONDS)
    with connected(nucleus, token) as client:
        assert client.get_configuration(key_path=["a"]).value == {"a": 1}


# -- a nucleus that says nothing


def test_a_stalled_nucleus_takes_requests_and_answers_them_once_it_goes_on(nucleus: FakeNucleus) -> None:
    heard = Heard()
    with connected(nucleus) as client:
        client.subscribe_to_configuration_update(**heard.callbacks)
        nucleus.stall()
        asked = client.get_configuration_async(key_path=["a"])
        assert nucleus.wait_for_request("GetConfiguration") == [{"keyPath": ["a"]}]
        nucleus.deploy({"a": 2})
        assert not asked.done()
        assert heard.events == []
        nucleus.go_on()
        assert asked.result(_SECONDS).value == {"a": 2}
        heard.wait_for_events(1)


def test_a_stalled_nucleus_accepts_connections_and_does_not_acknowledge_them(nucleus: FakeNucleus) -> None:
    nucleus.stall()
    with pytest.raises(Exception) as caught:  # of concurrent.futures, whose name changed
        connect(ipc_socket=nucleus.socket_path, authtoken=nucleus.token(), timeout=0.1)
    assert type(caught.value).__name__ == "TimeoutError"
    assert nucleus.record.connects == []


def test_a_stalled_nucleus_can_be_dropped_restarted_and_stopped(nucleus: FakeNucleus) -> None:
    life = Life()
    with connected(nucleus, lifecycle=life) as client:
        nucleus.stall()
        asked = client.get_configuration_async()
        nucleus.wait_for_request("GetConfiguration")
        nucleus.drop()
        assert asked.exception(_SECONDS) is not None
        assert life.ended.wait(_SECONDS)
    nucleus.restart()


# -- what is too long


def json_message(size: int) -> Any:
    return model.PublishMessage(json_message=model.JsonMessage(message={"m": "x" * size}))


def test_a_local_message_of_9500_bytes_passes(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        client.publish_to_topic(topic="t", publish_message=json_message(9_500))
    assert len(nucleus.record.published) == 1


def test_7000_bytes_to_iot_core_pass_on_lite_and_7300_do_not(lite: FakeNucleus) -> None:
    with connected(lite) as client:
        client.publish_to_iot_core(topic_name="t", qos="1", payload=b"x" * 7_000)
        with pytest.raises(model.ServiceError):
            client.publish_to_iot_core(topic_name="t", qos="1", payload=b"x" * 7_300)
        client.publish_to_iot_core(topic_name="t", qos="1", payload=b"after")
    assert [len(one.payload) for one in lite.record.published] == [7_000, 5]


def test_a_request_longer_than_lite_reads_ends_the_connection(lite: FakeNucleus) -> None:
    life = Life()
    with connected(lite, lifecycle=life) as client:
        published = client.publish_to_topic_async(topic="t", publish_message=json_message(10_000))
        assert published.exception(_SECONDS) is not None
        assert life.ended.wait(_SECONDS)
    assert lite.record.published == []


def test_a_request_longer_than_lite_reads_can_be_made_a_service_error(lite: FakeNucleus) -> None:
    lite.kind.does_oversized_end_connection = False
    with connected(lite) as client:
        with pytest.raises(model.ServiceError):
            client.publish_to_topic(topic="t", publish_message=json_message(10_000))
        client.publish_to_topic(topic="t", publish_message=json_message(10))


def test_a_configuration_longer_than_lite_can_say_is_a_service_error(lite: FakeNucleus) -> None:
    lite.deploy({"long": "x" * 10_000})
    with connected(lite) as client:
        with pytest.raises(model.ServiceError):
            client.get_configuration()
        assert client.get_configuration(key_path=["a"]).value == {"a": 1}


# -- bytes


class Raw:
    """A client that says what no client of AWS's would."""

    def __init__(self, nucleus: FakeNucleus) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_SECONDS)
        self._socket.connect(nucleus.socket_path)
        self._unframing = Unframing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def say(self, raw: bytes) -> None:
        self._socket.sendall(raw)

    def hear(self) -> list[Frame]:
        """The next frames; none if the other side has ended the connection."""
        while True:
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                return []
            frames = self._unframing.feed(data)
            if frames or not data:
                return frames


def message(kind: int, stream: int = 0, flags: int = 0, payload: bytes = b"", **more: str) -> bytes:
    numbers = {":message-type": kind, ":message-flags": flags, ":stream-id": stream}
    headers = {name: Header.int32(value) for name, value in numbers.items()}
    headers.update({name.replace("_", ":"): Header.string(value) for name, value in more.items()})
    return encode(Frame(headers, payload))


def hello(nucleus: FakeNucleus) -> bytes:
    return message(4, payload=b'{"authToken": "%s"}' % nucleus.token().encode(), _version="0.1.0")


def kinds(frames: list[Frame]) -> list[int | None]:
    return [frame.number(":message-type") for frame in frames]


def test_a_conversation_may_come_byte_by_byte(nucleus: FakeNucleus) -> None:
    with Raw(nucleus) as client:
        for byte in hello(nucleus):
            client.say(bytes([byte]))
        (acknowledged,) = client.hear()
        assert acknowledged.number(":message-type") == 5
        assert acknowledged.number(":message-flags") == 1
        for byte in message(0, 1, payload=b"{}", operation="aws.greengrass#GetConfiguration"):
            client.say(bytes([byte]))
        (got,) = client.hear()
    assert got.text("service-model-type") == "aws.greengrass#GetConfigurationResponse"
    assert got.number(":message-flags") == (2 if nucleus.kind.name == CLASSIC else 0)


def test_two_messages_may_come_in_one_piece(nucleus: FakeNucleus) -> None:
    with Raw(nucleus) as client:
        client.say(hello(nucleus) + message(0, 1, payload=b"{}", operation="aws.greengrass#GetConfiguration"))
        found: list[Frame] = []
        while len(found) < 2:
            heard = client.hear()
            assert heard
            found += heard
    assert kinds(found) == [5, 0]


@pytest.mark.parametrize("at", [8, -1])
def test_a_damaged_frame_ends_the_connection(nucleus: FakeNucleus, at: int) -> None:
    damaged = bytearray(hello(nucleus))
    damaged[at] ^= 1
    with Raw(nucleus) as client:
        client.say(bytes(damaged))
        if nucleus.kind.name == CLASSIC:
            assert kinds(client.hear()) == [6]
        assert client.hear() == []


@pytest.mark.parametrize(
    "first",
    [
        message(0, 1, payload=b"{}", operation="aws.greengrass#GetConfiguration"),
        message(4, payload=b"{}", _version="9.9.9"),
        encode(Frame({":message-type": Header.string("4")})),
    ],
)
def test_a_conversation_begins_with_a_connect_of_the_right_version(
    nucleus: FakeNucleus, first: bytes
) -> None:
    with Raw(nucleus) as client:
        client.say(first)
        if nucleus.kind.name == CLASSIC:
            assert kinds(client.hear()) == [6]
        assert client.hear() == []


def test_the_classic_nucleus_answers_a_ping_and_lite_ends_the_connection(nucleus: FakeNucleus) -> None:
    with Raw(nucleus) as client:
        client.say(hello(nucleus))
        assert kinds(client.hear()) == [5]
        client.say(message(2, payload=b"are you there"))
        heard = client.hear()
    answered = [(3, b"are you there")] if nucleus.kind.name == CLASSIC else []
    assert [(frame.number(":message-type"), frame.payload) for frame in heard] == answered


# -- its own life


def test_nothing_is_left_of_a_nucleus_that_has_ended() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    for kind in (CLASSIC, LITE):
        with FakeNucleus(kind) as nucleus, Raw(nucleus) as client, Raw(nucleus):
            client.say(hello(nucleus))
            assert kinds(client.hear()) == [5]
            nucleus.restart()
            path = nucleus.socket_path
        assert not os.path.exists(os.path.dirname(path))
    assert not [thread for thread in threading.enumerate() if thread.name == "nucleus"]
    assert len(os.listdir("/proc/self/fd")) <= descriptors


def test_several_nuclei_know_nothing_of_each_other() -> None:
    with FakeNucleus(configuration={"a": 1}) as one, FakeNucleus(configuration={"a": 2}) as other:
        with connected(one) as client, connected(other) as client_of_other:
            assert client.get_configuration(key_path=["a"]).value == {"a": 1}
            assert client_of_other.get_configuration(key_path=["a"]).value == {"a": 2}
        assert refused(other, one.token()) is not None


def test_a_wait_that_fails_says_what_there_was_instead(nucleus: FakeNucleus) -> None:
    with connected(nucleus) as client:
        client.get_configuration()
    with pytest.raises(TimeoutError, match="GetConfiguration"):
        nucleus.record.wait_for(lambda: nucleus.record.of("UpdateState"), seconds=0.05)
