"""Stream Manager: does it answer, which protocol, our streams, and what its user may read."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from s3_file_uploader.cli.doctor.finding import Finding, fail, ok, warn
from s3_file_uploader.cli.doctor.folders import sample_of
from s3_file_uploader.cli.doctor.reach import OtherUser, listener_of
from s3_file_uploader.cli.matching import selection_of
from s3_file_uploader.errors import ConfigurationError, DeliveryError
from s3_file_uploader.model import printable
from s3_file_uploader.transport.registry import require_stream_manager_sdk
from s3_file_uploader.transport.stream_manager.aliases import alias_folder
from s3_file_uploader.transport.stream_manager.greeting import Greeting, overheard
from s3_file_uploader.transport.stream_manager.identity import read_owner
from s3_file_uploader.transport.stream_manager.inventory import Held, Owned, Whose, look
from s3_file_uploader.transport.stream_manager.link import HOST, Link

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from s3_file_uploader.config import Rule, Settings

__all__ = ["examine_stream_manager"]

_AREA = "stream manager"


def examine_stream_manager(settings: Settings, rules: Sequence[Rule]) -> Iterator[Finding]:
    """All findings on the Stream Managers of these rules, which are all that go through one."""
    try:
        require_stream_manager_sdk("Transport stream-manager")
    except ConfigurationError as error:
        yield fail(_AREA, str(error), error.advice)
        return
    folder = os.path.join(settings.state_directory, settings.name)
    owned = Owned.of(read_owner(folder), ((rule.name, rule.bucket_name) for rule in rules))
    for port in sorted({rule.stream_manager_port for rule in rules}):
        there = [rule for rule in rules if rule.stream_manager_port == port]
        yield from _answers(port, owned, there)
        yield from _reader(settings, port, there)


def _answers(port: int, owned: Owned, rules: Sequence[Rule]) -> Iterator[Finding]:
    try:
        with overheard() as greeting:
            held = asyncio.run(_look(port, owned))
    except DeliveryError as error:
        yield fail(_AREA, str(error), error.advice, of_destination=True)
        return
    yield ok(_AREA, f"{_called(greeting)} answers at {HOST}:{port}")
    for rule in rules:
        yield ok(f"streams ({rule.name})", _streams_of(rule, held))
    leftovers = [one for one in held if one.whose is Whose.LEFTOVER]
    if leftovers:
        tasks = sum(one.waiting for one in leftovers)
        still = f", with {tasks} tasks to do" if tasks else ""
        yield warn(
            _AREA,
            f"{len(leftovers)} streams are left of rules that are gone{still}",
            "`s3-file-uploader streams prune --dry-run` says which would be deleted.",
        )


async def _look(port: int, owned: Owned) -> list[Held]:
    link = Link(port)
    try:
        return await look(link, owned)
    finally:
        await link.close()


def _called(greeting: Greeting) -> str:
    version = f" {greeting.version}" if greeting.version else ""
    protocol = f", protocol {greeting.protocol}," if greeting.protocol else ""
    return f"Stream Manager{version}{protocol}"


def _streams_of(rule: Rule, held: Sequence[Held]) -> str:
    its = [one for one in held if one.whose is Whose.IN_USE and one.rule == rule.name]
    tasks = [one for one in its if not one.name.is_status]
    if not its:
        return "none yet: they are made when the first file goes"
    return f"{len(tasks)} for tasks, {sum(one.waiting for one in tasks)} tasks to do"


# -- what it may read


def _reader(settings: Settings, port: int, rules: Sequence[Rule]) -> Iterator[Finding]:
    uid = listener_of(port)
    if uid is None:
        return  # nobody listens, which is said already, or /proc does not tell
    user = OtherUser.of(uid)
    for rule in rules:
        area = f"reader ({rule.name})"
        obstacle = _obstacle(user, rule)
        if obstacle is None:
            yield ok(
                area, f"Stream Manager runs as {user.name}, which may read the files, as far as can be told"
            )
        else:
            yield fail(
                area,
                f"Stream Manager runs as {user.name}, which may not read {printable(obstacle)}: uploads would fail",
                f"Give {user.name} the right to enter the folder and to read its files, now and as they are "
                "made (the producer's group and umask).",
            )
    aliases = os.fsencode(os.path.dirname(alias_folder(settings.state_directory, settings.name)))
    obstacle = user.obstacle(aliases, is_folder=True)
    if obstacle is not None:
        yield warn(
            _AREA,
            f"{user.name} may not enter {printable(obstacle)}, through which files with unusual names are handed over",
            f"Give {user.name} the right to enter the folder (chmod o+x), or set StateDirectory.",
        )


def _obstacle(user: OtherUser, rule: Rule) -> bytes | None:
    """What keeps the user from the first of some files that it may not read, or from the folder."""
    base = selection_of(rule).pattern.base
    obstacles = [user.obstacle(base, is_folder=True)]
    candidates = sample_of(rule).candidates if os.path.isdir(base) else []
    obstacles += (user.obstacle(os.path.join(one.folder, one.name)) for one in candidates)
    return next((one for one in obstacles if one is not None), None)
