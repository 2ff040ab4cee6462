"""The component as a process of its own: started as a nucleus does, beside a nucleus for tests and a real store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.nucleus import FakeNucleus
from support.process_log import ProcessLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from support.looked_at import LookedAt

__all__ = [
    "ACCESS_CONTROL",
    "LOCAL_TOPIC",
    "ON_BOTH",
    "ComponentProcess",
    "Device",
    "a_device",
    "published",
    "told",
    "until",
]

LOCAL_TOPIC = "s3-file-uploader/telemetry"
ON_BOTH = pytest.mark.parametrize("device", ["classic", "lite"], indirect=True)
_STOP_SECONDS = 30.0
_SOURCE = os.path.join(os.path.dirname(__file__), *("..", "..", "src"))
# The recipe's; what concerns topics only.
ACCESS_CONTROL: dict[str, Any] = {
    "aws.greengrass.ipc.pubsub": {
        "uploader:pubsub:1": {
            "operations": ["aws.greengrass#PublishToTopic"],
            "resources": ["s3-file-uploader/*"],
        }
    },
    "aws.greengrass.ipc.mqttproxy": {
        "uploader:mqttproxy:1": {
            "operations": ["aws.greengrass#PublishToIoTCore"],
            "resources": ["s3-file-uploader/*"],
        }
    },
}


def until(condition: object) -> None:
    """The test's own timeout is the bound."""
    assert callable(condition)
    while not condition():
        time.sleep(0.05)


class ComponentProcess:
    """Running, until it ends or `stop`."""

    def __init__(self, environment: Mapping[str, str], work: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "s3_file_uploader", "run"],
            env=dict(environment),
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.log = ProcessLog(self.process.stdout)
        self.errors = ProcessLog(self.process.stderr)

    def says(self, *texts: str, since: int = 0) -> str:
        return self.log.wait_for(*texts, since=since)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(_STOP_SECONDS)

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.log.close()
        self.errors.close()


class Device:
    """A folder, a nucleus and a bucket; `configuration` is what a deployment says."""

    def __init__(self, home: Path, nucleus: FakeNucleus, store: LookedAt | None, bucket: str) -> None:
        self.folder = home / "data"
        self.folder.mkdir()
        self.work = home / "work"
        self.work.mkdir()
        self.nucleus = nucleus
        self.store = store
        self.bucket = bucket
        self.more: dict[str, str] = {}
        if store is not None:
            self.more |= {"AWS_ACCESS_KEY_ID": store.access_key, "AWS_SECRET_ACCESS_KEY": store.secret_key}

    def configuration(self, **more: Any) -> dict[str, Any]:
        """Quick enough for a test; as text, since a recipe in YAML hands over nothing else."""
        return {
            "PathName": f"{self.folder}/*.txt",
            "BucketName": self.bucket,
            "ObjectKeyPrefix": "",
            "Interval": "1",
            "LogLevel": "INFO",
            "Transport": "s3",
            "EndpointUrl": self.store.endpoint_url if self.store is not None else "http://127.0.0.1:9",
            "SettleTime": "0.1",
            "SettleTimeUnverified": "0.1",
            **more,
        }

    def write(self, name: str, seconds: int, content: bytes = b"12345") -> Path:
        path = self.folder / name
        path.write_bytes(content)
        os.utime(path, (seconds, seconds))
        return path

    def environment(self) -> dict[str, str]:
        return {
            **self.nucleus.environment(self.nucleus.component, str(self.work), thing_name="car7"),
            "STATE_DIRECTORY": str(self.work),
            "PYTHONPATH": _SOURCE,
            "AWS_EC2_METADATA_DISABLED": "true",
            **self.more,
        }

    def deploy(self, **more: Any) -> None:
        self.nucleus.deploy(self.configuration(**more))

    @contextmanager
    def running(self, **more: Any) -> Iterator[ComponentProcess]:
        """With this configuration, from its first line on."""
        self.deploy(**more)
        process = ComponentProcess(self.environment(), self.work)
        try:
            yield process
        finally:
            process.close()

    def objects(self) -> dict[str, int]:
        assert self.store is not None
        return self.store.list_objects(self.bucket)


@contextmanager
def a_device(kind: str, home: Path, store: LookedAt | None, bucket: str) -> Iterator[Device]:
    with FakeNucleus(kind, access_control=ACCESS_CONTROL) as nucleus:
        yield Device(home, nucleus, store, bucket)


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
