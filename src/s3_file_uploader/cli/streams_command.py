"""`s3-file-uploader streams`: what of ours lies in Stream Manager, and deleting what rules left there."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.places import add_place_arguments, find_place, open_reader
from s3_file_uploader.cli.presentation import size, write_json
from s3_file_uploader.config import flags_given, stream_manager_port
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.transport.registry import require_stream_manager_sdk
from s3_file_uploader.transport.stream_manager.identity import read_owner
from s3_file_uploader.transport.stream_manager.inventory import Held, Owned, look, prune, reason_to_keep
from s3_file_uploader.transport.stream_manager.link import Link

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from s3_file_uploader.cli.places import Place
    from s3_file_uploader.config import Rule
    from s3_file_uploader.ledger.reader import Reader

__all__ = ["add_arguments", "run"]


class Asked(NamedTuple):
    """What a prune is to do."""

    names: frozenset[str]
    force: bool
    dry_run: bool


class Outcome(NamedTuple):
    """What a prune did; `kept` and `failed` say why, by stream."""

    deleted: list[Held]
    kept: dict[str, str]
    failed: dict[str, str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "prune"), metavar="list|prune", help="what to do")
    parser.add_argument("names", metavar="STREAM", nargs="*", help="prune: only these")
    parser.add_argument(
        "--dry-run", action="store_true", help="prune: say what would be deleted, delete nothing"
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="prune: also leftovers with tasks to do, which are then not done, and named streams of other ledgers",
    )
    add_place_arguments(parser, positional=False)
    parser.add_argument("--json", action="store_true", help="as JSON, a stable contract")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    require_stream_manager_sdk("`streams` talks to Stream Manager, and that")
    is_list = arguments.action == "list"
    if is_list and (arguments.names or arguments.dry_run or arguments.force):
        raise ConfigurationError("`streams list` shows all and takes no names", advice="`streams list`")
    ports, owned = _known(arguments)
    if is_list:
        found = [(port, held) for port in ports for held in asyncio.run(_look(port, owned))]
        out.writelines((_json_line if arguments.json else _line)(port, held) for port, held in found)
        return ExitCode.DONE
    asked = Asked(frozenset(arguments.names), arguments.force, arguments.dry_run)
    outcomes = [asyncio.run(_prune(port, owned, asked)) for port in ports]
    return _told(outcomes, asked, out, as_json=arguments.json)


# -- whose and where


def _known(arguments: argparse.Namespace) -> tuple[list[int], Owned]:
    """The ports to ask, and what is ours: by the settings given and by those of the last run."""
    place = find_place(arguments)
    rules = list(place.settings.rules)
    awaited: set[str] = set()
    reader, remembered = open_reader(_without_rules(place))
    if reader is not None:
        with reader:
            rules += remembered.settings.rules
            awaited = _awaited(reader)
    through = [rule for rule in rules if rule.transport == "stream-manager"]
    owned = Owned.of(read_owner(place.folder), ((rule.name, rule.bucket_name) for rule in through), awaited)
    return _ports(arguments, through), owned


def _without_rules(place: Place) -> Place:
    from dataclasses import replace  # noqa: PLC0415  # costs as much as the rest of a small command

    return replace(place, settings=replace(place.settings, rules=()))


def _ports(arguments: argparse.Namespace, through: list[Rule]) -> list[int]:
    said = flags_given(arguments).get("StreamManagerPort")
    if said is None and through:
        return sorted({rule.stream_manager_port for rule in through})
    return [stream_manager_port(said, os.environ)]


def _awaited(reader: Reader) -> set[str]:
    """The streams that files of the ledger wait for."""
    saved = [upload.data for upload in reader.uploads_under_way()]
    names = (data.get(key) for data in saved for key in ("stream", "status_stream"))
    return {name for name in names if isinstance(name, str)}


# -- asking


async def _look(port: int, owned: Owned) -> list[Held]:
    link = Link(port)
    try:
        return await look(link, owned)
    finally:
        await link.close()


async def _prune(port: int, owned: Owned, asked: Asked) -> Outcome:
    link = Link(port)
    try:
        found = await look(link, owned)
        wanted = [held for held in found if not asked.names or str(held.name) in asked.names]
        kept = {
            str(held.name): reason
            for held in wanted
            if (reason := reason_to_keep(held, found, named=asked.names, force=asked.force))
        }
        kept |= dict.fromkeys(
            asked.names - {str(one.name) for one in wanted}, "there is no such stream of ours"
        )
        doomed = [held for held in wanted if str(held.name) not in kept]
        failed = {} if asked.dry_run else await prune(link, doomed)
        return Outcome([held for held in doomed if str(held.name) not in failed], kept, failed)
    finally:
        await link.close()


# -- telling


def _line(_port: int, held: Held) -> str:
    of_rule = f"rule {held.rule}" if held.rule else "a rule"
    holds = "statuses" if held.name.is_status else f"{held.waiting} tasks to do"
    return f"{held.whose.value:9}  {held.name}  # {of_rule}; {holds}; {size(held.state.total_bytes)}\n"


def _as_json(held: Held) -> dict[str, Any]:
    return {
        "stream": str(held.name),
        "state": held.whose.name.lower(),
        "rule": held.rule,
        "kind": "statuses" if held.name.is_status else "tasks",
        "tasks_waiting": held.waiting,
        "size": held.state.total_bytes,
    }


def _json_line(port: int, held: Held) -> str:
    return json.dumps({**_as_json(held), "port": port}) + "\n"


def _told(outcomes: list[Outcome], asked: Asked, out: TextIO, *, as_json: bool) -> int:
    """SOME_FAILED where one that was named stays, or one could not be deleted."""
    deleted = [held for outcome in outcomes for held in outcome.deleted]
    failed = {name: why for outcome in outcomes for name, why in outcome.failed.items()}
    known = {str(held.name) for held in deleted} | failed.keys()
    kept = {name: why for outcome in outcomes for name, why in outcome.kept.items() if name not in known}
    if as_json:
        told = {
            "format": 1,
            "dry_run": asked.dry_run,
            "deleted": [_as_json(held) for held in deleted],
            "kept": [{"stream": name, "reason": why} for name, why in kept.items()],
            "failed": [{"stream": name, "error": why} for name, why in failed.items()],
        }
        write_json(told, out)
    else:
        out.writelines(_told_lines(deleted, kept, failed, asked))
    return ExitCode.SOME_FAILED if failed or asked.names & kept.keys() else ExitCode.DONE


def _told_lines(
    deleted: list[Held], kept: dict[str, str], failed: dict[str, str], asked: Asked
) -> Iterator[str]:
    done = "would be deleted" if asked.dry_run else "deleted"
    yield from (f"{done}: {held.name}\n" for held in deleted)
    yield from (f"kept: {name}: {why}\n" for name, why in kept.items())
    yield from (f"not deleted: {name}: {why}\n" for name, why in failed.items())
    if not deleted and not failed:
        yield "Nothing is left over.\n" if not kept else "Nothing to delete.\n"
