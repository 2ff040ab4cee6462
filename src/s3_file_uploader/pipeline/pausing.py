"""What is said of destinations that pause: at once, then once an hour that it lasts, and when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Endings
from s3_file_uploader.observe.log import log

if TYPE_CHECKING:
    from s3_file_uploader.pipeline.context import Context
    from s3_file_uploader.pipeline.rules import ActiveRule

__all__ = ["Pauses"]

_REMINDER_SECONDS = 3600.0


class Pauses:
    """Runs on the event loop. Nothing is said of a gate that no rule in force goes through."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def note(self, rule: ActiveRule, *, was_paused: bool) -> None:
        """The rule's gate is paused, anew or still."""
        gate = rule.gate
        destination = self._context.rules.gates.get(gate)
        if destination is None:
            return
        self._tell_status(destination, gate.reason)
        now = self._context.clock.now()
        if was_paused and gate.reminded_at is None:
            gate.reminded_at = now
        if was_paused and gate.reminded_at is not None and now - gate.reminded_at < _REMINDER_SECONDS:
            return
        gate.reminded_at = now
        tell = log.warning if gate.error is not None and gate.error.retryable else log.error
        tell(
            "paused", rule=rule.name, bucket=rule.setting.bucket_name, reason=gate.reason, advice=gate.advice
        )

    def over(self, rule: ActiveRule) -> None:
        destination = self._context.rules.gates.get(rule.gate)
        if destination is None:
            return
        self._tell_status(destination, None)
        rule.gate.reminded_at = None
        log.info("resumed", rule=rule.name, bucket=rule.setting.bucket_name)

    def _tell_status(self, destination: str, reason: str | None) -> None:
        """Through the ledger."""
        paused = self._context.progress.paused
        if reason is None:
            paused.pop(destination, None)
        elif paused.get(destination) == reason:
            return
        else:
            paused[destination] = reason
        self._context.background(self._write(destination, reason))

    async def _write(self, destination: str, reason: str | None) -> None:
        endings = Endings(self._context.ledger, self._context.clock.wall)
        await self._context.writer.awaited(endings.note_pause, destination, reason)
