"""The ledger as a file: locks, versions, damage, transactions that survive a kill."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import LedgerBusy, LedgerCorrupt, LedgerError, LedgerNewer
from s3_file_uploader.ledger import Endings, Ledger, Sightings
from s3_file_uploader.ledger.database import Lock, open_reading, set_aside
from s3_file_uploader.model import Candidate, Fingerprint
from support.other_owner import OTHER_UID, owned_folder, run_as_folder_owner

if TYPE_CHECKING:
    from pathlib import Path


def filled(path: Path) -> None:
    ledger = Ledger.open(str(path), "l")
    with ledger.transaction():
        ledger.register_rules(["r"])
        Sightings(ledger).observe(
            1, [Candidate(b"/d", b"a", Fingerprint(1, 2, 3, 4, 5))], now=5.0, settle_seconds=1.0
        )
        (entry,) = Sightings(ledger).find(1, b"/d", [b"a"])
        Endings(ledger).intend(entry, "r", leased=True, details={})
    ledger.close()


def test_one_process_holds_a_ledger_and_the_other_is_told_which(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path), "l")
    with pytest.raises(LedgerBusy, match=f"process {os.getpid()}"):
        Ledger.open(str(tmp_path), "l")
    assert Lock(ledger.folder).is_held()
    ledger.close()
    Ledger.open(str(tmp_path), "l").close()


def test_a_newer_ledger_is_refused_with_what_to_try(tmp_path: Path) -> None:
    filled(tmp_path)
    with sqlite3.connect(tmp_path / "l" / "ledger.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LedgerNewer, match="newer version") as caught:
        Ledger.open(str(tmp_path), "l")
    assert "set-aside" in caught.value.advice
    assert not Lock(str(tmp_path / "l")).is_held()


@pytest.mark.parametrize("damage", [b"not a database at all" * 300, b"SQLite format 3\0" + b"\xff" * 8000])
def test_a_damaged_ledger_gives_a_clear_error(tmp_path: Path, damage: bytes) -> None:
    filled(tmp_path)
    (tmp_path / "l" / "ledger.db").write_bytes(damage)
    with pytest.raises(LedgerCorrupt) as caught:
        Ledger.open(str(tmp_path), "l")
    assert "set-aside" in caught.value.advice


def test_damage_inside_is_found_when_the_ledger_is_opened(tmp_path: Path) -> None:
    filled(tmp_path)
    path = tmp_path / "l" / "ledger.db"
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(LedgerCorrupt):
        Ledger.open(str(tmp_path), "l")


def test_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "l").mkdir()
    with sqlite3.connect(tmp_path / "l" / "ledger.db") as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(LedgerCorrupt, match="some other program"):
        Ledger.open(str(tmp_path), "l")


def test_a_ledger_set_aside_keeps_its_intents_and_its_old_file(tmp_path: Path) -> None:
    filled(tmp_path)
    kept = set_aside(str(tmp_path / "l"))
    assert kept is not None
    assert os.path.exists(kept)
    ledger = Ledger.open(str(tmp_path), "l")
    assert [intent.name for intent in Endings(ledger).intents()] == [b"a"]
    assert Sightings(ledger).highest_id() == 0
    ledger.close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be made"):
        Ledger.open(str(tmp_path / "file"), "l")


def test_a_transaction_is_all_or_nothing(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path), "l")
    with pytest.raises(LedgerError, match="no such column"), ledger.transaction():  # noqa: PT012  # the whole is what is tested
        ledger.register_rules(["r"])
        ledger.connection.execute("SELECT nonsense")
    assert ledger.connection.execute("SELECT count(*) FROM rule").fetchone()[0] == 0
    ledger.close()


def test_the_running_clock_goes_on_where_it_stopped(tmp_path: Path) -> None:
    filled(tmp_path)
    ledger = Ledger.open(str(tmp_path), "l")
    assert ledger.running_clock_start() == 6.0
    ledger.close()


def test_reading_beside_a_writer_sees_what_is_committed(tmp_path: Path) -> None:
    ledger = Ledger.open(str(tmp_path), "l")
    with ledger.transaction():
        ledger.register_rules(["r"])
    reading = open_reading(ledger.folder)
    assert reading is not None
    assert reading.execute("SELECT name FROM rule").fetchall() == [("r",)]
    with pytest.raises(sqlite3.OperationalError):
        reading.execute("DELETE FROM rule")
    reading.close()
    ledger.close()


KILLED = """
import os, signal, sys
from s3_file_uploader.ledger import Ledger
ledger = Ledger.open(sys.argv[1], "l")
with ledger.transaction(durable=True):
    ledger.register_rules(["committed"])
ledger.connection.execute("BEGIN IMMEDIATE")
ledger.register_rules(["lost"])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_in_a_transaction_loses_only_that_transaction(tmp_path: Path) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    ledger = Ledger.open(str(tmp_path), "l")
    assert ledger.connection.execute("SELECT name FROM rule").fetchall() == [("committed",)]
    ledger.close()


def test_a_look_at_the_lock_keeps_nobody_from_taking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks whether a daemon runs holds the lock, shared, for that moment: here until the first wait."""
    look = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(look, fcntl.LOCK_SH)
    monkeypatch.setattr("time.sleep", lambda _: fcntl.flock(look, fcntl.LOCK_UN))

    lock = Lock(str(tmp_path))
    lock.take()

    assert lock.holder() == f"process {os.getpid()}"
    lock.release()
    os.close(look)


_LOOKING = """
there = os.fsdecode(os.path.join(folder, b"theirs"))
said = []
for mode in (0, 0o500):
    os.chmod(there, mode)
    for look in (lambda: Lock(there).take(), lambda: Lock(there).is_held(), lambda: open_reading(there)):
        try:
            said.append(str(look()))
        except LedgerError as error:
            said.append(f"{error} Try: {error.advice}")
answer(said=said, names=ledgers_below(os.fsdecode(folder)))
os.chmod(there, 0o700)
"""


def test_a_ledger_of_another_user_is_refused_with_what_to_try_and_never_taken_for_none() -> None:
    with owned_folder() as folder:
        (folder / "theirs").mkdir()
        for name in ("lock", "ledger.db"):
            (folder / "theirs" / name).touch()
            (folder / "theirs" / name).chmod(0)
        if os.geteuid() == 0:
            os.chown(folder / "theirs", OTHER_UID, OTHER_UID)
        answered = run_as_folder_owner(folder, _LOOKING)

    assert answered["names"] == ["theirs"]
    assert len(answered["said"]) == 6
    for said in answered["said"]:
        assert "cannot be used: " in said
        assert "Try: Run it as the user whose ledger it is" in said
