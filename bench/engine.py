"""The S3 engine by itself: uploads all files of a folder and removes each once its receipt is here.

    python -m bench.engine FOLDER ENDPOINT_URL

No ledger, no second look, no lease, no hidden names: what is left is what the engine costs. `bench.compare`
runs it beside the whole program (`--only engine --only s3-file-uploader`).
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass

from bench.sinks import BUCKET

from s3_file_uploader.config.machine import files_in_flight
from s3_file_uploader.errors import FileChanged
from s3_file_uploader.model import Checkpoint, Fingerprint
from s3_file_uploader.transport.contract import Delivery
from s3_file_uploader.transport.s3 import S3Transport, open_s3_transport


class _Open:
    def __init__(self, path: str, fingerprint: Fingerprint) -> None:
        self._fingerprint = fingerprint
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def fileno(self) -> int:
        return self._descriptor

    @property
    def size(self) -> int:
        return self._fingerprint.size

    def check_unchanged(self) -> None:
        if Fingerprint.of(os.fstat(self._descriptor)) != self._fingerprint:
            raise FileChanged("the file has changed")

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    fingerprint: Fingerprint

    def open(self) -> _Open:
        return _Open(self.path, self.fingerprint)


async def _save(_checkpoint: Checkpoint | None) -> None: ...


async def _send(transport: S3Transport, folder: str) -> None:
    room = asyncio.Semaphore(2 * files_in_flight())

    async def send(number: int, entry: os.DirEntry[str]) -> None:
        source = _File(entry.path, Fingerprint.of(entry.stat()))
        try:
            await transport.deliver(Delivery(number, source, BUCKET, f"engine/{entry.name}", _save))
            os.unlink(entry.path)
        finally:
            room.release()

    sent: list[asyncio.Task[None]] = []
    for number, entry in enumerate(list(os.scandir(folder))):
        await room.acquire()
        sent.append(asyncio.create_task(send(number, entry)))
    await asyncio.gather(*sent)


async def _main(folder: str, url: str) -> None:
    transport = open_s3_transport(bucket=BUCKET, endpoint_url=url, region="us-east-1", path_style=True)
    try:
        await _send(transport, folder)
    finally:
        await transport.close()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
