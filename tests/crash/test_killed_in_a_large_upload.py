"""The real uploader dies by SIGKILL at each step of a multipart upload to a real store, and goes on from there.

No part that had arrived is sent again, the object is the file, and nothing that was ever known is left
behind. `CRASH_STRIDE=1` takes every step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import s3_file_uploader
from support import multipart_crash_runs

if TYPE_CHECKING:
    from support.seaweed import SeaweedFS

_LANES = 4  # a life waits more than it works
_STRIDE = 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_killed_at_any_step_of_a_large_upload_it_goes_on_and_leaves_nothing_behind(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str
) -> None:
    stride = int(os.environ.get("CRASH_STRIDE", _STRIDE))
    paths = [Path(s3_file_uploader.__file__).parents[1], Path(multipart_crash_runs.__file__).parents[1]]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "STORE_URL": seaweed.endpoint_url,
        "AWS_REGION": seaweed.region,
        "STORE_KEY": seaweed.access_key,
        "STORE_SECRET": seaweed.secret_key,
    }
    program = multipart_crash_runs.__file__
    lanes = [
        subprocess.Popen(
            [sys.executable, program, str(tmp_path), bucket, str(1 + lane * stride), str(_LANES * stride)],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for lane in range(_LANES)
    ]
    told = [json.loads(line) for lane in lanes for line in lane.communicate()[0].splitlines()]
    try:
        assert [one for one in told if "wrong" in one] == []
        assert [lane.returncode for lane in lanes] == [0] * _LANES
        reached = [one for one in told if one["reached"]]
        assert len(reached) > 25 / stride
        assert sum(one["resumed"] > 0 for one in reached) > 8 / stride
    finally:
        client = seaweed.client()
        for key, upload_id in seaweed.open_uploads(bucket):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
        for key in seaweed.list_objects(bucket):
            client.delete_object(Bucket=bucket, Key=key)
