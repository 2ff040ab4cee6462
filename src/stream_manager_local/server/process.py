"""From settings to a server that serves, and back: the store, the exports, the port, signals."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import itertools
import logging
import os
import resource
import signal
import socket
import sys
from random import Random
from typing import TYPE_CHECKING

from stream_manager_local.faults import Faults
from stream_manager_local.protocol.codes import Status
from stream_manager_local.server.dialogue import House
from stream_manager_local.server.exports import LateExporter
from stream_manager_local.server.listener import Listener, is_loopback
from stream_manager_local.server.mischief import Ends, Mischief
from stream_manager_local.server.polls import Polls
from stream_manager_local.server.service import Service
from stream_manager_local.settings import FRAME_OVERHEAD_BYTES, SettingsError
from stream_manager_local.store import Choices, Store

if TYPE_CHECKING:
    from pathlib import Path

    from stream_manager_local.settings import Settings

__all__ = ["RESTARTED_ON", "Restart", "make_listener", "serve"]

_LOG = logging.getLogger("stream_manager_local")

_EXPIRE_AGAIN_SECONDS = 10.0
_OTHER_DESCRIPTORS = 512  # segments, uploads, libraries

# Tells a process that a fault restarted which port it had, where that was a free one.
RESTARTED_ON = "STREAM_MANAGER_LOCAL_RESTARTED_ON"


async def serve(settings: Settings, *, server_version: str, restart: Restart) -> int:
    """Serve until SIGTERM or SIGINT; returns which of them came (SIGTERM too when standard input ended).

    Raises StoreUnusable when the folder cannot be used, SettingsError when a setting cannot.
    """
    loop = asyncio.get_running_loop()
    stopping: asyncio.Future[int] = loop.create_future()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _on_signal, stopping, int(number))
    _allow_descriptors(settings.most_connections + _OTHER_DESCRIPTORS)
    if settings.stops_with_stdin:
        _watch_stdin(loop, stopping)
    store = Store.open(
        settings.root,
        report=_LOG.warning,
        choices=Choices(free_exported=settings.free_exported, full_status=Status(settings.full_status)),
    )
    try:
        return await _serve(settings, store, stopping, server_version, restart)
    finally:
        store.close()


def _allow_descriptors(wanted: int) -> None:
    """Many systems begin with 1024 and allow more to whoever asks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


class Restart:
    """Ends the process at once and begins it anew with the same arguments, on the same port."""

    def __init__(self, arguments: list[str]) -> None:
        self._arguments = arguments
        self.port = 0

    def __call__(self) -> None:
        os.environ[RESTARTED_ON] = str(self.port)
        command = [sys.executable, "-m", "stream_manager_local", *self._arguments]
        os.execv(sys.executable, command)  # noqa: S606  # this very program


async def _serve(
    settings: Settings, store: Store, stopping: asyncio.Future[int], server_version: str, restart: Restart
) -> int:
    seed = int.from_bytes(os.urandom(4), "big") if settings.fault_seed is None else settings.fault_seed
    faults = Faults(settings.faults, chance=Random(seed))  # noqa: S311  # which fault strikes is no secret
    ends = Ends(crash=lambda: os.kill(os.getpid(), signal.SIGKILL), restart=restart)
    listener = make_listener(settings, store, faults, ends, server_version)
    try:
        restart.port = await listener.start(settings.host, settings.port)
    except OSError as error:
        raise _cannot_listen(settings, error) from error
    expiring = asyncio.get_running_loop().create_task(_expire(store))
    exports = LateExporter(store, settings, faults)
    try:
        exports.start()
        _announce(settings, restart.port, seed)
        ended_by = await stopping
        _LOG.info("stopping")
        await listener.stop()
        return ended_by
    finally:
        _withdraw(settings.port_file)
        expiring.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await expiring
        await exports.close()


def _cannot_listen(settings: Settings, error: OSError) -> SettingsError:
    if error.errno is None:  # what asyncio of Python 3.13 says where no address was one of this machine's
        error = OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL))
    is_elsewhere = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
    return SettingsError(
        f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}",
        "name an address of this machine with --host, or leave it out for 127.0.0.1."
        if is_elsewhere
        else "stop what uses it, or name another with --port (0 takes a free one).",
    )


def make_listener(
    settings: Settings, store: Store, faults: Faults, ends: Ends, server_version: str
) -> Listener:
    """Who answers clients from this store, on the loop that runs; not listening yet."""
    loop = asyncio.get_running_loop()
    house = House(
        Service(store, Polls(loop), settings.most_message_bytes),
        Mischief(faults, ends, loop),
        server_version=server_version,
        auth_token=settings.auth_token if settings.authenticate else None,
        new_identifier=Identifiers(os.urandom(4).hex()),
    )
    return Listener(
        house,
        most_payload_bytes=settings.most_message_bytes + FRAME_OVERHEAD_BYTES,
        most_connections=settings.most_connections,
        handshake_seconds=settings.handshake_seconds,
    )


async def _expire(store: Store) -> None:
    """Drop what is too old, now and then."""
    while True:
        try:
            seconds = store.expire()
        except Exception:  # noqa: BLE001  # a bug: said, and tried again, or streams would grow without anybody knowing
            _LOG.exception("expiring failed")
            seconds = _EXPIRE_AGAIN_SECONDS
        await asyncio.sleep(seconds)


def _announce(settings: Settings, port: int, seed: int) -> None:
    if not is_loopback(settings.host):
        _LOG.warning(
            "listening on %s: whoever reaches this machine can read and write all streams%s",
            settings.host,
            "" if settings.authenticate else ", and no token is asked for",
        )
    for fault in settings.faults:
        _LOG.warning("a fault is set: %s (seed %d)", fault, seed)
    if settings.port_file is not None:
        _write_port(settings.port_file, port)
    _LOG.info("serving: address=%s port=%d store=%s", settings.host, port, settings.root)
    # In the words of the real component: its own tests wait for them.
    _LOG.info("Stream Manager reporting the state: RUNNING")


def _write_port(file: Path, port: int) -> None:
    beside = file.with_name(file.name + ".new")
    try:
        beside.write_text(f"{port}\n", encoding="ascii")
        beside.replace(file)
    except OSError as error:
        raise SettingsError(
            f"--port-file is {str(file)!r}: it cannot be written: {error.strerror}",
            "name a file in a folder that is there and that this user may write to.",
        ) from error


def _withdraw(port_file: Path | None) -> None:
    if port_file is not None:
        with contextlib.suppress(OSError):
            port_file.unlink()


class Identifiers:
    """A name for each connection, never used twice, also not in another life of this server."""

    def __init__(self, life: str) -> None:
        self._life = life
        self._numbers = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._life}-{next(self._numbers)}"


def _watch_stdin(loop: asyncio.AbstractEventLoop, stopping: asyncio.Future[int]) -> None:
    try:
        loop.add_reader(sys.stdin.fileno(), _on_stdin, loop, stopping)
    except (OSError, AttributeError, ValueError):  # a file or /dev/null; none at all
        raise SettingsError(
            "--stop-with-stdin needs a standard input whose end can be waited for: a pipe or a terminal",
            "start it with a pipe as its standard input and keep the other end open, or leave the flag out.",
        ) from None


def _on_stdin(loop: asyncio.AbstractEventLoop, stopping: asyncio.Future[int]) -> None:
    if os.read(sys.stdin.fileno(), 4096):
        return
    loop.remove_reader(sys.stdin.fileno())
    if not stopping.done():
        stopping.set_result(signal.SIGTERM)


def _on_signal(stopping: asyncio.Future[int], number: int) -> None:
    if stopping.done():
        os._exit(130)  # the second one: at once
    stopping.set_result(number)
