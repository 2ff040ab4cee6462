"""A nucleus for tests: AWS's real client talks to it over a real Unix socket and cannot tell.

It runs in a thread of its own. The test's thread says what happens to it: a configuration is deployed, the
IPC daemon restarts, a stream ends, nothing is answered any more. All it was told is in `record`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import tempfile
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from support.nucleus.component import component_of, fresh_token
from support.nucleus.connection import Connection, Refused
from support.nucleus.deployments import Deployments
from support.nucleus.environment import environment
from support.nucleus.kinds import CLASSIC, kind_named
from support.nucleus.operations import SUBSCRIPTIONS, answer
from support.nucleus.policies import matches_filter
from support.nucleus.record import Connected, Record, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from typing_extensions import Self

    from support.nucleus.component import Component
    from support.nucleus.configuration import Step
    from support.nucleus.connection import Stream

__all__ = ["FakeNucleus"]

_T = TypeVar("_T")
_CALL_SECONDS = 20.0
_MOST_PATH_BYTES = 107


class FakeNucleus(Deployments):
    """A nucleus of `kind` with one component in it, `component`; more come with `add_component`."""

    def __init__(
        self,
        kind: str = CLASSIC,
        *,
        component: str = "com.example.Uploader",
        recipe: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        access_control: Mapping[str, Any] | None = None,
    ) -> None:
        self.kind = kind_named(kind)
        self.component = component
        self.components: dict[str, Component] = {}
        self.record = Record()
        self.unauthorized: set[str] = set()
        self.is_stalled = False
        self.event_spread_seconds = 0.002
        self.events_before_answer = 1  # of an update that a component makes itself
        self.credentials_uri = "http://localhost:41411/2016-11-01/credentialprovider/"
        self.region = "eu-central-1"
        self.forget_promises()
        self._tokens: dict[str, str] = {}
        self._connections: set[Connection] = set()
        self._telling: set[asyncio.Task[None]] = set()
        self.add_component(component, recipe, configuration, access_control)

    def add_component(
        self,
        name: str,
        recipe: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        access_control: Mapping[str, Any] | None = None,
    ) -> None:
        self.components[name] = component_of(name, recipe, configuration, access_control)

    # -- its life, in a thread of its own

    def __enter__(self) -> Self:
        # Not below a test's own folder, whose path may be too long for a socket.
        self._folder = tempfile.mkdtemp(prefix="nucleus-")
        self.socket_path = os.path.join(self._folder, "ipc.socket")
        assert len(os.fsencode(self.socket_path)) <= _MOST_PATH_BYTES, self.socket_path
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="nucleus", daemon=True)
        self._thread.start()
        self._call(self._listen())
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_SECONDS)
        self._loop.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _listen(self) -> None:
        self._is_closing = False
        self._server = await self._loop.create_unix_server(lambda: Connection(self), self.socket_path)

    async def _close(self) -> None:
        self._is_closing = True
        self._server.close()
        for task in list(self._telling):
            task.cancel()
        await asyncio.gather(*self._telling, return_exceptions=True)
        self._abort_all()
        await self._server.wait_closed()
        await asyncio.sleep(0)  # the transports close their sockets in the loop's next turn
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.socket_path)

    def _call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_SECONDS)

    def do(self, work: Callable[[], _T]) -> _T:
        """Call it in the nucleus's thread: nothing happens there meanwhile."""

        async def call() -> _T:
            done = work()
            self.record.changed()
            return done

        found: _T = self._call(call())
        return found

    # -- what goes wrong

    def token(self, component: str | None = None) -> str:
        """A fresh SVCUID; the nucleus knows whose it is."""
        token = fresh_token(self.kind.name)
        self._tokens[token] = component or self.component
        return token

    def restart(self) -> None:
        """As when the IPC daemon restarts: connections end, tokens are refused for ever, the rest stays."""
        self._tokens.clear()
        self._call(self._close())
        self.do(self.forget_promises)
        self._call(self._listen())

    def close_streams(self) -> None:
        """Subscriptions end, one by one; their connections stay."""

        def end() -> None:
            for stream in self.subscriptions():
                stream.end()

        self.do(end)

    def drop(self) -> None:
        """Connections end in the middle of whatever it is."""
        self.do(self._abort_all)

    def stall(self) -> None:
        """Accept connections and requests, and say nothing at all, until `go_on`."""
        self.do(lambda: setattr(self, "is_stalled", True))

    def go_on(self) -> None:
        def go_on() -> None:
            self.is_stalled = False
            for connection in list(self._connections):
                connection.go_on()

        self.do(go_on)

    def _abort_all(self) -> None:
        for connection in list(self._connections):
            connection.abort()

    # -- what a component gets

    def environment(
        self, component: str, work: str | os.PathLike[str], *, thing_name: str = "Thing"
    ) -> dict[str, str]:
        """All that a process of this component finds in its environment, with a token of its own."""
        return environment(self, component, os.fspath(work), thing_name)

    def publish(self, topic: str, message: Any) -> None:
        """As another component would, on a local topic: bytes, or an object as JSON."""
        form, content = self.as_message(message)
        self.do(lambda: self.deliver(topic, form, content, sender=""))

    # -- waiting

    def wait_for_request(self, operation: str, count: int = 1) -> list[dict[str, Any]]:
        """The bodies of the requests, once there are so many."""
        found = self.record.wait_for(
            lambda: self.record.of(operation) if len(self.record.of(operation)) >= count else None
        )
        assert found is not None
        return found

    def wait_for_subscription(self, operation: str, count: int = 1) -> None:
        self.record.wait_for(lambda: len(self.subscriptions(operation)) >= count)

    # -- the connections' side, in the nucleus's thread

    def joined(self, connection: Connection) -> None:
        self._connections.add(connection)
        if self._is_closing:  # it was accepted just before
            connection.abort()
        self.record.changed()

    def left(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self.record.changed()

    def component_of(self, token: str) -> str | None:
        component = self._tokens.get(token)
        self.record.connects.append(Connected(token, component))
        self.record.changed()
        return component

    def arrived(self, component: str, operation: str, body: dict[str, Any]) -> None:
        self.record.requests.append(Request(component, operation, body))
        self.record.changed()

    def asked(self, stream: Stream, size_bytes: int) -> None:
        try:
            if self.kind.most_message_bytes is not None and size_bytes > self.kind.most_message_bytes:
                raise Refused("ServiceError", f"a message of {size_bytes} bytes is too long")
            body = answer(self, stream)
            if (
                self.kind.most_message_bytes is not None
                and len(json.dumps(body)) > self.kind.most_message_bytes
            ):
                raise Refused("ServiceError", "the answer is too long")
        except Refused as refused:
            stream.refuse(refused)
            self.record.changed()
            return
        is_subscribed = stream.operation in SUBSCRIPTIONS
        is_last = self.kind.does_end_answered and not is_subscribed
        stream.send(stream.operation + "Response", body, is_last=is_last)
        stream.is_subscribed = is_subscribed
        self.record.changed()

    def subscriptions(self, operation: str | None = None, component: str | None = None) -> list[Stream]:
        return [
            stream
            for connection in list(self._connections)
            for stream in list(connection.streams.values())
            if stream.is_subscribed
            and operation in (None, stream.operation)
            and component in (None, stream.component)
        ]

    def tell_changes(self, component: Component, steps: list[Step], *, at_once: int) -> None:
        """One event for each step: `at_once` of them now, the others one by one and a little later."""
        for step in steps[:at_once]:
            self.tell_change(component, step)
        task = self._loop.create_task(self.tell_slowly(component, steps[at_once:]))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    def deliver(self, topic: str, form: str, content: Any, *, sender: str) -> None:
        for stream in self.subscriptions("SubscribeToTopic"):
            is_own = stream.component == sender
            if is_own and stream.body.get("receiveMode") == "RECEIVE_MESSAGES_FROM_OTHERS":
                continue
            if matches_filter(stream.body["topic"], topic):
                message = {form: {"message": content, "context": {"topic": topic}}}
                stream.send("SubscriptionResponseMessage", message)
