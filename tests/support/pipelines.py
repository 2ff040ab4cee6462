"""A running uploader over real files and a real ledger, with the fake transport at the seam."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.ledger import Ledger
from s3_file_uploader.pipeline import Summary, Uploader

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from s3_file_uploader.transport.fake import FakeTransport

__all__ = ["drain", "rule", "running", "settings", "until", "write"]


def rule(folder: Path, **more: Any) -> Rule:
    """A rule that is quick: nothing settles longer than it must."""
    values: dict[str, Any] = {
        "name": "default",
        "path_name": str(folder / "*"),
        "bucket_name": "bucket",
        "interval_seconds": 0.2,
        "settle_seconds": 0.05,
        "settle_unverified_seconds": 0.2,
        "retry_backoff_seconds": 0.05,
        "retry_backoff_max_seconds": 0.2,
    }
    return Rule(**{**values, **more})


def write(folder: Path, name: str, content: bytes = b"x", mtime: float | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    if mtime is not None:
        os.utime(path, (mtime, mtime))
    return path


def settings(state: Path, *rules: Rule, **more: Any) -> Settings:
    return Settings(name="test", state_directory=str(state), rules=rules, **more)


async def drain(settings: Settings, transport: FakeTransport, **more: Any) -> Summary:
    ledger = Ledger.open(settings.state_directory, settings.name)
    try:
        return await Uploader(settings, ledger, transports=lambda _: transport, until_done=True, **more).run()
    finally:
        ledger.close()


async def running(
    settings: Settings,
    transport: FakeTransport,
    scenario: Callable[[Uploader], Awaitable[None]],
    **more: Any,
) -> Summary:
    """Run the daemon while `scenario` plays, then stop it."""
    ledger = Ledger.open(settings.state_directory, settings.name)
    try:
        uploader = Uploader(settings, ledger, transports=lambda _: transport, **more)
        task = asyncio.ensure_future(uploader.run())
        try:
            playing = asyncio.ensure_future(scenario(uploader))
            await asyncio.wait([task, playing], return_when=asyncio.FIRST_COMPLETED, timeout=60)
            if not playing.done():
                playing.cancel()
                await task
                raise AssertionError("the daemon ended before the scenario")
            playing.result()
        finally:
            uploader.stop()
            summary = await task
        return summary
    finally:
        ledger.close()


async def until(condition: Callable[[], bool], what: str = "it") -> None:
    """Wait for something that must come; the test's own timeout is the bound."""
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{what} did not happen")
