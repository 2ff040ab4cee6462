"""The uploader's S3 engine, as the exporter uses it: the only module that knows the uploader.

A shipment is one file on its way to one object, over as many tries as it takes. What goes wrong comes
in three kinds (`Passing`, `Lasting`, `Spoiled`), which is all that the exporter needs to know.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import os
import stat
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from s3_file_uploader.config.environment import profile_region
from s3_file_uploader.errors import (
    AccessDenied,
    ConfigurationError,
    DeliveryError,
    FileChanged,
    FileUnreadable,
    FileVanished,
    Interrupted,
    Misconfigured,
    Refused,
    Unproven,
)
from s3_file_uploader.model import Fingerprint, printable
from s3_file_uploader.transport.contract import Delivery
from s3_file_uploader.transport.s3.attributes import Attributes
from s3_file_uploader.transport.s3.bandwidth import Bandwidth
from s3_file_uploader.transport.s3.checkpoint import Partition
from s3_file_uploader.transport.s3.checksums import CRC64NVME, MD5, NO_ECHO, SIZE_ONLY
from s3_file_uploader.transport.s3.engine import stop
from s3_file_uploader.transport.s3.fault_table import ClockSkewed, CredentialsExpired, CredentialsRefused
from s3_file_uploader.transport.s3.transport import S3Transport, open_s3_transport
from stream_manager_local.export.disk import Disk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from s3_file_uploader.model import Checkpoint, Receipt
    from s3_file_uploader.transport.s3.checksums import Checksum
    from stream_manager_local.settings import Settings

__all__ = ["Engine", "Lasting", "Passing", "Shipment", "ShipmentLog", "Spoiled", "Trouble"]

MOST_BUCKETS = 16  # with a transport kept open though nothing goes there at the moment
# Not every store computes what AWS does; a server for tests must do with what there is.
_CHECKSUMS: tuple[Checksum, ...] = (CRC64NVME, MD5, SIZE_ONLY)
_MOST_CHECKSUMS = 1000
_LOOK_SECONDS = 60.0
_STOP_SECONDS = 5.0  # what hangs in the disk that long is left behind
_DEFAULT_REGION = "us-east-1"
_NO_CREDENTIALS = "NoCredentials"


_log = logging.getLogger(__name__)


class Trouble(Exception):
    """A try ended without the object; the text is for a status message."""

    retry_after_seconds: float = 0.0


class Passing(Trouble):
    """Network, throttling, credentials, a store that fails: tried again without end."""


class Lasting(Trouble):
    """The store or the disk said no: to try again changes nothing."""


class Spoiled(Trouble):
    """What was sent is not what the file holds, since it changed meanwhile or was damaged: a few more tries."""


class Engine:
    """Ways to buckets: one transport each, opened with the first file that goes there. Used from one loop.

    `open_transport` is for tests; it gets the bucket.
    """

    def __init__(
        self, settings: Settings, *, open_transport: Callable[[str], S3Transport] | None = None
    ) -> None:
        self._part_bytes = settings.least_part_bytes
        self._open_transport = open_transport or partial(
            _open, settings, Bandwidth(settings.export_bytes_per_second)
        )
        self._transports: OrderedDict[str, S3Transport] = OrderedDict()
        self._users: dict[str, int] = {}
        self._checksums: dict[str, Checksum] = {}  # of buckets whose store does not tell the first one
        self._closings: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(1)
        self.disk = Disk(settings.export_threads)

    def shipment(
        self,
        paths: Sequence[bytes],
        bucket: str,
        key: str,
        metadata: Mapping[str, str],
        *,
        multipart_threshold: int,
        log: ShipmentLog,
        checkpoint: Checkpoint | None = None,
    ) -> Shipment:
        """The first of `paths` that is there goes; `checkpoint` is of a life before, None to begin anew."""
        attributes = Attributes(
            headers={f"x-amz-meta-{name}": value for name, value in metadata.items()},
            partition=Partition(multipart_threshold, self._part_bytes),
        )
        return Shipment(self, paths, bucket, key, attributes=attributes, log=log, checkpoint=checkpoint)

    async def deliver(self, bucket: str, delivery: Delivery, attributes: Attributes) -> Receipt:
        """As a transport's; cancelled, it ends once nothing of it runs any more."""
        transport = self._enter(bucket)
        try:
            outcome = transport.deliver(delivery, attributes)
            try:
                return await asyncio.shield(outcome)
            except asyncio.CancelledError:
                stop(outcome)
                await asyncio.wait({outcome}, timeout=_STOP_SECONDS)
                if not outcome.cancel() and not outcome.cancelled():
                    outcome.exception()  # looked at, so that nobody complains that it was not
                raise
        finally:
            self._leave(bucket)

    async def abandon(self, checkpoint: Checkpoint, seconds: float) -> str:
        """Abort the multipart upload of a checkpoint; "", or why it is still there."""
        bucket, key, upload = (str(checkpoint.get(name, "")) for name in ("bucket", "key", "upload_id"))
        reason = f"no answer within {seconds:g} s"
        try:
            await asyncio.wait_for(self._abandon(bucket, checkpoint), seconds)
        except asyncio.TimeoutError:
            pass
        except (DeliveryError, Trouble) as error:
            reason = str(error)
        else:
            return ""
        return f"the multipart upload {upload} of s3://{bucket}/{key} could not be aborted: {reason}"

    async def _abandon(self, bucket: str, checkpoint: Checkpoint) -> None:
        transport = self._enter(bucket)
        try:
            await transport.abandon(checkpoint)
        finally:
            self._leave(bucket)

    def checksum_of(self, bucket: str) -> Checksum:
        """What uploads to the bucket are proved by."""
        return self._checksums.get(bucket, _CHECKSUMS[0])

    def settle_for_less(self, bucket: str, checksum: Checksum) -> bool:
        """The store did not tell this one; False where there is nothing left that it could tell."""
        current = self.checksum_of(bucket)
        if current is checksum:
            following = _CHECKSUMS.index(checksum) + 1
            if following == len(_CHECKSUMS):
                return False
            if len(self._checksums) >= _MOST_CHECKSUMS:
                self._checksums.clear()
            current = self._checksums[bucket] = _CHECKSUMS[following]
            text = "bucket %s does not tell %s: what is uploaded there is compared by %s from now on"
            _log.warning(
                text, bucket, checksum.name, "its size alone" if current is SIZE_ONLY else current.name
            )
        return True

    def next_id(self) -> int:
        return next(self._ids)

    async def close(self) -> None:
        """Nothing may be under way any more."""
        self.disk.close()
        for transport in self._transports.values():
            self._close(transport)
        self._transports.clear()
        if self._closings:
            await asyncio.wait(set(self._closings))

    def _enter(self, bucket: str) -> S3Transport:
        transport = self._transports.get(bucket)
        if transport is None:
            try:
                transport = self._transports[bucket] = self._open_transport(bucket)
            except ConfigurationError as error:
                raise Lasting(f"{error}. {error.advice}") from error
        self._transports.move_to_end(bucket)
        self._users[bucket] = self._users.get(bucket, 0) + 1
        return transport

    def _leave(self, bucket: str) -> None:
        self._users[bucket] -= 1
        if not self._users[bucket]:
            del self._users[bucket]
        idle = [each for each in self._transports if each not in self._users]
        for each in idle[: max(0, len(self._transports) - MOST_BUCKETS)]:
            self._close(self._transports.pop(each))

    def _close(self, transport: S3Transport) -> None:
        task = asyncio.get_running_loop().create_task(transport.close())
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)


class ShipmentLog(Protocol):
    """Who is told how a shipment goes."""

    async def began(self, *, is_multipart: bool) -> None:
        """In each try, before the first byte leaves."""
        ...

    async def saved(self, checkpoint: dict[str, Any] | None) -> None:
        """Remember it before this returns, so that a multipart upload is found again after a crash."""
        ...


class Shipment:
    """One file to one object. `size` is that of the file in the last try, in bytes."""

    def __init__(
        self,
        engine: Engine,
        paths: Sequence[bytes],
        bucket: str,
        key: str,
        *,
        attributes: Attributes,
        log: ShipmentLog,
        checkpoint: Checkpoint | None,
    ) -> None:
        self._engine = engine
        self._paths = paths
        self._bucket = bucket
        self._key = key
        self._attributes = attributes
        self._log = log
        self._checkpoint = checkpoint
        self._left: list[Checkpoint] = []  # uploads that could not be aborted when they were of no more use
        self.size = 0

    @property
    def target(self) -> str:
        """For people."""
        return f"s3://{self._bucket}/{self._key}"

    async def carry(self) -> None:
        """One try: ends when the store has proved that it holds the file. Raises Trouble."""
        try:
            looking = self._engine.disk.call(_found, self._paths)
            path, fingerprint = await asyncio.wait_for(looking, _LOOK_SECONDS)
        except asyncio.TimeoutError:
            raise Passing(f"the disk of {printable(self._paths[0])} does not answer") from None
        self.size = fingerprint.size
        partition = self._attributes.partition
        assert partition is not None
        await self._log.began(is_multipart=fingerprint.size > partition.put_limit_bytes)
        while not await self._proved(_Source(path, fingerprint)):
            pass

    async def _proved(self, source: _Source) -> bool:
        """False where the store took it and did not tell the checksum: it is asked for less from now on."""
        checksum = self._engine.checksum_of(self._bucket)
        delivery = Delivery(
            self._engine.next_id(),
            source,
            self._bucket,
            self._key,
            self._save,
            self._checkpoint,
            give_up=self._give_up,
        )
        try:
            await self._engine.deliver(self._bucket, delivery, replace(self._attributes, checksum=checksum))
        except DeliveryError as error:
            if error.code == NO_ECHO and self._engine.settle_for_less(self._bucket, checksum):
                return False
            raise _trouble_of(error) from error
        return True

    async def take_back(self, seconds: float) -> str:
        """Abort what was begun and will not be completed; "", or why something is left in the bucket."""
        if self._checkpoint is not None:
            self._left.append(self._checkpoint)
            self._checkpoint = None
        problems = [await self._engine.abandon(each, seconds) for each in self._left]
        self._left.clear()
        return "; ".join(filter(None, problems))

    async def _save(self, checkpoint: Checkpoint | None) -> None:
        self._checkpoint = checkpoint
        await self._log.saved(checkpoint)

    async def _give_up(self, _reason: str) -> None:
        if self._checkpoint is not None:
            self._left.append(self._checkpoint)
            self._checkpoint = None


class _Source:
    """A file as its last look found it. No lease: a task's file is its client's to look after."""

    def __init__(self, path: bytes, fingerprint: Fingerprint) -> None:
        self.path = path
        self.fingerprint = fingerprint

    def open(self) -> _OpenFile:
        try:
            # Without O_NONBLOCK a FIFO that took the file's place would hold up the engine for ever.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            kind = FileVanished if error.errno in (errno.ENOENT, errno.ENOTDIR) else FileUnreadable
            raise kind(_said(self.path, error)) from error
        file = _OpenFile(descriptor, self.fingerprint)
        try:
            file.check_unchanged()
        except DeliveryError:
            file.close()
            raise
        return file


class _OpenFile:
    def __init__(self, descriptor: int, fingerprint: Fingerprint) -> None:
        self._descriptor = descriptor
        self._fingerprint = fingerprint

    def fileno(self) -> int:
        return self._descriptor

    @property
    def size(self) -> int:
        return self._fingerprint.size

    def check_unchanged(self) -> None:
        """By size and modification time; a new name or other rights are no other content."""
        now = Fingerprint.of(os.fstat(self._descriptor))
        if not now.same_but_for_ctime(self._fingerprint):
            raise FileChanged("the file changed while it was uploaded")

    def close(self) -> None:
        os.close(self._descriptor)


def _found(paths: Sequence[bytes]) -> tuple[bytes, Fingerprint]:
    """The first that is there; Lasting where none is, or it is no regular file. Blocks on the disk."""
    for path in paths:
        try:
            status = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise Lasting(_said(path, error)) from error
        if not stat.S_ISREG(status.st_mode):
            kind = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise Lasting(f"{printable(path)} is {kind}")
        return path, Fingerprint.of(status)
    raise Lasting(f"there is no file {' nor '.join(printable(path) for path in paths)}")


def _said(path: bytes, error: OSError) -> str:
    return f"{printable(path)} cannot be read: {error.strerror}"


def _trouble_of(error: DeliveryError) -> Trouble:
    """What the engine's error means for a task: the advice in it is for users of the uploader and is left out."""
    if isinstance(error, FileChanged | Unproven):
        return Spoiled(str(error))
    if isinstance(error, FileVanished | FileUnreadable | AccessDenied | Refused):
        return Lasting(str(error))
    if isinstance(error, Misconfigured) and not _is_about_credentials(error):
        return Lasting(str(error))
    passing = Passing("the server is stopping" if isinstance(error, Interrupted) else str(error))
    passing.retry_after_seconds = error.retry_after_seconds
    return passing


def _is_about_credentials(error: Misconfigured) -> bool:
    """They may be renewed, and a clock may be set: no reason to give a task up."""
    is_known = isinstance(error, CredentialsExpired | CredentialsRefused | ClockSkewed)
    return is_known or error.code == _NO_CREDENTIALS


def _open(settings: Settings, bandwidth: Bandwidth, bucket: str) -> S3Transport:
    region = settings.region or profile_region(os.environ.get("AWS_PROFILE", ""), os.environ)
    return open_s3_transport(
        bucket=bucket,
        region=region or _DEFAULT_REGION,
        endpoint_url=settings.endpoint_url,
        ca_bundle=os.environ.get("AWS_CA_BUNDLE", ""),
        profile=os.environ.get("AWS_PROFILE", ""),
        bandwidth=bandwidth,
    )
