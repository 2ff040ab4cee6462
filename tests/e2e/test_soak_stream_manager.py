"""The soak, through Stream Manager: hostile names, four producers, and kills of all that can be killed.

Now the uploader, now stream-manager-local, now both are killed, and now and then all that Stream Manager
holds is wiped, at random moments. Nothing is lost and nothing is left behind.

`SOAK_FILES`, `SOAK_SECONDS`, `SOAK_KILLS` and `SOAK_SEED` make it longer or repeat it.
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from support.local_stream_manager import start_local_stream_manager
from support.soak import Soak
from support.stream_manager_place import settings_of

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import SeaweedFS

_FILES = int(os.environ.get("SOAK_FILES", "600"))
_SECONDS = float(os.environ.get("SOAK_SECONDS", "10"))
_KILLS = int(os.environ.get("SOAK_KILLS", "20"))
_SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1_000_000)
_LONGEST_VERSIONED_NAME_BYTES = 240  # SeaweedFS appends to a name whose versions it keeps


@pytest.mark.slow
@pytest.mark.timeout(180 + 20 * _SECONDS + 10 * _KILLS)
@pytest.mark.parametrize("kill", [False, True], ids=["left alone", "killed again and again"])
def test_whatever_four_producers_write_arrives_whole_through_stream_manager_and_nothing_is_lost(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str, kill: bool
) -> None:
    print(f"SOAK_SEED={_SEED} SOAK_FILES={_FILES} SOAK_SECONDS={_SECONDS:g} SOAK_KILLS={_KILLS}")
    if kill:
        seaweed.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    with start_local_stream_manager(tmp_path, environment=settings_of(seaweed)) as server:
        soak = Soak(
            *(tmp_path, seaweed, bucket, _FILES, _SECONDS, _SEED, kill),
            longest_name=_LONGEST_VERSIONED_NAME_BYTES,
            far_side=server,
            fewest_kills=_KILLS,
            longest_life_seconds=1.5,
        )
        try:
            with soak.watcher:
                soak.run()
            soak.assert_consistent(soak.expected_to_stay())
            soak.assert_nothing_left_behind()
            soak.close_what_is_open()
            soak.drain_all()
            if kill:
                soak.watcher.check_versions()
                soak.assert_no_version_lost()
            soak.assert_consistent(set())
            soak.assert_nothing_left_behind()
            assert os.listdir(tmp_path / "state" / "s3-file-uploader" / ".aliases-soak") == []
            print(f"{soak.strikes}, {soak.watcher.looks} looks")
        finally:
            soak.end()
