"""Fixtures that any test may ask for. What is more than a fixture lives in tests/support/."""

from __future__ import annotations

import os
import shutil
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.local_stream_manager import LocalStreamManager
    from support.other_stores import Moto, Rclone
    from support.seaweed import SeaweedFS

# How fast a machine is, and what else it does at the moment, is not for a test to judge.
settings.register_profile(
    "tests", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("tests")

_home = pytest.StashKey[str]()


def pytest_configure(config: pytest.Config) -> None:
    """No setting of whoever runs the tests may change an outcome: not their AWS, proxy or home."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "XDG_")) or name.lower().endswith("_proxy"):
            del os.environ[name]
    # Tests start the program too. It need not be installed: with the requirements alone `pytest tests` works.
    sources = os.path.join(config.rootpath, "src")
    os.environ["PYTHONPATH"] = os.pathsep.join([sources, *filter(None, [os.environ.get("PYTHONPATH")])])
    config.stash[_home] = os.environ["HOME"] = tempfile.mkdtemp(prefix="s3-file-uploader-home-")
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"


def pytest_unconfigure(config: pytest.Config) -> None:
    shutil.rmtree(config.stash[_home], ignore_errors=True)


@pytest.fixture(scope="session")
def seaweed() -> Iterator[SeaweedFS]:
    """A real S3 server; one for each pytest process, shared by all its tests."""
    # Unit tests need neither the server nor botocore.
    from support.seaweed import SeaweedFS

    with SeaweedFS() as server:
        yield server


@pytest.fixture(scope="session")
def rclone() -> Iterator[Rclone]:
    """A second one, of another dialect."""
    from support.other_stores import Rclone

    with Rclone() as server:
        yield server


@pytest.fixture(scope="session")
def moto() -> Iterator[Moto]:
    """A third one, which closes the connection after each answer."""
    from support.other_stores import Moto

    with Moto() as server:
        yield server


@pytest.fixture(scope="session")
def stream_manager(
    seaweed: SeaweedFS, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalStreamManager]:
    """A Stream Manager that uploads to `seaweed`."""
    from support.local_stream_manager import start_local_stream_manager
    from support.stream_manager_place import settings_of

    folder = tmp_path_factory.mktemp("stream-manager")
    with start_local_stream_manager(folder, environment=settings_of(seaweed)) as server:
        yield server


@pytest.fixture
def bucket(seaweed: SeaweedFS) -> Iterator[str]:
    """The name of an empty bucket on `seaweed`."""
    from support.seaweed import fresh_bucket

    with fresh_bucket(seaweed) as name:
        yield name
