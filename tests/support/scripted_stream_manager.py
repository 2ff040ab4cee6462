"""A Stream Manager of few words for tests: in memory, on a free port, as bad as its script says.

It speaks the protocol as far as the uploader does. What a task comes to is decided by `outcome`, which
reads the file like the real one; a real server, with files and S3, is stream-manager-local. Nothing here is
shared with it, so that a mistake in one does not hide the same in the other.
"""

from __future__ import annotations

import asyncio
import json
import struct
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import cbor2

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

__all__ = ["SUCCESS", "ScriptedStreamManager", "Stream", "Told", "upload"]

CONNECT, CREATE, DELETE, APPEND, READ = 1, 2, 3, 4, 5
LIST, DESCRIBE, UPDATE = 11, 13, 15
_ANSWERS = {CONNECT: 6, CREATE: 7, DELETE: 8, APPEND: 9, READ: 10, LIST: 12, DESCRIBE: 14, UPDATE: 16}
_INVALID, _MISSING, _NOT_ENOUGH = 3, 5, 13
SUCCESS, FAILURE, IN_PROGRESS, WARNING, CANCELED = range(5)


@dataclass
class Told:
    """A status to be told of a task; `changes` are made to the message's JSON first."""

    kind: int = SUCCESS
    message: str = ""
    changes: Callable[[dict[str, Any]], None] | None = None


@dataclass
class Stream:
    definition: dict[str, Any]
    messages: list[bytes] = field(default_factory=list)
    exported: int = 0  # the next task to be worked on
    oldest: int = 0
    full_at: int = 1 << 60  # so many messages fit

    @property
    def exports(self) -> list[dict[str, Any]]:
        return list((self.definition.get("exportDefinition") or {}).get("s3TaskExecutor") or [])


class ScriptedStreamManager:
    """`objects` is what S3 holds. `outcome(task)` does a task: the statuses to be told, or None: not yet."""

    def __init__(self) -> None:
        self.streams: dict[str, Stream] = {}
        self.objects: dict[str, bytes] = {}
        self.requests: list[tuple[int, dict[str, Any]]] = []
        self.outcome: Callable[[dict[str, Any]], list[Told] | None] = lambda task: upload(self, task)
        self.before_answer: Callable[[int, dict[str, Any]], str] = lambda _op, _request: ""
        self.full_at = 1 << 60
        self.nothing_exported: dict[str, int] = {"lastExportedSequenceNumber": -1}
        self.connections = 0
        self.port = 0
        self._changed: set[asyncio.Future[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    # -- its life, in a thread of its own

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    def stop(self) -> None:
        """As when the process ends: the streams are still there at the next start."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)

    def do(self, work: Callable[[], Any]) -> Any:
        """Change what it has, in its own thread."""

        async def it() -> Any:
            result = work()
            self._work()
            return result

        return asyncio.run_coroutine_threadsafe(it(), self._loop).result(10)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for writer in list(self._writers):
            writer.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._server.wait_closed()

    # -- conversations

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.connections += 1
        polls: set[asyncio.Task[None]] = set()
        try:
            if await reader.readexactly(1) != b"\x01":
                return
            writer.write(b"\x01")
            while True:
                length, operation = struct.unpack(">ib", await reader.readexactly(5))
                request = cbor2.loads(await reader.readexactly(length - 1))
                self.requests.append((operation, request))
                if operation == READ:
                    poll = asyncio.ensure_future(self._answer(operation, request, writer))
                    polls.add(poll)
                    poll.add_done_callback(polls.discard)
                else:
                    await self._answer(operation, request, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            for poll in list(polls):
                poll.cancel()
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, operation: int, request: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        what = self.before_answer(operation, request)
        if what == "never":
            return
        if what == "drop":
            writer.close()
            return
        status, body = 0, {}
        try:
            body = await self._carry_out(operation, request)
        except _No as no:
            status, body = no.status, {"errorMessage": str(no)}
        if what == "drop after":
            writer.close()
            return
        self._send(writer, _ANSWERS[operation], {"requestId": request["requestId"], "status": status, **body})

    def _send(self, writer: asyncio.StreamWriter, operation: int, body: dict[str, Any]) -> None:
        said = cbor2.dumps(body)
        writer.write(struct.pack(">ib", len(said) + 1, operation) + said)

    async def _carry_out(  # noqa: PLR0911  # a table of operations
        self, operation: int, request: dict[str, Any]
    ) -> dict[str, Any]:
        if operation == CONNECT:
            return {"protocolVersion": "1.1.0"}
        if operation == LIST:
            return {"streams": list(self.streams)}
        if operation in (CREATE, UPDATE):
            return self._define(operation, request["definition"])
        name = request.get("name") or request.get("streamName")
        if name not in self.streams:
            raise _No(_MISSING, f"no stream {name}")
        if operation == DELETE:
            del self.streams[name]
            return {}
        stream = self.streams[name]
        if operation == DESCRIBE:
            return {"messageStreamInfo": _described(stream, self.nothing_exported)}
        if operation == APPEND:
            return {"sequenceNumber": self._append(stream, request["payload"])}
        return {"messages": await self._read(name, request.get("readMessagesOptions") or {})}

    def _define(self, operation: int, definition: dict[str, Any]) -> dict[str, Any]:
        name = definition["name"]
        if operation == CREATE:
            if name in self.streams:
                raise _No(_INVALID, "stream already exists")
            self.streams[name] = Stream(definition, full_at=self.full_at)
        elif name not in self.streams:
            raise _No(_MISSING, f"no stream {name}")
        else:
            self.streams[name].definition = definition
        return {}

    def _append(self, stream: Stream, payload: bytes) -> int:
        if stream.exports and len(stream.messages) - stream.oldest >= stream.full_at:
            raise _No(_INVALID, "the stream is full")
        stream.messages.append(payload)
        number = len(stream.messages) - 1
        self._work()
        return number

    async def _read(self, name: str, options: dict[str, Any]) -> list[dict[str, Any]]:
        start, most = options.get("desiredStartSequenceNumber") or 0, options.get("maxMessageCount") or 1
        deadline = time.monotonic() + (options.get("readTimeoutMillis") or 0) / 1000
        while True:
            stream = self.streams.get(name)
            if stream is None:
                raise _No(_MISSING, f"no stream {name}")
            first = max(start, stream.oldest)
            found = stream.messages[first : first + most]
            if found:
                return [
                    {"streamName": name, "sequenceNumber": first + n, "ingestTime": 0, "payload": payload}
                    for n, payload in enumerate(found)
                ]
            if time.monotonic() >= deadline:
                raise _No(_NOT_ENOUGH, "not enough messages")
            changed = self._loop.create_future()
            self._changed.add(changed)
            await asyncio.wait([changed], timeout=deadline - time.monotonic())
            self._changed.discard(changed)

    # -- uploads

    def _work(self) -> None:
        """Each stream's tasks in order, as far as they can be done now."""
        for name, stream in list(self.streams.items()):
            while stream.exports and stream.exported < len(stream.messages):
                task = json.loads(stream.messages[stream.exported])
                told = self.outcome(task)
                if told is None:
                    break
                self._tell(name, stream, task, told)
                stream.exported += 1
        for changed in self._changed:
            if not changed.done():
                changed.set_result(None)

    def _tell(self, name: str, stream: Stream, task: dict[str, Any], told: list[Told]) -> None:
        config = stream.exports[0].get("statusConfig") or {}
        target = self.streams.get(config.get("statusStreamName", ""))
        for one in told:
            said: dict[str, Any] = {
                "eventType": 0,
                "statusLevel": 2,
                "status": one.kind,
                "statusContext": {
                    "s3ExportTaskDefinition": dict(task),
                    "exportIdentifier": stream.exports[0]["identifier"],
                    "streamName": name,
                    "sequenceNumber": stream.exported,
                },
                "message": one.message,
                "timestampEpochMs": 0,
            }
            if one.changes is not None:
                one.changes(said)
            if target is not None:
                target.messages.append(json.dumps(said).encode())


class _No(Exception):
    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


def _described(stream: Stream, nothing_exported: dict[str, int]) -> dict[str, Any]:
    total = sum(map(len, stream.messages[stream.oldest :]))
    if stream.full_at < 1 << 60 and len(stream.messages) - stream.oldest >= stream.full_at:
        total = stream.definition["maxSize"]
    exported = {"lastExportedSequenceNumber": stream.exported - 1} if stream.exported else nothing_exported
    return {
        "definition": stream.definition,
        "storageStatus": {
            "oldestSequenceNumber": stream.oldest,
            "newestSequenceNumber": len(stream.messages) - 1,
            "totalBytes": total,
        },
        "exportStatuses": [
            {"exportConfigIdentifier": one["identifier"], **exported} for one in stream.exports
        ],
    }


def upload(server: ScriptedStreamManager, task: dict[str, Any]) -> list[Told]:
    """As the real one: reads the file by its URL, now."""
    try:
        with open(task["inputUrl"].removeprefix("file://"), "rb") as file:
            server.objects[task["key"]] = file.read()
    except OSError as error:
        return [Told(FAILURE, f"{type(error).__name__}: {error}")]
    return [Told()]
