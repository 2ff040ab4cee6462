"""AWS's own client of the IPC, for the tests that hold the fake nucleus against it.

The one module here that knows awsiotsdk; the nucleus itself imports nothing of it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

from awsiot.greengrasscoreipc import connect
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.nucleus.server import FakeNucleus

__all__ = ["Heard", "connected"]

_SECONDS = 20.0


@contextlib.contextmanager
def connected(
    nucleus: FakeNucleus, token: str | None = None, lifecycle: Any = None
) -> Iterator[GreengrassCoreIPCClientV2]:
    """A client whose callbacks run one after the other, so that the order of events is the nucleus's."""
    token = token or nucleus.token()
    connection = connect(
        ipc_socket=nucleus.socket_path, authtoken=token, timeout=_SECONDS, lifecycle_handler=lifecycle
    )
    client = GreengrassCoreIPCClientV2(client=connection, executor=None)
    try:
        yield client
    finally:
        # It has an exception where the connection was ended by the other side.
        client.close().exception(_SECONDS)


class Heard:
    """What a subscription's callbacks were told."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.is_closed = False
        self._news = threading.Condition()

    @property
    def callbacks(self) -> dict[str, Callable[..., Any]]:
        return {"on_stream_event": self._event, "on_stream_closed": self._closed}

    def _event(self, event: Any) -> None:
        with self._news:
            self.events.append(event)
            self._news.notify_all()

    def _closed(self) -> None:
        with self._news:
            self.is_closed = True
            self._news.notify_all()

    def wait(self, condition: Callable[[Heard], Any]) -> None:
        deadline = time.monotonic() + _SECONDS
        with self._news:
            while not condition(self):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError(f"heard {self.events}, closed: {self.is_closed}")
                self._news.wait(left)

    def wait_for_events(self, count: int) -> list[Any]:
        self.wait(lambda heard: len(heard.events) >= count)
        return self.events

    def wait_until_closed(self) -> None:
        self.wait(lambda heard: heard.is_closed)
