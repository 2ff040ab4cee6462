"""Two more real S3 servers, of dialects that differ: rclone's `serve s3` and moto's.

Each pytest process starts its own with the first test that asks (0.2 s and 1.5 s), on a port that the
system chose and the server names in its log. A keeper ends them when the process dies, however it dies.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from abc import abstractmethod
from typing import TYPE_CHECKING, BinaryIO

from s3_file_uploader.demo.keeper import end_kept, remove, start_kept
from support.looked_at import LookedAt

if TYPE_CHECKING:
    import subprocess
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["Moto", "OtherStore", "Rclone"]

_SECONDS_TO_START = 60.0
_SECONDS_BETWEEN_LOOKS = 0.02


class OtherStore(LookedAt):
    """A server of one's own: `with Rclone() as server: ... server.endpoint_url ...`."""

    region = "us-east-1"
    announced = re.compile(rb"(http://127\.0\.0\.1:[0-9]+)")

    def __init__(self) -> None:
        self.access_key = f"test{secrets.token_hex(8)}"
        self.secret_key = secrets.token_hex(20)
        self.endpoint_url = ""
        self.folder = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log: BinaryIO | None = None

    @abstractmethod
    def command(self) -> list[str]:
        """What starts it, on port 0."""

    def start(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="s3-file-uploader-store-")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `stop`; it has no name to clean up
        os.mkdir(os.path.join(self.folder, "data"))
        self._process = start_kept(
            self.command(),
            afterwards_remove=[self.folder],
            environment={**os.environ, "HOME": self.folder, "TMPDIR": self.folder},
            folder=self.folder,
            output=self._log.fileno(),
        )
        until = time.monotonic() + _SECONDS_TO_START
        while (found := self.announced.search(self.log())) is None:
            if time.monotonic() > until or self._process.poll() is not None:
                last_words = self.log()[-600:].decode("utf-8", "replace")
                self.stop()
                raise RuntimeError(f"{self.command()[0]} did not start; its last words:\n{last_words}")
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        self.endpoint_url = found[1].decode()

    def log(self) -> bytes:
        assert self._log is not None
        return os.pread(self._log.fileno(), 1 << 20, 0)

    def stop(self) -> None:
        self.close_clients()
        if self._process is not None and self._log is not None:
            end_kept(self._process)
            self._process = None
            remove(self.folder)  # where the keeper was killed
            self._log.close()

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


class Rclone(OtherStore):
    """Objects are files in a folder. It checks signatures."""

    def command(self) -> list[str]:
        keys = f"{self.access_key},{self.secret_key}"
        return [_program("rclone"), "serve", "s3", "--addr", "127.0.0.1:0", "--auth-key", keys, "data"]


class Moto(OtherStore):
    """Objects are in its memory. It checks no signature, and closes the connection after each answer."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]


def _program(name: str) -> str:
    """Beside this Python, where pip puts it, else on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), name)
    found = beside if os.access(beside, os.X_OK) else shutil.which(name)
    assert found is not None, f"{name} is not installed: `make venv`"
    return found
