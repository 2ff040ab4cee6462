"""The ways of a configuration's rules through Stream Manager: a lane for each, over one link.

Rules share the connection, the threads that look at files and the aliases; each has streams of its own.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3_file_uploader.transport.stream_manager.aliases import Aliases, alias_folder
from s3_file_uploader.transport.stream_manager.disks import Disks
from s3_file_uploader.transport.stream_manager.identity import owner_of
from s3_file_uploader.transport.stream_manager.lane import Lane
from s3_file_uploader.transport.stream_manager.link import Deadlines, Link
from s3_file_uploader.transport.stream_manager.outlets import Shape
from s3_file_uploader.transport.stream_manager.sdk import task_payload

if TYPE_CHECKING:
    from collections.abc import Callable

    from s3_file_uploader.config import Rule, Settings
    from s3_file_uploader.transport.s3 import RuleLanes
    from s3_file_uploader.transport.s3.transport import Lane as S3Lane
    from s3_file_uploader.transport.stream_manager.heads import Heads

__all__ = ["RuleWays"]


class RuleWays:
    """Opens the transport of each rule. One for each process."""

    def __init__(
        self,
        settings: Settings,
        conceal: Callable[..., None] | None = None,
        deadlines: Deadlines | None = None,
    ) -> None:
        """`conceal` is told every secret that a look at the store itself gets to know."""
        self._folder = os.path.join(settings.state_directory, settings.name)
        self._settings = settings
        self._conceal = conceal
        self._lanes: RuleLanes | None = None
        self._deadlines = deadlines
        self._aliases = Aliases(alias_folder(settings.state_directory, settings.name))
        self._disks = Disks()
        self._links: dict[int, Link] = {}
        self._has_swept = False

    def open(self, rule: Rule) -> Lane:
        """ConfigurationError where it cannot work."""
        owner = owner_of(self._folder)
        if not self._has_swept:
            self._has_swept = True
            self._aliases.sweep()
        link = self._link(rule.stream_manager_port)
        link.users += 1

        lane, heads = self._verifying(rule) if rule.verify == "head" else (None, None)

        async def let_go() -> None:
            if lane is not None:
                await lane.close()
            link.users -= 1
            if not link.users:
                await link.close()
            if not any(one.users for one in self._links.values()):
                self._disks.close()

        return Lane(
            link,
            self._disks,
            self._aliases,
            owner=owner,
            rule=rule.name,
            bucket=rule.bucket_name,
            shape=Shape(rule.streams, rule.stream_max_size_bytes, rule.stream_flush_on_write),
            metadata=dict(rule.metadata),
            payload_of=task_payload,
            mtime_text=_mtime_text if "mtime" in rule.metadata_from_file else None,
            heads=heads,
            close=let_go,
        )

    def adjust(self, settings: Settings) -> None:
        """Concurrency and MaxBandwidth concern what looks at the store itself; the rest is Stream Manager's."""
        self._settings = settings
        if self._lanes is not None:
            self._lanes.adjust(settings)

    def _verifying(self, rule: Rule) -> tuple[S3Lane, Heads]:
        """The S3 engine's way to the rule's bucket."""
        from s3_file_uploader.transport.s3 import RuleLanes  # noqa: PLC0415  # awscrt and ssl: only here
        from s3_file_uploader.transport.stream_manager.heads import Heads  # noqa: PLC0415  # as well

        if self._lanes is None:
            self._lanes = RuleLanes(self._settings, self._conceal)
        lane = self._lanes.open(rule)
        return lane, Heads(lane.shared)

    def _link(self, port: int) -> Link:
        if port not in self._links or self._links[port].is_closed:
            self._links[port] = Link(port, deadlines=self._deadlines)
        return self._links[port]


def _mtime_text(mtime_ns: int) -> str:
    from s3_file_uploader.transport.s3.attributes import mtime_text  # noqa: PLC0415  # awscrt: only here

    return mtime_text(mtime_ns)
