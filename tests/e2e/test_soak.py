"""Against a real S3 server: four producers at once, hostile names, and nothing is lost or halved.

`SOAK_FILES`, `SOAK_SECONDS`, `SOAK_ROUNDS` and `SOAK_SEED` make it longer or repeat it (`make soak`).
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from support.producers import LONGEST_NAME_BYTES
from support.soak import Soak

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import SeaweedFS

_FILES = int(os.environ.get("SOAK_FILES", "2000"))
_SECONDS = float(os.environ.get("SOAK_SECONDS", "15"))
_ROUNDS = int(os.environ.get("SOAK_ROUNDS", "1"))
_SEED = int(os.environ.get("SOAK_SEED", "0")) or random.randrange(1, 1_000_000)
_LONGEST_VERSIONED_NAME_BYTES = 240  # SeaweedFS appends to a name whose versions it keeps


@pytest.mark.slow
@pytest.mark.timeout(120 + 20 * _SECONDS)
@pytest.mark.parametrize("number", range(_ROUNDS))
@pytest.mark.parametrize("kill", [False, True], ids=["left alone", "killed every few seconds"])
def test_whatever_four_producers_write_arrives_whole_and_nothing_is_lost(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str, kill: bool, number: int
) -> None:
    seed = _SEED + number
    print(f"SOAK_SEED={seed} SOAK_FILES={_FILES} SOAK_SECONDS={_SECONDS:g}")
    if kill:
        # Every object that ever stood under a key is then there to be read at the end.
        seaweed.client().put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    soak = Soak(
        *(tmp_path, seaweed, bucket, _FILES, _SECONDS, seed, kill),
        longest_name=_LONGEST_VERSIONED_NAME_BYTES if kill else LONGEST_NAME_BYTES,
    )
    try:
        with soak.watcher:
            soak.run()
        held = soak.expected_to_stay()
        soak.assert_consistent(held)
        soak.assert_nothing_left_behind()
        assert soak.watcher.looks > 3

        soak.close_what_is_open()
        soak.drain_all()
        if kill:
            soak.watcher.check_versions()
            soak.assert_no_version_lost()
        soak.assert_consistent(set())
        soak.assert_nothing_left_behind()
        soak.assert_no_upload_with_content_left()
        print(f"{soak.kills} kills, {soak.watcher.looks} looks, {soak.records.bytes_written / 1e6:.0f} MB")
    finally:
        soak.end()
