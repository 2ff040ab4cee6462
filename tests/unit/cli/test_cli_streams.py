"""`streams`: what lies in Stream Manager, whose it is, and that nothing in use is ever deleted."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.transport.stream_manager.streams import StreamName
from support.scripted_stream_manager import ScriptedStreamManager, Stream

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.commands import Shell


@pytest.fixture
def server() -> Iterator[ScriptedStreamManager]:
    with ScriptedStreamManager() as running:
        yield running


class Device:
    """One ledger, whose rules come and go."""

    def __init__(self, shell: Shell, server: ScriptedStreamManager, folder: Path) -> None:
        self.shell = shell
        self.server = server
        self.folder = folder
        self.file = folder / "configuration.json"

    def configure(self, *names: str) -> None:
        for name in names:
            (self.folder / name).mkdir(exist_ok=True)
        rules = [{"Name": name, "PathName": f"{self.folder}/{name}/*"} for name in names]
        shared = {"Name": "ledger", "BucketName": "bucket", "Transport": "stream-manager", "Streams": 2}
        shared |= {"SettleTime": 0, "SettleTimeUnverified": 0, "StreamManagerPort": self.server.port}
        self.file.write_text(json.dumps({**shared, "Rules": rules}))

    def drain(self, *names: str) -> None:
        """Send a file by each of these rules; no other rule is there then."""
        self.configure(*names)
        for name in names:
            (self.folder / name / f"{name}.csv").write_text(name)
        answer = self.shell("drain", "--config", self.file, "--include-active")
        assert answer.code == 0, answer.err

    def streams(self) -> dict[str, list[dict[str, Any]]]:
        """By state."""
        answer = self.shell("streams", "list", "--json", "--stream-manager-port", self.server.port)
        assert answer.code == 0, answer.err
        found: dict[str, list[dict[str, Any]]] = {}
        for line in answer.json_lines:
            found.setdefault(line["state"], []).append(line)
        return found


@pytest.fixture
def device(shell: Shell, server: ScriptedStreamManager, tmp_path: Path, state: Path) -> Device:
    return Device(shell, server, tmp_path)


def make_stream(server: ScriptedStreamManager, name: str, tasks: int = 0, statuses: str = "") -> None:
    """One that is there, with tasks that nobody does."""
    exports = [{"identifier": "s3", "statusConfig": {"statusStreamName": statuses}}] if statuses else []
    definition: dict[str, Any] = {
        "name": name,
        "maxSize": 1 << 20,
        "streamSegmentSize": 1 << 18,
        "strategyOnFull": 0,
    }
    definition["exportDefinition"] = {"s3TaskExecutor": exports}

    server.outcome = lambda _task: None
    server.do(lambda: server.streams.update({name: Stream(definition, [b'{"key": "k"}'] * tasks)}))


def owner_of(device: Device) -> str:
    [name, *_] = (parsed for parsed in map(StreamName.parse, device.server.streams) if parsed)
    return name.owner


def test_streams_of_the_rules_are_in_use_and_those_of_rules_that_are_gone_are_left_over(
    device: Device,
) -> None:
    device.drain("one", "two")
    assert {each["rule"] for each in device.streams()["in_use"]} == {"one", "two"}
    device.drain("one")
    found = device.streams()
    assert {each["rule"] for each in found["in_use"]} == {"one"}
    assert {each["rule"] for each in found["leftover"]} == {"two"}
    assert sorted(each["kind"] for each in found["leftover"]) == ["statuses", "tasks", "tasks"]


def test_prune_deletes_what_is_left_over_and_nothing_else(device: Device) -> None:
    device.drain("one", "two")
    device.drain("one")
    make_stream(device.server, "somebody-else")
    before = set(device.server.streams)
    answer = device.shell("streams", "prune", "--json", "--config", device.file)
    assert answer.code == 0
    assert {each["rule"] for each in answer.json["deleted"]} == {"two"}
    assert before - set(device.server.streams) == {each["stream"] for each in answer.json["deleted"]}
    assert "somebody-else" in device.server.streams
    assert "leftover" not in device.streams()
    assert "Nothing" in device.shell("streams", "prune", "--stream-manager-port", device.server.port).out


def test_a_dry_run_deletes_nothing(device: Device) -> None:
    device.drain("one", "two")
    device.drain("one")
    before = set(device.server.streams)
    answer = device.shell("streams", "prune", "--dry-run", "--config", device.file)
    assert answer.out.count("would be deleted: s3fu-") == 3
    assert set(device.server.streams) == before


def test_a_leftover_with_tasks_to_do_stays_unless_forced_and_so_do_its_statuses(device: Device) -> None:
    device.drain("one")
    owner = owner_of(device)
    statuses = str(StreamName.of(owner, "gone", "bucket", "00000000"))
    tasks = str(StreamName.of(owner, "gone", "bucket", "00000000", part=0, parts=1))
    make_stream(device.server, statuses)
    make_stream(device.server, tasks, tasks=3, statuses=statuses)
    [busy] = [each for each in device.streams()["leftover"] if each["kind"] == "tasks"]
    assert busy["tasks_waiting"] == 3
    answer = device.shell("streams", "prune", "--config", device.file)
    assert answer.code == 0
    assert f"kept: {tasks}: 3 tasks are still to be done" in answer.out
    assert {statuses, tasks} <= set(device.server.streams)
    assert device.shell("streams", "prune", tasks, "--config", device.file).code == 1
    assert device.shell("streams", "prune", "--force", "--config", device.file).code == 0
    assert not {statuses, tasks} & set(device.server.streams)


def test_a_stream_in_use_is_not_deleted_even_by_name_and_force(device: Device) -> None:
    device.drain("one")
    for name in list(device.server.streams):
        answer = device.shell("streams", "prune", name, "--force", "--config", device.file)
        assert answer.code == 1
        assert f"kept: {name}: in use" in answer.out
        assert name in device.server.streams


def test_rules_of_the_last_run_count_also_where_the_configuration_has_lost_them(device: Device) -> None:
    device.drain("one", "two")
    device.configure("one")  # and nothing ran since: the files of two may still be waiting
    device.shell("streams", "prune", "--force", "--config", device.file)
    assert {each["rule"] for each in device.streams()["in_use"]} == {"one", "two"}


def test_a_stream_of_another_ledger_goes_only_by_its_name_and_by_force(device: Device) -> None:
    device.drain("one")
    other = str(StreamName.of("0123456789ab", "one", "bucket", "00000000", part=0, parts=1))
    make_stream(device.server, other)
    assert [each["stream"] for each in device.streams()["others"]] == [other]
    for words in (["--force"], [other]):
        device.shell("streams", "prune", *words, "--config", device.file)
        assert other in device.server.streams
    assert device.shell("streams", "prune", other, "--force", "--config", device.file).code == 0
    assert other not in device.server.streams


def test_a_name_that_is_no_stream_of_ours_is_said_and_left_alone(device: Device) -> None:
    device.drain("one")
    make_stream(device.server, "somebody-else")
    answer = device.shell("streams", "prune", "somebody-else", "--force", "--config", device.file)
    assert answer.code == 1
    assert "kept: somebody-else: there is no such stream of ours" in answer.out
    assert "somebody-else" in device.server.streams


def test_the_list_says_for_people_what_each_stream_is(device: Device) -> None:
    device.drain("one")
    lines = device.shell("streams", "list").out.splitlines()
    assert len(lines) == 3
    assert all(line.startswith("in use     s3fu-") and "# rule one; " in line for line in lines)
    assert sum("0 tasks to do" in line for line in lines) == 2
    assert device.shell("streams", "list", "--force").code == 2


def test_without_a_stream_manager_the_answer_is_that_it_cannot_be_reached(device: Device) -> None:
    device.drain("one")
    device.server.stop()
    answer = device.shell("streams", "list")
    assert answer.code == 3
    assert f"no Stream Manager at 127.0.0.1:{device.server.port}" in answer.err
    device.server.start()
