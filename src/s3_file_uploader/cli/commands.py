"""The table of commands. To add one: a module with `add_arguments` and `run`, and a row here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["COMMANDS", "Command"]


class Command(NamedTuple):  # not a dataclass: `dataclasses` alone costs as much as the rest of `version`
    """`usage` is what follows the command's name; `examples` are shown at the end of its help."""

    name: str
    summary: str
    usage: str
    description: str
    examples: tuple[str, ...]
    shows_few_settings: bool = False  # in its help: only those that find a ledger

    def module(self) -> ModuleType:
        """ConfigurationError where a Greengrass component left it out (`demo`)."""
        try:
            return import_module(f"s3_file_uploader.cli.{self.name}_command")
        except ModuleNotFoundError as error:
            if error.name != f"s3_file_uploader.{self.name}":
                raise
            from s3_file_uploader.errors import ConfigurationError  # noqa: PLC0415  # only then

            raise ConfigurationError(
                f"`{self.name}` is not part of this installation",
                advice=f"Run `{self.name}` on a machine of your own, from a clone or from the package.",
            ) from error


_ALL = (
    Command(
        "run",
        "send every finished file, now and from now on",
        "SRC DST [options]",
        "Watch SRC and send each file to DST once it is finished; remove it once its upload is proven. "
        "Runs until it is told to stop (SIGTERM, Ctrl-C): it then lets what can finish in 5 seconds "
        "finish, and goes on where it stopped the next time. Started by a Greengrass nucleus and without "
        "arguments, it takes its settings from the component's configuration and follows their changes.",
        (
            "run '/data/*.csv' s3://bucket/prefix",
            "run /var/spool/out s3://bucket --active-file-timeout 5m",
            "run --config /etc/s3-file-uploader.yaml",
        ),
    ),
    Command(
        "drain",
        "send what is ready, then exit",
        "SRC DST [options]",
        "Send every file of SRC that is finished and exit. The newest file of each folder is held, for "
        "its producer may still be writing it; --include-active sends it too. Leaving only held files is "
        "a success.",
        (
            "drain /data s3://bucket/prefix --dry-run",
            "drain '/data/**/*.csv' s3://bucket/prefix --include-active",
        ),
    ),
    Command(
        "status",
        "what is waiting, sending, delivered, parked and held",
        "[SRC DST] [options]",
        "Say whether a daemon runs, and for each rule what waits and what has arrived. Without "
        "arguments: of the one ledger there is.",
        ("status", "status '/data/*.csv' s3://bucket/prefix", "status --json"),
        shows_few_settings=True,
    ),
    Command(
        "list",
        "the files that are known, with their state",
        "[SRC DST] [--state STATE] [--limit N] [options]",
        "List files in the order in which they were found; those that have left, the latest first.",
        ("list --state parked", "list --state removed --limit 20", "list --json | head"),
        shows_few_settings=True,
    ),
    Command(
        "explain",
        "why a file is not uploaded yet, or when it was",
        "FILE [options]",
        "Say which rule takes the file, its state and since when, what it waits for and until when, what "
        "tells that nobody is writing it, its attempts and its last error. Of a file that has left: "
        "when, and its object. Of a file that no rule takes: why not.",
        ("explain /data/a.csv", "explain /data/a.csv --config /etc/s3-file-uploader.yaml"),
        shows_few_settings=True,
    ),
    Command(
        "retry",
        "try parked and failing files again, now",
        "FILE... | --all [options]",
        "Release parked files, and try again at once what waits for another try. A running daemon does "
        "it; without one it is written down for the next start.",
        ("retry /data/a.csv", "retry --all"),
        shows_few_settings=True,
    ),
    Command(
        "uploads",
        "large files that are half in the bucket; abort them",
        "list | abort FILE|UPLOAD_ID... | abort --given-up | abort --all [options]",
        "`list` shows the multipart uploads that this ledger began and that are not complete: those under "
        "way, which go on where they stopped, and those that nobody goes on with and that could not be "
        "aborted yet. `abort` takes them back, their parts with them; a file whose upload was under way is "
        "sent from its start. A running daemon does it. Uploads of others are never touched.",
        ("uploads list", "uploads abort /data/large.bag", "uploads abort --given-up"),
        shows_few_settings=True,
    ),
    Command(
        "streams",
        "what of ours lies in Stream Manager; delete leftovers",
        "list | prune [STREAM...] [--dry-run] [--force] [options]",
        "`list` shows the streams that this program made in Greengrass Stream Manager: those in use, those that "
        "rules left that are gone, and those of other ledgers. `prune` deletes leftovers that have nothing left "
        "to do. A stream that a rule or a waiting file needs is never deleted.",
        ("streams list", "streams prune --dry-run", "streams prune --config /etc/s3-file-uploader.yaml"),
        shows_few_settings=True,
    ),
    Command(
        "check",
        "folder rights, credentials, bucket, clock, inotify, disk",
        "[SRC DST] [options]",
        "Look at everything an upload needs and say what to do about what is wrong. Writes nothing: "
        "--probe also puts one small object into the bucket and removes it.",
        ("check '/data/*.csv' s3://bucket/prefix", "check --config /etc/s3-file-uploader.yaml --probe"),
    ),
    Command(
        "config",
        "settings in force and where each came from, or their schema",
        "show|schema [SRC DST] [options]",
        "`show` prints every setting in force and where its value came from; `schema` a JSON Schema of "
        "configuration files.",
        ("config show '/data/*.csv' s3://bucket/prefix", "config schema > s3-file-uploader.schema.json"),
    ),
    Command(
        "ledger",
        "where the ledger lies, or set a damaged one aside",
        "path|set-aside [SRC DST] [options]",
        "`path` prints the ledger's folder. `set-aside` renames a ledger that cannot be used, so that "
        "the next start begins anew: files still on the disk are found again, hidden ones included, and "
        "what was delivered but not yet removed is uploaded again.",
        ("ledger path", "ledger set-aside"),
        shows_few_settings=True,
    ),
    Command(
        "demo",
        "watch the whole story on this machine",
        "[options]",
        "Start a real S3 server on loopback, a producer that writes files in bursts, and `run` on its "
        "folder; at the end compare what was produced with what arrived, byte by byte. With --transport "
        "stream-manager a local Stream Manager stands between `run` and the server.",
        ("demo", "demo --seconds 20", "demo --transport stream-manager"),
    ),
    Command(
        "version",
        "the program's version, and of what it uses",
        "[--json]",
        "Print the version; with --json also those of the libraries, as `check` does.",
        ("version",),
    ),
)

COMMANDS: dict[str, Command] = {command.name: command for command in _ALL}
