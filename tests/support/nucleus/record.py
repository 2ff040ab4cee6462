"""What a nucleus was asked and told, and how a test waits for it.

A wait is for a condition that is asked again with each piece of news; it has a deadline and, when that
passes, says what did arrive instead.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DEADLINE_SECONDS", "Connected", "Published", "Record", "Request"]

DEADLINE_SECONDS = 20.0
_T = TypeVar("_T")


@dataclass(frozen=True)
class Request:
    component: str
    operation: str
    body: dict[str, Any]


@dataclass(frozen=True)
class Connected:
    """An attempt to connect: with which token, and whose it was if it was let in."""

    token: str
    component: str | None


@dataclass(frozen=True)
class Published:
    """`payload` is bytes as they were sent, or the object of a JSON message."""

    component: str
    topic: str
    payload: Any
    is_to_iot_core: bool = False
    qos: str | None = None


class Record:
    """Written by the nucleus's thread, read by the test's."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.connects: list[Connected] = []
        self.published: list[Published] = []
        self.states: list[tuple[str, str]] = []  # component, state
        self._news = threading.Condition()

    def changed(self) -> None:
        """Whoever waits is to look again."""
        with self._news:
            self._news.notify_all()

    def of(self, operation: str) -> list[dict[str, Any]]:
        return [request.body for request in list(self.requests) if request.operation == operation]

    def wait_for(self, condition: Callable[[], _T], seconds: float = DEADLINE_SECONDS) -> _T:
        """What `condition` gives, once that is true; it must be quick and must not wait itself."""
        deadline = time.monotonic() + seconds
        with self._news:
            while True:
                found = condition()
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"not within {seconds} s; there were {self._summary()}")
                self._news.wait(left)

    def _summary(self) -> str:
        asked = [f"{request.component}: {request.operation}" for request in self.requests[-20:]]
        return f"connections {self.connects[-5:]} and requests {asked}"
