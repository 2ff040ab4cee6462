"""What the tests and the demo rely on in their S3 server, and that it goes when it should."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import textwrap
import time
from typing import TYPE_CHECKING

import pytest
from awscrt.checksums import crc64nvme
from botocore.exceptions import ClientError

from s3_file_uploader.demo.bucket import BucketAnswer
from support.seaweed import SeaweedFS

if TYPE_CHECKING:
    from collections.abc import Callable


def test_it_echoes_the_crc64nvme_of_an_upload(seaweed: SeaweedFS, bucket: str) -> None:
    body = os.urandom(100_000)
    checksum = base64.b64encode(crc64nvme(body).to_bytes(8, "big")).decode()

    answer = seaweed.client().put_object(Bucket=bucket, Key="a b#c", Body=body, ChecksumCRC64NVME=checksum)

    assert answer["ChecksumCRC64NVME"] == checksum
    assert seaweed.list_objects(bucket) == {"a b#c": len(body)}
    assert seaweed.read_object(bucket, "a b#c") == body


def test_it_refuses_a_body_that_does_not_match_its_checksum(seaweed: SeaweedFS, bucket: str) -> None:
    wrong = base64.b64encode(crc64nvme(b"something else").to_bytes(8, "big")).decode()

    with pytest.raises(ClientError, match="BadDigest"):
        seaweed.client().put_object(Bucket=bucket, Key="key", Body=b"something", ChecksumCRC64NVME=wrong)

    assert seaweed.list_objects(bucket) == {}


def test_it_refuses_a_wrong_signature(seaweed: SeaweedFS, bucket: str) -> None:
    stranger = seaweed.bucket(bucket)
    stranger._credentials = type(stranger._credentials)(seaweed.access_key, "not the secret")

    with pytest.raises(BucketAnswer, match="SignatureDoesNotMatch"):
        stranger.put("key", b"")
    stranger.close()


def test_its_bucket_lists_and_reads_what_was_put(seaweed: SeaweedFS, bucket: str) -> None:
    own = seaweed.bucket(bucket)
    bodies = {f"päth/{number} +%.csv": b"x" * number for number in range(10)}
    for key, body in bodies.items():
        own.put(key, body)

    assert dict(own.objects(page_length=3)) == {key: len(body) for key, body in bodies.items()}
    assert own.content("päth/7 +%.csv").size_bytes == 7
    own.close()


_HOLDER = textwrap.dedent(
    """
    import sys, time
    from s3_file_uploader.demo.seaweed import SeaweedFS
    server = SeaweedFS()
    server.start()
    print(server.folder, server._process.pid, flush=True)
    time.sleep(600)
    """
)


def test_nothing_of_it_stays_when_its_holder_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLDER], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        folder, keeper = holder.stdout.readline().split()
        weed = _children(int(keeper))
        assert len(weed) == 1
        holder.send_signal(signal.SIGKILL)

    _wait_until(lambda: not os.path.exists(folder))
    _wait_until(lambda: not os.path.exists(f"/proc/{weed[0]}"))


def test_the_server_does_not_outlive_a_killed_keeper() -> None:
    server = SeaweedFS()
    server.start()
    assert server._process is not None
    weed = _children(server._process.pid)

    server._process.kill()

    _wait_until(lambda: not os.path.exists(f"/proc/{weed[0]}"))
    server.stop()


def _children(pid: int) -> list[int]:
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def _wait_until(true: Callable[[], bool]) -> None:
    for _ in range(500):
        if true():
            return
        time.sleep(0.02)
    raise AssertionError("it did not happen")
