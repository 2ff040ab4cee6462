"""A loopback server that hands out credentials as containers, the Token Exchange Service and EC2 do."""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CredentialServer", "credential_server"]


@dataclass
class CredentialServer:
    """What it answers (set before it is asked) and what it was asked.

    With a `token`, requests without exactly that Authorization get 401. Each answer carries the
    number of the request in its access key id: KEY-1, KEY-2, …
    """

    port: int = 0
    token: str = ""
    lifetime_seconds: float = 3600.0
    failing: bool = False
    numbered: bool = True
    keys: tuple[str, str] | None = None  # access key id and secret that some store knows, which has no tokens
    gate: threading.Event = field(default_factory=threading.Event)  # unset: answers wait
    asked: list[tuple[str, str]] = field(default_factory=list)  # path, Authorization
    arrived: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/2016-11-01/credentialprovider/"

    def answer(self) -> tuple[int, bytes]:
        path, authorization = self.asked[-1]
        if path.endswith("/security-credentials/"):
            return 200, b"role-of-the-instance"
        if self.token and authorization != self.token:
            return 401, b'{"message": "THE-SECRET is not the token"}'
        if self.failing:
            return 500, b'{"message": "THE-SECRET failed"}'
        expiry = time.gmtime(time.time() + self.lifetime_seconds)
        key, secret = self.keys or (f"KEY-{len(self.asked) if self.numbered else 0}", "THE-SECRET")
        document = {
            "Code": "Success",
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": "" if self.keys else "THE-TOKEN",
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", expiry),
        }
        return 200, json.dumps(document).encode()


@contextmanager
def credential_server() -> Iterator[CredentialServer]:
    state = CredentialServer()
    state.gate.set()

    class Exchange(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers.get("Authorization", "")))
            state.arrived.release()
            state.gate.wait(30)
            status, body = state.answer()
            self.reply(status, body)

        def do_PUT(self) -> None:
            self.reply(200, b"token of the instance")

        def reply(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base's
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Exchange)
    server.daemon_threads = True
    state.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.gate.set()
        server.shutdown()
        thread.join()
        server.server_close()
