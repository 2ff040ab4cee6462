"""The parts of the demo that need no server: producer, comparison, view and keeper."""

from __future__ import annotations

import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.demo.bucket import Content
from s3_file_uploader.demo.comparison import compare
from s3_file_uploader.demo.keeper import end_kept, start_kept
from s3_file_uploader.demo.producer import Producer, read_record
from s3_file_uploader.demo.view import Moment, Screen, count, line, picture, size

if TYPE_CHECKING:
    from pathlib import Path

_A, _B = Content(1, "a"), Content(2, "b")


def _content(path: Path) -> Content:
    body = path.read_bytes()
    return Content(len(body), hashlib.sha256(body).hexdigest())


def test_the_record_holds_what_each_file_became(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with open(tmp_path / "record", "ab") as record:
        producer = Producer(str(folder), record, random.Random(7), 0)
        for _ in range(3):
            producer.burst()
            producer.grow()
        producer.finish()

    produced = read_record(str(tmp_path / "record"))

    assert len(produced) > 15
    assert produced == {path.name: _content(path) for path in folder.iterdir()}


def test_a_growing_file_is_recorded_only_when_it_is_whole(tmp_path: Path) -> None:
    with open(tmp_path / "record", "ab") as record:
        producer = Producer(str(tmp_path), record, random.Random(7), 0)
        producer.grow()
        growing = next(tmp_path.glob("stream-*"))
        assert read_record(str(tmp_path / "record")) == {}
        while not read_record(str(tmp_path / "record")):
            producer.grow()

    assert read_record(str(tmp_path / "record")) == {growing.name: _content(growing)}


def test_a_record_line_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "record").write_bytes(b'{"name": "a", "size_bytes": 1, "sha256": "a"}\n{"name": "b", "si')

    assert read_record(str(tmp_path / "record")) == {"a": _A}
    assert read_record(str(tmp_path / "nothing")) == {}


def test_the_producer_finishes_the_file_at_hand_on_sigterm(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    record = tmp_path / "record"
    process = start_kept(
        [sys.executable, "-m", "s3_file_uploader.demo.producer", str(folder), str(record)], grace_seconds=20
    )
    while not list(folder.glob("stream-*")):
        time.sleep(0.01)

    assert end_kept(process, grace_seconds=20) == 0
    assert read_record(str(record)) == {path.name: _content(path) for path in folder.iterdir()}


def test_all_in_the_bucket_is_consistent() -> None:
    outcome = compare({"a": _A, "b": _B}, {"a": _A, "b": _B}, {})

    assert outcome.is_consistent
    assert outcome.lines()[-1].startswith("Everything that was produced is in the bucket")


def test_a_file_that_was_not_sent_is_still_there_and_no_problem() -> None:
    outcome = compare({"a": _A, "b": _B}, {"a": _A}, {"b": _B})

    assert outcome.is_consistent
    assert "1 file not sent yet" in outcome.lines()[-1]


def test_a_file_in_both_places_is_no_problem() -> None:
    assert compare({"a": _A}, {"a": _A}, {"a": _A}).is_consistent


def test_a_file_of_a_person_is_told_apart() -> None:
    outcome = compare({"a": _A}, {"a": _A, "mine": _B}, {})

    assert outcome.is_consistent
    assert outcome.others == {"mine": _B}
    assert any("your own" in text for text in outcome.lines())


@pytest.mark.parametrize(
    ("in_bucket", "on_disk", "problem"),
    [
        ({}, {}, "1 file neither in the bucket nor on disk: a"),
        ({"a": _B}, {}, "1 file in the bucket with other bytes than were produced: a"),
        ({}, {"a": _B}, "1 file on disk with other bytes than were produced: a"),
        ({"a": _A}, {"a": _B}, "1 file on disk with other bytes than were produced: a"),
        ({"a": _A}, {".s3fu-1": _A}, "1 file left on disk under a hidden name: .s3fu-1"),
    ],
)
def test_each_loss_is_a_problem_with_a_name(
    in_bucket: dict[str, Content], on_disk: dict[str, Content], problem: str
) -> None:
    outcome = compare({"a": _A}, in_bucket, on_disk)

    assert not outcome.is_consistent
    assert outcome.problems == (problem,)
    assert outcome.lines()[-1] == "Something is wrong: see above."


def test_many_problems_are_counted_and_some_are_named() -> None:
    outcome = compare({str(number): _A for number in range(8)}, {}, {})

    assert outcome.problems == ("8 files neither in the bucket nor on disk: 0, 1, 2, 3, 4, …",)


_MOMENT = Moment(
    seconds=7,
    produced_files=1234,
    produced_bytes=9_876_543,
    waiting_files=1,
    delivered_objects=1233,
    delivered_bytes=9_876_000,
    objects_per_second=31.4,
    bytes_per_second=1_234_567,
    log=["x" * 200, "last line"],
)


def test_the_picture_fits_the_terminal_and_ends_with_what_to_do() -> None:
    lines = picture(_MOMENT, 60)

    assert max(map(len, lines)) < 60
    assert "1 234 files" in lines[0]
    assert "9.9 MB" in lines[0]
    assert "1 file" in lines[1]
    assert "  | last line" in lines
    assert "Ctrl-C" in lines[-1]


def test_without_a_terminal_a_moment_is_one_plain_line() -> None:
    out = io.StringIO()
    Screen(out).show(_MOMENT)

    assert out.getvalue() == line(_MOMENT) + "\n"
    assert "\x1b" not in out.getvalue()
    assert "produced 1234 (9.9 MB)" in out.getvalue()


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (123_456, "123 kB"),
        (2e15, "2000 TB"),
    ],
)
def test_sizes_are_for_people(size_bytes: float, text: str) -> None:
    assert size(size_bytes) == text


def test_one_file_is_no_plural() -> None:
    assert count(1, "file") == "1 file"
    assert count(0, "file") == "0 files"


def test_a_keeper_passes_the_exit_code_on_and_removes_what_it_was_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    process = start_kept(
        [sys.executable, "-c", "raise SystemExit(7)"], afterwards_remove=[str(tmp_path / "folder")]
    )

    with process:
        assert process.wait() == 7
    assert not (tmp_path / "folder").exists()


def test_a_kept_command_gets_sigterm_and_time(tmp_path: Path) -> None:
    process = start_kept([sys.executable, "-c", _SAYS_GOODBYE, str(tmp_path / "said")], grace_seconds=20)
    _wait_for_file(tmp_path / "said")

    assert end_kept(process, grace_seconds=20) == 3
    assert (tmp_path / "said").read_text() == "hello goodbye"


def test_a_kept_command_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    process = start_kept([sys.executable, "-c", _IS_DEAF, str(tmp_path / "said")], grace_seconds=0.05)
    _wait_for_file(tmp_path / "said")

    assert end_kept(process, grace_seconds=0.05) == 128 + signal.SIGKILL


def test_a_kept_command_ends_when_whoever_asked_for_it_is_killed(tmp_path: Path) -> None:
    said = tmp_path / "said"
    holder = (
        "import sys, time; from s3_file_uploader.demo.keeper import start_kept;"
        f"start_kept([sys.executable, '-c', {_SAYS_GOODBYE!r}, {str(said)!r}], grace_seconds=20);"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", holder]) as process:
        _wait_for_file(said)
        process.kill()

    while said.read_text() != "hello goodbye":
        time.sleep(0.01)


_SAYS_GOODBYE = """
import signal, sys, time
def goodbye(*_):
    with open(sys.argv[1], "a") as file: file.write(" goodbye")
    sys.exit(3)
signal.signal(signal.SIGTERM, goodbye)
with open(sys.argv[1], "w") as file: file.write("hello")
time.sleep(600)
"""
_IS_DEAF = """
import signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with open(sys.argv[1], "w") as file: file.write("hello")
time.sleep(600)
"""


def _wait_for_file(path: Path) -> None:
    while not path.exists() or not os.path.getsize(path):
        time.sleep(0.01)
