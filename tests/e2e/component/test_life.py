"""The component as its nucleus sees it: how it begins, what it waits for, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.ledger.reader import Reader
from support.component_process import (
    LOCAL_TOPIC,
    ON_BOTH,
    ComponentProcess,
    Device,
    a_device,
    published,
    until,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support.other_stores import Moto


# --- From the first line to the last ------------------------------------------------------------------


@ON_BOTH
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
        device.nucleus.record.wait_for(lambda: published(device, LOCAL_TOPIC))
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


# --- What can never work ends with the reason, what may come is waited for ----------------------------


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


@pytest.mark.parametrize("device", ["lite"], indirect=True)
def test_a_configuration_that_lite_cannot_hand_over_is_said_to_be_too_long(device: Device) -> None:
    rules = [
        {"Name": f"rule-{number:03}", "PathName": f"{device.folder}/{number}/*.txt"} for number in range(200)
    ]
    with device.running(Rules=rules) as component:
        assert component.ended() == ExitCode.RESTART
        component.says("ERROR restarting", "GetConfiguration", "10 000 bytes")


def test_a_stop_while_the_nucleus_does_not_answer_is_a_stop(device: Device) -> None:
    device.nucleus.stall()
    with device.running() as component:
        component.says("starting")
        assert component.stop() == ExitCode.DONE


# --- The nucleus goes away ----------------------------------------------------------------------------


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
