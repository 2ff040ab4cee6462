"""Streams on the disk or in memory: segments, limits, recovery.

| layer | file | responsibility |
|---|---|---|
| all streams | store.py, lock.py, names.py | names, creating and deleting, one process for each store |
| one stream | stream.py, update.py, retention.py, exports.py, cursors.py, events.py | limits, what goes when, progress |
| on the disk | folder.py, recovery.py, durability.py, syncing.py | files, what a crash left, waiting for the disk |
| messages | log.py, segment.py, record.py, index.py | numbering, checksums, finding and reading |
| effects | edge.py, medium.py, descriptors.py | system calls, few open files, memory in their place |

What may be relied on:

1. Sequence numbers begin at 0 and have no gap; none is used twice while the stream exists, but for
   those of messages that a power cut took.
2. A message that was appended survives the death of the process at any moment; one that `durable`
   has returned for under flush_on_write survives a power cut.
3. What is read is what was written, or an error: each message has a checksum.
4. Nothing that is wrong with one stream keeps another from working, and a disk that is full loses
   nothing that was appended.
5. Messages go whole segments at a time, the oldest first.
"""

from stream_manager_local.store.cursors import ExportStatus
from stream_manager_local.store.events import Appended, Created, Deleted, Event, Evicted, Updated
from stream_manager_local.store.lock import StoreUnusable
from stream_manager_local.store.record import OVERHEAD_BYTES
from stream_manager_local.store.segment import Message
from stream_manager_local.store.shared import Choices
from stream_manager_local.store.store import Store
from stream_manager_local.store.stream import Stream

__all__ = [
    "OVERHEAD_BYTES",
    "Appended",
    "Choices",
    "Created",
    "Deleted",
    "Event",
    "Evicted",
    "ExportStatus",
    "Message",
    "Store",
    "StoreUnusable",
    "Stream",
    "Updated",
]
