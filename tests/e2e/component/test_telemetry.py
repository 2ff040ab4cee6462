"""What the fleet is told."""

from __future__ import annotations

from support.component_process import (
    LOCAL_TOPIC,
    ON_BOTH,
    Device,
    published,
    told,
    until,
)

_IN_THE_CLOUD = "s3-file-uploader/car7"


@ON_BOTH
def test_the_fleet_is_told_what_was_delivered_and_what_waits(device: Device) -> None:
    for number, name in enumerate(["a.txt", "b.txt", "c.txt"]):
        device.write(name, 100 + number)
    with device.running(TelemetryTopic="s3-file-uploader/!{thingName}", TelemetryInterval="5") as component:
        component.says("delivered", "b.txt")
        messages = [told(device, topic, delivered_files=2) for topic in (LOCAL_TOPIC, _IN_THE_CLOUD)]

    for said in messages:
        assert (said["version"], said["thing"], said["state"]) == (1, "car7", "ok")
        assert (said["delivered_bytes"], said["backlog_files"], said["held_files"]) == (10, 0, 1)
        assert said["rules"][0]["name"] == "default"


def test_trouble_and_its_end_are_told_at_once(device: Device) -> None:
    later = device.folder / "later"
    later.mkdir()
    with device.running(PathName=f"{later}/*.txt", TelemetryInterval="1 h") as component:
        device.nucleus.record.wait_for(lambda: published(device, LOCAL_TOPIC))
        later.rmdir()
        component.says("waiting_for_folder")
        said = told(device, LOCAL_TOPIC, state="trouble", missing_folders=1)
        assert said["last_trouble"]["event"] == "waiting_for_folder"
        later.mkdir()
        component.says("folder_back")
        device.nucleus.record.wait_for(lambda: published(device, LOCAL_TOPIC)[-1]["state"] == "ok")


@ON_BOTH
def test_many_rules_fit_into_what_the_nucleus_carries(device: Device) -> None:
    rules = [
        {"Name": f"rule-with-a-long-name-{number:03}", "PathName": f"{device.folder}/{number}/*.txt"}
        for number in range(45)
    ]
    with device.running(TelemetryTopic=_IN_THE_CLOUD, Rules=rules) as component:
        local, cloud = (told(device, topic) for topic in (LOCAL_TOPIC, _IN_THE_CLOUD))
        assert component.is_running

    for said in (local, cloud):
        assert said["rules_left_out"] + len(said["rules"]) == 45
    assert cloud["rules_left_out"] > 0
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
