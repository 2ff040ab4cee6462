"""Between the ledger's rows and what a removal works on: targets, and intents as JSON and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from s3_file_uploader.model import Fingerprint
from s3_file_uploader.source.hidden import hidden_name
from s3_file_uploader.source.removal import Intent, Target
from s3_file_uploader.source.shelf import Place

if TYPE_CHECKING:
    from s3_file_uploader.ledger import Entry
    from s3_file_uploader.ledger import Intent as WrittenIntent
    from s3_file_uploader.pipeline.rules import ActiveRule

__all__ = ["details_of", "intent_of", "target_of"]


def target_of(rule: ActiveRule, entry: Entry) -> Target:
    """What is to be removed, and how the rule wants it."""
    setting = rule.setting
    marker = setting.done_marker.encode("utf-8", "surrogateescape")
    place = None
    if setting.after_upload == "archive":
        place = Place(setting.archive_directory.encode("utf-8", "surrogateescape"), entry.relative)
    return Target(
        folder=entry.folder,
        base=rule.base,
        name=entry.name,
        fingerprint=entry.fingerprint,
        marker=entry.name + marker if marker else None,
        follow_symlinks=setting.follow_symlinks,
        is_symlink=entry.is_symlink,
        place=place,
    )


def details_of(intent: Intent) -> dict[str, Any]:
    """What a recovery needs beside the row's own columns, as JSON values."""
    target, marker = intent.target, intent.marker_fingerprint
    place = target.place
    return {
        "base": _text(target.base),
        "follow_symlinks": target.follow_symlinks,
        "marker": None if target.marker is None else _text(target.marker),
        "marker_fingerprint": None
        if marker is None
        else [marker.device, marker.inode, marker.size, marker.mtime_ns, marker.ctime_ns],
        "place": None if place is None else [_text(place.directory), _text(place.relative)],
    }


def intent_of(written: WrittenIntent, tag: str) -> Intent:
    """The removal that an intent in the ledger is about."""
    details = written.details
    marker, place, seen = details.get("marker"), details.get("place"), details.get("marker_fingerprint")
    target = Target(
        folder=written.folder,
        base=_bytes(details.get("base", "/")),
        name=written.name,
        fingerprint=written.fingerprint,
        marker=None if marker is None else _bytes(marker),
        follow_symlinks=bool(details.get("follow_symlinks")),
        is_symlink=written.is_symlink,
        place=None if place is None else Place(_bytes(place[0]), _bytes(place[1])),
    )
    return Intent(
        target,
        hidden_name(tag, written.id),
        written.leased,
        None if seen is None else Fingerprint(*seen),
        written.superseded,
    )


def _text(value: bytes) -> str:
    return value.decode("latin-1")


def _bytes(value: str) -> bytes:
    return value.encode("latin-1")
