"""AWS's client for Stream Manager, made to keep its promises: all that the project knows of it is here.

The client has one connection and an event loop in a thread of its own. As it comes it hangs for a
minute when its connection ends under a request, is dead for ever after an answer that came late or was
strange, and leaks a thread and three descriptors with each connection that fails. So a `Line` is that
client for the life of one connection: whatever ends its reading ends the line, at once and for all
requests; it never connects again; and `hang_up` frees its thread and its descriptors.

Requests are coroutines of the client's own, run by its own loop in its own thread: hundreds are on the
way at once, and none of our threads sleeps for them. This needs names of the client that are not
public; tests/unit/stream_manager/ says which, and fails where they are not there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
from concurrent.futures import CancelledError, Future
from typing import TYPE_CHECKING, Any, TypeVar

import cbor2
from stream_manager import (
    ExportDefinition,
    MessageStreamDefinition,
    Persistence,
    ReadMessagesOptions,
    S3ExportTaskDefinition,
    S3ExportTaskExecutorConfig,
    StatusConfig,
    StatusLevel,
    StrategyOnFull,
    StreamManagerClient,
    StreamManagerException,
)
from stream_manager.data import MessageFrame, Operation
from stream_manager.exceptions import (
    ConnectFailedException,
    NotEnoughMessagesException,
    ResourceNotFoundException,
    UnauthorizedException,
)
from stream_manager.utilinternal import UtilInternal

from s3_file_uploader.errors import KeyProblem
from s3_file_uploader.transport.stream_manager.values import (
    LineEnded,
    Message,
    NoStream,
    Refusal,
    StreamPlan,
    StreamState,
    Unauthorised,
)
from s3_file_uploader.turns import TurnTakingSelector

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

__all__ = ["Line", "append_frame", "task_payload"]

T = TypeVar("T")
_EXPORT = "s3"  # the identifier of the one export of each stream
_JOIN_SECONDS = 2.0

_silent = logging.getLogger(f"{__name__}.client")  # it would log stack traces of what is handled here
_silent.propagate = False
_silent.addHandler(logging.NullHandler())
_silent.setLevel(logging.CRITICAL)


class Line(StreamManagerClient):  # type: ignore[misc]  # the SDK ships no types
    """One connection. The constructor blocks for up to `connect_seconds` + `request_seconds`.

    It raises LineEnded or Unauthorised, and leaves nothing behind then. `on_end` is called once, in the
    client's thread, when the line ends. Everything else may be called from any thread.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        connect_seconds: float,
        request_seconds: float,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_end = on_end
        self._has_ended = False
        self._was_connected = False
        self._asked = 0
        self._under_way: set[asyncio.Task[Any]] = set()
        try:
            super().__init__(
                host,
                port,
                connect_timeout=connect_seconds,
                request_timeout=request_seconds,
                logger=_silent,
            )
        except BaseException as error:
            self.hang_up()
            raise _translated(error) from error

    # -- what the client calls of itself, by the names that Python gives to its private methods

    async def _StreamManagerClient__connect(self) -> None:  # noqa: N802  # its name
        if self._was_connected or self._has_ended:
            raise ConnectionError("the connection has ended")
        await super()._StreamManagerClient__connect()
        self._was_connected = True
        self._StreamManagerClient__writer: Any = _Gathering(self._StreamManagerClient__writer)

    async def _StreamManagerClient__read_loop(self) -> None:  # noqa: N802  # its name
        try:
            await super()._StreamManagerClient__read_loop()
        finally:
            self._end()

    def _end(self) -> None:
        """In the client's thread: nobody will get an answer any more."""
        if self._has_ended:
            return
        self._has_ended = True
        for task in list(self._under_way):
            task.cancel()
        self._on_end()

    # -- requests; each of their futures ends with LineEnded at the latest after `request_seconds`

    def append(self, stream: str, payloads: Sequence[bytes]) -> Future[list[int | Exception]]:
        """Append them in this order; for each its sequence number, or NoStream or Refusal."""

        async def all_of_them() -> list[int | Exception]:
            return [_number_or_error(answer) for answer in await self._append_all(stream, payloads)]

        return self._submit(all_of_them)

    async def _append_all(self, stream: str, payloads: Sequence[bytes]) -> list[Any]:
        """Their answers. As the client appends one message, with one wait for all instead of one for each.

        It would make a task, a queue, a timer and a random number of 128 bits for each, and look at each
        field of what we have made ourselves, which costs thrice as much as the rest.
        """
        requests, writer = self._StreamManagerClient__requests, self._StreamManagerClient__writer
        answers = _Answers(len(payloads))
        identifiers = []
        try:
            for place, payload in enumerate(payloads):
                self._asked += 1
                identifier = f"append-{self._asked}"
                identifiers.append(identifier)
                requests[identifier] = _Slot(answers, place)
                writer.write(append_frame(identifier, stream, payload))
            await writer.drain()
            await asyncio.wait_for(answers.complete, self.request_timeout)
        finally:
            for identifier in identifiers:
                requests.pop(identifier, None)
        return answers.found

    def read(self, stream: str, start: int, most: int, wait_seconds: float) -> Future[list[Message]]:
        """At most so many from `start` on; none if none came in time."""
        options = ReadMessagesOptions(
            desired_start_sequence_number=start,
            min_message_count=1,
            max_message_count=most,
            read_timeout_millis=int(wait_seconds * 1000),
        )

        async def them() -> list[Message]:
            try:
                found = await self._read_messages(stream, options)
            except NotEnoughMessagesException:
                return []
            return [Message(one.sequence_number, one.payload) for one in found or ()]

        return self._submit(them)

    def describe(self, stream: str) -> Future[StreamState]:
        async def it() -> StreamState:
            return _state_of(await self._describe_message_stream(stream))

        return self._submit(it)

    def names(self) -> Future[list[str]]:
        async def them() -> list[str]:
            return list(await self._list_streams() or ())

        return self._submit(them)

    def create(self, plan: StreamPlan) -> Future[None]:
        return self._submit(lambda: self._create_message_stream(_definition_of(plan)))

    def update(self, plan: StreamPlan) -> Future[None]:
        return self._submit(lambda: self._update_message_stream(_definition_of(plan)))

    def delete(self, stream: str) -> Future[None]:
        return self._submit(lambda: self._delete_message_stream(stream))

    def _submit(self, request: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        async def one() -> T:
            task = asyncio.current_task()
            assert task is not None
            if self._has_ended:
                raise LineEnded("the connection to Stream Manager has ended")
            self._under_way.add(task)
            try:
                return await request()
            except BaseException as error:  # translated, whatever it is
                raise self._judged(error) from error
            finally:
                self._under_way.discard(task)

        work = one()
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:  # the loop is closed: the line was hung up
            work.close()
            ended: Future[T] = Future()
            ended.set_exception(LineEnded("the connection to Stream Manager has ended"))
            return ended

    def _judged(self, error: BaseException) -> Exception:
        told = _translated(error)
        if isinstance(told, LineEnded):
            self._end()  # an answer that comes after all would break the client
        return told

    # -- the end

    @property
    def _StreamManagerClient__loop(self) -> asyncio.AbstractEventLoop:  # noqa: N802  # its name
        return self._own_loop

    @_StreamManagerClient__loop.setter
    def _StreamManagerClient__loop(self, loop: asyncio.AbstractEventLoop) -> None:  # noqa: N802  # its name
        """The client makes itself a loop; this one takes turns with our other threads that compute much."""
        loop.close()
        self._own_loop = asyncio.SelectorEventLoop(TurnTakingSelector())

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return self._own_loop

    def hang_up(self) -> None:
        """Close the connection and end the client's thread. Blocks for a moment; not for its own thread."""
        loop = getattr(self, "_own_loop", None)
        if loop is None or loop.is_closed():
            return
        winding_up = self._wind_up()
        try:
            asyncio.run_coroutine_threadsafe(winding_up, loop)
        except RuntimeError:
            winding_up.close()
        self._StreamManagerClient__event_loop_thread.join(_JOIN_SECONDS)

    async def _wind_up(self) -> None:
        self._end()
        writer = self._StreamManagerClient__writer
        if writer is not None:
            writer.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # the transport closes its socket in the loop's next round
        asyncio.get_running_loop().stop()


def append_frame(identifier: str, stream: str, payload: bytes) -> bytes:
    """The request as the client writes it."""
    said = cbor2.dumps({"requestId": identifier, "name": stream, "payload": payload})
    return b"".join(UtilInternal.encode_frame(MessageFrame(operation=Operation.AppendMessage, payload=said)))


class _Answers:
    """To requests that wait together; `complete` ends with the last of them."""

    def __init__(self, count: int) -> None:
        self.found: list[Any] = [None] * count
        self.complete: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._missing = count

    def put(self, place: int, answer: Any) -> None:
        self.found[place] = answer
        self._missing -= 1
        if not self._missing and not self.complete.done():
            self.complete.set_result(None)


class _Slot:
    """Where the client's read loop puts the answer to one request: it knows it as a queue."""

    __slots__ = ("_answers", "_place")

    def __init__(self, answers: _Answers, place: int) -> None:
        self._answers = answers
        self._place = place

    async def put(self, answer: Any) -> None:
        self._answers.put(self._place, answer)


class _Gathering:
    """A writer that sends in one piece what was written in one round of the loop.

    The client writes each request in two pieces, and a system call for each would be half of its work.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._written: list[bytes] = []

    @property
    def transport(self) -> asyncio.WriteTransport:
        return self._writer.transport

    def write(self, piece: bytes) -> None:
        if not self._written:
            asyncio.get_running_loop().call_soon(self._send)
        self._written.append(piece)

    def _send(self) -> None:
        pieces, self._written = self._written, []
        self._writer.write(b"".join(pieces))

    async def drain(self) -> None:
        await self._writer.drain()

    def close(self) -> None:
        self._writer.close()

    async def wait_closed(self) -> None:
        await self._writer.wait_closed()


def task_payload(url: str, bucket: str, key: str, metadata: Mapping[str, str]) -> bytes:
    """The message that asks for an upload; KeyProblem for what Stream Manager would not take.

    By the client's own rules, and written as it would be: its way there takes thrice as long.
    """
    for name, value in (("bucket", bucket), ("key", key)):
        if not _FITS[name](value):
            raise KeyProblem(f"Stream Manager does not take the {_SHOWN[name]} {value}")
    task: dict[str, object] = {"inputUrl": url, "bucket": bucket, "key": key}
    if metadata:
        task["userMetadata"] = dict(metadata)
    return json.dumps(task).encode()


def _fitting(rules: Mapping[str, Any]) -> Callable[[str], bool]:
    pattern, least, most = re.compile(rules["pattern"]), rules["minLength"], rules["maxLength"]
    return lambda value: least <= len(value) <= most and pattern.fullmatch(value) is not None


_FITS = {name: _fitting(S3ExportTaskDefinition._validations_map[name]) for name in ("bucket", "key")}  # noqa: SLF001  # the pattern is written down nowhere else
_SHOWN = {"bucket": "bucket", "key": "object name"}


def _number_or_error(answer: Any) -> int | Exception:
    if isinstance(answer, MessageFrame):
        return Refusal("an answer came that its client does not know")
    try:
        UtilInternal.raise_on_error_response(answer)
        number = answer.sequence_number
    except StreamManagerException as error:
        told = _translated(error)
    else:
        return number if isinstance(number, int) else Refusal("no sequence number came")
    if isinstance(told, (LineEnded, Unauthorised)):
        raise told
    return told


def _translated(error: BaseException) -> Exception:
    """What any of the client's errors means to us."""
    if isinstance(error, (LineEnded, Unauthorised, NoStream, Refusal)):
        return error
    for classes, meaning in _MEANINGS:
        if isinstance(error, classes):
            return meaning(error)
    return LineEnded(f"Stream Manager's client failed: {type(error).__name__}: {error}")


_MEANINGS: tuple[tuple[tuple[type[BaseException], ...], Callable[[Any], Exception]], ...] = (
    ((ResourceNotFoundException,), lambda error: NoStream(str(error) or "there is no such stream")),
    ((UnauthorizedException,), lambda error: Unauthorised(str(error) or "not authorised")),
    (
        (ConnectFailedException,),
        lambda _: Unauthorised("it refused the connection: the token, or the version of the protocol"),
    ),
    ((StreamManagerException,), lambda error: Refusal(str(error) or type(error).__name__)),
    # A KeyError is how the client itself ends when it waited in vain while it connected.
    ((asyncio.TimeoutError, TimeoutError, KeyError), lambda _: LineEnded("it did not answer in time")),
    (
        (asyncio.CancelledError, CancelledError, asyncio.IncompleteReadError),
        lambda _: LineEnded("it closed the connection"),
    ),
    # asyncio's own text of an error is for programmers.
    ((OSError,), lambda error: LineEnded(os.strerror(error.errno) if error.errno else str(error))),
)


def _definition_of(plan: StreamPlan) -> MessageStreamDefinition:
    exports = None
    if plan.status_stream:
        told = StatusConfig(status_level=StatusLevel.INFO, status_stream_name=plan.status_stream)
        exports = ExportDefinition(
            s3_task_executor=[S3ExportTaskExecutorConfig(identifier=_EXPORT, status_config=told)]
        )
    return MessageStreamDefinition(
        name=plan.name,
        max_size=plan.max_size,
        stream_segment_size=plan.segment_size,
        strategy_on_full=StrategyOnFull.OverwriteOldestData
        if plan.overwrites
        else StrategyOnFull.RejectNewData,
        persistence=Persistence.File,
        flush_on_write=plan.flush_on_write,
        export_definition=exports,
    )


def _state_of(info: Any) -> StreamState:
    definition, storage = info.definition, info.storage_status
    newest, total_bytes = storage.newest_sequence_number, storage.total_bytes or 0
    oldest = storage.oldest_sequence_number or 0
    # What the newest is of a stream that never had any nobody says. One that gave its only one back is none.
    if newest is None or (newest <= 0 and not total_bytes and oldest <= 0):
        newest = -1
    exported = [
        _last_exported(one) for one in info.export_statuses or () if one.export_config_identifier == _EXPORT
    ]
    return StreamState(
        plan=StreamPlan(
            name=definition.name,
            max_size=definition.max_size,
            segment_size=definition.stream_segment_size,
            flush_on_write=bool(definition.flush_on_write),
            overwrites=definition.strategy_on_full is StrategyOnFull.OverwriteOldestData,
            status_stream=_status_stream_of(definition),
        ),
        oldest=oldest,
        newest=newest,
        total_bytes=total_bytes,
        exported=exported[0] if exported else None,
    )


def _last_exported(status: Any) -> int | None:
    """What it is before the first export nobody says either: the first number is no proof of one."""
    number: int | None = status.last_exported_sequence_number
    return -1 if number == 0 and status.exported_messages_count == 0 else number


def _status_stream_of(definition: Any) -> str:
    """Where its one export tells its statuses; empty where it is not ours as we would have it."""
    exports = definition.export_definition
    configured = (exports.s3_task_executor if exports is not None else None) or []
    with contextlib.suppress(AttributeError):
        if len(configured) == 1 and configured[0].identifier == _EXPORT and not configured[0].disabled:
            return str(configured[0].status_config.status_stream_name or "")
    return ""
