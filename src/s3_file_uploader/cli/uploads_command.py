"""`s3-file-uploader uploads`: large files of which something lies unfinished in a bucket, and taking that back."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, TextIO

from s3_file_uploader import control
from s3_file_uploader.cli.places import add_place_arguments, find_place, open_reader
from s3_file_uploader.cli.presentation import iso_moment, moment, size, write_json
from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.ledger.uploads import GivenUp, UnderWay
from s3_file_uploader.model import printable
from s3_file_uploader.observe.snapshot import path_fields

if TYPE_CHECKING:
    import argparse

    from s3_file_uploader.cli.places import Place
    from s3_file_uploader.ledger.reader import Reader
    from s3_file_uploader.pipeline.leftovers import Wanted

__all__ = ["add_arguments", "arrived", "is_handed_over", "run", "upload_json"]

_ABORT_SECONDS = 300.0  # for the daemon's answer: a store may be slow with each of many


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "abort"), metavar="list|abort", help="what to do")
    parser.add_argument(
        "names", metavar="FILE|UPLOAD_ID", nargs="*", help="abort: which, by file or by the store's own id"
    )
    parser.add_argument("--given-up", action="store_true", help="abort: all that nobody goes on with")
    parser.add_argument("--all", action="store_true", help="abort: all; their files are sent from the start")
    add_place_arguments(parser, positional=False)
    parser.add_argument("--json", action="store_true", help="as JSON, a stable contract")


def run(arguments: argparse.Namespace, out: TextIO) -> int:
    is_chosen = bool(arguments.names), arguments.given_up, arguments.all
    if arguments.action == "list":
        if any(is_chosen):
            raise ConfigurationError("`uploads list` shows all and takes no names", advice="`uploads list`")
        return _list(arguments, out)
    if sum(is_chosen) != 1:
        raise ConfigurationError(
            "say which uploads: files or upload ids, or --given-up, or --all",
            advice="`s3-file-uploader uploads list` names them.",
        )
    return _abort(arguments, out)


# -- list


def _list(arguments: argparse.Namespace, out: TextIO) -> int:
    reader, _ = open_reader(find_place(arguments))
    if reader is None:
        return 0
    with reader:
        with reader.one_view():
            uploads = _known(reader)
        write = _json_line if arguments.json else _line
        out.writelines(write(upload) for upload in uploads)
    return 0


def _line(upload: UnderWay | GivenUp) -> str:
    words = [
        f"s3://{upload.bucket}/{printable(upload.key.encode())}",
        f"begun {moment(upload.begun_at_wall)}",
    ]
    if isinstance(upload, GivenUp):
        words.append(printable(upload.reason.encode()))
        if upload.attempts:
            tries = "1 try" if upload.attempts == 1 else f"{upload.attempts} tries"
            words.append(f"{tries} to abort it failed: {printable(upload.error.encode())}")
    words += [arrived(upload), f"upload id {printable(str(upload.data.get('upload_id')).encode())}"]
    state = "given up" if isinstance(upload, GivenUp) else "under way"
    return f"{state:9}  {printable(upload.path)}  # {'; '.join(word for word in words if word)}\n"


def arrived(upload: UnderWay | GivenUp) -> str:
    """How much of it lies there, as far as the ledger was told; "" where it was not."""
    told = _arrived(upload)
    if told["parts_arrived"] is None or told["bytes_arrived"] is None:
        return ""
    of_parts = "" if told["parts"] is None else f" of {told['parts']}"
    of_bytes = "" if told["size"] is None else f" of {size(told['size'])}"
    return f"{told['parts_arrived']}{of_parts} parts, {size(told['bytes_arrived'])}{of_bytes} there"


def _arrived(upload: UnderWay | GivenUp) -> dict[str, int | None]:
    whole = upload.size if isinstance(upload, UnderWay) else None
    part_size = _number(upload, "part_size")
    return {
        "size": whole,
        "part_size": part_size,
        "parts": -(-whole // part_size) if whole is not None and part_size else None,
        "parts_arrived": _number(upload, "parts_arrived"),
        "bytes_arrived": _number(upload, "bytes_arrived"),
    }


def _number(upload: UnderWay | GivenUp, name: str) -> int | None:
    value = upload.data.get(name)
    return value if isinstance(value, int) else None


def upload_json(upload: UnderWay | GivenUp) -> dict[str, Any]:
    """An upload, for JSON."""
    told: dict[str, Any] = {
        "bucket": upload.bucket,
        "key": upload.key,
        "upload_id": upload.data.get("upload_id"),
        "begun": iso_moment(upload.begun_at_wall),
        **_arrived(upload),
    }
    if isinstance(upload, UnderWay):
        return {"state": "under_way", **told}
    return {
        "state": "given_up",
        **told,
        "reason": upload.reason,
        "given_up": iso_moment(upload.given_up_at_wall),
        "attempts": upload.attempts,
        "error": upload.error or None,
    }


def _json_line(upload: UnderWay | GivenUp) -> str:
    return json.dumps({**path_fields(upload.path), **upload_json(upload)}) + "\n"


# -- abort


def _abort(arguments: argparse.Namespace, out: TextIO) -> int:
    """SOME_FAILED where one could not be aborted, or a name is of none."""
    from s3_file_uploader.pipeline.leftovers import Wanted  # noqa: PLC0415  # `list` does without the pipeline

    reader, place = open_reader(find_place(arguments))
    unknown: list[str] = arguments.names
    ended: list[dict[str, Any]] = []
    by_daemon = False
    if reader is not None:
        with reader:
            unknown = [name for name in arguments.names if not _is_known(reader, Wanted(_meant(name)))]
        names = frozenset[bytes]().union(*map(_meant, arguments.names))
        ended, by_daemon = _ended(place, Wanted(names, arguments.given_up, arguments.all))
    failed = [one for one in ended if one["error"]]
    aborted = [one for one in ended if not one["error"]]
    if arguments.json:
        told = {"format": 1, "aborted": aborted, "failed": failed, "unknown": unknown, "daemon": by_daemon}
        write_json(told, out)
    else:
        count = "1 upload" if len(aborted) == 1 else f"{len(aborted)} uploads"
        out.write(f"{count} aborted\n")
        for one in failed:
            out.write(f"not now: {one['path']} (upload id {one['upload_id']}): {one['error']}\n")
            out.write(f"Try: {one['try'] or 'nothing; it is tried again by itself.'}\n")
        out.writelines(f"no upload is known of: {printable(os.fsencode(name))}\n" for name in unknown)
    return 1 if failed or unknown else 0


def _meant(name: str) -> frozenset[bytes]:
    """What was typed may be a file's path or an upload id."""
    return frozenset((os.path.abspath(os.fsencode(name)), os.fsencode(name)))


def _is_known(reader: Reader, wanted: Wanted) -> bool:
    return any(wanted.takes(upload) for upload in _known(reader))


def _known(reader: Reader) -> list[UnderWay | GivenUp]:
    """What Stream Manager was asked for has nothing half in a bucket that could be taken back."""
    every: list[UnderWay | GivenUp] = [*reader.uploads_under_way(), *reader.uploads_given_up()]
    return [upload for upload in every if not is_handed_over(upload)]


def is_handed_over(upload: UnderWay | GivenUp) -> bool:
    """Whether somebody else was asked for it (Stream Manager), and nothing of ours lies half in a bucket."""
    return bool(upload.data.get("leaves_nothing"))


def _ended(place: Place, wanted: Wanted) -> tuple[list[dict[str, Any]], bool]:
    from s3_file_uploader.cli.taking_back import abort_here, wanted_json  # noqa: PLC0415  # not for `list`

    answer = control.ask(place.folder, "abort_uploads", wanted_json(wanted), timeout_seconds=_ABORT_SECONDS)
    if answer is not None:
        return list(answer["uploads"]), True
    return abort_here(place, wanted), False
