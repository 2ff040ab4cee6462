"""The command itself: what it says, how it ends, what it refuses."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from stream_manager import StreamManagerClient

from support.local_stream_manager import LocalStreamManager, start_local_stream_manager
from support.stream_manager_client import PlainClient

if TYPE_CHECKING:
    from pathlib import Path

LIST = 11


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stream_manager_local", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_help_tells_all_settings_faults_and_exit_codes() -> None:
    answer = _run("--help")

    assert answer.returncode == 0
    for word in ("--store-root-dir", "STREAM_MANAGER_SERVER_PORT", "reset=append:10", "Exit codes:"):
        assert word in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "seven"], "--port is 'seven': it must be an integer from 0 to 65535"),
        (["--fault", "drop=read"], "--fault is 'drop=read': it must read drop=OPERATION:WHEN"),
        (["--store-root-dir", "/does/not/exist"], "the store's folder /does/not/exist cannot be made"),
        (["--authenticate-client", "true"], "Try: put the token in STREAM_MANAGER_LOCAL_AUTH_TOKEN"),
        (["--no-such-flag"], "unrecognized arguments: --no-such-flag"),
    ],
)
def test_a_mistake_is_said_and_ends_with_2(arguments: list[str], said: str) -> None:
    answer = _run(*arguments)

    assert (answer.returncode, answer.stdout) == (2, "")
    assert said in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = _run("--port", str(port), "--store-root-dir", str(tmp_path))

    assert answer.returncode == 2
    assert f"127.0.0.1:{port} cannot be listened on" in answer.stderr
    assert "--port" in answer.stderr


def test_the_version_is_told() -> None:
    answer = _run("--version")

    assert answer.returncode == 0
    assert re.fullmatch(r"stream-manager-local \S+\n", answer.stdout)


def test_without_settings_it_starts_in_a_home_that_has_nothing_yet(tmp_path: Path) -> None:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("STREAM_MANAGER_")
    }
    environment |= {"HOME": str(tmp_path / "home"), "XDG_STATE_HOME": ""}
    command = [sys.executable, "-m", "stream_manager_local", "--port", "0", "--stop-with-stdin"]
    finished = subprocess.run(
        command,
        env=environment,
        input="",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "home/.local/state/stream-manager-local").is_dir()


@pytest.mark.parametrize(
    ("flag", "value", "said", "advised"),
    [
        ("--host", "192.0.2.1", "192.0.2.1:0 cannot be listened on", "an address of this machine with --host"),
        ("--port-file", "/does/not/exist/port", "--port-file is '/does/not/exist/port': it cannot be", "a file in a folder"),
    ],
)  # fmt: skip
def test_what_keeps_it_from_serving_is_said_with_what_helps(
    tmp_path: Path, flag: str, value: str, said: str, advised: str
) -> None:
    answer = _run("--port", "0", "--store-root-dir", str(tmp_path), flag, value)

    assert answer.returncode == 2
    assert said in answer.stderr
    assert advised in answer.stderr.partition("Try: ")[2]
    assert "Traceback" not in answer.stderr


def test_a_store_has_one_server_at_a_time(server: LocalStreamManager) -> None:
    answer = _run("--port", "0", "--store-root-dir", str(server.root))

    assert answer.returncode == 2
    assert f"{server.root} is in use by another server" in answer.stderr


def test_the_port_file_is_there_while_clients_are_served(
    own_server: LocalStreamManager, tmp_path: Path
) -> None:
    own_server.start()
    file = tmp_path / "stream-manager.port"
    assert int(file.read_text(encoding="ascii")) == own_server.port

    assert own_server.stop() == 0
    assert not file.exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_stops_it_and_the_store_is_there_again(
    own_server: LocalStreamManager, number: signal.Signals, code: int
) -> None:
    own_server.start()
    with PlainClient(own_server.port) as client:
        client.create("s", persistence=0)
        client.append("s")

    assert own_server.stop(number) == code
    own_server.start()
    with PlainClient(own_server.port) as client:
        assert client.append("s") == 1


def test_a_second_signal_ends_it_at_once(own_server: LocalStreamManager) -> None:
    own_server.flags = ("--fault", "delay=list:*:60")
    own_server.start()
    with PlainClient(own_server.port, receive_buffer=4096) as client:
        client.create("s")
        client.append("s", bytes(8 << 20))
        client.send(5, streamName="s")  # and does not take the answer
        known = len(own_server.log)
        signals = own_server.signal_twice(signal.SIGTERM, "stopping", since=known)

    assert signals == 130


def test_it_stops_when_its_standard_input_ends(own_server: LocalStreamManager) -> None:
    own_server.start()

    own_server.close_stdin()

    assert own_server.died() == 0


def test_an_input_that_has_no_end_to_wait_for_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "stream_manager_local", "--port", "0", "--stop-with-stdin"]
    command += ["--store-root-dir", str(tmp_path)]
    finished = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )

    assert finished.returncode == 2
    assert finished.stderr.startswith("stream-manager-local: --stop-with-stdin needs a standard input")


def test_it_says_when_the_network_is_let_in(tmp_path: Path) -> None:
    with start_local_stream_manager(tmp_path, "--host", "0.0.0.0") as server:
        assert "WARNING" in server.wait_for("listening on 0.0.0.0: whoever reaches this machine")


def test_the_sdk_finds_it_by_the_variables_of_the_real_component(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"STREAM_MANAGER_LOCAL_AUTH_TOKEN": "a token"}
    with start_local_stream_manager(tmp_path, environment=environment) as server:
        monkeypatch.setenv("STREAM_MANAGER_SERVER_PORT", str(server.port))
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a token")
        with StreamManagerClient() as client:
            assert client.list_streams() == []
