"""A change of the component's configuration, while it runs."""

from __future__ import annotations

from s3_file_uploader.cli.exit_codes import ExitCode
from support.component_process import (
    LOCAL_TOPIC,
    ON_BOTH,
    Device,
    published,
)


@ON_BOTH
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


@ON_BOTH
def test_a_bad_change_is_refused_and_the_old_configuration_stays_in_force(device: Device) -> None:
    with device.running() as component:
        component.says("started")
        device.deploy(Interval="never again", ObjectKeyPrefix="new")
        component.says("ERROR configuration_refused", "Interval is 'never again'", "allowed: a time")
        device.write("a.txt", 100)
        device.write("b.txt", 200)
        component.says("delivered", "key=a.txt")
        device.nucleus.record.wait_for(
            lambda: any(one["configuration_refused"] for one in published(device, LOCAL_TOPIC))
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
