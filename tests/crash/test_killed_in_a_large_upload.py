"""The real uploader dies by SIGKILL at each step of a multipart upload to a real store, and goes on from there.

No part that had arrived is sent again, the object is the file, and nothing that was ever known is left
behind. Every step is taken, in several tests that can run side by side.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import multipart_crash_runs
from support.lives import play_in_lanes

if TYPE_CHECKING:
    from pathlib import Path

    from support.seaweed import SeaweedFS

_LANES = 3  # a life waits more than it works
_SHARES = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("share", range(_SHARES))
def test_killed_at_any_step_of_a_large_upload_it_goes_on_and_leaves_nothing_behind(
    tmp_path: Path, seaweed: SeaweedFS, bucket: str, share: int
) -> None:
    store = {
        "STORE_URL": seaweed.endpoint_url,
        "AWS_REGION": seaweed.region,
        "STORE_KEY": seaweed.access_key,
        "STORE_SECRET": seaweed.secret_key,
    }
    program, arguments = multipart_crash_runs.__file__, [str(tmp_path), bucket]
    try:
        told = play_in_lanes(
            program, arguments, lanes=_LANES, stride=_SHARES, first=1 + share, environment=store
        )
        reached = [one for one in told if one["reached"]]
        assert len(reached) > 25 / _SHARES
        assert sum(one["resumed"] > 0 for one in reached) > 8 / _SHARES
    finally:
        # What nobody knew of when its process died stays in the store; its bucket shall be empty.
        client = seaweed.client()
        for key, upload_id in seaweed.open_uploads(bucket):
            client.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=upload_id)
