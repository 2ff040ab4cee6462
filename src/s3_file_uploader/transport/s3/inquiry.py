"""Questions to a bucket, one after the other, over the very way that uploads take.

For `check`, which must see what an upload would see: the same addresses, signatures, deadlines and
faults. It runs in the thread of whoever asks and returns when the answer is there; no event loop, no
engine. It refuses to know what the questions are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from s3_file_uploader.errors import Interrupted, Unreachable
from s3_file_uploader.transport.contract import Transport
from s3_file_uploader.transport.s3.crew import Crew
from s3_file_uploader.transport.s3.reactor import Reactor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from s3_file_uploader.transport.s3.engine import Route
    from s3_file_uploader.transport.s3.http1 import Response

__all__ = ["Inquiry", "Routed"]


@runtime_checkable
class Routed(Transport, Protocol):
    """A transport whose way to the bucket can be asked over."""

    def route(self, reactor: Reactor, crew: Crew) -> Route: ...


class Inquiry:
    """`answer_seconds` is how long one answer may take in all."""

    def __init__(self, transport: Routed, *, answer_seconds: float = 15.0) -> None:
        self._answer_seconds = answer_seconds
        self._reactor = Reactor(lambda thing: thing())
        self._route = transport.route(self._reactor, Crew(self._reactor, members=0))

    @property
    def last_headers(self) -> Mapping[str, str]:
        """Of the last answer, whatever its status; empty before the first."""
        return self._route.store.last_headers

    @property
    def signs_payload(self) -> bool:
        """Whether uploads to this address sign what they carry."""
        return self._route.store.signs_payload

    def ask(
        self,
        operation: str,
        method: str,
        key: str = "",
        *,
        query: tuple[tuple[str, str], ...] = (),
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        payload_hash: str = "",
    ) -> Response:
        """The answer, always a 2xx; DeliveryError otherwise. An empty key is the bucket itself."""
        ended: list[tuple[Response | None, BaseException | None]] = []
        question = self._reactor.spawn(
            self._route.store.request(
                operation,
                method,
                key,
                query=query,
                headers=headers,
                body=body,
                payload_hash=payload_hash,
                seconds=self._answer_seconds,
            ),
            lambda response, error: ended.append((response, error)),
        )

        async def give_up() -> None:
            await self._reactor.sleep(self._answer_seconds)
            self._reactor.cancel(
                question, Unreachable(f"{operation}: no answer within {self._answer_seconds:g} s")
            )

        patience = self._reactor.spawn(give_up())
        self._reactor.run(lambda: bool(ended))
        self._reactor.cancel(patience, Interrupted("answered"))
        [(response, error)] = ended
        if error is not None:
            raise error
        assert response is not None
        return response

    def close(self) -> None:
        self._route.pool.close()
        self._reactor.close()
