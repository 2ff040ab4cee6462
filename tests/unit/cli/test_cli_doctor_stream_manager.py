"""`check` with Transport stream-manager: does it answer, and may its user read the files?"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.cli.doctor.finding import Finding, Level
from s3_file_uploader.cli.doctor.reach import OtherUser, listener_of
from s3_file_uploader.cli.doctor.stream_manager import examine_stream_manager
from s3_file_uploader.config import Rule, Settings
from support.other_owner import OTHER_UID
from support.scripted_stream_manager import ScriptedStreamManager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.commands import Shell


@pytest.fixture
def server() -> Iterator[ScriptedStreamManager]:
    with ScriptedStreamManager() as running:
        yield running


def findings(port: int, folder: Path, state: Path) -> list[Finding]:
    rule = Rule(
        "default",
        f"{folder}/*.csv",
        "bucket",
        transport="stream-manager",
        stream_manager_port=port,
        streams=2,
    )
    return list(examine_stream_manager(Settings("name", str(state), (rule,)), [rule]))


def test_a_stream_manager_that_answers_is_told_with_its_protocol(
    server: ScriptedStreamManager, tmp_path: Path
) -> None:
    answer, streams, reader = findings(server.port, tmp_path, tmp_path / "state")
    assert {each.level for each in (answer, streams, reader)} == {Level.OK}
    assert answer.text == f"Stream Manager, protocol 1.1.0, answers at 127.0.0.1:{server.port}"
    assert "none yet" in streams.text
    assert "may read the files" in reader.text
    assert server.streams == {}


def test_a_stream_manager_that_is_not_there_is_the_destinations_fault(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    [finding] = findings(port, tmp_path, tmp_path / "state")
    assert (finding.level, finding.of_destination) == (Level.FAIL, True)
    assert f"no Stream Manager at 127.0.0.1:{port}" in finding.text
    assert finding.advice


def test_check_tells_of_streams_in_use_and_left_over(
    server: ScriptedStreamManager, shell: Shell, tmp_path: Path, state: Path
) -> None:
    def check(*names: str) -> str:
        rules = []
        for name in names:
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            (folder / f"{name}.csv").touch()
            rules.append({"Name": name, "PathName": f"{folder}/*"})
        file = tmp_path / "configuration.json"
        shared = {"Name": "ledger", "BucketName": "bucket", "Transport": "stream-manager", "Streams": 2}
        shared |= {"SettleTime": 0, "SettleTimeUnverified": 0, "StreamManagerPort": server.port}
        file.write_text(json.dumps({**shared, "Rules": rules}))
        assert shell("drain", "--config", file, "--include-active").code == 0
        answer = shell("check", "--config", file)
        assert answer.code == 0, answer.out
        return answer.out

    assert "ok    streams (two): 2 for tasks, 0 tasks to do" in check("one", "two")
    told = check("one")
    assert "3 streams are left of rules that are gone" in told
    assert "Try: `s3-file-uploader streams prune --dry-run`" in told


def test_verify_head_has_the_store_examined_too(
    server: ScriptedStreamManager, shell: Shell, tmp_path: Path, state: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dead = f"http://127.0.0.1:{taken.getsockname()[1]}"
    place = [f"{tmp_path}/*", "s3://bucket", "--transport", "stream-manager", "--verify", "head"]
    place += ["--stream-manager-port", str(server.port), "--endpoint-url", dead]
    answer = shell("check", *place, "--json")
    areas = {each["area"] for each in answer.json["findings"] if each["level"] == "fail"}
    assert answer.code == 3
    assert areas & {"store (default)", "credentials (default)"}


def test_the_user_that_listens_is_known() -> None:
    with socket.create_server(("127.0.0.1", 0)) as here:
        port = here.getsockname()[1]
        assert listener_of(port) == os.getuid()
    assert listener_of(port) is None


def test_what_another_user_may_not_read_is_named() -> None:
    stranger = OtherUser(OTHER_UID, "stranger", frozenset({os.getgid()}))
    with tempfile.TemporaryDirectory() as home:  # below a folder that everyone may enter
        folder = os.path.join(home, "data")
        os.mkdir(folder)
        path = os.fsencode(os.path.join(folder, "a.csv"))
        with open(path, "wb"):
            pass
        os.chmod(home, 0o711)
        for mode, obstacle in ((0o640, None), (0o604, path), (0o600, path)):
            os.chmod(path, mode)
            assert stranger.obstacle(path) == obstacle
        os.chmod(folder, 0o700)
        assert stranger.obstacle(path) == os.fsencode(folder)
        assert stranger.obstacle(os.fsencode(home), is_folder=True) is None
        assert OtherUser(0, "root", frozenset()).obstacle(path) is None
        assert OtherUser(os.getuid(), "me", frozenset()).obstacle(path) is None
