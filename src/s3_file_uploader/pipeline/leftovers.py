"""Uploads that nobody goes on with: found, and aborted until the far side says that they are gone.

It takes back what the ledger knows to be ours and nothing else: no bucket is ever searched for uploads.
What cannot be aborted now is tried again, more and more rarely. Runs on an event loop; the ledger is
written through `write`, so that it serves a daemon and a command alike.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from s3_file_uploader.config import place_of
from s3_file_uploader.errors import Concern, DeliveryError, Interrupted, LedgerUnavailable, UploaderError
from s3_file_uploader.ledger import GivenUp, UnderWay, Uploads
from s3_file_uploader.observe.log import log
from s3_file_uploader.pipeline.backoff import backoff_seconds, is_worth_telling
from s3_file_uploader.pipeline.rules import store_of
from s3_file_uploader.pipeline.way import rule_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable

    from s3_file_uploader.config import Rule
    from s3_file_uploader.ledger import Ledger
    from s3_file_uploader.pipeline.clock import Clock
    from s3_file_uploader.transport.contract import Transport

__all__ = ["Aborted", "Leftovers", "Wanted"]

_ROUND_SECONDS = 60.0
_MOST_AT_ONCE = 64
_FIRST_WAIT_SECONDS = 120.0
_LONGEST_WAIT_SECONDS = 6 * 3600.0
# Of an upload where no rule leads any more: its store may be gone for good. A month of running, at least.
_MOST_TRIES_ELSEWHERE = 240


class Aborted(NamedTuple):
    """What came of an upload. `error` is empty where it is not there any more."""

    upload: GivenUp
    error: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which uploads a person means: by path or upload id, all that were given up, or all."""

    names: frozenset[bytes] = frozenset()
    given_up: bool = False
    all: bool = False

    def takes(self, upload: UnderWay | GivenUp) -> bool:
        is_given_up = isinstance(upload, GivenUp)
        is_named = not self.names.isdisjoint((upload.path, str(upload.data.get("upload_id")).encode()))
        return self.all or is_named or (self.given_up and is_given_up)


class Leftovers:
    """`open_to` tells what leads to a place and is open anyway, and `carries` what is being sent.

    Without the first, as in a command, there are no rules that might lead anywhere.
    """

    def __init__(
        self,
        ledger: Ledger,
        write: Callable[..., Awaitable[Any]],
        *,
        clock: Clock,
        random: Callable[[], float],
        open_transport: Callable[[Rule], Transport],
        open_to: Callable[[tuple[object, ...]], Transport | None] | None = None,
        carries: Callable[[int], bool] = lambda _file: False,
    ) -> None:
        self._uploads = Uploads(ledger, clock.wall)
        self._write = write
        self._clock = clock
        self._random = random
        self._open_transport = open_transport
        self._open_to = open_to
        self._carries = carries
        self._one_at_a_time = asyncio.Lock()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            # Where the disk below the ledger is full there is nothing to be tidied, and no reason to end.
            with contextlib.suppress(LedgerUnavailable):
                await self.round()
            await asyncio.sleep(_ROUND_SECONDS)

    async def round(self) -> None:
        """Find what is of no use any more, and abort what is due."""
        async with self._one_at_a_time:
            for one in await self._abort_all(await self._write(self._find)):
                self._tell(one)

    def _find(self) -> list[GivenUp]:
        under_way = self._uploads.under_way()
        if under_way:
            sent = [upload.file for upload in under_way if self._carries(upload.file)]
            self._uploads.give_up_useless(but_not=sent)
        return self._uploads.due(self._clock.now(), _MOST_AT_ONCE)

    async def abort(
        self, wanted: Wanted, stop: Callable[[tuple[str, str], str], Awaitable[None]] | None = None
    ) -> list[Aborted]:
        """Abort what a person names, now; `stop` ends the delivery to a store and key."""
        async with self._one_at_a_time:
            begun = [one for one in await self._write(self._uploads.under_way) if wanted.takes(one)]
            for upload in begun if stop is not None else ():
                rule = rule_of(upload.way)
                if rule is not None and stop is not None:
                    await stop(store_of(rule), upload.key)
            await self._write(
                self._uploads.give_up, [upload.file for upload in begun], "somebody asked for it"
            )
            ours = {(upload.path, upload.data.get("upload_id")) for upload in begun}
            given_up = [
                one
                for one in await self._write(self._uploads.given_up)
                if wanted.takes(one) or (one.path, one.data.get("upload_id")) in ours
            ]
            return await self._abort_all(given_up)

    async def _abort_all(self, uploads: Iterable[GivenUp]) -> list[Aborted]:
        by_way: dict[str, list[GivenUp]] = {}
        for upload in uploads:
            by_way.setdefault(upload.way, []).append(upload)
        ended = await asyncio.gather(*(self._abort_there(way, them) for way, them in by_way.items()))
        return [one for those in ended for one in those]

    async def _abort_there(self, way: str, uploads: Collection[GivenUp]) -> list[Aborted]:
        ended: list[Aborted] = []
        failure: UploaderError | None = None  # of the destination: it concerns all the others too
        try:
            async with self._transport(way) as transport:
                for upload in uploads:
                    error = failure or await _abandon(transport, upload)
                    if isinstance(error, Interrupted):
                        break  # we are stopping: it is tried again by the next start
                    if isinstance(error, DeliveryError) and error.concern is Concern.DESTINATION:
                        failure = error
                    ended.append(_aborted(upload, error))
        except UploaderError as error:  # there is no way
            ended = [_aborted(upload, error) for upload in uploads]
        except Exception as error:  # noqa: BLE001  # a bug on this way must not end a daemon that has others
            log.error("failed", error=f"{type(error).__name__}: {error}")
            bug = UploaderError(f"an error in this program: {type(error).__name__}: {error}")
            ended = [_aborted(upload, bug) for upload in uploads]
        await self._write(self._write_down, ended)
        return ended

    @contextlib.asynccontextmanager
    async def _transport(self, way: str) -> AsyncIterator[Transport]:
        rule = rule_of(way)
        if rule is None:
            raise UploaderError("its settings are of another version: where it lies is not known")
        transport = None if self._open_to is None else self._open_to(place_of(rule))
        if transport is not None:
            yield transport
            return
        transport = self._open_transport(rule)
        try:
            yield transport
        finally:
            await transport.close()

    def _write_down(self, ended: Iterable[Aborted]) -> None:
        for upload, error, _ in ended:
            if not error or self._is_hopeless(upload):
                self._uploads.aborted([upload.id])
                continue
            wait = backoff_seconds(
                upload.attempts + 1,
                first_seconds=_FIRST_WAIT_SECONDS,
                longest_seconds=_LONGEST_WAIT_SECONDS,
                random=self._random,
            )
            self._uploads.postpone(upload, error=error, due_at=self._clock.now() + wait)

    def _is_hopeless(self, upload: GivenUp) -> bool:
        if self._open_to is None or upload.attempts < _MOST_TRIES_ELSEWHERE:
            return False
        rule = rule_of(upload.way)
        return rule is None or self._open_to(place_of(rule)) is None

    def _tell(self, one: Aborted) -> None:
        upload = one.upload
        if not one.error:
            log.info("aborted", path=upload.path, bucket=upload.bucket, key=upload.key, reason=upload.reason)
            return
        tell = log.warning if is_worth_telling(upload.attempts + 1) else log.debug
        tell(
            "abort_failed",
            path=upload.path,
            bucket=upload.bucket,
            key=upload.key,
            error=one.error,
            attempt=upload.attempts + 1,
            advice=one.advice,
        )


async def _abandon(transport: Transport, upload: GivenUp) -> UploaderError | None:
    try:
        await transport.abandon(upload.data)
    except UploaderError as error:
        return error
    return None


def _aborted(upload: GivenUp, error: UploaderError | None) -> Aborted:
    return Aborted(upload, "") if error is None else Aborted(upload, str(error), error.advice)
