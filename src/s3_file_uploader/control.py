"""The control socket: how a command reaches the daemon that holds the ledger.

`control`, a Unix socket in the ledger's folder, exists while a daemon runs. It speaks lines of JSON:
one request, `{"command": "retry", "arguments": {...}}`, and one answer, `{"result": ...}` or
`{"error": "...", "advice": "..."}`. Only the daemon's own user and root are listened to. What a
command does is not decided here.

The commands, their arguments and results (paths are base64, for they may be any bytes):

    retry   paths: list of paths, or null for all      → files: how many were released
    abort_uploads
            names: list of paths and upload ids, all of them base64; given_up, all: true or false
                                                        → uploads: what came of each
    rescan                                              → null
    status                                              → now: the running clock, pid, and live numbers
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from s3_file_uploader.errors import UploaderError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["NAME", "ControlError", "ControlServer", "ask", "decode_paths", "encode_paths", "serve"]

NAME = "control"
_LONGEST_ADDRESS_BYTES = 107
_LONGEST_LINE_BYTES = 16 * 1024 * 1024  # the paths of one command line fit
_IDLE_SECONDS = 10.0
_ROOT = 0
_CREDENTIALS = struct.Struct("iII")  # struct ucred: pid, uid, gid


class ControlError(UploaderError):
    """The daemon did not do what it was asked, and says why; or does not answer."""

    advice = "`s3-file-uploader status` says whether a daemon runs; its log says what it does."


def encode_paths(paths: Sequence[bytes]) -> list[str]:
    return [base64.b64encode(path).decode("ascii") for path in paths]


def decode_paths(texts: Sequence[str]) -> list[bytes]:
    return [base64.b64decode(text, validate=True) for text in texts]


@contextlib.contextmanager
def _address(folder: str, name: str = NAME) -> Iterator[str]:
    """An address of the socket that fits into one, however long the folder's path is."""
    path = os.path.join(folder, name)
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES:
        yield path
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def ask(
    folder: str, command: str, arguments: Mapping[str, Any] | None = None, *, timeout_seconds: float = 10.0
) -> Any:
    """The daemon's answer, or None where no daemon listens. ControlError where it refuses or is silent."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_seconds)
        try:
            with _address(folder) as address:
                connection.connect(address)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise ControlError(f"the daemon's control socket in {folder} cannot be used: {error}") from error
        try:
            request = {"command": command, "arguments": dict(arguments or {})}
            connection.sendall(json.dumps(request).encode("ascii") + b"\n")
            line = _read_line(connection)
        except OSError as error:
            raise ControlError(f"the daemon does not answer on its control socket: {error}") from error
    return _result(line)


def _read_line(connection: socket.socket) -> bytes:
    received = bytearray()
    while not received.endswith(b"\n") and len(received) < _LONGEST_LINE_BYTES:
        piece = connection.recv(65536)
        if not piece:
            break
        received += piece
    return bytes(received)


def _result(line: bytes) -> Any:
    try:
        answer = json.loads(line)
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise ControlError("the daemon ended the conversation without an answer")
    if "error" in answer:
        raise ControlError(str(answer["error"]), advice=str(answer.get("advice") or ""))
    return answer.get("result")


class ControlServer:
    """A listening control socket. `close` takes it away."""

    def __init__(self, folder: str, handlers: Mapping[str, Callable[..., Any]]) -> None:
        self._folder = folder
        self._handlers = handlers
        self._server: asyncio.AbstractServer | None = None
        self._inode: int | None = None

    async def start(self) -> None:
        import asyncio  # noqa: PLC0415  # commands that only ask must not pay for it

        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._inode = _bind(listening, self._folder)
            self._server = await asyncio.start_unix_server(
                self._converse, sock=listening, limit=_LONGEST_LINE_BYTES
            )
        except BaseException:
            listening.close()
            raise

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        path = os.path.join(self._folder, NAME)
        with contextlib.suppress(OSError):
            if os.lstat(path).st_ino == self._inode:
                os.unlink(path)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        import asyncio  # noqa: PLC0415  # as above

        try:
            # Read in any case: a stranger, too, is to get his answer and not a broken pipe.
            line = await asyncio.wait_for(reader.readline(), _IDLE_SECONDS)
            if _is_allowed(writer.get_extra_info("socket")):
                answer = await self._answer(line)
            else:
                answer = {"error": "only the daemon's own user may command it"}
            writer.write(json.dumps(answer).encode("ascii") + b"\n")
            await asyncio.wait_for(writer.drain(), _IDLE_SECONDS)
        except (OSError, ValueError, asyncio.TimeoutError):
            pass  # whoever asked is gone, too slow, or sent more than a line may hold
        finally:
            writer.close()

    async def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
            command, arguments = request["command"], request.get("arguments") or {}
            handler = self._handlers[command]
        except (ValueError, KeyError, TypeError, AttributeError):
            known = ", ".join(sorted(self._handlers))
            return {"error": f"not a command that this daemon knows ({known})"}
        try:
            result = handler(**arguments)
            return {"result": await result if isinstance(result, Awaitable) else result}
        except UploaderError as error:
            return {"error": str(error), "advice": error.advice}
        except Exception as error:  # noqa: BLE001  # a command that fails must not take the daemon along
            return {"error": f"{type(error).__name__}: {error}"}


async def serve(folder: str, handlers: Mapping[str, Callable[..., Any]]) -> ControlServer:
    """Listen in `folder`, whose lock the caller holds; a socket that a dead daemon left is replaced.

    A handler gets the request's arguments by name and returns what JSON can carry, or an awaitable of it.
    """
    server = ControlServer(folder, handlers)
    await server.start()
    return server


def _bind(listening: socket.socket, folder: str) -> int:
    """Make the socket under a name of its own, close it to others, then put it in place; its inode."""
    name = f".{NAME}-{os.getpid()}"
    path = os.path.join(folder, name)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    with _address(folder, name) as address:
        listening.bind(address)
    os.chmod(path, stat.S_IRUSR | stat.S_IWUSR)
    listening.listen(16)
    os.replace(path, os.path.join(folder, NAME))
    return os.lstat(os.path.join(folder, NAME)).st_ino


def _is_allowed(connection: socket.socket) -> bool:
    """Ourselves, and root, who can do all this anyway."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return user in (os.geteuid(), _ROOT)
