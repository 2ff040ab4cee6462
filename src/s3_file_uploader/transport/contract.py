"""The contract between the pipeline and whatever carries the bytes.

A transport MUST
- open the file only through `delivery.source.open()`, once per delivery, and read only from it; where the
  far side reads the file itself, by `delivery.source.path`, it is opened once for each look at it;
- call `check_unchanged()` on the open file before its first byte leaves and again after the far side
  answered, before it believes a receipt;
- return a receipt only when the far side has proved that it holds this very content;
- raise a `DeliveryError` of the class that fits, and nothing else;
- finish, with a receipt or an error, in bounded time without progress (its own deadlines);
- leave no partial object visible under the key, at any time;
- call `save` and wait for it before it leaves anything on the far side that must be found again
  after a crash (an upload id), and hand back `None` to `save` when nothing is left there;
- go on from `delivery.checkpoint` if there is one it can use, and ignore one it cannot;
- take back what it left and will not use again, and call `give_up` where that cannot be done now;
- take back, when `abandon` asks for it, what a checkpoint leads to, and nothing else;
- use memory that does not grow with the size of a file.

It SHOULD, once `delivery.is_eased()` says so, begin no other part of a file that goes in several, and end with
Interrupted as soon as those under way have landed and the checkpoint is saved: somebody is about to stop it, and
what lands now is not sent twice. A file that goes in one piece is finished. One that is being taken by a far side
which needs nothing more from here may go on. It may be asked from any thread, at any time.

A checkpoint belongs to the transport that saved it. For people it MAY say `upload_id`, the name that
the far side has for what was begun, `part_size`, `parts_arrived` and `bytes_arrived`. One that says
`leaves_nothing` is forgotten when it is given up, and `abandon` is not asked.

`deliver` is called on the pipeline's event loop, returns at once, and the awaitable it returns ends
on that loop. Cancelling the awaitable asks the transport to stop and to keep the checkpoint.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from s3_file_uploader.model import Checkpoint, Fingerprint, Receipt

__all__ = ["Delivery", "GiveUp", "OpenFile", "Save", "Source", "Transport"]


class OpenFile(Protocol):
    """A file opened for one delivery. Used from one thread at a time."""

    def fileno(self) -> int: ...

    @property
    def size(self) -> int:
        """In bytes, as the ledger has it."""
        ...

    def check_unchanged(self) -> None:
        """Raise FileChanged unless fstat equals what the ledger has."""
        ...

    def close(self) -> None: ...


class Source(Protocol):
    """Where the bytes of a delivery come from; `open` may block on the disk, so call it off the loop."""

    @property
    def fingerprint(self) -> Fingerprint: ...

    @property
    def path(self) -> bytes:
        """Absolute. For a far side that reads the file itself."""
        ...

    def open(self) -> OpenFile:
        """Open relative to the folder, following no link; fstat equals the ledger.

        Raises FileChanged, FileVanished, FileUnreadable, or FileBusy where somebody writes.
        """
        ...


# Saves a checkpoint durably (None: nothing left to continue). Called on the pipeline's event loop.
Save = Callable[["Checkpoint | None"], Awaitable[None]]


# What the last saved checkpoint leads to is of no use any more, for this reason, and is still there. It is
# remembered durably, and `abandon` is asked later and again. Called on the pipeline's event loop.
GiveUp = Callable[[str], Awaitable[None]]


async def _give_up_nothing(_reason: str) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """One file on its way to one object.

    `progress` is called with the number of body bytes that left since the last call, from any thread.
    """

    id: int
    source: Source
    bucket: str
    key: str
    save: Save
    checkpoint: Checkpoint | None = None
    progress: Callable[[int], None] = field(default=lambda _count: None)
    give_up: GiveUp = _give_up_nothing
    is_eased: Callable[[], bool] = field(default=lambda: False)


class Transport(Protocol):
    """One way to one destination."""

    def deliver(self, delivery: Delivery) -> Awaitable[Receipt]:
        """Carry the file to its key and return the proof, or raise a DeliveryError."""
        ...

    def abandon(self, checkpoint: Checkpoint) -> Awaitable[None]:
        """Take back what a checkpoint leads to; ends once the far side says that it is not there any more.

        No delivery may be going on from it. Raises a DeliveryError where that cannot be told.
        """
        ...

    async def close(self) -> None:
        """Let go of connections and threads; deliveries still running end with Interrupted."""
        ...
