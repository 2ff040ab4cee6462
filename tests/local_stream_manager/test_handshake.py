"""How a connection begins."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.protocol.errors import Refused
from stream_manager_local.server.handshake import agreed_version
from support.local_stream_manager import LocalStreamManager, start_local_stream_manager
from support.stream_manager_client import PlainClient, request

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_a_client_is_greeted_with_the_preface_and_its_own_request_id(server: LocalStreamManager) -> None:
    with PlainClient(server.port, connect=False) as client:
        greeting = client.greet(requestId="my id, with spaces")

    assert greeting.operation == 6
    assert greeting.status == 0
    assert greeting.values["requestId"] == "my id, with spaces"
    assert greeting.values["supportedProtocolVersions"] == ["1.1.0", "1.0.0"]


def test_each_connection_has_an_identifier_of_its_own(server: LocalStreamManager) -> None:
    identifiers = set()
    for _ in range(5):
        with PlainClient(server.port) as client:
            assert client.greeting is not None
            identifiers.add(client.greeting.values["clientIdentifier"])

    assert len(identifiers) == 5


@pytest.mark.parametrize(
    ("first", "others", "agreed"),
    [
        ("1.1.0", ["1.0.0"], "1.1.0"),
        ("1.0.0", None, "1.0.0"),
        ("1.0.0", ["1.1.0"], "1.1.0"),
        ("9.9.9", ["1.1.0"], "1.1.0"),
        ("9.9.9", ["2.0.0", "1.0.0"], "1.0.0"),
    ],
)
def test_the_best_version_that_both_know_is_spoken(
    server: LocalStreamManager, first: str, others: list[str] | None, agreed: str
) -> None:
    with PlainClient(server.port, connect=False) as client:
        greeting = client.greet(protocolVersion=first, otherSupportedProtocolVersions=others)

        assert (greeting.status, greeting.values["protocolVersion"]) == (0, agreed)
        assert client.ask(11).status == 0


@pytest.mark.parametrize(
    ("first", "status"), [("9.9.9", 10), ("2.0", 10), ("newest", 11), ("", 11), (None, 11), (110, 11)]
)
def test_a_client_of_no_known_version_is_told_so_and_hung_up_on(
    server: LocalStreamManager, first: object, status: int
) -> None:
    with PlainClient(server.port, connect=False) as client:
        greeting = client.greet(protocolVersion=first, otherSupportedProtocolVersions=["3.0.0"])

        assert greeting.status == status
        assert client.is_hung_up_on()


def test_what_a_version_refusal_says_names_what_is_known() -> None:
    with pytest.raises(Refused, match=r"the client speaks 7\.0\.0, 6\.0\.0; 1\.1\.0 and 1\.0\.0 are known"):
        agreed_version(["7.0.0", "6.0.0"])


@pytest.mark.parametrize("first_byte", [b"\x00", b"\x02", b"G", b"\xff"])
def test_whoever_does_not_begin_with_the_preface_is_hung_up_on(
    server: LocalStreamManager, first_byte: bytes
) -> None:
    with PlainClient(server.port, connect=False) as client:
        client.write(first_byte + b"ET / HTTP/1.1\r\n\r\n")

        assert client.is_hung_up_on()


def test_a_first_operation_that_is_not_connect_is_unexpected(server: LocalStreamManager) -> None:
    with PlainClient(server.port, connect=False) as client:
        client.write(b"\x01" + request(11, requestId="early"))

        assert client.read(1) == b"\x01"
        answer = client.receive()
        assert (answer.operation, answer.status, answer.values["requestId"]) == (6, 9, "early")
        assert client.is_hung_up_on()


def test_a_second_connect_is_refused_and_the_connection_goes_on(server: LocalStreamManager) -> None:
    with PlainClient(server.port) as client:
        again = client.ask(1, protocolVersion="1.1.0")

        assert (again.operation, again.status) == (6, 9)
        assert client.ask(11).status == 0


@pytest.mark.parametrize("said", [b"", b"\x01", b"\x01\x00\x00", b"\x01\x00\x00\x00\x20\x01\xa1"])
def test_a_client_that_stops_in_its_handshake_is_hung_up_on(
    impatient: LocalStreamManager, said: bytes
) -> None:
    with PlainClient(impatient.port, connect=False) as client:
        if said:
            client.write(said)

        assert client.is_hung_up_on()


def test_one_that_is_connected_may_be_silent_for_longer_than_a_handshake(
    impatient: LocalStreamManager,
) -> None:
    with PlainClient(impatient.port) as quiet:
        with PlainClient(impatient.port, connect=False) as silent:
            assert silent.is_hung_up_on()

        assert quiet.ask(11).status == 0


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStreamManager]:
    with start_local_stream_manager(
        tmp_path_factory.mktemp("impatient"), "--handshake-timeout", "0.3", "--max-connections", "3"
    ) as running:
        yield running


def test_connections_beyond_the_most_are_closed_and_places_are_given_back(
    impatient: LocalStreamManager,
) -> None:
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(PlainClient(impatient.port))
        one_too_many = stack.enter_context(PlainClient(impatient.port, connect=False))
        assert one_too_many.is_hung_up_on()
    impatient.wait_for("too many connections")

    def is_let_in() -> bool:
        try:
            with PlainClient(impatient.port) as client:
                return client.ask(11).status == 0
        except (EOFError, ConnectionError):
            return False  # the server has not seen yet that the others left

    assert any(is_let_in() for _ in range(1000))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStreamManager]:
    with start_local_stream_manager(
        tmp_path_factory.mktemp("guarded"), environment={"STREAM_MANAGER_LOCAL_AUTH_TOKEN": "open sesame"}
    ) as running:
        yield running


def test_the_token_lets_a_client_in(guarded: LocalStreamManager) -> None:
    with PlainClient(guarded.port, connect=False) as client:
        assert client.greet(authToken="open sesame").status == 0
        assert client.ask(11).status == 0


@pytest.mark.parametrize("token", [None, "", "Open Sesame", "open sesame ", "\N{SNOWMAN}"])
def test_any_other_is_refused_with_unauthorized_and_fin(
    guarded: LocalStreamManager, token: str | None
) -> None:
    with PlainClient(guarded.port, connect=False) as client:
        greeting = client.greet(authToken=token)

        assert (greeting.status, "authToken" in greeting.text) == (2, True)
        assert "sesame" not in greeting.text
        assert client.is_hung_up_on()


def test_what_was_sent_behind_a_refused_handshake_is_not_done(guarded: LocalStreamManager) -> None:
    create = request(2, definition={"name": "sneaky", "strategyOnFull": 0})
    with PlainClient(guarded.port, connect=False) as client:
        client.write(b"\x01" + request(1, protocolVersion="1.1.0") + create)
        assert client.read(1) == b"\x01"
        assert client.receive().status == 2
        assert client.is_hung_up_on()

    with PlainClient(guarded.port, connect=False) as client:
        client.greet(authToken="open sesame")
        assert client.ask(11).values["streams"] == []


@pytest.mark.parametrize("token", [None, "", "whatever"])
def test_without_a_token_of_its_own_the_server_asks_for_none(
    server: LocalStreamManager, token: str | None
) -> None:
    with PlainClient(server.port, connect=False) as client:
        assert client.greet(authToken=token).status == 0
