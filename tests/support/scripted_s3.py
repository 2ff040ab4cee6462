"""An S3 endpoint on loopback that does exactly what a test's script says, down to the byte.

For the faults that no real server can be asked for. Each accepted connection plays the next script;
the last script is played for all further ones. `honest` is the script of a store that works, as far
as the transport uses one.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import ssl
import struct
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from s3_file_uploader.transport.s3.crt import crc64nvme, encode_crc64

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

__all__ = ["ECHO", "TLS_FOLDER", "Line", "Request", "ScriptedS3", "echo_of", "honest", "serve"]

TLS_FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tls")
ECHO = "x-amz-checksum-crc64nvme"


@dataclass(frozen=True)
class Request:
    """A request's head. `headers` have lower-case names, `target` is as it was sent."""

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]

    @property
    def size(self) -> int:
        return int(self.headers.get("content-length", "0"))


class Line:
    """One accepted connection, from the server's side."""

    def __init__(self, server: ScriptedS3, connected: socket.socket, number: int) -> None:
        self.server = server
        self.number = number  # counted from 0
        self._socket = connected
        self._read = b""
        self.read_bytes = 0  # of heads

    def request(self) -> Request | None:
        """The next head; None if the client hung up."""
        while b"\r\n\r\n" not in self._read:
            data = self._socket.recv(65536)
            if not data:
                return None
            self._read += data
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        self.read_bytes += len(head) + 4
        first, *rest = head.decode("ascii").split("\r\n")
        method, target, _ = first.split(" ")
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        request = Request(method, target, unquote(url.path), query, headers)
        self.server.requests.append(request)
        return request

    def body(self, size: int) -> bytes:
        """Exactly `size` bytes, or fewer if the client hung up."""
        pieces, left = [self._read[:size]], size - len(self._read)
        self._read = self._read[size:]
        while left > 0:
            data = self._socket.recv(min(left, 1024 * 1024))
            if not data:
                break
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    def proceed(self) -> None:
        self.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def answer(self, status: int = 200, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
        fields = {"content-length": str(len(body)), **(headers or {})}
        lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self.send(f"HTTP/1.1 {status} Said\r\n{lines}\r\n".encode() + body)

    def refuse(self, status: int, code: str, headers: Mapping[str, str] | None = None) -> None:
        body = f"<Error><Code>{code}</Code><Message>as the script says</Message></Error>".encode()
        self.answer(status, headers, body)

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reset(self) -> None:
        """Hang up with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def drop(self) -> None:
        """Hang up from another thread; whoever reads or writes here finds that out."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Hang up politely."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def tunnel(self, port: int) -> None:
        """Carry bytes both ways between the client and a port of this machine, until either hangs up."""
        with socket.create_connection(("127.0.0.1", port)) as onward:
            ends = {self._socket: onward, onward: self._socket}
            while True:
                for ready in select.select(list(ends), [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    ends[ready].sendall(data)

    def linger(self) -> None:
        """Say no more, and take in what still comes, so that what was said last is heard."""
        self._socket.shutdown(socket.SHUT_WR)
        self._socket.settimeout(20)
        while self._socket.recv(65536):
            pass

    def stall(self) -> None:
        """Say nothing and read nothing until the test is over."""
        self.server.is_over.wait(60)


def echo_of(body: bytes) -> dict[str, str]:
    return {ECHO: encode_crc64(crc64nvme(body)), "etag": '"e"'}


def honest(line: Line) -> None:
    """A store that works: keeps objects and uploads, verifies checksums, echoes them."""
    while (request := line.request()) is not None:
        if request.headers.get("expect") == "100-continue":
            line.proceed()
        serve(line, request, line.body(request.size))


def serve(line: Line, request: Request, body: bytes) -> None:
    server, upload = line.server, request.query.get("uploadId", "")
    if request.method == "PUT" and not upload:
        if request.headers[ECHO] != echo_of(body)[ECHO]:
            line.refuse(400, "BadDigest")
            return
        server.objects[request.path] = body
        server.stored.append(request.path)
        line.answer(200, echo_of(body))
    elif request.method == "POST" and "uploads" in request.query:
        server.uploads["u1"] = {}
        line.answer(200, body=_xml("InitiateMultipartUploadResult", "<UploadId>u1</UploadId>"))
    elif request.method == "HEAD":
        _serve_head(line, request)
    elif upload not in server.uploads:
        line.refuse(404, "NoSuchUpload")
    else:
        _serve_upload(line, request, body)


def _serve_head(line: Line, request: Request) -> None:
    content = line.server.objects.get(request.path)
    if content is None:
        line.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    else:
        line.answer(200, {**echo_of(content), "content-length": str(len(content))})


def _serve_upload(line: Line, request: Request, body: bytes) -> None:
    server, upload = line.server, request.query["uploadId"]
    parts = server.uploads[upload]
    if request.method == "PUT":
        if request.headers[ECHO] != echo_of(body)[ECHO]:
            line.refuse(400, "BadDigest")
            return
        parts[int(request.query["partNumber"])] = body
        server.stored.append(f"{request.path} part {request.query['partNumber']}")
        line.answer(200, echo_of(body))
    elif request.method == "GET":
        rows = "".join(
            f"<Part><PartNumber>{number}</PartNumber><Size>{len(part)}</Size><ETag>e</ETag>"
            f"<ChecksumCRC64NVME>{echo_of(part)[ECHO]}</ChecksumCRC64NVME></Part>"
            for number, part in sorted(parts.items())
        )
        line.answer(200, body=_xml("ListPartsResult", f"<IsTruncated>false</IsTruncated>{rows}"))
    elif request.method == "DELETE":
        del server.uploads[upload]
        line.answer(204)
    else:
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)<", body)]
        content = b"".join(parts[number] for number in numbers)
        del server.uploads[upload]
        server.objects[request.path] = content
        checksum = f"<ChecksumCRC64NVME>{echo_of(content)[ECHO]}</ChecksumCRC64NVME>"
        line.answer(200, body=_xml("CompleteMultipartUploadResult", f"<ETag>e</ETag>{checksum}"))


def _xml(name: str, inner: str) -> bytes:
    return f"<{name}>{inner}</{name}>".encode()


class ScriptedS3:
    """`with ScriptedS3(script, …) as store:`; afterwards nothing of it runs any more.

    `certificate` is a name in tests/support/tls; plain HTTP without one. `port` is that of a store that was
    there before; else a free one.
    """

    def __init__(
        self,
        *scripts: Callable[[Line], None],
        certificate: str = "",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.scripts = scripts or (honest,)
        self.certificate = certificate
        self.requests: list[Request] = []
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.connections = 0
        self.is_healed = threading.Event()  # for scripts whose fault ends
        self.stored: list[str] = []  # each object and part that was taken, in order
        self.is_over = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listening = socket.create_server((host, port), family=family)
        self.port: int = self._listening.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="scripted-s3")]
        self._open: list[socket.socket] = []

    def heal(self) -> None:
        """What went wrong is over: scripts that know of it are honest from now on."""
        self.is_healed.set()

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def stop_listening(self) -> None:
        """From now on its port refuses."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(10)
        self._listening.close()

    def __exit__(self, *reason: object) -> None:
        self.is_over.set()
        self.stop_listening()
        for connected in self._open:
            with contextlib.suppress(OSError):
                connected.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connected in self._open:
            connected.close()

    def _accept(self) -> None:
        while True:
            try:
                connected, _ = self._listening.accept()
            except OSError:
                return
            self._open.append(connected)
            number = self.connections
            self.connections += 1
            thread = threading.Thread(target=self._play, args=(connected, number), name="scripted-s3-line")
            self._threads.append(thread)
            thread.start()

    def _play(self, connected: socket.socket, number: int) -> None:
        script = self.scripts[min(number, len(self.scripts) - 1)]
        try:
            if self.certificate:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(os.path.join(TLS_FOLDER, f"{self.certificate}.pem"))
                connected = context.wrap_socket(connected, server_side=True)
                self._open.append(connected)
            script(Line(self, connected, number))
        except OSError:  # the client hung up, which scripts provoke
            pass
        finally:
            connected.close()
