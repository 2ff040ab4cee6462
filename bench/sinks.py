"""The far side of the benchmark: a sink in C that discards bodies, plain or TLS, or a real SeaweedFS.

The sink is compiled here and now, with the machine's own C compiler and OpenSSL's headers; nothing
else is as fair where client and server share two cores, since a sink in Python would be what is
measured. Where they are missing, `build` says what to install.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["BUCKET", "Sink", "build", "seaweed", "sink"]

HERE = os.path.dirname(os.path.abspath(__file__))
TLS_FOLDER = os.path.join(HERE, "..", "tests", "support", "tls")
AUTHORITY = os.path.normpath(os.path.join(TLS_FOLDER, "authority.pem"))
BUCKET = "bench"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "bench",
    "AWS_SECRET_ACCESS_KEY": "bench-secret",
    "AWS_REGION": "us-east-1",
}


@dataclass(slots=True)
class Sink:
    """A running far side. `tally` is what a sink says it got, once it has ended."""

    url: str
    environment: dict[str, str]
    tally: dict[str, float] = field(default_factory=dict)


def build(folder: str) -> str:
    """Compile the sink into `folder`; its path."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit(
            "bench: no C compiler was found.\nTry: install gcc and OpenSSL's headers (Debian: libssl-dev)"
        )
    program = os.path.join(folder, "sink")
    source = os.path.join(HERE, "sink.c")
    command = [compiler, "-O2", "-o", program, source, "-lssl", "-lcrypto"]
    if subprocess.run(command, check=False).returncode:
        sys.exit("bench: sink.c does not compile.\nTry: install OpenSSL's headers (Debian: libssl-dev)")
    return program


@contextlib.contextmanager
def sink(program: str, *, tls: bool, latency_ms: int = 0) -> Iterator[Sink]:
    """The sink on a free port of the loopback address."""
    command = [program, "0", "--latency", str(latency_ms)]
    if tls:
        command += ["--tls", os.path.join(TLS_FOLDER, "localhost.pem")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        port = int(process.stdout.readline())
        running = Sink(f"{'https' if tls else 'http'}://localhost:{port}", dict(CREDENTIALS))
        try:
            yield running
        finally:
            process.stdin.close()
            running.tally.update(json.loads(process.stdout.read()))


@contextlib.contextmanager
def seaweed() -> Iterator[Sink]:
    """A real S3 server with an empty bucket; it checks signatures and checksums, as S3 does."""
    # The measuring process must stay small: the server is started, and its bucket made, by another.
    keeper = os.path.join(HERE, "seaweed_keeper.py")
    with subprocess.Popen(
        [sys.executable, keeper, BUCKET], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        environment = json.loads(process.stdout.readline())
        try:
            yield Sink(environment["AWS_ENDPOINT_URL_S3"], environment)
        finally:
            process.stdin.close()
