"""S3 transports to scripted endpoints, with short deadlines and credentials that need no chain."""

from __future__ import annotations

import os
import socket
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from s3_file_uploader.transport.s3.connection import Deadlines
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.resolver import Resolver
from s3_file_uploader.transport.s3.transport import S3Transport
from support.scripted_s3 import TLS_FOLDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from support.scripted_s3 import ScriptedS3

__all__ = ["FIXED", "IMPATIENT", "MIB", "PATIENT", "looking_up", "new_file", "transport_to"]

MIB = 1024 * 1024
IMPATIENT = Deadlines(resolve=5, connect=5, tls=5, progress=0.4, complete=0.5, proceed=0.1, credentials=5)
PATIENT = Deadlines(proceed=5)


def FIXED() -> CredentialSource:
    return CredentialSource(fetch=lambda profile, seconds: ("id", "secret", None, None))


@asynccontextmanager
async def transport_to(
    store: ScriptedS3,
    *,
    deadlines: Deadlines = IMPATIENT,
    url: str = "",
    region: str = "eu-test-1",
    ca_bundle: str = os.path.join(TLS_FOLDER, "authority.pem"),
    **settings: Any,
) -> AsyncIterator[S3Transport]:
    """`url` where the store is to be reached by another name."""
    settings.setdefault("credentials", FIXED())
    endpoint = Endpoint.of("bucket", region, url or store.url, "auto", ca_bundle)
    transport = S3Transport(endpoint, deadlines=deadlines, **settings)
    try:
        yield transport
    finally:
        await transport.close()


def looking_up(
    *answers: list[tuple[str, int]] | OSError, monotonic: Callable[[], float] = time.monotonic
) -> Resolver:
    """A resolver whose system gives these answers one after the other, the last for ever."""
    left = list(answers)

    def look_up(host: str, port: int, **more: Any) -> list[Any]:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, OSError):
            raise answer
        return [
            (socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, at))
            for address, at in answer
        ]

    return Resolver(look_up=look_up, monotonic=monotonic)


def new_file(folder: Path, size: int, name: str = "file") -> str:
    path = folder / name
    path.write_bytes(os.urandom(min(size, MIB)) + b"x" * max(0, size - MIB))
    return str(path)
