"""The pipeline: wires source → ledger → transport → disposal.

| file | responsibility |
|---|---|
| `uploader` | starts the loops, stops them cleanly |
| `changing` | from one configuration to another, at start from none |
| `draining` | when a drain is done |
| `watching`, `reconcile` | a rule's folder and the ledger, kept equal |
| `settling` | when files may go |
| `feed`, `sending`, `gate`, `pausing`, `backoff` | claims, deliveries, how they ended, pauses |
| `disposing`, `disposal`, `targets` | receipts, then removal |
| `recovery`, `content` | what a crash or a reboot left |
| `leftovers`, `way` | uploads that nobody goes on with, aborted |
| `context`, `threads`, `clock`, `rules`, `progress`, `outcome` | what they share |
"""

from __future__ import annotations

from s3_file_uploader.pipeline.clock import Clock
from s3_file_uploader.pipeline.feed import InFlight
from s3_file_uploader.pipeline.progress import Progress, Summary
from s3_file_uploader.pipeline.uploader import Uploader

__all__ = ["Clock", "InFlight", "Progress", "Summary", "Uploader"]
