"""The component as its nucleus sees it: a real process, the real IPC, a real S3 server."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.ledger.reader import Reader
from support.component_process import ACCESS_CONTROL, ComponentProcess, Device, until
from support.credential_server import credential_server
from support.nucleus.server import FakeNucleus

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.looked_at import LookedAt
    from support.other_stores import Moto
    from support.seaweed import SeaweedFS

_LOCAL, _IN_THE_CLOUD = "s3-file-uploader/telemetry", "s3-file-uploader/car7"


@contextmanager
def a_device(kind: str, home: Path, store: LookedAt | None, bucket: str) -> Iterator[Device]:
    with FakeNucleus(kind, access_control=ACCESS_CONTROL) as nucleus:
        yield Device(home, nucleus, store, bucket)


@pytest.fixture
def device(
    request: pytest.FixtureRequest, tmp_path: Path, seaweed: SeaweedFS, bucket: str
) -> Iterator[Device]:
    with a_device(getattr(request, "param", "classic"), tmp_path, seaweed, bucket) as made:
        yield made


both = pytest.mark.parametrize("device", ["classic", "lite"], indirect=True)


def published(device: Device, topic: str) -> list[dict[str, Any]]:
    """The messages on a topic, as whoever reads them gets them."""
    return [
        json.loads(one.payload) if one.is_to_iot_core else one.payload
        for one in list(device.nucleus.record.published)
        if one.topic == topic
    ]


def told(device: Device, topic: str, **fields: Any) -> dict[str, Any]:
    """The first message on the topic that says this, once there is one."""

    def those() -> list[dict[str, Any]]:
        return [one for one in published(device, topic) if fields.items() <= one.items()]

    return device.nucleus.record.wait_for(those)[0]


# --- From the first line to the last --------------------------------------------------------------------


@both
def test_it_reads_its_configuration_over_ipc_and_uploads(device: Device) -> None:
    device.write("test1.txt", 100)
    device.write("test2.txt", 200)

    with device.running(ObjectKeyPrefix="!{thingName}") as component:
        component.says("delivered", "car7/test1.txt")
        until(lambda: not (device.folder / "test1.txt").exists())
        assert component.stop() == ExitCode.DONE

    assert device.objects() == {"car7/test1.txt": 5}
    assert (device.folder / "test2.txt").exists()


def test_numbers_are_taken_as_the_classic_nucleus_hands_them_over(device: Device) -> None:
    device.write("a.txt", 100)
    device.write("b.txt", 200)

    with device.running(Interval=1.0, Concurrency=4.0, ObjectKeyPrefix=2024.0) as component:
        component.says("delivered", "2024/a.txt")


def test_its_log_is_lines_on_standard_output_with_their_level_first_and_no_time(device: Device) -> None:
    with device.running() as component:
        assert component.says("started") == "INFO started rule=default"
        assert component.stop() == ExitCode.DONE

    assert {line.split(" ")[0] for line in component.log.lines} == {"INFO"}
    assert component.errors.lines == []


def test_its_log_is_as_detailed_as_loglevel_says(device: Device) -> None:
    with device.running(LogLevel="ERROR") as component:
        device.nucleus.record.wait_for(lambda: published(device, _LOCAL))
        component.stop()

    assert component.log.lines == ["INFO starting version=0.1.0"]


def test_it_says_that_it_runs_once_its_configuration_is_good(device: Device) -> None:
    with device.running():
        device.nucleus.record.wait_for(
            lambda: (device.nucleus.component, "RUNNING") in device.nucleus.record.states
        )


def test_its_ledger_keeps_its_name_whatever_the_rules_are(device: Device) -> None:
    with device.running() as component:
        component.says("started")

    assert (device.work / "component" / "ledger.db").exists()


# --- What can never work ends with the reason, what may come is waited for ---------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"Interval": "soon"}, ["component configuration: Interval is 'soon'", "allowed: a time"]),
        ({"PathName": "", "BucketName": ""}, ["PathName is ''", "BucketName is missing"]),
        ({"Bucketname": "x"}, ["unknown key Bucketname", "did you mean BucketName"]),
        ({"TelemetryTopic": "fleet/#"}, ["TelemetryTopic is 'fleet/#'", "wildcards"]),
        ({"StorageClass": "GLACIER", "Transport": "stream-manager"}, ["StorageClass", "cannot carry it"]),
    ],
)
def test_a_configuration_that_can_never_work_ends_it_with_the_reason(
    device: Device, wrong: dict[str, str], said: list[str]
) -> None:
    with device.running(**wrong) as component:
        assert component.ended() == ExitCode.USAGE
        component.says("ERROR configuration_refused", *said, "try=")

    assert component.errors.lines == []


def test_a_missing_folder_and_a_missing_bucket_are_waited_for(tmp_path: Path, moto: Moto) -> None:
    with a_device("classic", tmp_path, moto, "bucket-that-is-not-there") as device:
        _waits_for_folder_and_bucket(device)


def _waits_for_folder_and_bucket(device: Device) -> None:
    missing = device.folder / "later"
    with device.running(PathName=f"{missing}/*.txt", ChecksumAlgorithm="md5") as component:
        component.says("WARNING waiting_for_folder", str(missing))
        missing.mkdir()
        for name in ("a.txt", "b.txt"):
            (missing / name).write_bytes(b"1")
        component.says("ERROR paused", device.bucket)
        assert device.store is not None
        device.store.client().create_bucket(Bucket=device.bucket)
        component.says("INFO resumed")
        component.says("INFO delivered", "a.txt")


def test_a_token_that_the_nucleus_refuses_ends_it_at_once(device: Device) -> None:
    environment = {**device.environment(), "SVCUID": "of-another-life"}
    component = ComponentProcess(environment, device.work)
    try:
        assert component.ended() == ExitCode.RESTART
        component.says("ERROR restarting", "refuses our token")
    finally:
        component.close()


def test_a_stop_while_the_nucleus_does_not_answer_is_a_stop(device: Device) -> None:
    device.nucleus.stall()
    with device.running() as component:
        component.says("starting")
        assert component.stop() == ExitCode.DONE


# --- A change of configuration -----------------------------------------------------------------------------


@both
def test_a_change_is_taken_over_live(device: Device) -> None:
    with device.running(Interval="3600", Watch="false") as component:
        component.says("started")
        device.deploy(Interval="1", Watch="false")
        component.says("INFO reconfigured", "Interval")
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        component.says("delivered", "a.txt")


def test_a_change_of_many_keys_is_taken_over_as_one(device: Device) -> None:
    device.nucleus.event_spread_seconds = 0.05
    with device.running() as component:
        component.says("started")
        device.deploy(Interval="2", SettleTime="0.2", SettleTimeUnverified="0.3", ObjectKeyPrefix="new")
        line = component.says("INFO reconfigured")

        assert all(
            key in line for key in ("Interval", "SettleTime", "SettleTimeUnverified", "ObjectKeyPrefix")
        )
        assert sum("reconfigured" in line for line in component.log.lines) == 1


def test_rules_come_change_and_go_while_it_runs(device: Device) -> None:
    logs = device.folder / "logs"
    logs.mkdir()
    (logs / "x.log").write_bytes(b"1")
    csv = {"Name": "csv", "PathName": f"{device.folder}/*.csv"}
    with device.running(Rules=[csv]) as component:
        component.says("started", "csv")
        device.deploy(
            Rules=[
                {**csv, "ActiveFile": "none"},
                {
                    "Name": "logs",
                    "PathName": f"{logs}/*.log",
                    "ActiveFile": "none",
                    "ObjectKeyPrefix": "logs",
                },
            ]
        )
        component.says("INFO reconfigured", "logs", "csv")
        component.says("delivered", "logs/x.log")
        (device.folder / "y.csv").write_bytes(b"1")
        component.says("delivered", "y.csv")
        device.deploy(Rules=[{**csv, "ActiveFile": "none"}])
        component.says("INFO reconfigured", "removed=logs")
        (logs / "z.log").write_bytes(b"1")
        (device.folder / "z.csv").write_bytes(b"1")
        component.says("delivered", "z.csv")

    assert (logs / "z.log").exists()


@both
def test_a_bad_change_is_refused_and_the_old_configuration_stays_in_force(device: Device) -> None:
    with device.running() as component:
        component.says("started")
        device.deploy(Interval="never again", ObjectKeyPrefix="new")
        component.says("ERROR configuration_refused", "Interval is 'never again'", "allowed: a time")
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        component.says("delivered", "key=a.txt")
        device.nucleus.record.wait_for(
            lambda: any(one["configuration_refused"] for one in published(device, _LOCAL))
        )
        device.deploy(Interval="2", ObjectKeyPrefix="new")
        component.says("INFO reconfigured")
        device.write("c.txt", 300)
        component.says("delivered", "key=new/b.txt")


def test_a_deployment_is_told_whether_its_configuration_could_be_taken(device: Device) -> None:
    with device.running() as component:
        device.nucleus.wait_for_subscription("SubscribeToValidateConfigurationUpdates")
        bad = device.nucleus.propose(device.configuration(Interval="-1"))
        good = device.nucleus.propose(device.configuration(Interval="2"))
        component.says("INFO reconfigured", "Interval")

    assert bad is not None
    assert good is not None
    assert bad["status"] == "REJECTED"
    assert "Interval is '-1'" in bad["message"]
    assert good["status"] == "ACCEPTED"


def test_a_nucleus_that_answers_late_is_asked_again(device: Device) -> None:
    with device.running() as component:
        component.says("started")
        device.nucleus.kind.unsupported.add("GetConfiguration")
        device.deploy(Interval="2")
        component.says("WARNING configuration_unread")
        device.nucleus.kind.unsupported.discard("GetConfiguration")
        component.says("INFO reconfigured", "Interval")


def test_a_change_that_needs_another_ledger_ends_it_to_be_started_again(device: Device) -> None:
    with device.running() as component:
        component.says("started")
        device.deploy(Name="other")
        component.says("ERROR restarting", "Name")
        assert component.ended() == ExitCode.RESTART
    with device.running(Name="other") as component:
        component.says("started")
        component.stop()

    assert (device.work / "other" / "ledger.db").exists()


# --- The nucleus goes away ------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["restart", "drop"])
def test_losing_the_nucleus_ends_it_after_everything_is_saved(device: Device, how: str) -> None:
    device.write("a.txt", 100)
    device.write("b.txt", 200)
    with device.running() as component:
        component.says("delivered", "a.txt")
        getattr(device.nucleus, how)()
        assert component.ended() == ExitCode.RESTART
        component.says("ERROR restarting", "nucleus")
        component.says("INFO stopped")

    with Reader.open(str(device.work / "component")) as reader:  # type: ignore[union-attr]  # it is there
        assert reader.totals()["default"]["delivered"] == 1


def test_a_subscription_that_ends_is_asked_for_again(device: Device) -> None:
    with device.running() as component:
        component.says("started")
        device.nucleus.wait_for_subscription("SubscribeToValidateConfigurationUpdates")
        device.nucleus.close_streams()
        device.nucleus.wait_for_subscription("SubscribeToConfigurationUpdate")
        device.deploy(Interval="2")
        component.says("INFO reconfigured", "Interval")


def test_what_the_nucleus_does_not_have_is_said_once_and_done_without(device: Device) -> None:
    device.nucleus.kind.unsupported |= {"UpdateState", "SubscribeToComponentUpdates"}
    with device.running() as component:
        component.says("INFO nucleus_lacks", "operation=UpdateState")
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        component.says("delivered", "a.txt")
        component.stop()

    assert sum("nucleus_lacks" in line for line in component.log.lines) == 2


def test_a_predecessor_that_is_not_gone_yet_is_waited_for_by_another_start(device: Device) -> None:
    with device.running() as first:
        first.says("started")
        with device.running() as second:
            assert second.ended() == ExitCode.RESTART
            second.says("ERROR restarting", "holds the ledger")
        assert first.stop() == ExitCode.DONE


def test_a_process_that_cannot_come_to_its_end_leaves_before_it_is_killed() -> None:
    script = (
        "import os, signal, time\n"
        "from s3_file_uploader.cli.uploading import Stop\n"
        "with Stop(within_seconds=0.2).listening() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(3600)\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_stop_is_over_in_time_though_a_store_answers_nothing(device: Device) -> None:
    for number in range(20):
        device.write(f"{number:02}.txt", number)
    with device.running(EndpointUrl="http://127.0.0.1:9") as component:
        component.says("paused")
        assert component.stop(signal.SIGTERM) == ExitCode.DONE


# --- What the fleet is told -------------------------------------------------------------------------------------


@both
def test_the_fleet_is_told_what_was_delivered_and_what_waits(device: Device) -> None:
    for number, name in enumerate(["a.txt", "b.txt", "c.txt"]):
        device.write(name, 100 + number)
    with device.running(TelemetryTopic="s3-file-uploader/!{thingName}", TelemetryInterval="5") as component:
        component.says("delivered", "b.txt")
        messages = [told(device, topic, delivered_files=2) for topic in (_LOCAL, _IN_THE_CLOUD)]

    for said in messages:
        assert (said["version"], said["thing"], said["state"]) == (1, "car7", "ok")
        assert (said["delivered_bytes"], said["backlog_files"], said["held_files"]) == (10, 0, 1)
        assert said["rules"][0]["name"] == "default"


def test_trouble_and_its_end_are_told_at_once(device: Device) -> None:
    later = device.folder / "later"
    later.mkdir()
    with device.running(PathName=f"{later}/*.txt", TelemetryInterval="1 h") as component:
        device.nucleus.record.wait_for(lambda: published(device, _LOCAL))
        later.rmdir()
        component.says("waiting_for_folder")
        said = told(device, _LOCAL, state="trouble", missing_folders=1)
        assert said["last_trouble"]["event"] == "waiting_for_folder"
        later.mkdir()
        component.says("folder_back")
        device.nucleus.record.wait_for(lambda: published(device, _LOCAL)[-1]["state"] == "ok")


def test_many_rules_fit_into_what_the_nucleus_carries(device: Device) -> None:
    rules = [
        {"Name": f"rule-with-a-long-name-{number:03}", "PathName": f"{device.folder}/{number}/*.txt"}
        for number in range(120)
    ]
    with device.running(TelemetryTopic=_IN_THE_CLOUD, Rules=rules) as component:
        for topic in (_LOCAL, _IN_THE_CLOUD):
            said = told(device, topic)
            assert said["rules_left_out"] + len(said["rules"]) == 120
            assert said["rules_left_out"] > 0
            assert said["rules"]
        assert component.is_running

    assert not any("telemetry_failed" in line for line in component.log.lines)


def test_a_topic_that_no_policy_allows_is_said_once_and_stops_nothing(device: Device) -> None:
    with device.running(TelemetryTopic="fleet/trouble", TelemetryInterval="5") as component:
        component.says("WARNING telemetry_failed", "topic=fleet/trouble", "accessControl")
        until(lambda: len(device.nucleus.record.of("PublishToIoTCore")) >= 2)
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        component.says("delivered", "a.txt")

    assert sum("telemetry_failed" in line for line in component.log.lines) == 1


def test_topics_that_are_off_are_not_published_on(device: Device) -> None:
    device.write("a.txt", 100)
    device.write("b.txt", 200)
    with device.running(LocalTelemetryTopic="off") as component:
        component.says("delivered", "a.txt")
        component.stop()

    assert device.nucleus.record.published == []


# --- Deployments that are about to stop it ----------------------------------------------------------------------------


def test_an_update_waits_until_the_parts_of_a_large_file_have_arrived(device: Device) -> None:
    large = device.write("large.txt", 100, b"\xa5" * (40 << 20))
    device.write("newest.txt", 200)
    with device.running(MaxBandwidth="8 MB/s") as component:
        device.nucleus.wait_for_subscription("SubscribeToComponentUpdates")
        until(lambda: device.store is not None and device.store.open_uploads(device.bucket))

        codes: list[int] = []
        deferred = device.nucleus.announce_update(
            lambda: codes.append(component.stop()), longest_recheck_seconds=0.5
        )

        assert deferred.times > 0
        assert codes == [ExitCode.DONE]
        component.says("INFO update_deferred", "files=1")
    assert large.exists()
    with Reader.open(str(device.work / "component")) as reader:  # type: ignore[union-attr]  # it is there
        [upload] = reader.uploads_under_way()
    assert upload.data["parts_arrived"] > 0

    with device.running() as component:
        component.says("delivered", "large.txt")
    assert device.objects() == {"large.txt": 40 << 20}


def test_an_update_waits_no_longer_than_it_is_allowed_to(device: Device) -> None:
    device.write("large.txt", 100, b"\xa5" * (40 << 20))
    device.write("newest.txt", 200)
    with device.running(MaxBandwidth="100 KB/s", UpdateDeferral="2 s") as component:
        device.nucleus.wait_for_subscription("SubscribeToComponentUpdates")
        until(lambda: device.store is not None and device.store.open_uploads(device.bucket))

        device.nucleus.announce_update(longest_recheck_seconds=0.5)

        component.says("WARNING update_allowed", "files=1")
        assert component.stop() == ExitCode.DONE


def test_it_goes_on_after_an_update_that_did_not_stop_it(device: Device) -> None:
    with device.running() as component:
        device.nucleus.wait_for_subscription("SubscribeToComponentUpdates")
        device.nucleus.announce_update()
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        component.says("delivered", "a.txt")


# --- Credentials of the Token Exchange Service ---------------------------------------------------------------------


def test_a_token_exchange_service_that_fails_at_boot_is_waited_out(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str
) -> None:
    with a_device("classic", tmp_path, seaweed, bucket) as device, credential_server() as exchange:
        exchange.token, exchange.failing = "token-of-the-nucleus", True
        exchange.keys = (seaweed.access_key, seaweed.secret_key)
        device.more = {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": exchange.url,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": "token-of-the-nucleus",
        }
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        with device.running() as component:
            line = component.says("paused", "no AWS credentials")
            assert line.startswith("WARNING")
            exchange.failing = False
            component.says("resumed")
            component.says("delivered", "a.txt")
