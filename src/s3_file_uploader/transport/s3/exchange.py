"""One request and its answer on one connection: sends heads and bodies, and listens while it sends.

It exists because the interesting faults live between the first byte of a body and the answer: a
connection that was closed while idle, an early "no", a far side that stops reading. It signs nothing
and judges no status. Bodies of files go through the buffers of the engine's crew, so memory does not
grow with files, sizes or connections.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from s3_file_uploader.errors import TransferFault
from s3_file_uploader.transport.s3.cargo import Cargo, FileSlice
from s3_file_uploader.transport.s3.connection import ConnectionLost
from s3_file_uploader.transport.s3.crew import WORK_BYTES
from s3_file_uploader.transport.s3.http1 import AnswerReader, Response
from s3_file_uploader.transport.s3.reactor import READ, WRITE, NoProgress

if TYPE_CHECKING:
    from s3_file_uploader.transport.s3.bandwidth import Bandwidth
    from s3_file_uploader.transport.s3.connection import Connection, Deadlines, Pool
    from s3_file_uploader.transport.s3.crew import Crew
    from s3_file_uploader.transport.s3.endpoint import Endpoint
    from s3_file_uploader.transport.s3.reactor import Reactor

__all__ = ["Exchanger"]

HELD_LIMIT_BYTES = 8 * 1024 * 1024  # of bodies in memory, all connections together
EXPECT_ABOVE_BYTES = 1024 * 1024
EXPECTATION_FAILED = 417
MISSED_PROCEEDS = 2  # after so many unanswered `Expect` in a row, this endpoint is not asked any more


class Exchanger:
    """Request in, answer out, for one engine and one endpoint."""

    def __init__(
        self,
        reactor: Reactor,
        pool: Pool,
        *,
        deadlines: Deadlines,
        bandwidth: Bandwidth,
        crew: Crew,
    ) -> None:
        self._reactor = reactor
        self._pool = pool
        self._deadlines = deadlines
        self._bandwidth = bandwidth
        self._crew = crew
        self._held_bytes = 0
        self._missed_proceeds = 0

    def expects(self, size: int) -> bool:
        """Ask for `100 Continue` first: a "no" then costs one round trip instead of the whole body."""
        return size > EXPECT_ABOVE_BYTES and self._missed_proceeds < MISSED_PROCEEDS

    def lead_to(self, endpoint: Endpoint) -> None:
        """Requests go there from now on."""
        self._pool.lead_to(endpoint)

    async def exchange(
        self,
        method: str,
        head: bytes,
        body: bytes | FileSlice,
        *,
        expects: bool = False,
        seconds: float = 0.0,
    ) -> Response:
        """The answer to one request; TransferFault if the connection broke under it.

        A connection that was idle may have been closed at any moment: if it dies before a byte of an
        answer, the request is sent at once on a new one, which is no fault of anybody. Not where it took
        a large body to its end: that may have arrived, and is not sent twice unasked. `seconds` is how
        long nothing may move.
        """
        seconds = seconds or self._deadlines.progress
        head = self._pool.addressed(head)
        must_be_new = False
        while True:
            connection = await self._pool.take(must_be_new=must_be_new)
            reader = AnswerReader(method)
            was_taken = False
            try:
                response = await self._send(connection, reader, head, body, expects=expects, seconds=seconds)
                is_early = response is not None
                if response is None:
                    was_taken = _size_of(body) > EXPECT_ABOVE_BYTES
                    response = await self._answer(connection, reader, seconds)
            except BaseException as error:
                self._pool.discard(connection)
                if isinstance(error, NoProgress):
                    raise TransferFault(f"nothing moved for {seconds:g} seconds") from None
                if not isinstance(error, ConnectionLost):
                    raise
                if not connection.is_reused or reader.has_begun or was_taken:
                    raise TransferFault(f"the connection broke: {error}") from None
                must_be_new = True
                continue
            if response.keeps_alive and not is_early:
                self._pool.give(connection)
            else:
                self._pool.discard(connection)
            if response.status == EXPECTATION_FAILED:
                self._missed_proceeds = MISSED_PROCEEDS
            if is_early and 200 <= response.status < 300:  # noqa: PLR2004  (HTTP's own class of success)
                # Whatever says yes to bytes that it has not seen does not hold them.
                raise TransferFault(f"the answer {response.status} came before the whole content was sent")
            return response

    async def _send(
        self,
        connection: Connection,
        reader: AnswerReader,
        head: bytes,
        body: bytes | FileSlice,
        *,
        expects: bool,
        seconds: float,
    ) -> Response | None:
        """None once everything was sent; the answer, if it came before that and made the rest idle."""
        content = body if isinstance(body, bytes) else self._content(body)
        if content is None:
            assert isinstance(body, FileSlice)
            early = await self._push(connection, reader, head, seconds)
            if early is None and expects:
                early = await self._proceed(connection, reader)
            return early or await self._send_file(connection, reader, body, seconds)
        self._held_bytes += len(content)
        try:
            early = await self._push(connection, reader, head + content, seconds)
        finally:
            self._held_bytes -= len(content)
        if early is None and isinstance(body, FileSlice):
            body.progress(body.size)
        return early

    def _content(self, body: FileSlice) -> bytes | None:
        """What is in memory already, unless it has to go in slices or too much is held as it is."""
        content, body.content = body.content, None
        if content is None or self._held_bytes + body.size > HELD_LIMIT_BYTES:
            return None
        if not self._bandwidth.is_unlimited and body.size > self._bandwidth.slice_bytes:
            return None
        return content

    async def _push(
        self, connection: Connection, reader: AnswerReader, data: bytes, seconds: float
    ) -> Response | None:
        """Send bytes that are in memory."""
        if not self._bandwidth.is_unlimited:
            await self._throttle(len(data))
        view: bytes | memoryview = data
        while True:
            sent = self._offer(connection, reader, view)
            if isinstance(sent, Response):
                return sent
            if sent == len(view):
                return None
            view = memoryview(view)[sent:]
            mask = await self._reactor.wait(connection.channel, READ | WRITE, seconds)
            if mask & READ:
                response = self._listen(connection, reader)
                if response is not None:
                    return response

    def _offer(
        self, connection: Connection, reader: AnswerReader, view: bytes | memoryview
    ) -> int | Response:
        """How much was taken; or the last words of a far side that has hung up."""
        try:
            return connection.send(view)
        except ConnectionLost:
            response = self._last_words(connection, reader)
            if response is None:
                raise
            return response

    async def _send_file(
        self, connection: Connection, reader: AnswerReader, body: FileSlice, seconds: float
    ) -> Response | None:
        uses_sendfile = self._bandwidth.is_unlimited and not connection.is_tls
        cargo = Cargo(connection, body, uses_sendfile=uses_sendfile)
        allowed = 0
        while cargo.left:
            if self._bandwidth.is_unlimited:
                allowed = WORK_BYTES
            elif not allowed:
                allowed = min(cargo.step, cargo.left, self._bandwidth.slice_bytes)
                await self._throttle(allowed)
            try:
                allowed -= await self._crew.do(partial(cargo.move, most=allowed))
            except ConnectionLost:
                response = self._last_words(connection, reader)
                if response is None:
                    raise
                return response
            if cargo.is_refused:
                mask = await self._reactor.wait(connection.channel, READ | WRITE, seconds)
                if mask & READ:
                    response = self._listen(connection, reader)
                    if response is not None:
                        return response
        return None

    async def _proceed(self, connection: Connection, reader: AnswerReader) -> Response | None:
        """Wait, not for long, for `100 Continue`; a final answer instead of it makes the body idle."""
        until = self._reactor.now + self._deadlines.proceed
        while not reader.is_continued:
            try:
                await self._reactor.wait(connection.channel, READ, max(0.0, until - self._reactor.now))
            except NoProgress:
                self._missed_proceeds += 1
                return None
            response = self._listen(connection, reader)
            if response is not None:
                return response
        self._missed_proceeds = 0
        return None

    async def _answer(self, connection: Connection, reader: AnswerReader, seconds: float) -> Response:
        """Something must move every `seconds`, and the whole must not take for ever either."""
        longest = max(self._deadlines.answer, seconds)
        until = self._reactor.now + longest
        while True:
            await self._reactor.wait(connection.channel, READ, seconds)
            response = self._listen(connection, reader)
            if response is not None:
                return response
            if self._reactor.now > until:
                raise TransferFault(f"the answer is not complete after {longest:g} seconds")

    def _listen(self, connection: Connection, reader: AnswerReader) -> Response | None:
        """What arrived, if that completes the answer."""
        data = connection.receive()
        if data is None:
            return None
        if data:
            return reader.feed(data)
        if not reader.is_amid:
            raise ConnectionLost("closed by the far side before it answered")
        return reader.end()

    def _last_words(self, connection: Connection, reader: AnswerReader) -> Response | None:
        """A far side that refuses a body may answer and hang up: its reason may still be there to read."""
        try:
            while True:
                data = connection.receive()
                if not data:
                    return reader.end() if data is not None and reader.is_amid else None
                response = reader.feed(data)
                if response is not None:
                    return response
        except ConnectionLost:
            return None

    async def _throttle(self, size: int) -> None:
        seconds = self._bandwidth.reserve(size, self._reactor.now)
        if seconds > 0:
            await self._reactor.sleep(seconds)


def _size_of(body: bytes | FileSlice) -> int:
    return len(body) if isinstance(body, bytes) else body.size
