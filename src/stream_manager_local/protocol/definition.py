"""What a stream is: its limits, its persistence and its exports, as values and as they stand on the wire.

The limits are those of AWS's clients, which check them before they send; a client that does not is told
which property is wrong.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stream_manager_local.protocol.codes import (
    ExportFormat,
    Persistence,
    Status,
    StatusLevel,
    StrategyOnFull,
)
from stream_manager_local.protocol.errors import Refused
from stream_manager_local.protocol.fields import Fields

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from enum import IntEnum

__all__ = [
    "DEFAULT_MAX_SIZE",
    "DEFAULT_SEGMENT_SIZE",
    "LEAST_MULTIPART_THRESHOLD",
    "OtherExport",
    "S3Export",
    "StatusConfig",
    "StreamDefinition",
]

KIB = 1 << 10
MIB = 1 << 20
DEFAULT_MAX_SIZE = 256 * MIB
DEFAULT_SEGMENT_SIZE = 16 * MIB
LEAST_MULTIPART_THRESHOLD = 5 * MIB

_LEAST_SIZE = KIB
_MOST_SEGMENT_SIZE = 2**31 - 1
_LEAST_MILLIS = 60_000
_MOST_MILLIS = (2**63 - 1) // 1_000_000  # so that nanoseconds fit into 64 bits
_LEAST_PRIORITY, _MOST_PRIORITY = 1, 10


@dataclass(frozen=True, slots=True)
class StatusConfig:
    """Where and how much an exporter tells of its tasks. Without a stream name it tells nobody."""

    level: StatusLevel = StatusLevel.INFO
    stream_name: str | None = None

    def to_wire(self) -> dict[str, object]:
        wire: dict[str, object] = {"statusLevel": int(self.level)}
        if self.stream_name is not None:
            wire["statusStreamName"] = self.stream_name
        return wire

    @classmethod
    def from_fields(cls, fields: Fields) -> StatusConfig:
        level = fields.choice("statusLevel", StatusLevel)
        return cls(
            level=StatusLevel.INFO if level is None else level,
            stream_name=fields.name("statusStreamName") if fields.has("statusStreamName") else None,
        )


@dataclass(frozen=True, slots=True)
class S3Export:
    """A task executor: each message of the stream is one file to carry to S3.

    `multipart_threshold` is in bytes, 5 MiB at least; a larger file goes in parts. A lower `priority`
    (1 to 10) goes first, none goes last.
    """

    identifier: str
    multipart_threshold: int = LEAST_MULTIPART_THRESHOLD
    priority: int | None = None
    disabled: bool = False
    status: StatusConfig | None = None

    def to_wire(self) -> dict[str, object]:
        wire: dict[str, object] = {
            "identifier": self.identifier,
            "sizeThresholdForMultipartUploadBytes": self.multipart_threshold,
        }
        if self.priority is not None:
            wire["priority"] = self.priority
        wire["disabled"] = self.disabled
        if self.status is not None:
            wire["statusConfig"] = self.status.to_wire()
        return wire

    @classmethod
    def from_fields(cls, fields: Fields) -> S3Export:
        status = fields.map("statusConfig")
        threshold = fields.integer("sizeThresholdForMultipartUploadBytes", least=LEAST_MULTIPART_THRESHOLD)
        return cls(
            identifier=fields.name("identifier"),
            multipart_threshold=LEAST_MULTIPART_THRESHOLD if threshold is None else threshold,
            priority=fields.integer("priority", least=_LEAST_PRIORITY, most=_MOST_PRIORITY),
            disabled=fields.flag("disabled"),
            status=None if status is None else StatusConfig.from_fields(status),
        )


@dataclass(frozen=True, slots=True)
class OtherExport:
    """An export to another service than S3. It is kept and described, and sends nothing.

    `kind` is its key in the export definition: `http`, `iotAnalytics`, `kinesis` or `IotSitewise` (with
    a capital I, as all clients write it). `wire` holds the properties that were given, JSON values all.
    """

    kind: str
    identifier: str
    wire: Mapping[str, object]

    def to_wire(self) -> dict[str, object]:
        return dict(self.wire)

    @classmethod
    def from_fields(cls, kind: str, fields: Fields) -> OtherExport:
        identifier = fields.name("identifier")
        wire: dict[str, object] = {"identifier": identifier}
        for key, read in _OTHER_EXPORTS[kind].items():
            value = read(fields, key)
            if value is not None:
                wire[key] = value
        return cls(kind, identifier, wire)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamDefinition:
    """`max_size` and `segment_size` are in bytes; `time_to_live_millis` None keeps messages for good."""

    name: str
    max_size: int = DEFAULT_MAX_SIZE
    segment_size: int = DEFAULT_SEGMENT_SIZE
    time_to_live_millis: int | None = None
    strategy_on_full: StrategyOnFull
    persistence: Persistence = Persistence.FILE
    flush_on_write: bool = False
    exports: tuple[S3Export | OtherExport, ...] = ()

    def to_wire(self) -> dict[str, object]:
        """With all defaults filled in, of values that CBOR and JSON both know, in the order of AWS's SDK.

        `from_wire` takes it back.
        """
        wire: dict[str, object] = {
            "name": self.name,
            "maxSize": self.max_size,
            "streamSegmentSize": self.segment_size,
        }
        if self.time_to_live_millis is not None:
            wire["timeToLiveMillis"] = self.time_to_live_millis
        wire["strategyOnFull"] = int(self.strategy_on_full)
        wire["persistence"] = int(self.persistence)
        wire["flushOnWrite"] = self.flush_on_write
        if self.exports:
            wire["exportDefinition"] = self._exports_to_wire()
        return wire

    def _exports_to_wire(self) -> dict[str, list[dict[str, object]]]:
        wire: dict[str, list[dict[str, object]]] = {}
        for each in self.exports:
            kind = each.kind if isinstance(each, OtherExport) else _S3_KEY
            wire.setdefault(kind, []).append(each.to_wire())
        return wire

    @classmethod
    def from_wire(cls, mapping: Mapping[str, object]) -> StreamDefinition:
        """Raises Refused(INVALID_REQUEST) with a text that names the property and what is allowed."""
        return cls.from_fields(Fields(mapping, "definition"))

    @classmethod
    def from_fields(cls, fields: Fields) -> StreamDefinition:
        """As `from_wire`, from properties that somebody else began to read."""
        max_size = fields.integer("maxSize", least=_LEAST_SIZE)
        segment_size = fields.integer("streamSegmentSize", least=_LEAST_SIZE, most=_MOST_SEGMENT_SIZE)
        definition = cls(
            name=fields.name("name"),
            max_size=DEFAULT_MAX_SIZE if max_size is None else max_size,
            segment_size=DEFAULT_SEGMENT_SIZE if segment_size is None else segment_size,
            time_to_live_millis=fields.integer("timeToLiveMillis", least=_LEAST_MILLIS, most=_MOST_MILLIS),
            strategy_on_full=_strategy(fields),
            persistence=fields.choice("persistence", Persistence) or Persistence.FILE,
            flush_on_write=fields.flag("flushOnWrite"),
            exports=_exports(fields),
        )
        if definition.segment_size > definition.max_size:
            raise Refused(
                Status.INVALID_REQUEST,
                f"{fields.called('streamSegmentSize')} is {definition.segment_size}: it must be at most "
                f"{fields.called('maxSize')}, which is {definition.max_size}",
            )
        return definition


def _strategy(fields: Fields) -> StrategyOnFull:
    strategy = fields.choice("strategyOnFull", StrategyOnFull)
    if strategy is None:
        raise fields.wrong("strategyOnFull", "it must be 0 (reject new data) or 1 (overwrite oldest data)")
    return strategy


def _exports(fields: Fields) -> tuple[S3Export | OtherExport, ...]:
    given = fields.map("exportDefinition")
    if given is None:
        return ()
    exports: list[S3Export | OtherExport] = [
        OtherExport.from_fields(kind, each) for kind in _OTHER_EXPORTS for each in given.maps(kind)
    ]
    exports += [S3Export.from_fields(each) for each in given.maps(_S3_KEY)]
    for identifier, count in Counter(each.identifier for each in exports).items():
        if count > 1:
            raise Refused(
                Status.INVALID_REQUEST,
                f"{fields.called('exportDefinition')} has {count} exports with the identifier "
                f"{identifier!r}: each export of a stream needs an identifier of its own",
            )
    return tuple(exports)


_S3_KEY = "s3TaskExecutor"


def _integer(least: int, most: int) -> Callable[[Fields, str], object]:
    return lambda fields, key: fields.integer(key, least=least, most=most)


def _choice(among: type[IntEnum]) -> Callable[[Fields, str], object]:
    def read(fields: Fields, key: str) -> object:
        found = fields.choice(key, among)
        return None if found is None else int(found)

    return read


def _optional(read: Callable[[Fields, str], object]) -> Callable[[Fields, str], object]:
    return lambda fields, key: read(fields, key) if fields.has(key) else None


def _target(fields: Fields, key: str) -> object:
    return fields.text(key, shortest=1)


def _batches(most: int) -> dict[str, Callable[[Fields, str], object]]:
    return {
        "batchSize": _integer(1, most),
        "batchIntervalMillis": _integer(_LEAST_MILLIS, _MOST_MILLIS),
        "priority": _integer(_LEAST_PRIORITY, _MOST_PRIORITY),
        "startSequenceNumber": _integer(0, 2**63 - 1),
        "disabled": _optional(Fields.flag),
    }


# By kind, how each property is read; the order of kinds is the order of a stream's exports.
_OTHER_EXPORTS: dict[str, dict[str, Callable[[Fields, str], object]]] = {
    "http": {"uri": _target, **_batches(500), "exportFormat": _choice(ExportFormat)},
    "iotAnalytics": {
        "iotChannel": _target,
        "iotMsgIdPrefix": _optional(lambda fields, key: fields.text(key, longest=32)),
        **_batches(100),
    },
    "kinesis": {"kinesisStreamName": _target, **_batches(500)},
    "IotSitewise": _batches(10),
}
