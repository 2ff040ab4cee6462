"""The way to one endpoint: its name looked up, its addresses tried, a proxy asked, TLS agreed upon.

It exists because each of these steps fails in its own way, and each is named for what it is. Of several
addresses the next is tried beside one that is slow, and instead of one that fails; what answered last
comes first. A name that was looked up a while ago is looked up again before it is given up. It keeps
nothing open: what it opens belongs to who asked.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

from s3_file_uploader.errors import Misconfigured, Unreachable
from s3_file_uploader.transport.s3.http1 import AnswerReader, NotHttp
from s3_file_uploader.transport.s3.race import NoneAnswered, Race
from s3_file_uploader.transport.s3.reactor import READ, WRITE, NoProgress
from s3_file_uploader.transport.s3.tls import said, tls_fault

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from s3_file_uploader.transport.s3.connection import Deadlines
    from s3_file_uploader.transport.s3.endpoint import Endpoint
    from s3_file_uploader.transport.s3.http1 import Response
    from s3_file_uploader.transport.s3.proxy import Proxy
    from s3_file_uploader.transport.s3.race import Opened
    from s3_file_uploader.transport.s3.reactor import Reactor, Signal
    from s3_file_uploader.transport.s3.resolver import Address, Resolver

__all__ = ["Dialler", "unresolved"]

_PROXY_ANSWER_BYTES = 64 * 1024


class Dialler:
    """Opens connections to one endpoint, through `proxy` if there is one."""

    def __init__(
        self,
        reactor: Reactor,
        endpoint: Endpoint,
        *,
        resolver: Resolver,
        context: ssl.SSLContext | None,
        deadlines: Deadlines,
        proxy: Proxy | None,
    ) -> None:
        self._reactor = reactor
        self._endpoint = endpoint
        self._resolver = resolver
        self._context = context
        self._deadlines = deadlines
        self._proxy = proxy
        self._target = (proxy.host, proxy.port) if proxy is not None else endpoint.address
        self._good: Address | None = None
        self.session: ssl.SSLSession | None = None  # of the last handshake: spares work in the next

    async def open(self) -> Opened:
        """A connection that is ready for requests; Unreachable or Misconfigured if there is none to be had."""
        known = self._resolver.lookup(*self._target)
        addresses = known or await self._resolve()
        try:
            return await self._any_of(addresses)
        except NoneAnswered as none:
            trouble = str(none)
        if known:
            # What was true a while ago may not be any more.
            self._resolver.forget(*self._target)
            with contextlib.suppress(Unreachable, NoneAnswered):
                renewed = [one for one in await self._resolve() if one not in known]
                return await self._any_of(renewed)
        where = self._endpoint.describe()
        if self._proxy is not None:
            raise Unreachable(
                f"cannot connect to the proxy {self._proxy.describe()} on the way to {where}: {trouble}"
            )
        raise Unreachable(f"cannot connect to {where}: {trouble}")

    async def _resolve(self) -> tuple[Address, ...]:
        answered: Signal = self._reactor.signal()
        host, port = self._target
        self._resolver.ask(host, port, lambda *answer: self._reactor.post(lambda: answered.set(answer)))
        try:
            addresses, trouble = await answered.wait(self._deadlines.resolve)
        except NoProgress:
            addresses, trouble = (), f"no answer within {self._deadlines.resolve:g} s"
        if not addresses:
            raise unresolved(host, trouble, self._proxy)
        return tuple(addresses)

    async def _any_of(self, addresses: Sequence[Address]) -> Opened:
        """An address that connects may still break in the handshake: then the others have their turn."""
        left = sorted(addresses, key=lambda one: one != self._good)
        trouble = "it has no address"
        while left:
            address, opened = await Race(self._reactor, self._deadlines).run(left)
            try:
                ready = await self._greet(opened)
            except (OSError, NoProgress) as error:
                trouble = f"{address.sockaddr[0]}: {said(error)}"
                left.remove(address)
                if address == self._good:
                    self._good = None
                continue
            self._good = address
            return ready
        raise NoneAnswered(trouble)

    async def _greet(self, opened: Opened) -> Opened:
        """From a bare connection to one that requests can be sent on; closed if that fails."""
        try:
            if self._context is not None:
                if self._proxy is not None:
                    await self._ask_for_tunnel(opened, self._proxy)
                # Same descriptor, so the channel stays.
                opened = opened._replace(socket=self._wrapped(opened.socket, self._context))
                await self._shake_hands(opened)
        except BaseException:
            self._reactor.release(opened.channel)
            opened.socket.close()
            raise
        return opened

    def _wrapped(self, bare: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
        bare.getpeername()  # of one that was reset by now, `wrap_socket` would leave the descriptor behind
        return context.wrap_socket(
            bare, do_handshake_on_connect=False, server_hostname=self._endpoint.host, session=self.session
        )

    async def _shake_hands(self, opened: Opened) -> None:
        assert isinstance(opened.socket, ssl.SSLSocket)
        while True:
            try:
                opened.socket.do_handshake()
            except ssl.SSLWantReadError:
                await self._reactor.wait(opened.channel, READ, self._deadlines.tls)
            except ssl.SSLWantWriteError:
                await self._reactor.wait(opened.channel, WRITE, self._deadlines.tls)
            except ssl.SSLError as error:
                self.session = None
                raise tls_fault(error, self._endpoint.describe()) from None
            else:
                return

    async def _ask_for_tunnel(self, opened: Opened, proxy: Proxy) -> None:
        host, port = self._endpoint.address
        left = proxy.connect_head(host, port)
        while left:
            with contextlib.suppress(BlockingIOError):
                left = left[opened.socket.send(left) :]
            if left:
                await self._reactor.wait(opened.channel, WRITE, self._deadlines.connect)
        try:
            response = await self._answer_of_proxy(opened)
        except NoProgress:
            raise Unreachable(
                f"the proxy {proxy.describe()} does not say within {self._deadlines.tunnel:g} s whether it"
                f" reaches {host}:{port}"
            ) from None
        except NotHttp:
            raise Misconfigured(
                f"what answers as the proxy {proxy.describe()} does not speak HTTP",
                advice=f"Correct {proxy.variable}; its port may be another.",
            ) from None
        if response is None:
            raise Unreachable(f"the proxy {proxy.describe()} hung up when it was asked for {host}:{port}")
        if not 200 <= response.status < 300:  # noqa: PLR2004  (HTTP's own class of success)
            raise proxy.refusal(response.status, host, port)

    async def _answer_of_proxy(self, opened: Opened) -> Response | None:
        """None if it hung up before it had said all."""
        reader = AnswerReader("CONNECT")
        while True:
            await self._reactor.wait(opened.channel, READ, self._deadlines.tunnel)
            try:
                data = opened.socket.recv(_PROXY_ANSWER_BYTES)
            except BlockingIOError:
                continue
            except ConnectionError:
                data = b""
            if not data:
                with contextlib.suppress(NotHttp):
                    return reader.end()
                return None
            response = reader.feed(data)
            if response is not None:
                return response


def unresolved(host: str, trouble: str, proxy: Proxy | None = None) -> Unreachable:
    """The error of a name, of the store or of the proxy before it, that has no address."""
    if proxy is not None:
        return Unreachable(
            f"the name {host} of the proxy {proxy.describe()} cannot be resolved: {trouble}",
            advice=f"Look at the network, at DNS, and at {proxy.variable}.",
        )
    return Unreachable(
        f"the name {host} cannot be resolved: {trouble}",
        advice="Look at the network, at DNS, and at the spelling of EndpointUrl and Region.",
    )
