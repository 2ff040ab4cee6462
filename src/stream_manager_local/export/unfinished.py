"""Multipart uploads that were begun, remembered on the disk: a server that was killed goes on with them.

Those whose task is gone are aborted after the next start, so that no parts lie in a bucket and cost
money. The file is rewritten as a whole, as there are never more of them than uploads at a time and a
few that could not be aborted.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from stream_manager_local.store.store import UPLOADS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stream_manager_local.export.disk import Disk

__all__ = ["Place", "Unfinished", "Upload"]

_WRITE_SECONDS = 30.0

_log = logging.getLogger(__name__)


class Place(NamedTuple):
    """Whose upload it is."""

    stream: str
    export: str
    sequence_number: int


@dataclass(frozen=True, slots=True)
class Upload:
    """`task` is what its message said, `checkpoint` the engine's way back to it."""

    task: Mapping[str, object]
    checkpoint: dict[str, Any]


class Unfinished:
    """Used from one loop; the disk is written in another thread."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._path = os.path.join(root, UPLOADS)
        self._disk = disk
        self._known = _read(self._path)
        self._writing = asyncio.Lock()
        self._is_refused = False

    @property
    def places(self) -> list[Place]:
        return list(self._known)

    def at(self, place: Place) -> Upload | None:
        return self._known.get(place)

    async def note(self, place: Place, upload: Upload | None) -> None:
        """On the disk when this returns; None: there is nothing left to go on with, or to abort."""
        if upload is None and place not in self._known:
            return
        if upload is None:
            del self._known[place]
        else:
            self._known[place] = upload
        async with self._writing:
            try:
                writing = self._disk.call(_write, self._path, self._known.copy())
                await asyncio.wait_for(writing, _WRITE_SECONDS)
            except (OSError, asyncio.TimeoutError) as error:
                if not self._is_refused:
                    reason = str(error) or "the disk does not answer"
                    _log.warning("unfinished uploads cannot be remembered in %s: %s", self._path, reason)
                self._is_refused = True
            else:
                self._is_refused = False


def _read(path: str) -> dict[Place, Upload]:
    try:
        with open(path, "rb") as file:
            found = json.load(file)
        return {
            Place(str(stream), str(export), int(number)): Upload(
                dict(upload["task"]), dict(upload["checkpoint"])
            )
            for stream, export, number, upload in found
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, KeyError) as error:
        _log.warning("unfinished uploads cannot be read from %s, and are left to the bucket: %s", path, error)
        return {}


def _write(path: str, known: Mapping[Place, Upload]) -> None:
    """Whole and durable, or not at all; there is no file where there is nothing to remember."""
    if not known:
        os.unlink(path)
        return
    beside = f"{path}.new"
    with open(beside, "w", encoding="ascii") as file:
        json.dump([[*place, asdict(upload)] for place, upload in known.items()], file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
