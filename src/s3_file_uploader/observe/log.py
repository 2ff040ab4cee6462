"""The log: one line per change of state, as key=value or JSON, with no secret in it.

A line says what changed, not what was tried: INFO is progress, WARNING needs patience, ERROR needs a
person and says what to try. A line below the level in force costs one comparison.

The guard against secrets has three parts. Values of types that are not in `_plain` are never
rendered, only named, so that no object can spill its fields. Fields whose name speaks of a secret
are masked. And every text is searched for what signed requests and credentials look like, and for
the secrets that `conceal` was told.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections import deque
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TextIO

from s3_file_uploader.model import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    _TextHandler = logging.StreamHandler[TextIO]
else:
    _TextHandler = logging.StreamHandler  # it takes no type argument before Python 3.11

__all__ = ["EVENTS", "FIELDS", "Log", "conceal", "configure", "log", "moment", "without_secrets"]

# Every event a line may begin with. A test holds the source to this table.
EVENTS: Final[dict[str, str]] = {
    "started": "the daemon or a drain began",
    "reconfigured": "another configuration came into force",
    "eased": "nothing more is begun: something is about to stop us",
    "stopping": "asked to stop: what can finish soon does",
    "stopped": "the end, with its totals",
    "waiting_for_folder": "a rule's folder is missing or unreadable; waited for",
    "folder_back": "the folder is there again",
    "watch_off": "no inotify: scans alone find files",
    "found": "a new file",
    "held": "a file waits until something happens in its folder",
    "sending": "a delivery began",
    "delivered": "the receipt is in the ledger",
    "removed": "delivered, and gone from the folder",
    "retained": "delivered, and kept or archived by choice",
    "trimmed": "the oldest of an archive, to keep it within its limits",
    "vanished": "somebody else took the file away",
    "retry": "a delivery failed and is tried again",
    "renamed": "another object has the file's object name; it takes the next (OnExisting)",
    "parked": "refused, or out of attempts: kept until a person releases it",
    "released": "a person asked for another try",
    "removal_failed": "delivered, and cannot be removed",
    "recovered": "what a killed process left behind was put right",
    "paused": "a destination does not answer or refuses everything",
    "resumed": "the destination takes files again",
    "redirected": "AWS has the bucket in another region: followed there",
    "untried": "OnExisting is relied on before a small file has shown whether the store knows it",
    "slowed": "the store asked for fewer requests",
    "aborted": "an unfinished upload that nobody goes on with was taken back",
    "abort_failed": "it could not be taken back; it is tried again",
    "starting": "as a Greengrass component: asking the nucleus for the configuration",
    "configuration_refused": "the nucleus's configuration cannot be taken; the old one stays in force",
    "configuration_unread": "it changed and cannot be read just now; tried again",
    "nucleus_silent": "the nucleus does not answer; tried again",
    "nucleus_lacks": "the nucleus does not have an operation, or refuses it; done without",
    "update_deferred": "a deployment waits for the parts of large files that are under way",
    "update_allowed": "it has waited long enough",
    "restarting": "only a new start helps; everything is saved, and the nucleus starts the component again",
    "telemetry_failed": "the message for the fleet cannot be published",
    "telemetry_back": "it can again",
    "failed": "something of our own broke; the daemon goes on",
}

# Every field, with its unit. `advice` is written `try`.
FIELDS: Final[dict[str, str]] = {
    "rule": "the rule's name",
    "path": "the file's or folder's absolute path",
    "key": "the object's name",
    "bucket": "",
    "size": "bytes",
    "checksum": "algorithm:value as the far side echoed it",
    "state": "a state of the lifecycle",
    "reason": "why it waits, was parked, paused or retained",
    "error": "what went wrong",
    "code": "the far side's own word for it",
    "advice": "what a person can try",
    "attempt": "failed tries that count, this one included",
    "wait_seconds": "until the next try",
    "seconds": "how long it took",
    "files": "how many",
    "bytes": "how many",
    "delivered": "files",
    "removed": "files; of `reconfigured` the names of rules",
    "added": "the names of rules",
    "changed": "each setting that is another now: its key, what it was → what it is",
    "parked": "files",
    "failed": "files",
    "held": "files",
    "waiting": "files",
    "destination": "where the rule's files go",
    "ledger": "the ledger's folder",
    "version": "of this program",
    "command": "what was asked",
    "limit": "files in flight",
    "signal": "its name",
    "operation": "of the nucleus's IPC",
    "deployment": "the nucleus's id of it",
    "topic": "of MQTT, or local",
    "pid": "the process",
}

_WRITTEN_AS: Final = {"advice": "try"}
_MASK: Final = "[secret]"
_SECRET_NAME = re.compile(
    r"secret|password|authorization|credential|token|signature|access_?key", re.IGNORECASE
)
# Nothing without one of these can match the pattern below, and looking for them is much cheaper.
_HINTS = ("auth", "aws", "amz", "secret", "token", "passw", "signature", "://", "akia", "asia")
# What comes after these is masked up to the next separator: headers, presigned queries, settings, URLs.
_SECRET_TEXT = re.compile(
    r"(?P<head>authorization[\"']?\s*[:=]\s*[\"']?)[^\r\n\"']+"
    r"|(?P<scheme>AWS4-[A-Z0-9-]+\s+).*?(?:signature=[0-9a-f]+|$)"
    r"|(?P<name>(?:x-amz-(?:signature|credential|security-token)|aws_?(?:secret_?access_?key|session_?token)"
    r"|secret_?access_?key|session_?token|password|signature|awsaccesskeyid)[\"']?\s*[:=]\s*[\"']?)[^\s&,;\"'<>]+"
    r"|(?P<account>://[^/\s:@]*:)[^/\s@]+(?=@)"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}\b",
    re.IGNORECASE,
)
_SECRET_VARIABLES = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
_SHORTEST_SECRET = 8  # a shorter one would mask ordinary words
_concealed: deque[str] = deque(maxlen=32)  # credentials are renewed: the newest few are enough


def conceal(*secrets: str | None) -> None:
    """Never let these texts into a line, wherever they turn up."""
    for secret in secrets:
        if secret and len(secret) >= _SHORTEST_SECRET and secret not in _concealed:
            _concealed.append(secret)


class Log:
    """What the rest of the program calls. Fields may be text, bytes (paths), numbers, enums or errors."""

    def __init__(self, name: str) -> None:
        self.logger = logging.getLogger(name)

    @property
    def is_detailed(self) -> bool:
        """Whether debug lines are written: asked where many files pass, and a line's fields cost something."""
        return self.logger.isEnabledFor(logging.DEBUG)

    def debug(self, event: str, **fields: Any) -> None:
        if self.logger.isEnabledFor(logging.DEBUG):
            self._write(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: Any) -> None:
        if self.logger.isEnabledFor(logging.INFO):
            self._write(logging.INFO, event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        if self.logger.isEnabledFor(logging.WARNING):
            self._write(logging.WARNING, event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Something a person must look at; pass `advice`, or an `error` that carries it."""
        if self.logger.isEnabledFor(logging.ERROR):
            self._write(logging.ERROR, event, fields)

    def _write(self, level: int, event: str, fields: Mapping[str, Any]) -> None:
        # Made by hand: finding the caller's line would cost more than the rest.
        record = logging.LogRecord(self.logger.name, level, "", 0, event, (), None)
        record.fields = _safe(fields)
        self.logger.handle(record)


log = Log("s3_file_uploader")


def configure(
    level: str = "INFO",
    format: str = "text",  # noqa: A002  # as the setting LogFormat is called
    stream: TextIO | None = None,
    *,
    is_timed: bool = True,
) -> None:
    """Send lines of `level` and above to `stream` (standard error), as "text" or "json" lines.

    `is_timed`: whether a text line begins with the time; where somebody else writes it there it would stand twice.
    """
    conceal(*(os.environ.get(variable) for variable in _SECRET_VARIABLES))
    outlet = _Outlet(stream if stream is not None else sys.stderr)
    outlet.setFormatter(_JsonLines() if format == "json" else _KeyValue(is_timed=is_timed))
    others = [one for one in log.logger.handlers if not isinstance(one, _Outlet)]
    log.logger.handlers[:] = [outlet, *others]
    log.logger.propagate = False
    log.logger.setLevel(level.upper())


class _Outlet(_TextHandler):
    """A log that cannot be written (its disk is full, its reader is gone) must not disturb the work."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  # as the standard library calls it
        pass


def _safe(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields as JSON values with no secret, named as they are written."""
    result: dict[str, Any] = {}
    for name, value in fields.items():
        if value is None:
            continue
        written = _WRITTEN_AS.get(name, name)
        if _is_secret_name(name):
            result[written] = _MASK
            continue
        plain = _plain(value)
        result[written] = without_secrets(plain) if type(plain) is str else plain
        if isinstance(value, Exception) and "advice" not in fields:
            advice = getattr(value, "advice", "")
            if isinstance(advice, str) and advice:
                result[_WRITTEN_AS["advice"]] = without_secrets(advice)
    return result


@lru_cache(maxsize=256)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


def _plain(value: Any) -> Any:
    """A JSON value; of what is not known to be harmless only the type is told."""
    kind = type(value)
    if kind is str or kind is int or kind is bool:
        return value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, bytes):
        return printable(value)
    return _described(value)


def _described(value: Any) -> str:
    if isinstance(value, (str, int)):
        return str(value)
    if isinstance(value, Exception):
        return str(value) or type(value).__name__
    if isinstance(value, (list, tuple)):
        return ", ".join(str(_plain(part)) for part in value)
    return f"[{type(value).__name__}]"


def without_secrets(text: str) -> str:
    """The text with all that looks like a secret, or is one that `conceal` was told, masked."""
    for secret in _concealed:
        if secret in text:
            text = text.replace(secret, _MASK)
    if len(text) < _SHORTEST_SECRET:
        return text
    lowered = text.lower()
    for hint in _HINTS:
        if hint in lowered:
            return _SECRET_TEXT.sub(_masked, text)
    return text


def _masked(match: re.Match[str]) -> str:
    return next((head for head in match.groups() if head is not None), "") + _MASK


@lru_cache(maxsize=1)
def _second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def moment(created: float) -> str:
    """Seconds since the epoch as lines of the log have them, in UTC."""
    whole = int(created)
    return f"{_second(whole)}.{int((created - whole) * 1000):03d}Z"


class _KeyValue(logging.Formatter):
    def __init__(self, *, is_timed: bool) -> None:
        super().__init__()
        self._is_timed = is_timed

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        time = f"{moment(record.created)} " if self._is_timed else ""
        parts = [f"{time}{record.levelname} {record.msg}"]
        parts += [f"{name}={_written(value)}" for name, value in fields.items()]
        return " ".join(parts)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        head = {"time": moment(record.created), "level": record.levelname, "event": record.msg}
        return json.dumps(head | getattr(record, "fields", {}))


def _written(value: Any) -> str:
    """As it is, or as a JSON string where spaces, quotes, `=` or control characters would confuse."""
    if type(value) is not str:
        return str(value).lower()  # true and false, as in JSON
    if not value.isprintable():  # of all white space only the blank is printable
        return json.dumps(value)
    if not value or " " in value or '"' in value or "=" in value:
        return json.dumps(value, ensure_ascii=False)
    return value
