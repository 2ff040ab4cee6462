"""The whole way: the published recipe and the built artifact on a nucleus, until the files are in a real store."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from component.devices import CURRENT, NEW
from component.gdk import Built, publish
from support.component_process import until
from support.nucleus import CLASSIC, LITE, FakeNucleus, Installed

if TYPE_CHECKING:
    from support.local_stream_manager import LocalStreamManager
    from support.nucleus import Script
    from support.seaweed import SeaweedFS

pytestmark = pytest.mark.slow
_GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "greengrass.md"


@pytest.fixture(params=[LITE, CLASSIC])
def nucleus_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Deployed:
    """A component that was deployed locally, with a folder to empty."""

    def __init__(
        self,
        recipe: dict[str, Any],
        artifact: Path,
        home: Path,
        kind: str,
        said: dict[str, Any],
        python: str = CURRENT,
    ) -> None:
        self.folder = home / "data"
        self.folder.mkdir()
        self._python = home / "bin"
        self._python.mkdir()
        (self._python / "python3").symlink_to(python)
        quick = {
            "PathName": f"{self.folder}/*.txt",
            "SettleTime": 0.1,
            "SettleTimeUnverified": "0.1",
            "Interval": 1,
        }
        self.name = recipe["ComponentName"]
        self.nucleus = FakeNucleus(kind, component=self.name, recipe=recipe, configuration={**quick, **said})
        self._installed = Installed(recipe, [artifact], home / "gg", kind=kind, is_local=True)

    def start(self, phase: str, **more: str) -> Script:
        given = self.nucleus.environment(self.name, self._installed.work, thing_name="car7")
        nowhere = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
        return self._installed.start(
            phase, {**given, **nowhere, "PATH": f"{self._python}:/usr/bin:/bin", **more}
        )

    def walk_through(self) -> None:
        """What the guide says is to be typed, in this folder."""
        for line in re.findall(r"^echo .*$", _GUIDE.read_text(encoding="utf-8"), re.MULTILINE):
            typed = line.replace("/home/ggc_user/upload", shlex.quote(str(self.folder)))
            subprocess.run(["sh", "-c", typed], check=True)
        assert sorted(path.name for path in self.folder.iterdir()) == ["test1.txt", "test2.txt"]

    def run_until_only(self, left: str, **more: str) -> str:
        """Its log, from the installation to the end of the program that was asked to stop."""
        with self.nucleus:
            with self.start("install") as install:
                assert (install.wait(100), install.errors) == (0, "")
            with self.start("run", **more) as run:
                until(lambda: [path.name for path in self.folder.iterdir()] == [left] or not run.is_running)
                assert run.is_running, run.output + run.errors
                self.nucleus.record.wait_for(lambda: self.nucleus.record.published)
                assert (run.stop(), run.errors) == (0, "")
                return run.output


@pytest.fixture
def keys(seaweed: SeaweedFS) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": seaweed.access_key, "AWS_SECRET_ACCESS_KEY": seaweed.secret_key}


def test_the_direct_component_uploads_with_what_its_artifact_brings(
    direct: Built,
    bundled_direct: Path,
    tmp_path: Path,
    nucleus_kind: str,
    seaweed: SeaweedFS,
    bucket: str,
    keys: dict[str, str],
) -> None:
    said = {"BucketName": bucket, "EndpointUrl": seaweed.endpoint_url, "ObjectKeyPrefix": "!{thingName}"}
    component = Deployed(publish(direct, "b", "1.0.0"), bundled_direct, tmp_path, nucleus_kind, said)
    component.walk_through()

    log = component.run_until_only("test2.txt", **keys)

    assert seaweed.list_objects(bucket) == {"car7/test1.txt": 4}
    assert "delivered" in log
    assert "denied" not in log.lower()
    assert [one.topic for one in component.nucleus.record.published if not one.is_to_iot_core][:1] == [
        "s3-file-uploader/telemetry"
    ]


@pytest.mark.parametrize("version", NEW)
def test_the_component_uploads_through_stream_manager_with_what_its_artifact_brings(
    plain: Built,
    bundled: Path,
    tmp_path: Path,
    nucleus_kind: str,
    version: str,
    seaweed: SeaweedFS,
    bucket: str,
    stream_manager: LocalStreamManager,
) -> None:
    recipe, said = publish(plain, "b", "1.0.0"), {"BucketName": bucket}
    component = Deployed(recipe, bundled, tmp_path, nucleus_kind, said, NEW[version])
    component.walk_through()

    component.run_until_only("test2.txt", STREAM_MANAGER_SERVER_PORT=str(stream_manager.port))

    assert seaweed.list_objects(bucket) == {"test1.txt": 4}
