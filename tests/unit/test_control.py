"""The control socket: real sockets, a real loop, and strangers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader import control
from s3_file_uploader.control import ControlError, ask, decode_paths, encode_paths, serve
from s3_file_uploader.errors import LedgerError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RAW_PATHS = [b"/data/a.csv", b"/data/\xff\n b", "/data/ü".encode()]


def conversation(folder: Path, handlers: dict[str, Callable[..., Any]], talk: Callable[[], Any]) -> Any:
    """Serve on a loop of its own while `talk` asks from a thread."""

    async def both() -> Any:
        server = await serve(str(folder), handlers)
        try:
            return await asyncio.get_running_loop().run_in_executor(None, talk)
        finally:
            await server.close()

    return asyncio.run(both())


def test_a_command_reaches_its_handler_with_its_arguments(tmp_path: Path) -> None:
    async def retry(paths: list[str]) -> dict[str, int]:
        assert decode_paths(paths) == RAW_PATHS
        return {"files": 3}

    answer = conversation(
        tmp_path, {"retry": retry}, lambda: ask(str(tmp_path), "retry", {"paths": encode_paths(RAW_PATHS)})
    )

    assert answer == {"files": 3}


def test_where_no_daemon_listens_the_answer_is_none(tmp_path: Path) -> None:
    assert ask(str(tmp_path), "retry") is None
    assert ask(str(tmp_path / "nowhere"), "retry") is None


def test_a_socket_that_a_dead_daemon_left_is_no_daemon_and_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.NAME))

    assert ask(str(tmp_path), "status") is None
    assert conversation(tmp_path, {"status": lambda: 1}, lambda: ask(str(tmp_path), "status")) == 1


def test_the_socket_is_the_owners_alone_and_goes_with_the_daemon(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    path = tmp_path / control.NAME

    mode = conversation(tmp_path, {}, lambda: os.stat(path).st_mode)

    assert stat.S_IMODE(mode) == 0o600
    assert os.listdir(tmp_path) == []


def test_a_folder_with_a_very_long_path_works_too(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 200)
    folder.mkdir()

    assert conversation(folder, {"status": lambda: "here"}, lambda: ask(str(folder), "status")) == "here"


def test_an_error_of_the_daemon_arrives_with_its_advice(tmp_path: Path) -> None:
    def fails() -> None:
        raise LedgerError("the disk is full", advice="make room")

    with pytest.raises(ControlError, match="the disk is full") as caught:
        conversation(tmp_path, {"retry": fails}, lambda: ask(str(tmp_path), "retry"))

    assert caught.value.advice == "make room"


def test_a_broken_handler_does_not_end_the_daemon(tmp_path: Path) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("oh")

    def talk() -> Any:
        with pytest.raises(ControlError, match="ZeroDivisionError: oh"):
            ask(str(tmp_path), "retry")
        return ask(str(tmp_path), "status")

    assert conversation(tmp_path, {"retry": breaks, "status": lambda: 7}, talk) == 7


@pytest.mark.parametrize(
    "line",
    [b"", b"\n", b"{}\n", b"[1]\n", b"no json\n", b'{"command": "fly"}\n', b'{"command": []}\n', b"\xff\n"],
)
def test_nonsense_is_answered_and_the_daemon_goes_on(tmp_path: Path, line: bytes) -> None:
    def talk() -> tuple[bytes, Any]:
        with socket.socket(socket.AF_UNIX) as stranger:
            stranger.connect(str(tmp_path / control.NAME))
            stranger.sendall(line)
            stranger.shutdown(socket.SHUT_WR)
            answer = stranger.recv(65536)
        return answer, ask(str(tmp_path), "status")

    answer, status = conversation(tmp_path, {"status": lambda: 7}, talk)

    assert "not a command" in json.loads(answer)["error"]
    assert status == 7


def test_a_daemon_that_is_silent_is_not_waited_for_without_end(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / control.NAME))
        silent.listen()

        with pytest.raises(ControlError, match="does not answer"):
            ask(str(tmp_path), "status", timeout_seconds=0.05)


def test_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if os.getuid() == 0:  # root may command any daemon: be somebody else on this socket
        monkeypatch.setattr(control, "_ROOT", 4712)

    with pytest.raises(ControlError, match="own user"):
        conversation(tmp_path, {"status": lambda: 7}, lambda: ask(str(tmp_path), "status"))
