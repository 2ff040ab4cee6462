"""Servers and clients for the tests of the local Stream Manager."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from stream_manager import StreamManagerClient

from support.local_stream_manager import LocalStreamManager, start_local_stream_manager

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStreamManager]:
    """One for all tests of a module: each uses streams of its own."""
    with start_local_stream_manager(tmp_path_factory.mktemp("local-stream-manager")) as running:
        yield running


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[LocalStreamManager]:
    """One that a test may stop, kill and start; not started yet."""
    made = LocalStreamManager(tmp_path)
    yield made
    made.end()


@pytest.fixture
def client(server: LocalStreamManager) -> Iterator[StreamManagerClient]:
    """AWS's own."""
    with StreamManagerClient(port=server.port) as connected:
        yield connected


@pytest.fixture
def stream_name(request: pytest.FixtureRequest) -> str:
    """One that no other test uses."""
    return re.sub(r"[^\w.-]", "-", str(request.node.name), flags=re.ASCII)[:200]
