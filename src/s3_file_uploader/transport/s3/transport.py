"""Straight to S3 as a transport: one engine per source file system, made when its first file comes.

Everything shared between engines is here: the credentials, the clock as the store sees it, the limit
of bandwidth. Nothing else is; engines do not know of each other, so that a disk that hangs holds up
only its own files.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

from s3_file_uploader.errors import Interrupted
from s3_file_uploader.transport.s3.abort import abandon
from s3_file_uploader.transport.s3.attributes import PLAIN
from s3_file_uploader.transport.s3.aws_variants import ORDINARY, Variant
from s3_file_uploader.transport.s3.bandwidth import Bandwidth
from s3_file_uploader.transport.s3.connection import Deadlines, Pool
from s3_file_uploader.transport.s3.credentials import CredentialSource
from s3_file_uploader.transport.s3.endpoint import Endpoint
from s3_file_uploader.transport.s3.engine import Engine, Route
from s3_file_uploader.transport.s3.exchange import Exchanger
from s3_file_uploader.transport.s3.proxy import Proxies
from s3_file_uploader.transport.s3.resolver import Resolver
from s3_file_uploader.transport.s3.sigv4a import signer_for
from s3_file_uploader.transport.s3.store import Store, StoreClock
from s3_file_uploader.transport.s3.tls import tls_context
from s3_file_uploader.transport.s3.trial import Trial, replaces

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping
    from typing import Any

    from s3_file_uploader.model import Checkpoint, Receipt
    from s3_file_uploader.transport.contract import Delivery
    from s3_file_uploader.transport.s3.attributes import Attributes
    from s3_file_uploader.transport.s3.crew import Crew
    from s3_file_uploader.transport.s3.reactor import Reactor

__all__ = ["DEFAULT_CONCURRENCY", "MOST_ENGINES", "Lane", "S3Transport", "open_s3_transport"]

DEFAULT_CONCURRENCY = 64
MOST_ENGINES = 8  # file systems beyond that share
_NO_DEVICE = -1  # the engine of what needs no disk, so that none can hold it up


class S3Transport:
    """Implements the contract of a transport. Used from one event loop."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        credentials: CredentialSource,
        concurrency: int = DEFAULT_CONCURRENCY,
        bandwidth: Bandwidth | None = None,
        deadlines: Deadlines | None = None,
        proxies: Proxies | None = None,
        resolver: Resolver | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        attributes: Attributes = PLAIN,
        headers: Mapping[str, str] | None = None,
        always_signs_payload: bool = False,
    ) -> None:
        """`headers` go with every request; `attributes` are those of objects that come without."""
        self._endpoint = endpoint
        self._credentials = credentials
        self._concurrency = concurrency
        self._bandwidth = bandwidth or Bandwidth(None)
        self._deadlines = deadlines or Deadlines()
        self._clock = StoreClock(clock)
        self._monotonic = monotonic
        self._attributes = attributes
        self._headers = headers
        self._always_signs_payload = always_signs_payload
        self._context = tls_context(endpoint.ca_bundle) if endpoint.tls else None
        self._signer = signer_for(endpoint.region)
        self._resolver = resolver or Resolver(monotonic=monotonic)
        self._proxies = proxies or Proxies({})
        self._proxies.to(endpoint)  # one that cannot be used is refused now, not in an engine
        self._engines: dict[int, Engine] = {}
        self._is_closed = False
        self._trial = Trial(self._send, self._replaces, is_trusted=endpoint.is_aws)
        self.lanes = 0

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    def deliver(self, delivery: Delivery, attributes: Attributes | None = None) -> asyncio.Future[Receipt]:
        attributes = self._attributes if attributes is None else attributes
        if attributes.may_replace or self._trial.is_passed:
            return self._send(delivery, attributes)
        return self._trial.deliver(delivery, attributes)

    def _send(self, delivery: Delivery, attributes: Attributes) -> asyncio.Future[Receipt]:
        if self._is_closed:
            ended: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
            ended.set_exception(Interrupted("shutting down"))
            return ended
        return self._engine(delivery.source.fingerprint.device).deliver(delivery, attributes)

    async def _replaces(self, delivery: Delivery, attributes: Attributes) -> bool:
        """Whether the store takes a file a second time that must replace nothing."""
        found: list[bool] = []

        async def ask(store: Store) -> None:
            found.append(await replaces(store, delivery, attributes))

        if self._is_closed:
            raise Interrupted("shutting down")
        await self._engine(delivery.source.fingerprint.device).send(ask)
        return found[0]

    def abandon(self, checkpoint: Checkpoint) -> asyncio.Future[None]:
        """Abort the multipart upload that a checkpoint leads to."""
        bucket = self._endpoint.bucket
        return self.ask(lambda store: abandon(store, bucket, checkpoint))

    def ask(self, errand: Callable[[Store], Coroutine[Any, Any, None]]) -> asyncio.Future[None]:
        """Something that the store is to be asked, and has no file."""
        if self._is_closed:
            ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            ended.set_exception(Interrupted("shutting down"))
            return ended
        return self._engine(_NO_DEVICE).send(errand)

    def resize(self, concurrency: int) -> None:
        """So many files at once in each engine."""
        self._concurrency = concurrency
        for engine in self._engines.values():
            engine.resize(concurrency)

    async def close(self) -> None:
        self._is_closed = True
        await asyncio.gather(*(engine.close() for engine in self._engines.values()))
        self._engines.clear()
        await self._trial.ended()
        self._credentials.close()

    def _engine(self, device: int) -> Engine:
        engine = self._engines.get(device)
        if engine is None:
            if len(self._engines) >= MOST_ENGINES:
                return self._engines[sorted(self._engines)[device % len(self._engines)]]
            engine = self._engines[device] = Engine(
                f"s3-engine-{len(self._engines)}",
                asyncio.get_running_loop(),
                self.route,
                concurrency=self._concurrency,
                monotonic=self._monotonic,
            )
        return engine

    def route(self, reactor: Reactor, crew: Crew) -> Route:
        """What leads from a reactor to the bucket: an engine's, or that of an inquiry."""
        pool = Pool(
            reactor,
            self._endpoint,
            resolver=self._resolver,
            context=self._context,
            deadlines=self._deadlines,
            proxies=self._proxies,
        )
        exchanger = Exchanger(reactor, pool, deadlines=self._deadlines, bandwidth=self._bandwidth, crew=crew)
        store = Store(
            reactor,
            exchanger,
            self._endpoint,
            signer=self._signer,
            credentials=self._credentials,
            clock=self._clock,
            deadlines=self._deadlines,
            headers=self._headers,
            always_signs_payload=self._always_signs_payload,
        )
        return Route(store, pool)


class Lane:
    """One rule's way over a transport that rules share: objects get the rule's own attributes.

    The transport is closed with the last of its lanes.
    """

    def __init__(self, shared: S3Transport, attributes: Attributes) -> None:
        self.shared = shared
        self._attributes = attributes
        self._is_open = True
        shared.lanes += 1

    def deliver(self, delivery: Delivery) -> asyncio.Future[Receipt]:
        return self.shared.deliver(delivery, self._attributes)

    def abandon(self, checkpoint: Checkpoint) -> asyncio.Future[None]:
        return self.shared.abandon(checkpoint)

    def route(self, reactor: Reactor, crew: Crew) -> Route:
        return self.shared.route(reactor, crew)

    async def close(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        self.shared.lanes -= 1
        if not self.shared.lanes:
            await self.shared.close()


def open_s3_transport(
    *,
    bucket: str,
    region: str = "",
    endpoint_url: str = "",
    path_style: str | bool = "auto",
    ca_bundle: str = "",
    profile: str = "",
    concurrency: int | None = None,
    bandwidth: Bandwidth | None = None,
    conceal: Callable[..., None] | None = None,
    variant: Variant = ORDINARY,
    attributes: Attributes = PLAIN,
    headers: Mapping[str, str] | None = None,
    always_signs_payload: bool = False,
) -> S3Transport:
    """A transport to one bucket, from plain settings; ConfigurationError if they cannot work.

    `bandwidth` is shared: make one for the whole process and hand it to every transport. `conceal` is
    told every secret, so that no log can hold it.
    """
    endpoint = Endpoint.of(bucket, region, endpoint_url, path_style, ca_bundle, variant=variant)
    proxies = Proxies(os.environ)
    proxy = proxies.to(endpoint)
    if proxy is not None and conceal is not None:
        conceal(*proxy.secrets)
    return S3Transport(
        endpoint,
        credentials=CredentialSource(profile, conceal=conceal),
        concurrency=concurrency or DEFAULT_CONCURRENCY,
        bandwidth=bandwidth,
        proxies=proxies,
        attributes=attributes,
        headers=headers,
        always_signs_payload=always_signs_payload,
    )
