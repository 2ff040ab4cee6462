"""`--fault`: its notation, and what it does to a real client."""

from __future__ import annotations

import re
from random import Random
from typing import TYPE_CHECKING

import pytest

from stream_manager_local.faults import Deed, Faults, Misdeed
from support.local_stream_manager import LocalStreamManager, start_local_stream_manager
from support.stream_manager_client import PlainClient

if TYPE_CHECKING:
    from pathlib import Path

LIST, APPEND, DESCRIBE = 11, 4, 13


def _faults(*texts: str) -> Faults:
    return Faults(texts, chance=Random(7))


def _numbers(faults: Faults, operation: str, among: int = 12) -> list[int]:
    return [number for number in range(1, among + 1) if faults.at_request(operation) is not None]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("drop=read:3", [3]),
        ("drop=read:2-4", [2, 3, 4]),
        ("drop=read:*", list(range(1, 13))),
        ("drop=read:1.0", list(range(1, 13))),
        ("drop=read:0.0", []),
        ("drop=any:5", [5]),
        ("drop=append:3", []),
        ("delay=read:0.5", list(range(1, 13))),
    ],
)
def test_a_fault_strikes_when_it_says(text: str, numbers: list[int]) -> None:
    assert _numbers(_faults(text), "read") == numbers


def test_a_probability_is_the_same_in_each_run_of_one_seed() -> None:
    first, again = _faults("drop=read:0.3"), _faults("drop=read:0.3")

    assert _numbers(first, "read", 1000) == _numbers(again, "read", 1000)
    assert 200 < len(_numbers(_faults("drop=read:0.3"), "read", 1000)) < 400


def test_the_first_of_two_faults_counts_and_both_go_on_counting() -> None:
    faults = _faults("fail=read:2:6", "drop=read:2-3")

    found = [faults.at_request("read") for _ in range(3)]

    assert found == [None, Misdeed(Deed.FAIL, status=6), Misdeed(Deed.DROP)]


def test_statuses_are_lost_and_repeated_and_tasks_fail() -> None:
    faults = _faults("lose-status=2", "repeat-status=3", "fail-task=1")

    assert [faults.copies_of_status() for _ in range(4)] == [1, 0, 2, 1]
    assert [faults.fails_task() for _ in range(2)] == [True, False]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it must begin with one of delay, drop"),
        ("drop", "it must begin with one of delay, drop"),
        ("explode=read:1", "it must begin with one of delay, drop"),
        ("drop=write:1", "'write' must be one of connect, create"),
        ("drop=read", "it must read drop=OPERATION:WHEN"),
        ("drop=read:0", "'0' must be a number from 1 on"),
        ("drop=read:5-2", "'5-2' must be a range that begins before it ends"),
        ("drop=read:often", "'often' must be a number"),
        ("drop=read:1:2", "it must read drop=OPERATION:WHEN"),
        ("delay=read", "it must read delay=OPERATION:SECONDS"),
        ("delay=read:1:long", "'long' must be a number of seconds"),
        ("delay=read:1:9999", "'9999' must be a number of seconds, 3600 at most"),
        ("fail=read:1", "it must read fail=OPERATION:WHEN:STATUS"),
        ("fail=read:1:0", "'0' must be a status code from 1 to 18"),
        ("fail=read:1:19", "'19' must be a status code from 1 to 18: clients die of others"),
        ("lose-status=", "'' must be a number"),
    ],
)
def test_a_fault_that_cannot_be_read_says_which_part_is_wrong(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        _faults(text)


def test_a_refused_append_stores_nothing(tmp_path: Path) -> None:
    with (
        start_local_stream_manager(tmp_path, "--fault", "fail=append:2:6") as server,
        PlainClient(server.port) as client,
    ):
        client.create("s")
        statuses = [client.ask(APPEND, name="s", payload=b"x").status for _ in range(3)]
        info = client.ask(DESCRIBE, name="s").values["messageStreamInfo"]

    assert statuses == [0, 6, 0]
    assert info["storageStatus"]["newestSequenceNumber"] == 1


def test_a_dropped_answer_never_comes_although_the_message_is_stored(tmp_path: Path) -> None:
    with (
        start_local_stream_manager(tmp_path, "--fault", "drop=append:1") as server,
        PlainClient(server.port) as client,
    ):
        client.create("s")
        client.send(APPEND, name="s", payload=b"x")

        assert client.append("s") == 1


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_connection_ends_in_the_way_that_was_asked_for(tmp_path: Path, how: str) -> None:
    with start_local_stream_manager(tmp_path, "--fault", f"{how}=append:1") as server:
        with PlainClient(server.port) as client:
            client.create("s")
            client.send(APPEND, name="s", payload=b"x")
            if how == "close":
                assert client.is_hung_up_on()
            else:
                with pytest.raises(ConnectionResetError):
                    client.receive()
        with PlainClient(server.port) as client:
            assert client.append("s") == 1


def test_a_refused_connect_turns_the_client_away(tmp_path: Path) -> None:
    with start_local_stream_manager(tmp_path, "--fault", "fail=connect:1:6") as server:
        with PlainClient(server.port, connect=False) as client:
            assert client.greet().status == 6
            assert client.is_hung_up_on()
        with PlainClient(server.port) as client:
            assert client.ask(LIST).status == 0


def test_a_crash_is_a_kill(own_server: LocalStreamManager) -> None:
    own_server.flags = ("--fault", "crash=append:2")
    own_server.start()
    with PlainClient(own_server.port) as client:
        client.create("s", persistence=0)
        assert client.append("s") == 0
        client.send(APPEND, name="s", payload=b"x")
        assert own_server.died() == -9
    own_server.flags = ()
    own_server.start()
    with PlainClient(own_server.port) as client:
        assert client.append("s") == 2  # the second was stored, and not answered


def test_a_restart_keeps_the_port_and_the_store(own_server: LocalStreamManager) -> None:
    own_server.flags = ("--fault", "restart=append:2")
    own_server.start()
    pid = own_server.pid
    with PlainClient(own_server.port) as client:
        client.create("s", persistence=0)
        assert client.append("s") == 0
        known = len(own_server.log)
        client.send(APPEND, name="s", payload=b"x")
        own_server.wait_for("RUNNING", since=known)
    with PlainClient(own_server.port) as client:
        assert client.append("s") == 2
    assert own_server.pid == pid
    assert own_server.stop() == 0
