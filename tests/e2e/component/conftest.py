"""A component beside a nucleus of each kind, and a bucket on a real store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.component_process import Device, a_device

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.seaweed import SeaweedFS


@pytest.fixture
def device(
    request: pytest.FixtureRequest, tmp_path: Path, seaweed: SeaweedFS, bucket: str
) -> Iterator[Device]:
    """Beside a classic nucleus, unless `ON_BOTH` parametrizes it."""
    with a_device(getattr(request, "param", "classic"), tmp_path, seaweed, bucket) as made:
        yield made
