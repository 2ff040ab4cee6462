"""The last line of the log that spoke of trouble, for whoever tells others of it.

The log has one line for each change of state, WARNING for what needs patience and ERROR for what needs a
person: so its lines are when to tell, and what.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from s3_file_uploader.observe.log import log, moment

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Troubles"]

# The end of a trouble is progress, and is worth telling at once as well.
_ENDS: Final = frozenset({"resumed", "folder_back", "released", "reconfigured"})
# Telling of what keeps us from telling would go round in circles.
_OUR_OWN: Final = frozenset({"telemetry_failed", "telemetry_back"})
_LONGEST_TEXT = 240


class Troubles(logging.Handler):
    """`told` is called, in whatever thread logs, when trouble begins or ends; it must not block."""

    def __init__(self, told: Callable[[], object]) -> None:
        super().__init__(logging.INFO)
        self._told = told
        self.last: dict[str, Any] | None = None

    def emit(self, record: logging.LogRecord) -> None:
        event = str(record.msg)
        if event in _OUR_OWN or (record.levelno < logging.WARNING and event not in _ENDS):
            return
        if record.levelno >= logging.WARNING:
            fields: dict[str, Any] = getattr(record, "fields", {})
            self.last = {
                "time": moment(record.created),
                "level": record.levelname,
                "event": event,
                **{name: _short(value) for name, value in fields.items()},
            }
        self._told()

    def begin(self) -> None:
        log.logger.addHandler(self)

    def end(self) -> None:
        log.logger.removeHandler(self)


def _short(value: Any) -> Any:
    is_long = isinstance(value, str) and len(value) > _LONGEST_TEXT
    return value[: _LONGEST_TEXT - 1] + "…" if is_long else value
