"""Turns the endpoint's name into addresses, in a thread of its own.

getaddrinfo cannot be given a deadline, and a name server that is gone blocks it for half a minute;
in a daemon thread that holds up neither the engine nor the exit. Answers are kept for a minute, or until
none of their addresses answers any more, and an old answer is better than none: it is served again while
the name server does not answer.
"""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from s3_file_uploader.transport.s3.tls import said

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Address", "Resolver"]

KEPT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """What socket() and connect() want; `sockaddr` is the family's own shape."""

    family: int
    sockaddr: Any


class Resolver:
    """Looks up names for the engines of a transport; `look_up` asks the system, as getaddrinfo does."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        look_up: Callable[..., list[Any]] = socket.getaddrinfo,
    ) -> None:
        self._monotonic = monotonic
        self._system = look_up
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, int], tuple[float, tuple[Address, ...]]] = {}
        self._asking: dict[tuple[str, int], list[Callable[[tuple[Address, ...], str], None]]] = {}

    def lookup(self, host: str, port: int) -> tuple[Address, ...]:
        """What is known right now without asking anyone: a literal address or a fresh answer."""
        kept = self._kept.get((host, port))
        if kept is not None and self._monotonic() - kept[0] < KEPT_SECONDS:
            return kept[1]
        try:
            return _distinct(socket.getaddrinfo(host, port, **_STREAMS, flags=socket.AI_NUMERICHOST))
        except OSError:
            return ()

    def forget(self, host: str, port: int) -> None:
        """None of the addresses answers: ask again, and serve them only if nobody knows better."""
        with self._lock:
            kept = self._kept.get((host, port))
            if kept is not None:
                self._kept[host, port] = (float("-inf"), kept[1])

    def ask(self, host: str, port: int, told: Callable[[tuple[Address, ...], str], None]) -> None:
        """Ask the system; `told` is called once, from another thread. One thread per name at a time."""
        with self._lock:
            waiting = self._asking.get((host, port))
            if waiting is not None:
                waiting.append(told)
                return
            self._asking[host, port] = [told]
        name = f"s3-resolver-{host}"
        threading.Thread(target=self._look_up, args=(host, port), name=name, daemon=True).start()

    def _look_up(self, host: str, port: int) -> None:
        trouble = ""
        try:
            addresses = _distinct(self._system(host, port, **_STREAMS))
        except (OSError, UnicodeError) as error:
            addresses, trouble = (), said(error)
        with self._lock:
            if addresses:
                self._kept[host, port] = (self._monotonic(), addresses)
            elif (host, port) in self._kept:
                addresses = self._kept[host, port][1]
            waiting = self._asking.pop((host, port))
        for told in waiting:
            told(addresses, trouble)


_STREAMS: Final = {"type": socket.SOCK_STREAM}


def _distinct(found: list[Any]) -> tuple[Address, ...]:
    return tuple(dict.fromkeys(Address(family, sockaddr) for family, _, _, _, sockaddr in found))
