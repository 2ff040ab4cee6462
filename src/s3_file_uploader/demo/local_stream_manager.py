"""A Stream Manager of the demo's own: the command stream-manager-local, as a process on a free port."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from s3_file_uploader.demo.keeper import end_kept, start_kept
from s3_file_uploader.errors import ConfigurationError, UploaderError

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

__all__ = ["LocalStreamManager", "require_packages"]

_PACKAGES = ("stream_manager", "cbor2")  # AWS's client, and what the server speaks
_START_SECONDS = 20.0
_LOOK_SECONDS = 0.02
_GRACE_SECONDS = 10.0
_LAST_LOG_CHARACTERS = 600


def require_packages() -> None:
    """ConfigurationError where the demo through Stream Manager lacks something."""
    missing = [package for package in _PACKAGES if find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"the demo through Stream Manager needs packages that are not installed: {', '.join(missing)}",
            advice="pip install 's3-file-uploader[demo,stream-manager,stream-manager-local]'",
        )


class LocalStreamManager:
    """`folder` is for its store and its log, and somebody else's to remove."""

    def __init__(self, folder: str) -> None:
        self.port = 0
        self.log_path = os.path.join(folder, "stream-manager.log")
        self._store = os.path.join(folder, "streams")
        self._port_file = os.path.join(folder, "stream-manager.port")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, environment: Mapping[str, str]) -> None:
        """Return once it listens; UploaderError if it never does. `environment` leads it to the store."""
        command = [
            sys.executable,
            "-m",
            "stream_manager_local",
            "--port",
            "0",
            "--port-file",
            self._port_file,
        ]
        with open(self.log_path, "wb") as log:
            self._process = start_kept(
                [*command, "--store-root-dir", self._store],
                grace_seconds=_GRACE_SECONDS,
                environment=environment,
                folder=os.path.dirname(self._store),
                output=log.fileno(),
            )
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            with suppress(FileNotFoundError, ValueError), open(self._port_file, encoding="ascii") as file:
                self.port = int(file.read())
                return
            time.sleep(_LOOK_SECONDS)
        raise UploaderError(
            f"stream-manager-local did not start; its last words:\n{self._last_words()}",
            advice="Run `stream-manager-local --port 0` by hand to see what it says.",
        )

    def stop(self) -> None:
        """Does nothing when it does not run."""
        if self._process is not None:
            process, self._process = self._process, None
            end_kept(process, grace_seconds=_GRACE_SECONDS)

    def _last_words(self) -> str:
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()[-_LAST_LOG_CHARACTERS:]
