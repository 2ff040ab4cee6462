"""Aborting uploads that a person names: by the daemon, or here where none runs."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from s3_file_uploader.control import encode_paths
from s3_file_uploader.observe.snapshot import path_fields
from s3_file_uploader.pipeline.leftovers import Aborted, Leftovers, Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3_file_uploader.cli.places import Place
    from s3_file_uploader.config import Settings
    from s3_file_uploader.ledger import Ledger

__all__ = ["abort_here", "aborted_json", "wanted_json"]


def wanted_json(wanted: Wanted) -> dict[str, Any]:
    """What the daemon is asked for."""
    return {"names": encode_paths(sorted(wanted.names)), "given_up": wanted.given_up, "all": wanted.all}


def aborted_json(ended: Sequence[Aborted]) -> list[dict[str, Any]]:
    """What came of each, as JSON values."""
    return [
        {
            **path_fields(one.upload.path),
            "bucket": one.upload.bucket,
            "key": one.upload.key,
            "upload_id": one.upload.data.get("upload_id"),
            "error": one.error or None,
            "try": one.advice or None,
        }
        for one in ended
    ]


def abort_here(place: Place, wanted: Wanted) -> list[dict[str, Any]]:
    """Take the ledger for that moment. LedgerBusy where somebody else holds it."""
    import asyncio  # noqa: PLC0415  # only where no daemon does it

    from s3_file_uploader.ledger import Ledger  # noqa: PLC0415  # as above

    state_directory, name = os.path.split(place.folder)
    ledger = Ledger.open(state_directory, name)
    try:
        return aborted_json(asyncio.run(_abort(ledger, place.settings, wanted)))
    finally:
        ledger.close()


async def _abort(ledger: Ledger, settings: Settings, wanted: Wanted) -> list[Aborted]:
    import random  # noqa: PLC0415  # only where no daemon does it

    from s3_file_uploader.observe.log import conceal  # noqa: PLC0415  # as above
    from s3_file_uploader.pipeline.clock import Clock  # noqa: PLC0415  # as above
    from s3_file_uploader.transport.registry import opener  # noqa: PLC0415  # as above

    async def write(job: Callable[..., Any], *arguments: Any) -> Any:
        with ledger.transaction(durable=True):
            return job(*arguments)

    clock = Clock()
    clock.begin(ledger.running_clock_start())
    leftovers = Leftovers(
        ledger, write, clock=clock, random=random.random, open_transport=opener(settings, conceal)
    )
    return await leftovers.abort(wanted)
