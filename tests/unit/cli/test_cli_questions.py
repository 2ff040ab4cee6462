"""`status`, `list`, `explain`, `retry` and `ledger` over a real ledger, without a daemon."""

from __future__ import annotations

import base64
import json
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.cli.remembered import recall, remember
from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.ledger import Destination, Endings, Ledger, Queue, Settled, Sightings, Uploads
from s3_file_uploader.ledger.database import DATABASE
from s3_file_uploader.ledger.reader import Reader
from s3_file_uploader.lifecycle import Event, State
from s3_file_uploader.model import Candidate, Fingerprint, Receipt, printable

if TYPE_CHECKING:
    from support.commands import Shell

NAME = "test"
ODD = b"\xff b\n#.csv"


class Book:
    """A ledger as a daemon leaves it: one file in each state, in a real folder."""

    def __init__(self, state: Path, folder: Path) -> None:
        self.folder = os.fsencode(folder)
        self.rule = Rule("default", f"{folder}/*.csv", "bucket", "pre", exclude=("*.tmp.csv",))
        self.settings = Settings(NAME, str(state), (self.rule,))
        with self.open() as ledger:
            remember(ledger, self.settings)

    def open(self) -> _Open:
        return _Open(self)

    def path(self, name: bytes) -> str:
        return os.fsdecode(os.path.join(self.folder, name))

    def write(self, name: bytes, content: bytes = b"x" * 10) -> Candidate:
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.write(content)
        return Candidate(self.folder, name, Fingerprint.of(os.stat(path)))


class _Open:
    def __init__(self, book: Book) -> None:
        self._settings = book.settings

    def __enter__(self) -> Ledger:
        self._ledger = Ledger.open(self._settings.state_directory, self._settings.name)
        self._ledger.register_rules(["default"])
        return self._ledger

    def __exit__(self, *_: object) -> None:
        self._ledger.close()


@pytest.fixture
def book(state: Path, tmp_path: Path) -> Book:
    folder = tmp_path / "data"
    folder.mkdir()
    return Book(state, folder)


@pytest.fixture
def full(book: Book) -> Book:
    """held.csv is held, ready.csv waits, parked.csv is parked, and ODD was delivered and is gone."""
    with book.open() as ledger:
        queue, endings = Queue(ledger), Endings(ledger, lambda: 1.6e9)
        names = [ODD, b"parked.csv", b"ready.csv", b"held.csv"]
        Sightings(ledger).observe(1, [book.write(name) for name in names], now=1.0, settle_seconds=1.0)
        queue.settle(
            [
                Settled(one.entry, is_ready=False, reason="newest in its folder")
                if one.entry.name == b"held.csv"
                else Settled(one.entry, is_ready=True)
                for one in queue.waiting(9.0, 1 << 62, 9)
            ]
        )
        entries = {entry.name: entry for entry in queue.peek(1, 9)}
        queue.claim([(entries[name], f"pre/{number}") for number, name in enumerate((ODD, b"parked.csv"))])
        odd = entries[ODD]._replace(state=State.SENDING, key="pre/0")
        endings.prove([(odd, Receipt("bucket", "pre/0", 10, "crc64nvme:AAAA", "etag"))])
        receipt = {"checksum": "crc64nvme:AAAA", "etag": "etag", "delivered_at_wall": 1.6e9}
        delivered = odd._replace(state=State.DELIVERED, **receipt)  # type: ignore[arg-type]  # each fits its field
        endings.finish(delivered, Event.REMOVED)
        parked = entries[b"parked.csv"]._replace(state=State.SENDING)
        endings.postpone(parked, Event.REFUSED, reason="KMS says no", due_at=None, attempts=5)
        endings.note_pause("s3://bucket", "no connection")
    os.unlink(book.path(ODD))
    return book


def test_settings_are_remembered_in_the_ledger_and_recalled(book: Book) -> None:
    reader = Reader.open(os.path.join(book.settings.state_directory, NAME))
    assert reader is not None
    with reader:
        assert recall(reader) == book.settings


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"rules": [{"name": 1}]}', '{"rules": 3}'])
def test_settings_that_cannot_be_understood_are_not_recalled(book: Book, text: str) -> None:
    with book.open() as ledger:
        ledger.connection.execute("UPDATE meta SET value = ? WHERE key = 'settings'", (text,))
    reader = Reader.open(os.path.join(book.settings.state_directory, NAME))
    assert reader is not None
    with reader:
        assert recall(reader) is None


def test_status_tells_what_there_is_for_each_rule(shell: Shell, full: Book) -> None:
    answer = shell("status")

    assert answer.code == 0
    assert "no daemon runs" in answer.out
    assert f"rule default: {full.rule.path_name} → s3://bucket/pre" in answer.out
    assert " ".join(answer.out.split()).count("parked 1 10 B") == 1
    assert "paused for" in answer.out
    assert "no connection" in answer.out
    assert f"oldest waiting: {os.fsdecode(full.folder)}/ready.csv (ready" in answer.out


def test_status_as_json_is_complete(shell: Shell, full: Book) -> None:
    told = shell("status", "--json").json

    [rule] = told["rules"]
    assert (told["format"], told["name"], told["daemon"]) == (1, NAME, {"running": False, "pid": None})
    assert {state: one["files"] for state, one in rule["now"].items()} == {
        "settling": 0,
        "held": 1,
        "ready": 1,
        "sending": 0,
        "delivered": 0,
        "retained": 0,
        "parked": 1,
    }
    assert rule["ever"] == {
        "delivered": 1,
        "delivered_bytes": 10,
        "removed": 1,
        "retained": 0,
        "vanished": 0,
    }
    assert rule["oldest_waiting"]["path"].endswith("/ready.csv")
    assert told["paused"][0]["reason"] == "no connection"


def test_status_counts_uploads_that_lie_unfinished(shell: Shell, full: Book) -> None:
    assert "unfinished" not in shell("status").out
    with full.open() as ledger:
        uploads = Uploads(ledger, lambda: 1.6e9)
        for name in (b"held.csv", b"ready.csv"):
            [entry] = Sightings(ledger).find(1, full.folder, [name])
            sending = entry._replace(key=f"pre/{entry.id}")
            uploads.save(sending, {"upload_id": "u1"}, Destination("{}", "bucket"))
        uploads.give_up([entry.id], "its file is gone")

    assert shell("status", "--json").json["uploads"] == {"under_way": 1, "given_up": 1}
    assert "1 unfinished upload given up, to be aborted: `uploads list`" in shell("status").out


def test_status_sees_who_holds_the_ledger(shell: Shell, book: Book) -> None:
    with book.open():
        assert f"a daemon runs (process {os.getpid()})" in shell("status").out
        assert shell("status", "--json").json["daemon"] == {"running": True, "pid": os.getpid()}


def test_status_of_a_ledger_that_nothing_was_written_to(shell: Shell, state: Path) -> None:
    answer = shell("status", "--name", "new")

    assert (answer.code, "nothing is known yet" in answer.out) == (0, True)
    assert not os.path.exists(state)


def test_several_ledgers_are_named_where_none_was(shell: Shell, book: Book, state: Path) -> None:
    Ledger.open(str(state), "other").close()

    answer = shell("status")

    assert answer.code == 2
    assert "other, test" in answer.err
    assert "--name other" in answer.err
    assert shell("status", "--name", "test").code == 0


def test_list_names_every_file_and_why_it_waits(shell: Shell, full: Book) -> None:
    lines = shell("list").out.splitlines()

    assert [line.split()[0] for line in lines] == ["parked", "ready", "settling"]
    assert lines[0].endswith("parked.csv  # KMS says no")
    assert shell("list", "--state", "held").out.splitlines() == lines[2:]
    assert shell("list", "--limit", "1").out.splitlines() == lines[:1]
    assert shell("list", "--state", "sending").out == ""


def test_list_carries_names_that_are_not_text(shell: Shell, full: Book) -> None:
    path = os.path.join(full.folder, ODD)

    assert printable(path) in shell("list", "--state", "removed").out
    [told] = shell("list", "--state", "removed", "--json").json_lines
    assert base64.b64decode(told["path_base64"]) == path
    assert (told["key"], told["checksum"], told["etag"]) == ("pre/0", "crc64nvme:AAAA", "etag")
    assert told["delivered"] == "2020-09-13T12:26:40.000Z"


def test_explain_says_why_a_file_is_held(shell: Shell, full: Book) -> None:
    answer = shell("explain", full.path(b"held.csv"))

    assert answer.code == 0
    assert "state: settling" in answer.out
    assert "waits: newest in its folder" in answer.out
    assert "until: something happens in its folder" in answer.out
    assert "a read lease: no process has it open for writing" in answer.out
    assert "no daemon runs" in answer.out


def test_explain_sees_a_writer(shell: Shell, full: Book) -> None:
    with open(full.path(b"ready.csv"), "ab"):
        answer = shell("explain", full.path(b"ready.csv"))

    assert "a process has it open for writing" in answer.out
    assert "waits: for its turn" in answer.out


def test_explain_says_why_a_file_is_parked_and_what_to_try(shell: Shell, full: Book) -> None:
    answer = shell("explain", full.path(b"parked.csv"))

    assert "why: KMS says no" in answer.out
    assert "failed attempts: 5" in answer.out
    assert "retry FILE" in answer.out
    told = shell("explain", "--json", full.path(b"parked.csv")).json
    assert (told["known"][0]["state"], told["known"][0]["attempts"]) == ("parked", 5)
    assert told["rules"] == [
        {"rule": "default", "pattern": full.rule.path_name, "takes": True, "why_not": None}
    ]


def test_explain_says_when_a_file_left_and_what_became_of_it(shell: Shell, full: Book) -> None:
    answer = shell("explain", full.path(ODD))

    assert "is not on the disk" in answer.out
    assert "removed 2020-09-13 12:26:40Z" in answer.out
    assert "object: pre/0" in answer.out
    assert "crc64nvme:AAAA" in answer.out
    assert shell("explain", "--json", full.path(ODD)).json["left"]["key"] == "pre/0"


def test_explain_says_that_a_file_was_not_seen_yet(shell: Shell, book: Book) -> None:
    book.write(b"new.csv")

    assert "not seen yet: no daemon runs" in shell("explain", book.path(b"new.csv")).out
    assert "not known to have been" in shell("explain", book.path(b"never.csv")).out


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("a.txt", "its name does not match *.csv"),
        (".a.csv", "wildcards do not match a leading dot"),
        ("a.tmp.csv", "Exclude *.tmp.csv matches it"),
        ("below/a.csv", "it lies deeper than"),
        ("../a.csv", "it does not lie in"),
        (".s3fu-0123456789abcdef01234567", "being removed"),
    ],
)
def test_explain_says_why_no_rule_takes_a_file(shell: Shell, book: Book, name: str, why: str) -> None:
    path = os.path.normpath(os.path.join(os.fsdecode(book.folder), name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb"):
        pass

    answer = shell("explain", path)

    assert "no rule takes it" in answer.out
    assert why in answer.out
    assert book.rule.path_name in answer.out


def test_explain_says_what_kind_of_thing_is_never_taken(shell: Shell, book: Book) -> None:
    os.mkdir(book.path(b"d.csv"))
    os.mkfifo(book.path(b"f.csv"))
    os.symlink("/etc/passwd", book.path(b"l.csv"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(book.path(b"s.csv"))

    for name in (b"d.csv", b"f.csv", b"s.csv"):
        assert "it is not a regular file" in shell("explain", book.path(name)).out
    assert "FollowSymlinks is off" in shell("explain", book.path(b"l.csv")).out


def test_explain_compares_with_the_rules_that_were_given(shell: Shell, full: Book, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(
        f"Name: {NAME}\nBucketName: bucket\nRules:\n"
        f"  - {{Name: one, PathName: {tmp_path}/data/*.log}}\n"
        f"  - {{Name: two, PathName: {tmp_path}/data/*.csv, Include: ['r*']}}\n"
    )

    (tmp_path / "data" / "x.csv").touch()
    answer = shell("explain", tmp_path / "data" / "x.csv", "--config", config)

    assert "does not match *.log" in answer.out
    assert "no pattern of Include matches it (r*)" in answer.out


def test_retry_without_a_daemon_is_written_down(shell: Shell, full: Book) -> None:
    answer = shell("retry", full.path(b"parked.csv"))

    assert (answer.code, answer.out) == (
        0,
        "1 file to be tried again when `run` or `drain` starts the next time\n",
    )
    assert shell("list", "--state", "parked").out == ""
    assert shell("retry", "--all", "--json").json == {
        "format": 1,
        "released": 0,
        "unknown": [],
        "daemon": False,
    }


def test_retry_of_a_file_that_is_not_known_says_so(shell: Shell, full: Book) -> None:
    answer = shell("retry", full.path(b"nothing.csv"), full.path(b"parked.csv"))

    assert answer.code == 1
    assert "1 file to be tried again" in answer.out
    assert f"not known: {full.path(b'nothing.csv')}" in answer.out


def test_retry_of_a_file_that_only_waits_says_that_there_is_nothing_to_retry(
    shell: Shell, full: Book
) -> None:
    answer = shell("retry", full.path(b"held.csv"))

    assert answer.code == 0
    assert answer.out.splitlines() == [
        "0 files to be tried again when `run` or `drain` starts the next time",
        f"settling, neither parked nor failing: {full.path(b'held.csv')} (`explain` says what it waits for)",
    ]


def test_what_a_killed_daemon_was_sending_is_not_called_on_its_way(shell: Shell, book: Book) -> None:
    with book.open() as ledger:
        queue = Queue(ledger)
        Sightings(ledger).observe(1, [book.write(b"a")], now=1.0, settle_seconds=1.0)
        queue.settle([Settled(one.entry, is_ready=True) for one in queue.waiting(9.0, 1 << 62, 9)])
        queue.claim([(entry, "key") for entry in queue.peek(1, 9)])
        assert "on their way now" in shell("status").out

    assert "cut off: the next `run` or `drain` goes on with them" in shell("status").out


def test_retry_does_not_disturb_whoever_holds_the_ledger(shell: Shell, full: Book) -> None:
    with full.open():
        answer = shell("retry", "--all")

    assert answer.code == 2
    assert f"process {os.getpid()} holds the ledger" in answer.err


def test_a_damaged_ledger_is_explained_and_can_be_set_aside(shell: Shell, book: Book, state: Path) -> None:
    (state / NAME / DATABASE).write_bytes(b"damaged" * 1000)

    refused = shell("status")
    assert refused.code == 2
    assert "ledger set-aside" in refused.err

    answer = shell("ledger", "set-aside")
    assert answer.code == 0
    assert "set-aside-" in answer.out
    assert shell("status", "--name", NAME).code == 0
    assert "nothing to set aside" in shell("ledger", "set-aside", "--name", NAME).out


def test_a_ledger_in_use_is_not_set_aside(shell: Shell, book: Book, state: Path) -> None:
    with book.open():
        assert shell("ledger", "set-aside").code == 2

    assert (state / NAME / DATABASE).exists()


def test_the_ledgers_path_is_told(shell: Shell, book: Book, state: Path) -> None:
    assert shell("ledger", "path").out == f"{state / NAME}\n"
    assert shell("ledger", "path", "--name", "x", "--state-directory", "/s").out == "/s/x\n"


def _sections() -> dict[str, str]:
    page = (Path(__file__).parents[3] / "docs/reference/json.md").read_text(encoding="utf-8")
    head, *rest = page.split("\n## ")
    return {part.partition("\n")[0]: head + part for part in rest}


def _fields(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(_fields, value))
    if isinstance(value, dict):
        return set(value).union(*map(_fields, value.values()))
    return set()


def test_the_documented_contract_names_every_field(shell: Shell, full: Book) -> None:
    sections = _sections()
    typed: dict[str, list[tuple[str, ...]]] = {
        "status": [("status", "--json")],
        "list": [("list", "--json"), ("list", "--json", "--state", "removed")],
        "explain": [("explain", "--json", full.path(name)) for name in (ODD, b"held.csv")],
        "retry": [("retry", "--json", "--all")],
        "drain --dry-run": [
            ("drain", "--dry-run", "--json", os.fsdecode(full.folder), "s3://bucket", "--include-active")
        ],
    }
    missing: dict[tuple[str, ...], set[str]] = {}
    for section, commands in typed.items():
        text = sections[section] + (sections["list"] + sections["status"] if section == "explain" else "")
        for command in commands:
            fields: set[str] = set().union(
                *(_fields(json.loads(document)) for document in _documents(shell(*command).out))
            )
            missing[command] = {field for field in fields if f"`{field}`" not in text}

    assert not any(missing.values()), missing


def _documents(out: str) -> list[str]:
    """One object, or one a line."""
    return [out] if out.startswith("{\n") else out.splitlines()
