"""Rules at work: each with its settings and all that serves it alone, and the roster of those in force.

Whoever has something of a rule in hands keeps its ActiveRule, and so finds all that it needs also when
the rule is not in force any more. Rows of the ledger are led to the rule in force by the roster.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from s3_file_uploader.config import manner_of, place_of
from s3_file_uploader.ledger import Destination
from s3_file_uploader.pipeline.threads import Worker
from s3_file_uploader.pipeline.way import way_of
from s3_file_uploader.source.selection import Selection

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Iterator

    from s3_file_uploader.config import Rule
    from s3_file_uploader.model import Receipt
    from s3_file_uploader.pipeline.disposal import Taken
    from s3_file_uploader.pipeline.gate import Gate
    from s3_file_uploader.pipeline.watching import Watching
    from s3_file_uploader.source.readiness import Marker, Policy
    from s3_file_uploader.transport.contract import Transport

__all__ = ["ActiveRule", "Roster", "Tray", "destination_of", "pauses_with", "store_of"]


def destination_of(rule: Rule, among: Iterable[Rule] = ()) -> str:
    """What pauses and resumes together: one prefix of one bucket behind one endpoint with one set of credentials.

    A store may refuse what one rule wants of its objects, or their prefix, and take another's: rules
    `among` which some want or reach the same bucket otherwise are told apart by their names. Through
    Stream Manager each rule has its own streams, which may be full or gone for that rule alone.
    """
    if rule.transport == "stream-manager":
        return f"s3://{rule.bucket_name} stream-manager:{rule.stream_manager_port} ({rule.name})"
    parts = [f"s3://{rule.bucket_name}", rule.endpoint_url or rule.region, rule.profile]
    shown = " ".join(part for part in parts if part)
    others = [one for one in among if destination_of(one) == shown]
    alike = [one.name for one in others if pauses_with(one) == pauses_with(rule)]
    return shown if len(alike) == len(others) else f"{shown} ({', '.join(alike)})"


def store_of(rule: Rule) -> tuple[str, str]:
    """Where object names are one space, whoever sends there."""
    return rule.bucket_name, rule.endpoint_url


def pauses_with(rule: Rule) -> tuple[object, ...]:
    """Equal for rules that share a gate."""
    return place_of(rule), manner_of(rule), rule.object_key_prefix


@dataclass(slots=True)
class Tray:
    """A rule's delivered files on their way out: `waiting` for a batch, and all together."""

    waiting: list[Taken] = field(default_factory=list)
    count: int = 0
    under_way: int = 0  # batches
    is_gathering: bool = False  # the next batch is about to start


@dataclass(slots=True, eq=False)
class ActiveRule:
    """One rule, from the moment its settings came into force until nobody has anything of it in hands.

    `looked_at` is when its first whole scan ended, on the running clock; None before. `is_leaving`: it
    takes up nothing any more, and what it still sees is void.
    """

    setting: Rule
    destination: str
    gate: Gate
    transport: Transport
    id: int = 0  # in the ledger; several that bear one name, one after the other, have the same
    started_at: float = 0.0  # on the running clock
    looked_at: float | None = None
    is_leaving: bool = False
    selection: Selection = field(init=False)
    place: Destination = field(init=False)
    looking: Worker = field(init=False)
    disposing: Worker = field(init=False)
    watching: Watching | None = None
    markers: asyncio.Future[dict[int, Marker]] | None = None  # the last look at done markers
    policy: Policy | None = None  # made when it is first asked for
    plain_details: dict[str, Any] | None = None  # of the removals of files without marker and archive
    tray: Tray = field(default_factory=Tray)
    deliveries: dict[asyncio.Future[Receipt], int] = field(default_factory=dict)  # and the row of each

    def __post_init__(self) -> None:
        setting = self.setting
        self.selection = Selection.parse(
            setting.path_name,
            include=setting.include,
            exclude=setting.exclude,
            done_marker=setting.done_marker,
        )
        self.place = Destination(way_of(setting), setting.bucket_name)
        self.looking = Worker(f"look-{setting.name}")
        self.disposing = Worker(f"dispose-{setting.name}")

    @property
    def name(self) -> str:
        return self.setting.name

    @property
    def base(self) -> bytes:
        return self.selection.pattern.base

    @property
    def store(self) -> tuple[str, str]:
        return store_of(self.setting)

    @property
    def selected_by(self) -> str:
        """By what it selects, as one text: when that changes, files may no longer be its own."""
        setting = self.setting
        return repr((setting.path_name, setting.include, setting.exclude, setting.done_marker))

    def looks_into(self, folder: bytes) -> bool:
        pattern = self.selection.pattern
        return pattern.holds_files(pattern.places(folder))

    def takes(self, folder: bytes, name: bytes) -> bool:
        relative = self.selection.pattern.relative_folder
        return self.looks_into(folder) and self.selection.selects(relative(folder), name)


class Roster:
    """The rules in force, shared by all who serve them. Replaced as a whole, on the loop; read from any thread."""

    def __init__(self) -> None:
        self._by_id: dict[int, ActiveRule] = {}
        self.left: set[ActiveRule] = set()  # not in force any more, and their watching is not closed yet

    def __iter__(self) -> Iterator[ActiveRule]:
        return iter(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def replace(self, rules: Iterable[ActiveRule]) -> None:
        self._by_id = {rule.id: rule for rule in rules}

    def get(self, number: int) -> ActiveRule | None:
        """The rule that a row of the ledger belongs to; None where it is not in force any more."""
        return self._by_id.get(number)

    def named(self, name: str) -> ActiveRule | None:
        return next((rule for rule in self if rule.name == name), None)

    @property
    def gates(self) -> dict[Gate, str]:
        """With the names of their destinations."""
        return {rule.gate: rule.destination for rule in self}

    def transport_to(self, place: tuple[object, ...]) -> Transport | None:
        """What leads to a place."""
        return next((rule.transport for rule in self if place_of(rule.setting) == place), None)

    def watchings(self) -> list[Watching]:
        """Those that are open."""
        return [rule.watching for rule in (*self, *self.left) if rule.watching is not None]
