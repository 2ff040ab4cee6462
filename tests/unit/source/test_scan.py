from __future__ import annotations

import errno
import os
import socket
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_file_uploader.model import Candidate, Fingerprint
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.hidden import hidden_name
from s3_file_uploader.source.scan import (
    BATCH_SIZE,
    DEEPEST,
    Batch,
    FolderSeen,
    Gone,
    ScanEnded,
    Seen,
    Trouble,
    look,
    scan,
)
from s3_file_uploader.source.segment import escape
from s3_file_uploader.source.selection import Selection

if TYPE_CHECKING:
    from pathlib import Path

HIDDEN = hidden_name("0123abcd", 7)

Entries = AbstractContextManager[Iterator["os.DirEntry[str]"]]


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path)


def selection_of(root: bytes, rest: str, *, done_marker: str = "") -> Selection:
    return Selection.parse(f"{escape(root)}/{rest}", done_marker=done_marker)


def write(path: bytes, content: bytes = b"x") -> bytes:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(content)
    return path


def candidates(seen: list[Seen]) -> list[Candidate]:
    return [candidate for item in seen if isinstance(item, Batch) for candidate in item.candidates]


def paths(seen: list[Seen]) -> set[bytes]:
    found = [candidate.path for candidate in candidates(seen)]
    assert len(found) == len(set(found))
    return set(found)


def folders(seen: list[Seen]) -> dict[bytes, bool]:
    return {item.folder: item.complete for item in seen if isinstance(item, FolderSeen)}


def troubles(seen: list[Seen]) -> dict[bytes, str]:
    return {item.folder: item.code for item in seen if isinstance(item, Trouble)}


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def as_another_user() -> Iterator[None]:
    """Root may read everything: be somebody else for a while."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


# -- what is a candidate


def test_a_candidate_is_a_matching_file_as_one_look_found_it(root: bytes) -> None:
    path = write(root + b"/a.csv", b"12345")
    write(root + b"/a.jpg")
    write(root + b"/.a.csv")
    write(root + b"/sub/b.csv")

    seen = list(scan(selection_of(root, "*.csv")))

    expected = Candidate(root, b"a.csv", Fingerprint.of(os.stat(path)))
    assert candidates(seen) == [expected]
    assert expected.fingerprint.size == 5
    assert seen[-2:] == [FolderSeen(root, complete=True), ScanEnded(complete=True)]


def test_only_regular_files_are_candidates(root: bytes) -> None:
    write(root + b"/file")
    os.mkdir(root + b"/folder")
    os.mkfifo(root + b"/fifo")
    os.symlink(b"file", root + b"/link")
    os.symlink(b"nowhere", root + b"/dangling")
    os.symlink(b"/dev/null", root + b"/device")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(root + b"/socket")
        assert paths(list(scan(selection_of(root, "*")))) == {root + b"/file"}
        assert paths(list(scan(selection_of(root, "*"), follow_symlinks=True))) == {
            root + b"/file",
            root + b"/link",
        }


def test_an_empty_file_is_a_candidate(root: bytes) -> None:
    path = write(root + b"/empty", b"")

    assert paths(list(scan(selection_of(root, "*")))) == {path}


@pytest.mark.parametrize(
    "name",
    [
        b"with space",
        b"new\nline",
        b"#%?[]~'\"`",
        b"\xff\xfe not UTF-8",
        "é ü 漢".encode(),
        b"x" * 255,
        b"-rf",
        b"back\\slash",
    ],
)
def test_names_of_any_bytes_are_found(root: bytes, name: bytes) -> None:
    write(root + b"/" + name)

    seen = list(scan(selection_of(root, "*")))

    assert [candidate.name for candidate in candidates(seen)] == [name]
    assert look(selection_of(root, "*"), root, [name]) == candidates(seen)


def test_files_keep_their_path_below_the_fixed_part(root: bytes) -> None:
    write(root + b"/cam1/raw/a")
    write(root + b"/cam2/raw/b")
    write(root + b"/cam2/c")

    seen = list(scan(selection_of(root, "cam*/raw/*")))

    assert {(c.relative, c.name) for c in candidates(seen)} == {(b"cam1/raw", b"a"), (b"cam2/raw", b"b")}
    assert set(folders(seen)) == {
        root + b"/" + sub for sub in (b"cam1", b"cam1/raw", b"cam2", b"cam2/raw")
    } | {root}


def test_two_stars_go_down_anywhere_but_into_dot_folders(root: bytes) -> None:
    files = {write(root + path) for path in (b"/a", b"/x/a", b"/x/y/z/a")}
    write(root + b"/.git/a")
    write(root + b"/x/.git/a")

    assert paths(list(scan(selection_of(root, "**/a")))) == files


def test_hidden_files_are_reported_and_are_no_candidates(root: bytes) -> None:
    write(root + b"/" + HIDDEN)
    os.mkdir(root + b"/" + hidden_name("0123abcd", 8))
    for pattern in ("*", ".*"):
        seen = list(scan(selection_of(root, pattern)))

        assert [item for item in seen if isinstance(item, Batch)] == [Batch(root, b"", [], [HIDDEN])]


def test_candidates_come_in_batches(root: bytes) -> None:
    for number in range(BATCH_SIZE + 1):
        write(root + b"/%d" % number)

    seen = list(scan(selection_of(root, "*")))

    sizes = [len(item.candidates) for item in seen if isinstance(item, Batch)]
    assert sizes == [BATCH_SIZE, 1]
    assert len(paths(seen)) == BATCH_SIZE + 1


def test_memory_does_not_grow_with_the_number_of_files(root: bytes) -> None:
    peaks = []
    for number in range(4 * BATCH_SIZE):
        if number in (0, 2 * BATCH_SIZE):
            peaks.append(peak_bytes_of_a_scan(root))
        os.close(os.open(root + b"/%d" % number, os.O_CREAT | os.O_WRONLY))
    of_none, of_two_batches = peaks
    of_four_batches = peak_bytes_of_a_scan(root)

    assert of_none < of_two_batches
    assert of_four_batches < 1.2 * of_two_batches


def peak_bytes_of_a_scan(root: bytes) -> int:
    tracemalloc.start()
    try:
        for _ in scan(selection_of(root, "*")):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


NAMES = st.sampled_from(["a", "b", "ab", ".a", "a.csv", "x[1]", "é", "\udcff"])
PARTS = st.sampled_from(["*", "**", "a", "a*", "?", "*.csv", "[ab]", ".*", "x[[]1]", "*b"])


@settings(max_examples=60)
@given(
    st.sets(st.lists(NAMES, min_size=1, max_size=4).map(tuple), max_size=8),
    st.lists(PARTS, min_size=1, max_size=4),
)
def test_a_scan_finds_exactly_the_files_that_match(tree: set[tuple[str, ...]], parts: list[str]) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = os.fsencode(name)
        for names in tree:
            try:
                write(os.path.join(root, *map(os.fsencode, names)))
            except OSError:
                continue  # a file stands where a folder should, or the other way round
        selection = selection_of(root, "/".join(parts))
        every = {os.path.join(folder, file) for folder, _, files in os.walk(root) for file in files}
        matching = {path for path in every if selection.pattern.matches(path)}
        seen = list(scan(selection))

        # A pattern whose fixed part is missing or a file matches nothing.
        assert paths(seen) == matching
        assert all(selection.selects(c.relative, c.name) for c in candidates(seen))
        looked = [look(selection, os.path.dirname(path), [os.path.basename(path)])[0] for path in matching]
        assert {cast("Candidate", found).path for found in looked} == matching


# -- links


def test_a_followed_link_has_the_fingerprint_of_its_target(root: bytes) -> None:
    target = write(root + b"/elsewhere/target", b"123")
    os.mkdir(root + b"/in")
    os.symlink(target, root + b"/in/link")

    (found,) = candidates(list(scan(selection_of(root, "in/*"), follow_symlinks=True)))

    assert found == Candidate(
        root + b"/in", b"link", Fingerprint.of(os.stat(target)), b"", found.evidence, is_symlink=True
    )


def test_the_fixed_part_may_lead_through_links_and_what_is_below_may_not(root: bytes) -> None:
    write(root + b"/real/sub/a")
    os.symlink(b"real", root + b"/alias")
    os.symlink(b"sub", root + b"/real/other")

    found = candidates(list(scan(selection_of(root, "alias/**/a"))))

    assert [(c.path, c.is_symlink) for c in found] == [(root + b"/alias/sub/a", False)]


def test_behind_a_followed_link_files_are_marked_so_that_they_are_never_removed(root: bytes) -> None:
    write(root + b"/store/sub/a")
    os.mkdir(root + b"/in")
    os.symlink(root + b"/store", root + b"/in/link")
    selection = selection_of(root, "in/**/a")

    found = candidates(list(scan(selection, follow_symlinks=True)))

    assert [(c.path, c.is_symlink) for c in found] == [(root + b"/in/link/sub/a", True)]
    assert look(selection, root + b"/in/link/sub", [b"a"], follow_symlinks=True) == found
    assert look(selection, root + b"/in/link/sub", [b"a"]) == [Gone(root + b"/in/link/sub", b"a")]


def test_each_real_folder_is_looked_at_once_and_under_its_real_name(root: bytes) -> None:
    write(root + b"/m/a")
    os.symlink(root + b"/m", root + b"/first")
    os.symlink(root + b"/m", root + b"/zlast")
    os.symlink(root, root + b"/m/up")
    os.symlink(b".", root + b"/m/round")

    seen = list(scan(selection_of(root, "**/a"), follow_symlinks=True))

    assert [(c.path, c.is_symlink) for c in candidates(seen)] == [(root + b"/m/a", False)]
    assert seen[-1] == ScanEnded(complete=True)


def test_links_to_nothing_and_to_themselves_are_passed_over(root: bytes) -> None:
    os.symlink(b"nowhere", root + b"/dangling")
    os.symlink(b"loop", root + b"/loop")
    path = write(root + b"/a")

    seen = list(scan(selection_of(root, "**/*"), follow_symlinks=True))

    assert paths(seen) == {path}


# -- trouble


def test_a_folder_that_does_not_exist_is_reported_not_raised(root: bytes) -> None:
    seen = list(scan(selection_of(root, "later/*.csv")))

    assert seen == [
        Trouble(root + b"/later", "No such file or directory", "ENOENT"),
        ScanEnded(complete=False),
    ]


def test_a_fixed_part_that_is_a_file_is_reported(root: bytes) -> None:
    write(root + b"/file")

    assert troubles(list(scan(selection_of(root, "file/*")))) == {root + b"/file": "ENOTDIR"}


def test_a_folder_without_permission_is_reported_and_the_rest_goes_on() -> None:
    with tempfile.TemporaryDirectory() as name:
        root = os.fsencode(name)
        os.chmod(root, 0o755)
        good = write(root + b"/good/a")
        write(root + b"/locked/a")
        write(root + b"/names_only/a")
        os.chmod(root + b"/locked", 0)
        os.chmod(root + b"/names_only", 0o444)
        with as_another_user():
            seen = list(scan(selection_of(root, "*/a")))
            looked = look(selection_of(root, "*/a"), root + b"/locked", [b"a"])
        os.chmod(root + b"/locked", 0o755)
        os.chmod(root + b"/names_only", 0o755)

    assert paths(seen) == {good}
    assert troubles(seen) == {root + b"/locked": "EACCES", root + b"/names_only": "EACCES"}
    assert folders(seen) == {root: True, root + b"/good": True, root + b"/names_only": False}
    assert seen[-1] == ScanEnded(complete=False)
    assert looked == [Trouble(root + b"/locked", "Permission denied", "EACCES")]


def test_a_folder_that_vanishes_during_the_scan_is_reported(root: bytes) -> None:
    for name in (b"one", b"two"):
        write(root + b"/" + name + b"/a")
    seen: list[Seen] = []
    for item in scan(selection_of(root, "*/a")):
        seen.append(item)
        if item == FolderSeen(root, complete=True):
            os.rename(root + b"/two", root + b"/.gone")

    assert paths(seen) == {root + b"/one/a"}
    assert troubles(seen) == {root + b"/two": "ENOENT"}


def test_a_folder_replaced_by_a_link_during_the_scan_is_not_entered(root: bytes) -> None:
    write(root + b"/in/sub/a")
    write(root + b"/secret/a")
    seen: list[Seen] = []
    for item in scan(selection_of(root, "in/*/a")):
        seen.append(item)
        if item == FolderSeen(root + b"/in", complete=True):
            os.rename(root + b"/in/sub", root + b"/old")
            os.symlink(root + b"/secret", root + b"/in/sub")

    assert paths(seen) == set()
    assert troubles(seen) == {root + b"/in/sub": "ENOTDIR"}


class EdgeThatSees(Edge):
    """Reads folders for real, and shows each entry to the test first."""

    def __init__(self, see: Callable[[os.DirEntry[str]], os.DirEntry[str]]) -> None:
        self._see = see

    def entries(self, folder_fd: int) -> Entries:
        return self._seen(super().entries(folder_fd))

    @contextmanager
    def _seen(self, entries: Entries) -> Iterator[Iterator[os.DirEntry[str]]]:
        with entries as real:
            yield map(self._see, real)


def test_a_file_that_vanishes_before_it_is_looked_at_is_nothing(root: bytes) -> None:
    write(root + b"/a")
    write(root + b"/b")

    def remove_a(entry: os.DirEntry[str]) -> os.DirEntry[str]:
        if entry.name == "a":
            os.unlink(root + b"/a")
        return entry

    seen = list(scan(selection_of(root, "*"), edge=EdgeThatSees(remove_a)))

    assert paths(seen) == {root + b"/b"}
    assert folders(seen) == {root: True}


class BrokenEntry:
    """An entry on a bad sector."""

    def __init__(self, name: str) -> None:
        self.name = name

    def is_file(self, *, follow_symlinks: bool) -> bool:
        return True

    def stat(self, *, follow_symlinks: bool) -> os.stat_result:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_one_file_that_cannot_be_looked_at_leaves_the_others_and_an_incomplete_folder(root: bytes) -> None:
    write(root + b"/bad")
    good = write(root + b"/good")

    def break_bad(entry: os.DirEntry[str]) -> os.DirEntry[str]:
        return cast("os.DirEntry[str]", BrokenEntry("bad")) if entry.name == "bad" else entry

    seen = list(scan(selection_of(root, "*"), edge=EdgeThatSees(break_bad)))

    assert paths(seen) == {good}
    assert troubles(seen) == {root: "EIO"}
    assert folders(seen) == {root: False}
    assert seen[-1] == ScanEnded(complete=False)


def test_a_folder_whose_reading_breaks_off_keeps_what_was_read(root: bytes) -> None:
    write(root + b"/a")
    write(root + b"/b")
    names: list[str] = []

    def break_off(entry: os.DirEntry[str]) -> os.DirEntry[str]:
        if names:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        names.append(entry.name)
        return entry

    seen = list(scan(selection_of(root, "*"), edge=EdgeThatSees(break_off)))

    assert len(paths(seen)) == 1
    assert troubles(seen) == {root: "ESTALE"}


def test_a_tree_that_is_too_deep_is_reported_where_it_becomes_so(root: bytes) -> None:
    deep = root + b"/d" * (DEEPEST + 2)
    write(deep + b"/a")
    highest = write(root + b"/d" * DEEPEST + b"/a")

    seen = list(scan(selection_of(root, "**/a")))

    assert paths(seen) == {highest}
    assert troubles(seen) == {root + b"/d" * (DEEPEST + 1): "ENAMETOOLONG"}


def test_no_descriptor_stays_open(root: bytes) -> None:
    write(root + b"/x/y/a")
    write(root + b"/x/z/a")
    before = open_descriptors()

    list(scan(selection_of(root, "**/a")))
    abandoned = scan(selection_of(root, "**/a"))
    while not isinstance(next(abandoned), Batch):
        assert open_descriptors() > before
    abandoned.close()
    look(selection_of(root, "**/a"), root + b"/x/y", [b"a", b"b"])

    assert open_descriptors() == before


# -- parts of a scan


def test_a_scan_may_begin_further_down(root: bytes) -> None:
    write(root + b"/x/a")
    below = write(root + b"/y/z/a")
    selection = selection_of(root, "**/a")

    seen = list(scan(selection, start=root + b"/y"))

    assert paths(seen) == {below}
    assert [c.relative for c in candidates(seen)] == [b"y/z"]
    assert list(scan(selection, start=root + b"/.dot")) == [ScanEnded(complete=True)]
    assert list(scan(selection, start=b"/")) == [ScanEnded(complete=True)]


def test_a_folder_is_announced_before_it_is_read(root: bytes) -> None:
    os.mkdir(root + b"/sub")
    seen = list(scan(selection_of(root, "**/a"), entering=lambda folder: write(folder + b"/a")))

    assert paths(seen) == {root + b"/a", root + b"/sub/a"}


# -- a look at named files


def test_a_look_says_of_each_named_file_what_stands_there(root: bytes) -> None:
    path = write(root + b"/a.csv")
    write(root + b"/a.jpg")
    write(root + b"/" + HIDDEN)
    os.mkdir(root + b"/folder.csv")
    os.symlink(b"a.csv", root + b"/link.csv")
    names = [b"a.csv", b"a.csv", b"gone.csv", b"a.jpg", HIDDEN, b"folder.csv", b"link.csv", b".a.csv"]

    assert look(selection_of(root, "*.csv"), root, names) == [
        Candidate(root, b"a.csv", Fingerprint.of(os.stat(path))),
        Gone(root, b"gone.csv"),
        Gone(root, b"folder.csv"),
        Gone(root, b"link.csv"),
    ]


def test_a_look_follows_links_where_a_scan_does(root: bytes) -> None:
    write(root + b"/a.csv")
    os.symlink(b"a.csv", root + b"/link.csv")
    os.symlink(b"nowhere", root + b"/dangling.csv")

    found, gone = look(
        selection_of(root, "*.csv"), root, [b"link.csv", b"dangling.csv"], follow_symlinks=True
    )

    assert isinstance(found, Candidate)
    assert found.is_symlink
    assert gone == Gone(root, b"dangling.csv")


def test_a_done_marker_means_a_look_at_its_file(root: bytes) -> None:
    write(root + b"/a.csv")
    write(root + b"/a.csv.done")

    (found,) = look(selection_of(root, "*", done_marker=".done"), root, [b"a.csv.done", b"a.csv"])

    assert isinstance(found, Candidate)
    assert found.name == b"a.csv"


def test_a_missing_folder_takes_its_files_along_but_not_when_the_disk_is_missing(root: bytes) -> None:
    selection = selection_of(root, "disk/*/a")
    folder = root + b"/disk/cam1"

    assert look(selection, folder, [b"a"]) == [Trouble(folder, "No such file or directory", "ENOENT")]
    os.mkdir(root + b"/disk")
    assert look(selection, folder, [b"a"]) == [Gone(folder, b"a")]


def test_a_look_at_a_folder_that_the_pattern_does_not_reach_finds_nothing(root: bytes) -> None:
    write(root + b"/x/y/a")

    assert look(selection_of(root, "*/a"), root + b"/x/y", [b"a"]) == []


def test_a_look_that_fails_is_trouble_not_an_absence(root: bytes) -> None:
    class Broken(Edge):
        def stat_at(self, folder_fd: int, name: bytes) -> os.stat_result:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    write(root + b"/a")

    assert look(selection_of(root, "*"), root, [b"a"], edge=Broken()) == [
        Trouble(root, os.strerror(errno.EIO), "EIO")
    ]
