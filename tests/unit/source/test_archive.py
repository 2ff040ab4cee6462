from __future__ import annotations

import errno
import os
import shutil
import tempfile
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import FileChanged, FileVanished, RemovalFailed
from s3_file_uploader.source.archive import Trimmed, copy_ahead, enforce
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.removal import Conclusion, finish, prepare
from s3_file_uploader.source.shelf import names_for
from support.edges import Crash, DyingEdge, NoFlagsEdge, TwoDisksEdge
from support.removals import DELIVERED, HIDDEN, Removal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


class OtherMountEdge(TwoDisksEdge):
    """Two folders on two mounts, and the kernel says so."""

    def mount_of(self, descriptor: int) -> int | None:
        return os.fstat(descriptor).st_ino


def archive_it(removal: Removal, edge: Edge) -> bytes | None:
    """The whole way, as the pipeline goes it; where the file is kept."""
    removal.target, copied = copy_ahead(edge, removal.target, HIDDEN)
    outcome = removal.remove(edge)
    assert outcome.conclusion is Conclusion.REMOVED
    return copied or outcome.kept_as


@pytest.mark.parametrize(
    "edge", [Edge(), NoFlagsEdge(), TwoDisksEdge(), OtherMountEdge()], ids=lambda edge: type(edge).__name__
)
def test_a_delivered_file_moves_into_the_archive_with_its_folder_its_time_and_its_mode(
    tmp_path: Path, edge: Edge
) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive")
    removal.path.chmod(0o640)
    removal = replace_fingerprint(removal)
    kept = tmp_path / "archive" / "cam1" / "data.csv"
    assert archive_it(removal, edge) == os.fsencode(kept)
    assert os.listdir(removal.folder) == []
    assert os.listdir(kept.parent) == ["data.csv"]
    assert kept.read_bytes() == DELIVERED
    assert kept.stat().st_mtime_ns == removal.target.fingerprint.mtime_ns
    assert kept.stat().st_mode & 0o777 == 0o640


def replace_fingerprint(removal: Removal) -> Removal:
    removal.target = replace(
        removal.target, fingerprint=type(removal.target.fingerprint).of(removal.path.stat())
    )
    return removal


def test_across_real_file_systems_the_file_arrives_whole(tmp_path: Path) -> None:
    """/dev/shm is a file system of its own on Linux; where it is not, a rename does the same."""
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
    try:
        removal = Removal(tmp_path / "in", archive=elsewhere)
        kept = archive_it(removal, Edge())
        assert kept == os.fsencode(elsewhere / "cam1" / "data.csv")
        assert removal.archived() == [DELIVERED]
        assert removal.contents() == []
    finally:
        shutil.rmtree(elsewhere)


@pytest.mark.parametrize("edge", [Edge(), OtherMountEdge()], ids=lambda edge: type(edge).__name__)
def test_files_of_one_name_are_all_kept(tmp_path: Path, edge: Edge) -> None:
    for number in range(4):
        removal = Removal(tmp_path / str(number), archive=tmp_path / "archive")
        removal.path.write_bytes(b"%d" % number)
        os.utime(removal.path, ns=(5, 5))
        archive_it(replace_fingerprint(removal), edge)
    assert sorted(os.listdir(tmp_path / "archive" / "cam1")) == [
        "data.csv",
        "data~5-2.csv",
        "data~5-3.csv",
        "data~5.csv",
    ]
    assert removal.archived() == [b"0", b"1", b"2", b"3"]


def test_names_in_the_archive_are_never_too_long() -> None:
    for name in (b"n" * 255, b"n" * 250 + b".csv", b"n." + b"e" * 200, b".hidden", b"\xff" * 255):
        names = names_for(name, -1)
        for _ in range(12):
            assert len(next(names)) <= 255
    assert next(names_for(b"a", 1)) == b"a"


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_a_death_at_any_call_of_the_copy_loses_nothing_and_the_next_try_makes_no_second_copy(
    tmp_path: Path, is_after: bool
) -> None:
    for at in count(1):
        removal = Removal(tmp_path / str(at), archive=tmp_path / f"{at}-archive")
        try:
            copy_ahead(DyingEdge(OtherMountEdge(), at, is_after=is_after), removal.target, HIDDEN)
        except Crash:
            assert removal.contents() == [DELIVERED]
            assert removal.archived() in ([], [DELIVERED])  # never half of it under a proper name
            archive_it(removal, OtherMountEdge())
            assert removal.archived() == [DELIVERED]
            assert os.listdir(tmp_path / f"{at}-archive" / "cam1") == ["data.csv"]
        else:
            break
    assert at > 15


def test_a_file_that_changes_while_it_is_copied_is_not_archived(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive")

    class Appending(OtherMountEdge):
        def copy(self, from_fd: int, to_fd: int, offset: int, count: int) -> int:
            with removal.path.open("ab") as file:
                file.write(b"more")
            return super().copy(from_fd, to_fd, offset, count)

    with pytest.raises(FileChanged):
        copy_ahead(Appending(), removal.target, HIDDEN)
    assert removal.archived() == []
    assert os.listdir(tmp_path / "archive" / "cam1") == []
    assert removal.contents() == [DELIVERED + b"more"]


def test_a_file_that_shrinks_or_is_gone_is_not_archived(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive")

    class Shrinking(OtherMountEdge):
        def copy(self, from_fd: int, to_fd: int, offset: int, count: int) -> int:
            return 0

    with pytest.raises(RemovalFailed, match="shorter"):
        copy_ahead(Shrinking(), removal.target, HIDDEN)
    removal.path.unlink()
    with pytest.raises(FileVanished):
        copy_ahead(OtherMountEdge(), removal.target, HIDDEN)


@pytest.mark.parametrize(
    ("number", "advice"),
    [(errno.ENOSPC, "ArchiveMaxBytes"), (errno.EACCES, "permission"), (errno.EIO, "disk")],
)
@pytest.mark.parametrize("base", [TwoDisksEdge, OtherMountEdge])
def test_an_archive_that_refuses_leaves_the_file_under_its_name(
    tmp_path: Path, number: int, advice: str, base: type[Edge]
) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive", marker=True)

    class Full(base):  # type: ignore[valid-type,misc]  # the test's parameter
        def copy(self, from_fd: int, to_fd: int, offset: int, count: int) -> int:
            raise OSError(number, os.strerror(number))

    with pytest.raises(RemovalFailed) as caught:
        archive_it(removal, Full())
    assert advice in caught.value.advice
    assert sorted(os.listdir(removal.folder)) == ["data.csv", "data.csv.done"]
    assert removal.contents() == [DELIVERED]
    assert os.listdir(tmp_path / "archive" / "cam1") == []


def test_only_the_archive_itself_is_made_not_what_it_lies_in(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "unmounted" / "archive")
    with pytest.raises(RemovalFailed) as caught:
        archive_it(removal, Edge())
    assert "mount" in caught.value.advice
    assert removal.contents() == [DELIVERED]


def test_a_link_inside_the_archive_is_never_followed(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive")
    (tmp_path / "archive").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "archive" / "cam1").symlink_to(tmp_path / "outside")
    with pytest.raises(RemovalFailed):
        archive_it(removal, Edge())
    assert os.listdir(tmp_path / "outside") == []


def test_of_a_followed_link_only_the_link_goes_and_nothing_is_archived(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", symlink=True, archive=tmp_path / "archive")
    assert archive_it(removal, Edge()) is None
    assert not (tmp_path / "archive").exists()
    assert (tmp_path / "in-target").read_bytes() == DELIVERED


def test_a_file_is_hidden_only_until_a_rename_that_cannot_cross_was_copied(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive")
    outcome = finish(prepare(TwoDisksEdge(), removal.target), HIDDEN)
    assert outcome.kept_as == os.fsencode(tmp_path / "archive" / "cam1" / "data.csv")
    assert removal.hidden_names() == []


# -- limits


def shelf(directory: Path, files: dict[str, int]) -> None:
    """Files of these sizes, archived in this order a moment apart."""
    for name, size in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        while _is_latest(directory, path):
            os.utime(path)


def _is_latest(directory: Path, path: Path) -> bool:
    others = [other for other in directory.rglob("*") if other.is_file() and other != path]
    return any(other.stat().st_ctime_ns >= path.stat().st_ctime_ns for other in others)


def left(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_the_oldest_go_first_until_the_rest_fits(tmp_path: Path) -> None:
    shelf(tmp_path, {"z": 10, "a/b": 20, "m": 30})
    assert enforce(Edge(), os.fsencode(tmp_path), 35, None, 0.0) == Trimmed(2, 30, 1, 30)
    assert left(tmp_path) == ["m"]


def test_an_archive_within_its_limits_is_left_alone(tmp_path: Path) -> None:
    shelf(tmp_path, {"a": 10, "b": 20})
    now = (tmp_path / "b").stat().st_ctime
    assert enforce(Edge(), os.fsencode(tmp_path), 30, 60.0, now) == Trimmed(0, 0, 2, 30)
    assert enforce(Edge(), os.fsencode(tmp_path), None, None, now) == Trimmed(0, 0, 2, 30)


def test_age_counts_from_when_a_file_came_into_the_archive_not_from_its_own_date(tmp_path: Path) -> None:
    shelf(tmp_path, {"a": 10})
    os.utime(tmp_path / "a", ns=(0, 0))
    now = (tmp_path / "a").stat().st_ctime
    assert enforce(Edge(), os.fsencode(tmp_path), None, 60.0, now + 59).files == 0
    assert enforce(Edge(), os.fsencode(tmp_path), None, 60.0, now + 61) == Trimmed(1, 10, 0, 0)
    assert left(tmp_path) == []


def test_a_clock_that_was_put_back_removes_nothing(tmp_path: Path) -> None:
    shelf(tmp_path, {"a": 10})
    assert enforce(Edge(), os.fsencode(tmp_path), None, 60.0, 0.0).files == 0


def test_folders_that_become_empty_go_too_but_never_the_archive_itself(tmp_path: Path) -> None:
    shelf(tmp_path / "archive", {"a/b/c/d": 10})
    assert enforce(Edge(), os.fsencode(tmp_path / "archive"), 0, None, 0.0).files == 1
    assert left(tmp_path) == ["archive"]


def test_nothing_outside_of_the_archive_is_touched(tmp_path: Path) -> None:
    shelf(tmp_path / "outside", {"a": 10, "b": 10})
    shelf(tmp_path / "archive", {"a": 10})
    (tmp_path / "archive" / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "archive" / "link").symlink_to(tmp_path / "outside" / "a")
    assert enforce(Edge(), os.fsencode(tmp_path / "archive"), 0, 0.0, 1e12).files == 1
    assert left(tmp_path / "outside") == ["a", "b"]


def test_a_copy_under_way_is_not_counted_and_one_that_nobody_finishes_goes_in_the_end(
    tmp_path: Path,
) -> None:
    (tmp_path / os.fsdecode(HIDDEN)).write_bytes(b"half")
    now = (tmp_path / os.fsdecode(HIDDEN)).stat().st_ctime
    assert enforce(Edge(), os.fsencode(tmp_path), 0, 0.0, now + 3600) == Trimmed()
    assert left(tmp_path) == [os.fsdecode(HIDDEN)]
    assert enforce(Edge(), os.fsencode(tmp_path), 0, 0.0, now + 90000) == Trimmed()
    assert left(tmp_path) == []


def test_files_that_cannot_be_removed_do_not_keep_it_busy(tmp_path: Path) -> None:
    class Refusing(Edge):
        def unlink(self, folder_fd: int, name: bytes) -> None:
            raise PermissionError

    shelf(tmp_path, {"a": 10})
    assert enforce(Refusing(), os.fsencode(tmp_path), 0, 0.0, 1e12) == Trimmed(0, 0, 1, 10)


def test_an_archive_that_does_not_exist_yet_is_within_its_limits(tmp_path: Path) -> None:
    assert enforce(Edge(), os.fsencode(tmp_path / "none"), 0, 0.0, 0.0) == Trimmed()


def test_bytes_that_come_after_the_copy_are_not_lost(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", archive=tmp_path / "archive")
    late = removal.path.open("ab", buffering=0)

    class Appending(TwoDisksEdge):
        def set_lease(self, descriptor: int, kind: int) -> None:
            raise PermissionError

        def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
            super().rename_noreplace(from_fd, old, to_fd, new)
            if old == HIDDEN and new == b"data.csv" and from_fd == to_fd and not removal.path.exists():
                late.write(b" and more")

    assert removal.remove(Appending()).conclusion is Conclusion.UNDONE
    late.close()
    assert removal.contents() == [DELIVERED + b" and more"]


def test_a_file_that_came_into_the_archive_since_the_look_is_not_taken_for_the_old_one(
    tmp_path: Path,
) -> None:
    looks = count(1)

    class Replacing(Edge):
        def stat_at(self, folder_fd: int, name: bytes) -> os.stat_result:
            if next(looks) == 2:
                (tmp_path / "a").unlink()
                shelf(tmp_path, {"b": 1, "a": 20})
            return super().stat_at(folder_fd, name)

    shelf(tmp_path, {"a": 10})
    now = (tmp_path / "a").stat().st_ctime + 100
    assert enforce(Replacing(), os.fsencode(tmp_path), None, 60.0, now).files == 0
    assert (tmp_path / "a").read_bytes() == b"x" * 20
