"""One connection: bytes in, frames out, and nothing that grows without a bound.

A client that does not take its answers is not read from, and one that asks for much gets its turn and
no more. The connection ends with FIN, never with RST, unless the client is gone or the fault asks for
it: an RST leaves AWS's Python SDK dead for good.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from typing import TYPE_CHECKING

from stream_manager_local.protocol.errors import Undecodable
from stream_manager_local.protocol.frames import CONNECT_VERSION, FrameSplitter
from stream_manager_local.server.dialogue import Dialogue, Farewell
from stream_manager_local.server.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from stream_manager_local.server.listener import Listener
    from stream_manager_local.server.polls import Pending

__all__ = ["LEAVE_SECONDS", "Connection"]

_LOG = logging.getLogger(__name__)

# What one client gets done in one turn of the loop; then others come first.
_TURN_FRAMES = 256
# Answers that are still to come; beyond, nothing more is read.
_MOST_PENDING = 8192
# How long a client that was sent FIN may go on sending, and how long a pause tells that it does not:
# what is not taken from the socket before it is closed would end the connection with RST.
LEAVE_SECONDS = 2.0
_QUIET_SECONDS = 0.1
# How long one may take whose answers are still to come.
_ANSWER_SECONDS = 60.0

_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
_QUICKACK = getattr(socket, "TCP_QUICKACK", None)  # Linux only


class Connection(asyncio.Protocol):
    """`listener` is what all connections share."""

    _transport: asyncio.Transport
    _outbox: Outbox

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._loop = listener.loop
        self._splitter = FrameSplitter(listener.most_payload_bytes)
        self._dialogue = Dialogue(listener.house)
        self._pending: dict[Pending, None] = {}
        self._has_preface = False
        self._has_put_off = False
        self._is_working = False
        self._is_scheduled = False
        self._is_greeting = True
        self._is_ending = False
        self._is_leaving = False
        self._has_client_ended = False
        self._has_heard = False
        self._leave_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._peer = "?"

    # ---- what the loop calls ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._outbox = Outbox(transport)
        self._socket = transport.get_extra_info("socket")
        self._peer = "{}:{}".format(*(transport.get_extra_info("peername") or ("?", "?"))[:2])
        # So that we are told at once when the kernel did not take all of a write.
        transport.set_write_buffer_limits(high=0)
        self._keep_alive()
        self._set_timer(self._listener.handshake_seconds, self._give_up_handshake)
        if not self._listener.enter(self):
            self.leave("there are too many connections (--max-connections)")

    def data_received(self, data: bytes) -> None:
        if self._is_leaving or self._is_ending:
            self._has_heard = True
            return
        if not self._has_preface:
            if data[0] != CONNECT_VERSION:
                self.leave(f"no client of Stream Manager: its first byte is {data[0]}, not {CONNECT_VERSION}")
                return
            self._has_preface = True
            data = data[1:]
        self._splitter.feed(data)
        self._work()
        if _QUICKACK is not None and self._splitter.has_rest:
            # A client with Nagle's algorithm waits for an acknowledgement before it sends the rest. That
            # of whole requests travels with their answers.
            with contextlib.suppress(OSError):
                self._socket.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)

    def eof_received(self) -> bool:
        """Whether to stay until what was asked for is answered."""
        self._has_client_ended = True
        if self._is_leaving:
            return False
        self.say_goodbye()
        return not self._transport.is_closing()

    def pause_writing(self) -> None:
        self._outbox.block()

    def resume_writing(self) -> None:
        self._outbox.unblock()
        self._work()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # how it ended changes nothing
        self._is_leaving = True
        if self._timer is not None:
            self._timer.cancel()
        self._outbox.clear()
        pending, self._pending = self._pending, {}
        for each in pending:
            each.cancel()
        self._listener.exit(self)

    # ---- what answers call -----------------------------------------------------------------------

    def is_choked(self) -> bool:
        """Whether it has enough for now; who is told so is asked to resume later."""
        self._has_put_off |= self._outbox.is_full
        return self._outbox.is_full

    def send(self, frame: bytes) -> None:
        """An answer; it leaves with others at the end of the turn."""
        if not self._is_leaving:
            self._outbox.put(frame)
            self._schedule()

    def expect(self, pending: Pending) -> None:
        self._pending[pending] = None

    def settle(self, pending: Pending) -> None:
        self._pending.pop(pending, None)
        self._schedule()

    # ---- the end ---------------------------------------------------------------------------------

    def say_goodbye(self) -> None:
        """Take no more bytes; leave once all that was asked for is answered, or after a minute."""
        if self._is_ending:
            return
        self._is_ending = True
        self._set_timer(_ANSWER_SECONDS, self._transport.abort)
        for pending in list(self._pending):
            pending.finish()
        self._schedule()

    def leave(self, why: str = "") -> None:
        """Send what is queued, then FIN; drop what still comes until the client hangs up too."""
        if self._is_leaving:
            return
        if why:
            _LOG.info("closing a connection: peer=%s: %s", self._peer, why)
        self._is_leaving = True
        self._leave_until = self._loop.time() + LEAVE_SECONDS
        self._set_timer(_QUIET_SECONDS, self._end_if_quiet)
        if not self._has_client_ended:
            self._transport.resume_reading()
        self._flush()

    def abort(self) -> None:
        """At once, whatever is not sent."""
        self._transport.abort()

    def _set_timer(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(seconds, then)

    def _end_if_quiet(self) -> None:
        is_quiet = self._outbox.is_empty and not self._has_heard
        if is_quiet or self._loop.time() >= self._leave_until:
            self._transport.abort()
        else:
            self._has_heard = False
            self._set_timer(_QUIET_SECONDS, self._end_if_quiet)

    def _give_up_handshake(self) -> None:
        self.leave(f"it said nothing useful for {self._listener.handshake_seconds:g} s (--handshake-timeout)")

    # ---- work ------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._is_working and not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._work)

    def _work(self) -> None:
        """Answer what has come, as long as there is room for answers."""
        self._is_scheduled = False
        if self._is_leaving:
            self._flush()
            return
        self._is_working = True
        try:
            has_more = self._answer_some()
        except Undecodable as error:
            self.leave(str(error))
            return
        except Farewell as farewell:
            self._bid(farewell)
            return
        finally:
            self._is_working = False
        self._flush()
        self._go_on(has_more=has_more)
        if self._has_put_off and not self._outbox.is_full:
            self._has_put_off = False
            for each in list(self._pending):
                each.resume()

    def _answer_some(self) -> bool:
        """Whether there may be more to answer."""
        for _ in range(_TURN_FRAMES):
            if self._is_held:
                return True
            frame = self._splitter.next()
            if frame is None:
                return False
            answer = self._dialogue.answer(frame, self)
            if answer is not None:
                self._outbox.put(answer)
        return True

    def _go_on(self, *, has_more: bool) -> None:
        if self._is_greeting and self._dialogue.is_connected and self._timer is not None:
            self._is_greeting = False
            self._timer.cancel()
        if has_more:
            self._transport.pause_reading()
            if not self._is_held:
                self._schedule()
        elif not self._is_ending:
            self._transport.resume_reading()
        elif not self._pending and self._outbox.is_empty:
            self.leave()

    @property
    def _is_held(self) -> bool:
        """Nothing more for this client until it takes answers, or some that are to come have come."""
        return self._outbox.is_full or len(self._pending) >= _MOST_PENDING

    def _flush(self) -> None:
        self._outbox.flush()
        if self._is_leaving and self._outbox.is_empty and not self._transport.is_closing():
            if self._has_client_ended:
                self._transport.close()
            else:
                self._transport.write_eof()

    def _bid(self, farewell: Farewell) -> None:
        if farewell.is_reset:
            at_once = struct.pack("ii", 1, 0)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            self._transport.abort()
            return
        if farewell.answer is not None:
            self._outbox.put(farewell.answer)
        self.leave(str(farewell))

    def _keep_alive(self) -> None:
        """Notice clients whose machine is gone."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            option = getattr(socket, name, None)  # Linux has them all
            if option is not None:
                self._socket.setsockopt(socket.IPPROTO_TCP, option, value)
