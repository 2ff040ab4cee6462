"""Opening the ledger: its folder, its lock, its file, and what to do with one that cannot be used.

The ledger's folder holds `ledger.db` (SQLite in WAL mode), `lock` (held while a process writes; it
names its holder) and, while a daemon runs, `control` (the socket for commands).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import sqlite3
import time
import zlib
from typing import TYPE_CHECKING

from s3_file_uploader.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerNewer, LedgerUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "APPLICATION_ID",
    "SCHEMA_VERSION",
    "Lock",
    "Reserve",
    "open_reading",
    "open_writing",
    "set_aside",
    "translated",
]

APPLICATION_ID = 0x73336675  # "s3fu"
SCHEMA_VERSION = 1
DATABASE = "ledger.db"
# Of SQLite's messages, those of a disk or a neighbour rather than of a mistake of ours.
_MAY_PASS = ("full", "disk I/O error", "readonly", "locked", "unable to open")
_BITS_OF_FIRST_INTENT = 48  # of 63: whatever it is, no ledger comes to the end of the numbers
_LOCK_TRIES = 10
_SECONDS_BETWEEN_LOCK_TRIES = 0.02
_CHECKED_BYTES = 64 * 1024 * 1024
_SET_ASIDE_ADVICE = (
    "Stop the daemon and run `s3-file-uploader ledger set-aside`: the damaged ledger is kept beside the new one, "
    "and every file still on the disk is found again. What had been delivered and not yet removed is uploaded again."
)
_UPLOADS_UNDER_WAY = "SELECT path, way, bucket, key, data, begun_at_wall, 'the ledger was set aside', begun_at_wall FROM checkpoint"
_UPLOADS_GIVEN_UP = (
    "SELECT path, way, bucket, key, data, begun_at_wall, reason, given_up_at_wall FROM given_up"
)
_OWNER_ADVICE = (
    "Run it as the user whose ledger it is (sudo -u …), or set StateDirectory to a folder of your own."
)


class Lock:
    """One writer per ledger: an flock that the kernel drops when its holder dies."""

    def __init__(self, folder: str) -> None:
        self.path = os.path.join(folder, "lock")
        self._descriptor: int | None = None

    def take(self) -> None:
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _refused(self.path, error) from error
        if not _is_locked(descriptor):
            os.close(descriptor)
            raise LedgerBusy(
                f"{self.holder() or 'another process'} holds the ledger in {os.path.dirname(self.path)}",
                advice="One daemon per ledger: stop the other one, or give this one a --name of its own.",
            )
        with contextlib.suppress(OSError):  # a full disk: the lock holds all the same, only nameless
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor

    def holder(self) -> str:
        """Who wrote itself into the lock last, or "" when nobody did."""
        with contextlib.suppress(OSError), open(self.path, encoding="utf-8", errors="replace") as file:
            return file.read(200).strip()
        return ""

    def is_held(self) -> bool:
        """Whether some process holds it now; LedgerError where that cannot be told."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise _refused(self.path, error) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _is_locked(descriptor: int) -> bool:
    """Tried a few times: `is_held` in another process takes the lock for the moment of its look."""
    for _ in range(_LOCK_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(_SECONDS_BETWEEN_LOCK_TRIES)
        else:
            return True
    return False


class Reserve:
    """Space set aside beside the ledger: a full disk is when files must go on leaving, which takes writes."""

    def __init__(self, folder: str, size_bytes: int = 2 * 1024 * 1024) -> None:
        self._path = os.path.join(folder, "reserve")
        self._size_bytes = size_bytes

    def fill(self) -> None:
        """Take the space, if it can be had; nothing depends on it."""
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(descriptor, 0, self._size_bytes)
            finally:
                os.close(descriptor)

    def spend(self) -> None:
        """Give the space to the ledger."""
        with contextlib.suppress(OSError):
            os.truncate(self._path, 0)


def _refused(path: str, error: OSError) -> LedgerError:
    return LedgerError(f"{path} cannot be used: {error.strerror}", advice=_OWNER_ADVICE)


def make_folder(folder: str) -> None:
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            f"the ledger's folder {folder} cannot be made: {error.strerror}",
            advice="Give the user that runs s3-file-uploader the right to write there, or set StateDirectory.",
        ) from error


def open_writing(folder: str) -> sqlite3.Connection:
    """The ledger in `folder`, made if it is not there. The caller holds the lock."""
    path = os.path.join(folder, DATABASE)
    with translated(path):
        connection = _connect(f"file:{_quoted(path)}?mode=rwc")
        with _closed_unless_it_serves(connection):
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            _verify(connection, path, may_create=True)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA journal_size_limit = 4194304")
            connection.execute("PRAGMA temp_store = MEMORY")
            connection.execute("PRAGMA cache_size = -1024")  # KiB
            connection.execute("PRAGMA foreign_keys = OFF")
        return connection


def open_reading(folder: str) -> sqlite3.Connection | None:
    """The ledger for reading beside a running daemon, or None where there is none yet."""
    path = os.path.join(folder, DATABASE)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _refused(path, error) from error
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):  # a reader of a WAL writes beside it
        raise LedgerError(f"{path} cannot be used: no right to read and write it", advice=_OWNER_ADVICE)
    with translated(path):
        connection = _connect(f"file:{_quoted(path)}?mode=rw")
        with _closed_unless_it_serves(connection):
            connection.execute("PRAGMA query_only = ON")
            _verify(connection, path, may_create=False)
        return connection


@contextlib.contextmanager
def _closed_unless_it_serves(connection: sqlite3.Connection) -> Iterator[None]:
    """A ledger that is refused is not left open: it may be set aside next."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _connect(address: str) -> sqlite3.Connection:
    # One thread at a time uses a connection; which one may change (opened here, used by the ledger's thread).
    return sqlite3.connect(
        address, uri=True, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=10.0
    )


def _quoted(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _verify(connection: sqlite3.Connection, path: str, *, may_create: bool) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    application = connection.execute("PRAGMA application_id").fetchone()[0]
    is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if version == 0 and application == 0 and is_empty:
        if may_create:
            _create(connection)
        return
    if application != APPLICATION_ID:
        raise LedgerCorrupt(f"{path} is an SQLite database of some other program", advice=_SET_ASIDE_ADVICE)
    if version > SCHEMA_VERSION:
        raise LedgerNewer(
            f"{path} was written by a newer version (schema {version}; this one knows {SCHEMA_VERSION})",
            advice="Install the newer version again, or run `s3-file-uploader ledger set-aside` to begin anew.",
        )
    # A whole check reads the whole file: worth it while that is cheap; later damage shows when it is met.
    if may_create and os.path.getsize(path) < _CHECKED_BYTES and not _is_sound(connection):
        raise LedgerCorrupt(f"{path} is damaged", advice=_SET_ASIDE_ADVICE)


def _is_sound(connection: sqlite3.Connection) -> bool:
    return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")


def _create(connection: sqlite3.Connection) -> None:
    # Not through importlib.resources: what that imports takes a megabyte for as long as we run.
    with open(os.path.join(os.path.dirname(__file__), "schema.sql"), encoding="utf-8") as file:
        schema = file.read()
    connection.executescript(
        f"BEGIN IMMEDIATE;\n{schema}\nPRAGMA application_id = {APPLICATION_ID};\n"
        f"PRAGMA user_version = {SCHEMA_VERSION};\nCOMMIT;"
    )
    connection.execute("INSERT INTO meta VALUES ('made_at_wall', ?)", (time.time(),))
    # Hidden names are made of these numbers: a ledger made anew under its name must not come across
    # what its predecessor left hidden, least of all take that for its own.
    connection.execute(
        "INSERT INTO sqlite_sequence VALUES ('intent', ?)", (secrets.randbits(_BITS_OF_FIRST_INTENT),)
    )


@contextlib.contextmanager
def translated(path: str = "the ledger") -> Iterator[None]:
    """SQLite's errors as ours, each with what to try."""
    try:
        yield
    except sqlite3.OperationalError as error:
        text = str(error)
        if "malformed" in text or "not a database" in text:
            raise LedgerCorrupt(f"{path} is damaged: {text}", advice=_SET_ASIDE_ADVICE) from error
        kind = LedgerUnavailable if any(word in text for word in _MAY_PASS) else LedgerError
        raise kind(f"{path} cannot be used: {text}") from error
    except sqlite3.DatabaseError as error:
        raise LedgerCorrupt(f"{path} is damaged: {error}", advice=_SET_ASIDE_ADVICE) from error


def tag_of(name: str) -> str:
    """Eight hex digits that a ledger's hidden names carry: the same for a ledger made anew under its name."""
    return f"{zlib.crc32(name.encode('utf-8', 'surrogateescape')):08x}"


def set_aside(folder: str) -> str | None:
    """Rename the ledger's files out of the way and return where they went; the caller holds the lock.

    What the damaged ledger still says of files under a hidden name is carried over to a new one, and so
    are uploads that were under way: the new one does not go on with them, but aborts them.
    """
    path = os.path.join(folder, DATABASE)
    if not os.path.exists(path):
        return None
    intents = _salvaged(path, "SELECT * FROM intent")
    uploads = _salvaged(path, _UPLOADS_UNDER_WAY) + _salvaged(path, _UPLOADS_GIVEN_UP)
    kept = os.path.join(folder, time.strftime("set-aside-%Y%m%dT%H%M%SZ.db", time.gmtime()))
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            os.replace(path + suffix, kept + suffix)
    if intents or uploads:
        with contextlib.closing(open_writing(folder)) as connection:
            connection.executemany(
                "INSERT OR IGNORE INTO intent VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", intents
            )
            connection.executemany(
                "INSERT INTO given_up (path, way, bucket, key, data, begun_at_wall, reason, given_up_at_wall)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                uploads,
            )
    return kept


def _salvaged(path: str, query: str) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    # A damaged ledger may fail at any row; what came before it is still worth having.
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(path)) as connection:
        for row in connection.execute(query):
            rows.append(row)  # noqa: PERF402  # the rows read before an error must survive it
    return rows
