"""`drain --dry-run`: what would go, what stays and why, and nothing is touched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.commands import Answer, Shell

NEWEST = "newest in its folder; ActiveFileTimeout or --include-active sends it"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    return folder


def write(folder: Path, name: bytes, seconds: int, content: bytes = b"12345") -> bytes:
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb") as file:
        file.write(content)
    os.utime(path, (seconds, seconds))
    return path


def lines(answer: Answer) -> dict[str, str]:
    """The file's name and what is said of it."""
    assert answer.code == 0
    found = {}
    for line in answer.out.splitlines()[:-1]:
        word, rest = line.split(maxsplit=1)
        path, _, said = rest.partition(" → " if word == "goes" else ": ")
        found[path.rpartition("/")[2]] = f"{word} {said}"
    return found


def test_it_tells_keys_and_reasons_and_changes_nothing(shell: Shell, state: Path, folder: Path) -> None:
    write(folder, b"a.csv", 1)
    write(folder, b"b #%.csv", 2)
    write(folder, b"\xff.csv", 3)
    before = sorted(os.scandir(folder), key=lambda entry: entry.name)

    answer = shell("drain", folder, "s3://bucket/pre", "--dry-run")

    assert lines(answer) == {
        "a.csv": "goes s3://bucket/pre/a.csv",
        "b #%.csv": "goes s3://bucket/pre/b #%.csv",
        "\\xff.csv": f"stays {NEWEST}",
    }
    assert answer.out.endswith("2 files would go, 10 B; 1 file stays\n")
    assert [entry.name for entry in before] == sorted(os.listdir(folder))
    assert not state.exists()


def test_no_key_can_turn_the_writing_of_a_terminal_round(shell: Shell, state: Path, folder: Path) -> None:
    (folder / "\u202egpj.csv").touch()

    answer = shell("drain", folder, "s3://bucket/pre", "--dry-run", "--include-active")

    assert "s3://bucket/pre/\\xe2\\x80\\xaegpj.csv" in answer.out
    assert "\u202e" not in answer.out


def test_include_active_sends_the_newest_too(shell: Shell, state: Path, folder: Path) -> None:
    write(folder, b"a.csv", 1)

    answer = shell("drain", folder, "s3://bucket", "--dry-run", "--include-active")

    assert lines(answer) == {"a.csv": "goes s3://bucket/a.csv"}


def test_the_newest_stays_in_each_folder(shell: Shell, state: Path, folder: Path) -> None:
    for name in ("one", "two"):
        (folder / name).mkdir()
        write(folder / name, b"old.csv", 1)
        write(folder / name, b"new.csv", 2)

    answer = shell("drain", f"{folder}/**/*.csv", "s3://bucket", "--dry-run", "--json")

    goes = {line["key"] for line in answer.json_lines if line["goes"]}
    assert goes == {"one/old.csv", "two/old.csv"}
    assert {line["reason"] for line in answer.json_lines if not line["goes"]} == {NEWEST}


def test_a_file_that_somebody_writes_stays(shell: Shell, state: Path, folder: Path) -> None:
    path = write(folder, b"a.csv", 1)
    write(folder, b"z.csv", 2)

    with open(path, "ab"):
        answer = shell("drain", folder, "s3://bucket", "--dry-run")

    assert "open for writing" in lines(answer)["a.csv"]


def test_done_markers_decide_and_do_not_go_themselves(shell: Shell, state: Path, folder: Path) -> None:
    write(folder, b"done.csv", 1)
    write(folder, b"done.csv.ok", 2)
    write(folder, b"early.csv", 3)
    write(folder, b"early.csv.ok", 2)
    write(folder, b"lone.csv", 4)

    answer = shell("drain", folder, "s3://bucket", "--dry-run", "--done-marker", ".ok")

    said = lines(answer)
    assert said["done.csv"] == "goes s3://bucket/done.csv"
    assert "older than the file" in said["early.csv"]
    assert "not there yet" in said["lone.csv"]
    assert len(said) == 3


def test_a_name_that_cannot_be_a_key_stays_with_its_reason(shell: Shell, state: Path, folder: Path) -> None:
    write(folder, b"\xff.csv", 1)
    write(folder, b"z.csv", 2)

    answer = shell("drain", folder, "s3://bucket", "--dry-run", "--key-escape", "off")

    assert lines(answer)["\\xff.csv"].startswith("stays ")
