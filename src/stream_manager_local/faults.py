"""What goes wrong on purpose: the switches of `--fault`.

A fault is `KIND=OPERATION:WHEN[:MORE]` for the answers to requests, `KIND=WHEN` for what exports do:

    delay=append:0.2           every append is answered 0.2 s later
    delay=read:2-5:1.5         reads 2 to 5 are answered 1.5 s later
    drop=read:3                the third read gets no answer
    close=append:10            instead of an answer to the tenth append the connection ends with FIN
    reset=append:10            … with RST
    fail=append:5:6            the fifth append is refused with status 6, and nothing is stored
    crash=append:100           the process ends at the hundredth append, as if by SIGKILL
    restart=append:100         it ends so and is back at once, on the same port
    lose-status=0.1            one status message in ten is never written
    repeat-status=2-4          the second to fourth are written twice
    fail-task=3                the third task ends with Failure and is not uploaded

WHEN is a number counted from 1 since the start, a range of numbers, `*` for all, or a probability with a
decimal point. OPERATION is connect, create, delete, append, read, list, describe, update, or any.

No I/O and no clock here: the server and the exporter ask what to do, and do it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random

__all__ = ["OPERATIONS", "Deed", "Faults", "Misdeed"]

OPERATIONS = ("connect", "create", "delete", "append", "read", "list", "describe", "update")
_MOST_STATUS = 18
_MOST_DELAY_SECONDS = 3600.0


class Deed(Enum):
    """What is done to a request, or instead of answering it."""

    DELAY = "delay"
    DROP = "drop"
    CLOSE = "close"
    RESET = "reset"
    FAIL = "fail"
    CRASH = "crash"
    RESTART = "restart"


_OF_EXPORTS = ("lose-status", "repeat-status", "fail-task")


@dataclass(frozen=True, slots=True)
class Misdeed:
    """`seconds` belongs to DELAY, `status` to FAIL."""

    deed: Deed
    seconds: float = 0.0
    status: int = 0


class _When:
    """Counts what it is asked about, and says whether this one is meant."""

    def __init__(self, text: str, chance: Random) -> None:
        self._count = 0
        self._chance = chance
        self._probability: float | None = None
        self._first, self._last = 1, float("inf")
        if re.fullmatch(r"0?\.\d+|1\.0+", text):
            self._probability = float(text)
        elif found := re.fullmatch(r"([1-9]\d{0,17})(?:-([1-9]\d{0,17}))?", text):
            self._first, self._last = int(found[1]), int(found[2] or found[1])
        elif text != "*":
            raise ValueError(
                f"{text!r} must be a number from 1 on (3), a range (2-5), a probability (0.1) or *"
            )
        if self._last < self._first:
            raise ValueError(f"{text!r} must be a range that begins before it ends")

    def is_now(self) -> bool:
        self._count += 1
        if self._probability is not None:
            return self._chance.random() < self._probability
        return self._first <= self._count <= self._last


class Faults:
    """Raises ValueError for a text that is not in the notation above, saying which part is wrong."""

    def __init__(self, texts: Sequence[str] = (), *, chance: Random) -> None:
        self._chance = chance
        self._requests: dict[str, list[tuple[_When, Misdeed]]] = {}
        self._exports: dict[str, list[_When]] = {}
        for text in texts:
            self._add(text)

    def watches(self, operation: str) -> bool:
        """Whether any fault concerns this operation at all; cheap."""
        return operation in self._requests

    def at_request(self, operation: str) -> Misdeed | None:
        """What happens to this request: asked once for each. The first fault that applies counts."""
        found = None
        for when, misdeed in self._requests.get(operation, ()):
            if when.is_now() and found is None:
                found = misdeed
        return found

    def copies_of_status(self) -> int:
        """How often the next status message is written: 0 (lost), 1, or 2 (repeated)."""
        is_lost = self._applies("lose-status")
        is_repeated = self._applies("repeat-status")
        return 0 if is_lost else 2 if is_repeated else 1

    def fails_task(self) -> bool:
        """Whether the next task ends with Failure instead of being uploaded."""
        return self._applies("fail-task")

    def _applies(self, kind: str) -> bool:
        asked = [when.is_now() for when in self._exports.get(kind, ())]  # each counts, also behind a True
        return any(asked)

    def _add(self, text: str) -> None:
        kind, equals, rest = text.partition("=")
        if equals and kind in _OF_EXPORTS:
            self._exports.setdefault(kind, []).append(_When(rest, self._chance))
        elif equals and kind in {deed.value for deed in Deed}:
            self._add_to_requests(Deed(kind), rest)
        else:
            known = ", ".join([deed.value for deed in Deed] + list(_OF_EXPORTS))
            raise ValueError(f"it must begin with one of {known} and an equals sign")

    def _add_to_requests(self, deed: Deed, rest: str) -> None:
        operation, *more = rest.split(":")
        if operation not in {*OPERATIONS, "any"}:
            raise ValueError(f"{operation!r} must be one of {', '.join(OPERATIONS)}, any")
        if deed is Deed.DELAY and len(more) == 1:
            more = ["*", *more]
        needed = 2 if deed in {Deed.DELAY, Deed.FAIL} else 1
        if len(more) != needed:
            raise ValueError(f"it must read {_SHAPES[deed]}")
        misdeed = Misdeed(deed)
        if deed is Deed.DELAY:
            misdeed = Misdeed(deed, seconds=_seconds(more[1]))
        elif deed is Deed.FAIL:
            misdeed = Misdeed(deed, status=_status(more[1]))
        for each in OPERATIONS if operation == "any" else (operation,):
            self._requests.setdefault(each, []).append((_When(more[0], self._chance), misdeed))


_SHAPES = {
    **{deed: f"{deed.value}=OPERATION:WHEN" for deed in Deed},
    Deed.DELAY: "delay=OPERATION:SECONDS or delay=OPERATION:WHEN:SECONDS",
    Deed.FAIL: "fail=OPERATION:WHEN:STATUS",
}


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MOST_DELAY_SECONDS:
        raise ValueError(f"{text!r} must be a number of seconds, {_MOST_DELAY_SECONDS:.0f} at most")
    return value


def _status(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= _MOST_STATUS:
        raise ValueError(f"{text!r} must be a status code from 1 to {_MOST_STATUS}: clients die of others")
    return int(text)
