"""The ledger: what is known about each file, in SQLite; the queue and the only shared state."""

from __future__ import annotations

from s3_file_uploader.ledger.endings import Endings
from s3_file_uploader.ledger.entry import Entry, Finished, Intent
from s3_file_uploader.ledger.ledger import Ledger
from s3_file_uploader.ledger.queue import Newest, Queue, Settled, Waiting
from s3_file_uploader.ledger.sightings import Sightings, Sightseen
from s3_file_uploader.ledger.uploads import Destination, GivenUp, UnderWay, Uploads

__all__ = [
    "Destination",
    "Endings",
    "Entry",
    "Finished",
    "GivenUp",
    "Intent",
    "Ledger",
    "Newest",
    "Queue",
    "Settled",
    "Sightings",
    "Sightseen",
    "UnderWay",
    "Uploads",
    "Waiting",
]
