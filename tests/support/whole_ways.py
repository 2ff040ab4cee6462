"""A running uploader with a real transport under it, as the program opens it, and its far side."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.pipeline import Summary, Uploader
from s3_file_uploader.transport.registry import opener
from support.pipelines import rule, settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from s3_file_uploader.config import Rule, Settings

__all__ = ["Way", "until"]


@dataclass
class Way:
    """`home` holds the ledger and `folder`, whose files go; `objects` says what arrived."""

    home: Path
    bucket: str
    objects: Callable[[], dict[str, bytes]]
    through: dict[str, Any] = field(default_factory=dict)
    process: dict[str, Any] = field(default_factory=dict)  # settings that are no rule's

    @property
    def folder(self) -> Path:
        folder = self.home / "data"
        folder.mkdir(exist_ok=True)
        return folder

    def rule(self, **more: Any) -> Rule:
        values = {"bucket_name": self.bucket, "active_file": "none", "key_escape": "strict", **self.through}
        return rule(self.folder, **{**values, **more})

    def settings(self, *rules: Rule, **more: Any) -> Settings:
        return settings(self.home / "state", *rules, **{**self.process, **more})

    async def drain(self, *rules: Rule) -> Summary:
        return await self._run(rules or (self.rule(),), None)

    async def run(self, scenario: Callable[[Uploader], Awaitable[None]], *rules: Rule) -> Summary:
        """Until the scenario is over; then it is stopped."""
        return await self._run(rules or (self.rule(),), scenario)

    async def _run(
        self, rules: tuple[Rule, ...], scenario: Callable[[Uploader], Awaitable[None]] | None
    ) -> Summary:
        configured = self.settings(*rules)
        ways = opener(configured)
        ledger = Ledger.open(configured.state_directory, configured.name)
        try:
            uploader = Uploader(
                configured, ledger, transports=ways, adjust=ways.adjust, until_done=scenario is None
            )
            running = asyncio.ensure_future(uploader.run())
            if scenario is not None:
                playing = asyncio.ensure_future(scenario(uploader))
                await asyncio.wait([running, playing], return_when=asyncio.FIRST_COMPLETED, timeout=90)
                uploader.stop()
                if not playing.done():
                    playing.cancel()
                    await running
                    raise AssertionError("it ended before the scenario, or the scenario never ended")
                playing.result()
            return await asyncio.wait_for(running, 90)
        finally:
            ledger.close()


async def until(condition: Callable[[], Any]) -> Any:
    """Wait for something that must come; the scenario's own deadline is the bound."""
    while not (found := condition()):  # noqa: ASYNC110  # what happens in other threads and processes
        await asyncio.sleep(0.01)
    return found
