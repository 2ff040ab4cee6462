"""A port that leads to a store or nowhere: nobody listens, somebody listens and says nothing, or it is passed on."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Doorway"]


class Doorway:
    """`refuse`, `swallow` and `lead_to` say what happens to connections from now on; those before end."""

    def __init__(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.taken = 0
        self._target: tuple[str, int] | None = None
        self._listening: socket.socket | None = None
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()

    def refuse(self) -> None:
        """Nobody listens."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.shutdown(socket.SHUT_RDWR)
            listening.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in self._open:
            one.close()
        self._open.clear()
        self._threads.clear()

    def swallow(self) -> None:
        """Connections are taken, and nothing ever comes back."""
        self._listen(None)

    def lead_to(self, url: str) -> None:
        place = urlsplit(url)
        assert place.hostname is not None
        assert place.port is not None
        self._listen((place.hostname, place.port))

    def _listen(self, target: tuple[str, int] | None) -> None:
        self.refuse()
        self._target = target
        self._listening = socket.create_server(("127.0.0.1", self.port), backlog=512)
        self._start(self._accept, self._listening)

    def _start(self, work: object, *arguments: socket.socket) -> None:
        thread = threading.Thread(target=work, args=arguments)  # type: ignore[arg-type]  # a callable
        self._threads.append(thread)
        thread.start()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            self.taken += 1
            self._open.append(near)
            if self._target is not None:
                far = socket.create_connection(self._target)
                self._open.append(far)
                self._start(_pump, near, far)
                self._start(_pump, far, near)


def _pump(from_: socket.socket, to: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := from_.recv(65536):
            to.sendall(data)
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_WR)
