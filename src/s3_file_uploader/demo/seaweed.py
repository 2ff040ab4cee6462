"""One SeaweedFS on this machine: an S3 server that checks signatures and checksums as S3 does.

For the demo, the tests and the benchmarks. It listens on the loopback address only, keeps its data in
a temporary folder, and is gone with that folder when whoever started it ends, however it ends.

What was measured with 4.48: `weed mini` serves after 0.8 s, `weed server` after 2.3 to 3.3 s; either
takes over 10 s to stop on SIGTERM, so it is killed: its data is thrown away anyway. The first PUT into
a bucket waits 0.2 s for a volume.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, BinaryIO

from s3_file_uploader.demo.bucket import Bucket, BucketAnswer
from s3_file_uploader.demo.keeper import end_kept, remove, start_kept
from s3_file_uploader.errors import ConfigurationError, UploaderError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["SeaweedFS", "find_weed"]

_HOST = "127.0.0.1"
_SERVICES = ("master", "volume", "filer", "s3", "admin")  # each with an HTTP and a gRPC port
# All that is not S3 off; many small volumes (each bucket has its own), made when they are needed.
_OPTIONS = (
    f"-ip={_HOST}",
    f"-ip.bind={_HOST}",
    "-webdav=false",
    "-admin.ui=false",
    "-s3.port.iceberg=0",
    "-s3.port.lance=0",
    "-master.telemetry=false",
    "-master.volumeSizeLimitMB=1024",
    "-volume.max=4096",
)
_TRIES = 4
_SECONDS_TO_SERVE = 20.0
_SECONDS_BETWEEN_LOOKS = 0.02
_LAST_LOG_CHARACTERS = 600


def find_weed() -> str:
    """The path of the `weed` program: beside this Python (where pip puts it), else on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "weed")
    found = beside if os.access(beside, os.X_OK) else shutil.which("weed")
    if found is None:
        raise ConfigurationError(
            "the demo needs a local S3 server, and the program `weed` (SeaweedFS) is not installed",
            advice="pip install 's3-file-uploader[demo]'",
        )
    return found


class SeaweedFS:
    """A server of one's own: `with SeaweedFS() as server: ... server.endpoint_url ...`.

    `access_key` and `secret_key` are made up for each server; requests signed with anything else are
    refused. All state is below `folder`. The paths in `afterwards_remove` go with it.
    """

    region = "us-east-1"

    def __init__(self, *, afterwards_remove: Sequence[str] = ()) -> None:
        self._afterwards_remove = tuple(afterwards_remove)
        self.access_key = f"demo{secrets.token_hex(8)}"
        self.secret_key = secrets.token_hex(20)
        self.endpoint_url = ""
        self.folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: list[str] = []
        self._log: BinaryIO = io.BytesIO()

    @property
    def environment(self) -> dict[str, str]:
        """What a program needs in its environment to use this server: credentials, region, endpoint."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL_S3": self.endpoint_url,
        }

    def start(self) -> None:
        """Return once the server stores and hands back an object; UploaderError if it never does."""
        weed = find_weed()
        last_words = ""
        for _ in range(_TRIES):  # a port that was free a moment ago may be taken
            self._launch(weed)
            if self._serves():
                return
            last_words = self.log()[-_LAST_LOG_CHARACTERS:]
            self.stop()
        raise UploaderError(
            f"SeaweedFS did not start; its last words:\n{last_words}",
            advice=f"Run `{weed} mini` by hand to see what it says, and look at the free memory and disk.",
        )

    def stop(self) -> None:
        """Kill the server and remove its folder; does nothing when it does not run."""
        if self._process is not None:
            end_kept(self._process)
            self._process = None
            # Only if the keeper was killed is there anything left to remove.
            for path in [self.folder, *self._sockets]:
                remove(path)
            self._log.close()

    def bucket(self, name: str) -> Bucket:
        return Bucket(
            self.endpoint_url,
            name,
            access_key=self.access_key,
            secret_key=self.secret_key,
            region=self.region,
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _launch(self, weed: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="s3-file-uploader-seaweed-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`; it has no name to clean up
        data = os.path.join(self.folder, "data")
        os.mkdir(data)
        credentials = os.path.join(self.folder, "credentials.json")
        with open(credentials, "w", encoding="utf-8") as file:
            json.dump(self._identities(), file)
        ports = _free_ports(2 * len(_SERVICES))
        http_ports = dict(zip(_SERVICES, ports[: len(_SERVICES)], strict=True))
        grpc_ports = dict(zip(_SERVICES, ports[len(_SERVICES) :], strict=True))
        self.endpoint_url = f"http://{_HOST}:{http_ports['s3']}"
        # It makes these sockets in /tmp, whatever TMPDIR says, and leaves them there.
        self._sockets = [
            *(f"/tmp/seaweedfs-{name}-{port}.sock" for name, port in http_ports.items()),  # noqa: S108 - the server's own choice
            *(f"/tmp/seaweedfs-{name}-grpc-{port}.sock" for name, port in grpc_ports.items()),  # noqa: S108 - the server's own choice
        ]
        self._process = start_kept(
            [
                weed,
                "-logtostderr=true",
                "mini",
                f"-dir={data}",
                f"-s3.config={credentials}",
                *(f"-{name}.port={port}" for name, port in http_ports.items()),
                *(f"-{name}.port.grpc={port}" for name, port in grpc_ports.items()),
                *_OPTIONS,
            ],
            afterwards_remove=[self.folder, *self._sockets, *self._afterwards_remove],
            environment={**os.environ, "HOME": self.folder, "TMPDIR": self.folder},
            folder=self.folder,
            output=self._log.fileno(),
        )

    def _identities(self) -> dict[str, object]:
        key_pair = {"accessKey": self.access_key, "secretKey": self.secret_key}
        actions = ["Admin", "Read", "Write", "List", "Tagging"]
        return {"identities": [{"name": "demo", "credentials": [key_pair], "actions": actions}]}

    def log(self) -> str:
        """What the server has said since its start."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def _serves(self) -> bool:
        """Wait until it keeps an object for us. Our keys are our own: no other server answers to them."""
        probe = self.bucket("started")
        deadline = time.monotonic() + _SECONDS_TO_SERVE
        try:
            while time.monotonic() < deadline and self._process is not None and self._process.poll() is None:
                with suppress(OSError, http.client.HTTPException, BucketAnswer):
                    probe.create()
                    probe.put("probe", b"here")
                    return probe.content("probe").size_bytes == len(b"here")
                time.sleep(_SECONDS_BETWEEN_LOOKS)
        finally:
            probe.close()
        return False


def _free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on at this moment."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((_HOST, 0))
        return [each.getsockname()[1] for each in sockets]
