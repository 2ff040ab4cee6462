"""A folder with one delivered file on its way out, and what must hold of it after anything."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from s3_file_uploader.model import Fingerprint
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.hidden import hidden_name, is_hidden
from s3_file_uploader.source.intent import Intent, Outcome, Target
from s3_file_uploader.source.removal import finish, prepare
from s3_file_uploader.source.shelf import Place

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["HIDDEN", "Removal"]

HIDDEN = hidden_name("0123abcd", 7)
DELIVERED = b"delivered content"


@dataclass
class Removal:
    """`target` in `folder`; `intent` is what the ledger holds once it was committed."""

    folder: Path
    edge: Edge = field(default_factory=Edge)
    marker: bool = False
    symlink: bool = False
    archive: Path | None = None
    between: Callable[[Removal], None] | None = None
    intent: Intent | None = None

    def __post_init__(self) -> None:
        self.folder.mkdir()
        self.path = self.folder / "data.csv"
        if self.symlink:
            aside = self.folder.parent / f"{self.folder.name}-target"
            aside.write_bytes(DELIVERED)
            self.path.symlink_to(aside)
        else:
            self.path.write_bytes(DELIVERED)
        if self.marker:
            self.marker_path.write_bytes(b"done")
        self.target = Target(
            folder=os.fsencode(self.folder),
            base=os.fsencode(self.folder),
            name=b"data.csv",
            fingerprint=Fingerprint.of(self.path.stat()),
            marker=b"data.csv.done" if self.marker else None,
            follow_symlinks=self.symlink,
            is_symlink=self.symlink,
            place=Place(os.fsencode(self.archive), b"cam1") if self.archive else None,
        )

    @property
    def marker_path(self) -> Path:
        return self.folder / "data.csv.done"

    def remove(self, edge: Edge | None = None) -> Outcome:
        """Prepare, commit the intent, let `between` happen, finish."""
        prepared = prepare(edge or self.edge, self.target)
        self.intent = prepared.intent(HIDDEN)
        if self.between is not None:
            self.between(self)
        return finish(prepared, HIDDEN)

    def hidden_names(self) -> list[bytes]:
        return [name for name in os.listdir(os.fsencode(self.folder)) if is_hidden(name)]

    def contents(self) -> list[bytes]:
        """Of every file in the folder that is not a marker, hidden ones included, sorted."""
        found = [entry for entry in self.folder.iterdir() if not entry.name.endswith(".done")]
        return sorted(entry.read_bytes() for entry in found)

    def archived(self) -> list[bytes]:
        if self.archive is None or not self.archive.exists():
            return []
        return sorted(
            entry.read_bytes()
            for entry in self.archive.rglob("*")
            if entry.is_file() and not is_hidden(os.fsencode(entry.name))
        )
