"""The end of a delivery that runs as a task: what whoever waits for it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.errors import Interrupted

if TYPE_CHECKING:
    import asyncio

    from s3_file_uploader.model import Receipt

__all__ = ["settle"]


def settle(outcome: asyncio.Future[Receipt], task: asyncio.Task[Receipt]) -> None:
    """Give `outcome` what an ended task came to, unless it has been told something already."""
    error = None if task.cancelled() else task.exception()
    if outcome.done():
        return
    if task.cancelled():
        outcome.set_exception(Interrupted("stopped"))
    elif error is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())
