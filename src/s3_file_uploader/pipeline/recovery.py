"""What a dead process left behind, put right at start: removals cut short, and hidden files nobody explains."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from s3_file_uploader.errors import RemovalFailed
from s3_file_uploader.ledger import Endings, Intent, Ledger
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.aside import put_aside
from s3_file_uploader.pipeline.targets import intent_of
from s3_file_uploader.source import recovery
from s3_file_uploader.source.hidden import hidden_name, tag_of
from s3_file_uploader.source.removal import Conclusion, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.pipeline.disposal import Disposal, Disposed
    from s3_file_uploader.pipeline.reconcile import Writes
    from s3_file_uploader.pipeline.rules import ActiveRule
    from s3_file_uploader.source.edge import Edge

__all__ = ["Recovery"]

_OURS_AFTER_SECONDS = (
    10.0  # a hidden file of this ledger without an intent, unchanged for so long, is put back
)
_FOREIGN_AFTER_SECONDS = (
    3600.0  # one of another ledger, which may be at work: a removal takes it milliseconds
)
_MOST_ORPHANS = 10_000


class Recovery:
    """Blocks on disk and ledger; call it in a thread."""

    def __init__(self, ledger: Ledger, writes: Writes, edge: Edge, disposal: Disposal, clock: Clock) -> None:
        self._tag = ledger.tag
        self._writes = writes
        self._endings = Endings(ledger, clock.wall)
        self._edge = edge
        self._disposal = disposal
        self._clock = clock
        self._orphans: dict[tuple[bytes, bytes], float] = {}
        self.unfinished: set[int] = set()  # intents to be concluded later
        self._lock = threading.Lock()
        self._in_hands: set[int] = set()  # intents that some thread is about to conclude

    def conclude_intents(self, select: Callable[[Intent], bool] = lambda _intent: True) -> list[Disposed]:
        """Finish or undo the removals that were under way; those that must stay hidden are for a later call."""
        intents = self._writes.write(self._endings.intents).result()
        concluded = [self._conclude(intent) for intent in self._take(intents, select)]
        return [disposed for disposed in concluded if disposed is not None]

    def _take(self, intents: Sequence[Intent], select: Callable[[Intent], bool]) -> list[Intent]:
        """Those selected that no other thread has: one whose disk hung may come back to its own at any time."""
        with self._lock:
            taken = [intent for intent in intents if intent.id not in self._in_hands and select(intent)]
            self._in_hands.update(intent.id for intent in taken)
        return taken

    def _conclude(self, intent: Intent) -> Disposed | None:
        try:
            outcome = recovery.recover(self._edge, intent_of(intent, self._tag))
            if outcome.superseded:
                outcome = self._disposal.set_aside(intent, outcome)
            if outcome.conclusion is Conclusion.LEFT_HIDDEN:
                self._leave(intent)  # also one whose name was used again for other content
            else:
                self.unfinished.discard(intent.id)
            return self._writes.write(self._record, intent, outcome).result()
        except RemovalFailed as refusal:  # its folder cannot be looked at now: tried again later
            if intent.id not in self.unfinished:
                log.warning("removal_failed", path=intent.path, reason=str(refusal), advice=refusal.advice)
            self._leave(intent)
            return None
        finally:
            self._in_hands.discard(intent.id)

    def _leave(self, intent: Intent) -> None:
        self.unfinished.add(intent.id)
        self._disposal.has_leftovers = True

    def _record(self, intent: Intent, outcome: Outcome) -> Disposed | None:
        entry = self._endings.delivered_entry(intent)
        if entry is not None:
            return self._disposal.conclude(entry, intent, outcome)
        if outcome.conclusion is not Conclusion.LEFT_HIDDEN:
            self._endings.drop_intents([intent.id])
        elif outcome.superseded:
            self._endings.mark_superseded([intent.id])
        return None

    def adopt(
        self, rule: ActiveRule, orphans: Sequence[tuple[bytes, bytes, bool]]
    ) -> list[tuple[bytes, bytes]]:
        """Put back hidden files whose intent is lost, under a name that the rule takes: (folder, new name).

        They are found, sent and removed again like any other file. `orphans` are (folder, hidden name,
        whether the tag is this ledger's), as one scan found them; each must be seen for a while first.
        """
        known = {
            (intent.folder, hidden_name(self._tag, intent.id))
            for intent in self._writes.write(self._endings.intents).result()
        }
        now = self._clock.now()
        self._forget(rule, {(folder, name) for folder, name, _ in orphans})
        adopted: list[tuple[bytes, bytes]] = []
        for folder, name, is_ours in orphans[:_MOST_ORPHANS]:
            if (folder, name) in known:
                continue
            seen_at = self._orphans.setdefault((folder, name), now)
            if now - seen_at < (_OURS_AFTER_SECONDS if is_ours else _FOREIGN_AFTER_SECONDS):
                continue
            if (new_name := put_aside(self._edge, rule, folder, name)) is not None:
                adopted.append((folder, new_name))
                del self._orphans[folder, name]
        return adopted

    def next_adoption(self, rule: ActiveRule) -> float | None:
        """When the first hidden file of this ledger that waits for it is put back, on the running clock.

        None where there is none, or where its time has come and it could not be done.
        """
        now = self._clock.now()
        times = (
            seen_at + _OURS_AFTER_SECONDS
            for (folder, name), seen_at in list(self._orphans.items())  # others' threads add to it
            if folder.startswith(rule.base) and tag_of(name) == self._tag
        )
        return min((at for at in times if at > now), default=None)

    def _forget(self, rule: ActiveRule, present: set[tuple[bytes, bytes]]) -> None:
        base = rule.base
        for place in [place for place in self._orphans if place[0].startswith(base) and place not in present]:
            del self._orphans[place]
