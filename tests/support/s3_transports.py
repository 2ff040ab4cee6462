"""S3 transports to scripted endpoints, with short deadlines and credentials that need no chain."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from s3_file_uploader.transport.s3.connection import Deadlines
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.transport import S3Transport
from support.scripted_s3 import TLS_FOLDER

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.scripted_s3 import ScriptedS3

__all__ = ["FIXED", "IMPATIENT", "MIB", "PATIENT", "new_file", "transport_to"]

MIB = 1024 * 1024
IMPATIENT = Deadlines(resolve=5, connect=5, tls=5, progress=0.4, complete=0.5, proceed=0.1, credentials=5)
PATIENT = Deadlines(proceed=5)


def FIXED() -> CredentialSource:
    return CredentialSource(fetch=lambda profile, seconds: ("id", "secret", None, None))


@asynccontextmanager
async def transport_to(
    store: ScriptedS3, *, deadlines: Deadlines = IMPATIENT, url: str = "", **settings: Any
) -> AsyncIterator[S3Transport]:
    """`url` where the store is to be reached by another name."""
    ca_bundle = os.path.join(TLS_FOLDER, "authority.pem") if store.certificate else ""
    settings.setdefault("credentials", FIXED())
    endpoint = Endpoint.of("bucket", "eu-test-1", url or store.url, "auto", ca_bundle)
    transport = S3Transport(endpoint, deadlines=deadlines, **settings)
    try:
        yield transport
    finally:
        await transport.close()


def new_file(folder: Path, size: int, name: str = "file") -> str:
    path = folder / name
    path.write_bytes(os.urandom(min(size, MIB)) + b"x" * max(0, size - MIB))
    return str(path)
