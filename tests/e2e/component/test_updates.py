"""Deployments that are about to stop the component."""

from __future__ import annotations

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.ledger.reader import Reader
from support.component_process import (
    Device,
    until,
)


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
