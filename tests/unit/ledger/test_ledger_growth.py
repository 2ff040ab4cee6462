"""The ledger's growth is bounded: by what lies on the disk now, not by what ever passed through."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Endings, Ledger, Queue, Settled, Sightings
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Candidate, Fingerprint, Receipt

if TYPE_CHECKING:
    from pathlib import Path

FILES = 1000


def pass_through(ledger: Ledger, round_number: int) -> None:
    """A thousand files come, are delivered and leave."""
    rule = ledger.rule_ids["r"]
    sightings, queue, endings = Sightings(ledger), Queue(ledger), Endings(ledger)
    names = [b"%d-%d.csv" % (round_number, number) for number in range(FILES)]
    seen = [
        Candidate(b"/d%d" % (round_number % 7), name, Fingerprint(1, i, 9, i + 1, 5))
        for i, name in enumerate(names)
    ]
    with ledger.transaction():
        sightings.observe(rule, seen, now=float(round_number), settle_seconds=0.0)
        queue.settle(
            Settled(one.entry, is_ready=True) for one in queue.waiting(round_number + 1.0, 1 << 62, FILES)
        )
        entries = queue.peek(rule, FILES)
        queue.claim([(entry, entry.name.decode()) for entry in entries])
    assert len(entries) == FILES
    sent = [entry._replace(state=State.SENDING, key=entry.name.decode()) for entry in entries]
    with ledger.transaction():
        endings.prove([(entry, Receipt("b", entry.key or "", 9, "crc64nvme:AAAA")) for entry in sent])
        delivered = [entry._replace(state=State.DELIVERED) for entry in sent]
        intents = [endings.intend(entry, "r", leased=True, details={}) for entry in delivered]
        for entry in delivered:
            endings.finish(entry, Event.REMOVED)
        endings.drop_intents([intent.id for intent in intents])


def size_of(ledger: Ledger) -> int:
    return sum(entry.stat().st_size for entry in os.scandir(ledger.folder) if entry.name.startswith("ledger"))


def test_what_passed_through_takes_no_more_space_however_much_it_was(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path), "l")
    with ledger.transaction():
        ledger.register_rules(["r"])
    sizes = []
    for round_number in range(30):
        pass_through(ledger, round_number)
        if round_number % 5 == 4:
            ledger.tidy()
            sizes.append(size_of(ledger))
    assert sizes[-1] <= 1.2 * sizes[2]  # the history is full after ten thousand files
    ledger.close()


def test_a_backlog_that_is_gone_gives_its_space_back(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path), "l")
    with ledger.transaction():
        ledger.register_rules(["r"])
        backlog = [
            Candidate(b"/d", b"%06d.csv" % number, Fingerprint(1, number, 9, number, 5))
            for number in range(30_000)
        ]
        Sightings(ledger).observe(1, backlog, now=1.0, settle_seconds=1.0)
    ledger.tidy()
    full = size_of(ledger)
    with ledger.transaction():
        Sightings(ledger).drop_rule("r")
    for _ in range(20):
        ledger.tidy()
    assert size_of(ledger) < full / 2
    ledger.close()
