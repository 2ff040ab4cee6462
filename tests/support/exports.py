"""A store of streams, an exporter and somewhere to upload to, for one test."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.credentials import Patience as CredentialPatience
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.transport import S3Transport
from stream_manager_local.export.engine import Engine
from stream_manager_local.export.executor import Exporter
from stream_manager_local.export.patience import Patience
from stream_manager_local.faults import Faults
from stream_manager_local.protocol.codes import Persistence, StatusLevel, StrategyOnFull
from stream_manager_local.protocol.definition import S3Export, StatusConfig, StreamDefinition
from stream_manager_local.settings import Settings
from stream_manager_local.store.store import Store
from support.s3_transports import IMPATIENT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from stream_manager_local.protocol.definition import OtherExport
    from support.other_stores import Moto
    from support.scripted_s3 import ScriptedS3
    from support.seaweed import SeaweedFS

__all__ = ["HASTY", "Stage", "definition", "s3_export", "staged", "to_scripted", "to_server", "until"]

HASTY = Patience(first_retry=0.01, longest_retry=0.05, status=0.05, status_retry=0.01, take_back=5)


def to_server(server: SeaweedFS | Moto) -> Callable[[str], S3Transport]:
    return lambda bucket: S3Transport(
        Endpoint.of(bucket, server.region, server.endpoint_url),
        credentials=CredentialSource(
            fetch=lambda profile, seconds: (server.access_key, server.secret_key, None, None)
        ),
    )


def to_scripted(server: ScriptedS3) -> Callable[[str], S3Transport]:
    return lambda bucket: S3Transport(
        Endpoint.of(bucket, "eu-test-1", server.url),
        credentials=CredentialSource(
            fetch=lambda profile, seconds: ("id", "secret", None, None),
            patience=CredentialPatience(first_retry=0.01, last_retry=0.02),
        ),
        deadlines=IMPATIENT,
    )


def s3_export(
    identifier: str = "s3",
    *,
    status: str | None = "status",
    level: StatusLevel = StatusLevel.INFO,
    **more: Any,
) -> S3Export:
    config = None if status is None else StatusConfig(level, status)
    return S3Export(identifier=identifier, status=config, **more)


def definition(name: str, *exports: S3Export | OtherExport, **more: Any) -> StreamDefinition:
    more.setdefault("strategy_on_full", StrategyOnFull.REJECT_NEW_DATA)
    more.setdefault("persistence", Persistence.MEMORY)
    return StreamDefinition(name=name, exports=exports, **more)


async def until(condition: Callable[[], object]) -> None:
    """Or fail after half a minute, which is for ever here."""
    deadline = asyncio.get_running_loop().time() + 30
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "it never came"
        await asyncio.sleep(0.003)


class Stage:
    """`tasks` and `status` are streams that are there from the start."""

    def __init__(self, store: Store, exporter: Exporter) -> None:
        self.store = store
        self.exporter = exporter

    def append(
        self, path: object, key: str, *, to: str = "tasks", bucket: str = "bucket", **more: Any
    ) -> int:
        """A task; `path` is an absolute path or an input URL."""
        url = path if isinstance(path, str) and path.startswith("file:") else f"file://{path}"
        task = {"inputUrl": url, "bucket": bucket, "key": key, **more}
        return self.store.get(to).append(json.dumps(task).encode())

    def statuses(self, stream: str = "status") -> list[dict[str, Any]]:
        """All that there are, as JSON values."""
        found = self.store.get(stream).read(0, 100_000, most_bytes=1 << 30)
        return [json.loads(message.payload) for message in found]

    def told(self, stream: str = "status") -> list[tuple[int, str]]:
        """Of each status, the task's number and the name of the status."""
        names = ("Success", "Failure", "InProgress", "Warning", "Canceled")
        return [
            (status["statusContext"]["sequenceNumber"], names[status["status"]])
            for status in self.statuses(stream)
        ]

    async def ended(self, count: int, stream: str = "status") -> list[tuple[int, str]]:
        """What was told once so many tasks have ended."""
        final = ("Success", "Failure", "Canceled")
        await until(lambda: sum(name in final for _, name in self.told(stream)) >= count)
        return self.told(stream)

    def cursor(self, stream: str = "tasks", export: str = "s3") -> int:
        return self.store.get(stream).cursor(export)


@asynccontextmanager
async def staged(
    root: Path,
    open_transport: Callable[[str], S3Transport] | None,
    *,
    exports: tuple[S3Export | OtherExport, ...] = (s3_export(),),
    patience: Patience = HASTY,
    faults: tuple[str, ...] = (),
    clocks: dict[str, Any] | None = None,
    wall: Callable[[], float] | None = None,
    **settings: Any,
) -> AsyncIterator[Stage]:
    """`clocks` are the store's, `wall` the exporter's; `settings` those of the server."""
    folder = root / "store"
    folder.mkdir(exist_ok=True)
    store = Store.open(folder, report=lambda line: None, **(clocks or {}))
    for each in (definition("status"), definition("tasks", *exports)):
        if each.name not in store.names():
            store.create(each)
    chosen = Settings(root=folder, **settings)
    exporter = Exporter(
        store,
        chosen,
        Faults(faults, chance=random.Random(1)),
        engine=Engine(chosen, open_transport=open_transport),
        patience=patience,
        **({} if wall is None else {"wall": wall}),
    )
    exporter.start()
    try:
        yield Stage(store, exporter)
    finally:
        await exporter.close()
        store.close()
