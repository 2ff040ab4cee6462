from __future__ import annotations

import errno
import os
import resource
import select
import threading
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.model import Evidence
from s3_file_uploader.source import watches
from s3_file_uploader.source.hidden import hidden_name
from s3_file_uploader.source.inotify import Inotify
from s3_file_uploader.source.wake import Unwatched, Wake, Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NONE, OPEN, CLOSED = Evidence.NONE, Evidence.OPEN, Evidence.CLOSED
HIDDEN = hidden_name("0123abcd", 7)


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    return os.fsencode(tmp_path)


@pytest.fixture
def said() -> list[Unwatched]:
    return []


@pytest.fixture
def watcher(said: list[Unwatched]) -> Iterator[Watcher]:
    watcher = Watcher.open(said.append)
    assert watcher is not None
    yield watcher
    watcher.close()


def write(path: bytes, content: bytes = b"x") -> bytes:
    with open(path, "ab") as file:
        file.write(content)
    return path


def touched(wake: Wake, folder: bytes) -> dict[bytes, Evidence]:
    assert set(wake.touched) <= {folder}
    return wake.touched.get(folder, {})


# -- what wakes


def test_a_new_file_wakes_with_its_folder_and_name(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a\n#\xff")

    wake = watcher.read(now=3.5)

    assert wake == Wake(3.5, {root: {b"a\n#\xff": CLOSED}})
    assert wake


def test_nothing_new_is_a_wake_of_nothing_and_does_not_wait(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])

    assert not watcher.read(0)


def test_many_events_on_one_file_are_one(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    for _ in range(50):
        write(root + b"/a")

    assert touched(watcher.read(0), root) == {b"a": CLOSED}


def test_the_descriptor_is_readable_while_there_is_something_to_read(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    assert select.select([watcher.fileno()], [], [], 0)[0] == []
    write(root + b"/a")
    assert select.select([watcher.fileno()], [], [], 30)[0] == [watcher.fileno()]
    watcher.read(0)
    assert select.select([watcher.fileno()], [], [], 0)[0] == []


def test_changes_of_every_kind_wake(root: bytes, watcher: Watcher) -> None:
    for name in (b"/written", b"/moved", b"/deleted", b"/dated"):
        write(root + name)
    watcher.add([root])
    write(root + b"/written")
    os.rename(root + b"/moved", root + b"/new")
    os.unlink(root + b"/deleted")
    os.utime(root + b"/dated", ns=(1, 1))

    assert touched(watcher.read(0), root) == dict.fromkeys(
        [b"written", b"moved", b"new", b"deleted", b"dated"], NONE
    )


def test_our_own_hidden_names_wake_nobody(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    os.rename(root + b"/a", root + b"/" + HIDDEN)
    os.unlink(root + b"/" + HIDDEN)

    assert not watcher.read(0)


def test_a_file_that_is_recreated_while_its_old_self_is_hidden_wakes(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    os.rename(root + b"/a", root + b"/" + HIDDEN)
    write(root + b"/a")

    assert touched(watcher.read(0), root) == {b"a": CLOSED}


def test_a_folder_watched_under_two_names_wakes_under_both(root: bytes, watcher: Watcher) -> None:
    os.mkdir(root + b"/real")
    os.symlink(b"real", root + b"/alias")
    watcher.add([root + b"/real", root + b"/alias"])
    write(root + b"/real/a")

    assert watcher.read(0).touched == {root + b"/real": {b"a": CLOSED}, root + b"/alias": {b"a": CLOSED}}


# -- evidence of writers


def test_a_file_is_open_from_its_first_event_until_it_is_closed(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    with open(root + b"/a", "wb", buffering=0) as file:
        assert touched(watcher.read(0), root) == {b"a": OPEN}
        file.write(b"x")
        assert touched(watcher.read(0), root) == {b"a": OPEN}
        assert watcher.evidence(root, b"a") is OPEN
    assert touched(watcher.read(0), root) == {b"a": CLOSED}
    assert watcher.evidence(root, b"a") is CLOSED


def test_a_closed_file_that_is_written_again_is_open_again(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    with open(root + b"/a", "ab", buffering=0) as file:
        assert watcher.evidence(root, b"a") is CLOSED
        file.write(b"y")
        assert touched(watcher.read(0), root) == {b"a": OPEN}
    assert touched(watcher.read(0), root) == {b"a": CLOSED}


def test_a_file_that_was_there_before_the_watch_has_no_evidence(root: bytes, watcher: Watcher) -> None:
    with open(root + b"/a", "ab", buffering=0) as file:
        watcher.add([root])
        file.write(b"x")
        assert touched(watcher.read(0), root) == {b"a": NONE}
    assert touched(watcher.read(0), root) == {b"a": NONE}


def test_a_file_moved_in_from_elsewhere_has_no_evidence(
    root: bytes, tmp_path_factory: pytest.TempPathFactory, watcher: Watcher
) -> None:
    watcher.add([root])
    write(root + b"/a")
    other = write(os.fsencode(tmp_path_factory.mktemp("other")) + b"/b")
    os.rename(other, root + b"/a")

    assert touched(watcher.read(0), root) == {b"a": NONE}


def test_a_file_renamed_into_place_keeps_the_evidence_of_its_temporary_name(
    root: bytes, watcher: Watcher
) -> None:
    os.mkdir(root + b"/tmp")
    watcher.add([root, root + b"/tmp"])
    os.rename(write(root + b"/a.tmp"), root + b"/a")
    os.rename(write(root + b"/tmp/b"), root + b"/b")
    with open(root + b"/c.tmp", "wb", buffering=0) as file:
        file.write(b"x")
        os.rename(root + b"/c.tmp", root + b"/c")
        wake = watcher.read(0)

    assert wake.touched[root] == {b"a.tmp": NONE, b"a": CLOSED, b"b": CLOSED, b"c.tmp": NONE, b"c": OPEN}
    assert wake.touched[root + b"/tmp"] == {b"b": NONE}
    assert touched(watcher.read(0), root) == {b"c": CLOSED}


def test_a_file_renamed_over_another_brings_its_own_evidence(root: bytes, watcher: Watcher) -> None:
    write(root + b"/unknown")
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    os.rename(root + b"/unknown", root + b"/a")

    assert watcher.read(0).touched[root][b"a"] is NONE


def test_a_removal_that_is_undone_keeps_the_evidence(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    os.rename(root + b"/a", root + b"/" + HIDDEN)
    watcher.read(0)
    os.rename(root + b"/" + HIDDEN, root + b"/a")

    assert touched(watcher.read(0), root) == {b"a": CLOSED}


def test_exchanged_files_do_not_keep_each_others_evidence(root: bytes, watcher: Watcher) -> None:
    write(root + b"/unknown")
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    exchange(root + b"/a", root + b"/unknown")
    watcher.read(0)

    assert watcher.evidence(root, b"a") is NONE
    assert watcher.evidence(root, b"unknown") is NONE


def exchange(one: bytes, other: bytes) -> None:
    import ctypes

    at_fdcwd, rename_exchange = -100, 2
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.renameat2(at_fdcwd, one, at_fdcwd, other, rename_exchange) == 0


def test_a_deleted_file_is_forgotten(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    os.unlink(write(root + b"/a"))

    assert touched(watcher.read(0), root) == {b"a": NONE}
    assert watcher.evidence(root, b"a") is NONE


def test_a_file_linked_into_place_with_its_content_has_no_evidence(
    root: bytes, tmp_path_factory: pytest.TempPathFactory, watcher: Watcher
) -> None:
    watcher.add([root])
    with open(write(os.fsencode(tmp_path_factory.mktemp("other")) + b"/b"), "ab") as still_open:
        os.link(still_open.name, root + b"/a")
        assert touched(watcher.read(0), root) == {b"a": NONE}


def test_a_nameless_file_that_is_given_a_name_has_no_evidence(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    descriptor = os.open(root, os.O_TMPFILE | os.O_WRONLY)
    try:
        os.write(descriptor, b"x")
        # Only with a descriptor given does Python ask for the link to be followed.
        os.link(f"/proc/self/fd/{descriptor}", root + b"/a", src_dir_fd=descriptor, follow_symlinks=True)
        assert touched(watcher.read(0), root) == {b"a": NONE}
    finally:
        os.close(descriptor)


def test_a_touched_empty_file_is_closed(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a", b"")

    assert touched(watcher.read(0), root) == {b"a": CLOSED}


def test_what_is_no_regular_file_has_no_evidence(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    os.mkfifo(root + b"/fifo")
    os.symlink(b"x", root + b"/link")

    assert touched(watcher.read(0), root) == {b"fifo": NONE, b"link": NONE}


def test_evidence_can_be_forgotten(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    write(root + b"/a")
    watcher.read(0)
    watcher.forget(root, b"a")
    watcher.forget(b"/elsewhere", b"a")

    assert watcher.evidence(root, b"a") is NONE
    assert watcher.evidence(b"/elsewhere", b"a") is NONE


def test_the_files_without_events_for_longest_are_forgotten_first(root: bytes) -> None:
    watcher = Watcher(Inotify(), lambda unwatched: None, most_files=2)
    watcher.add([root])
    for name in (b"/a", b"/b", b"/a", b"/c"):
        write(root + name)
    wake = watcher.read(0)
    watcher.close()

    assert touched(wake, root) == {b"a": CLOSED, b"b": NONE, b"c": CLOSED}


def test_lost_events_leave_no_evidence_and_are_told(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    with open("/proc/sys/fs/inotify/max_queued_events") as setting:
        capacity = int(setting.read())
    write(root + b"/before")
    names = [root + b"/%d" % number for number in range(200)]
    for name in names:
        write(name)
    for turn in range(capacity // len(names) + 1):  # an event merges with the one before it only
        for name in names:
            os.utime(name, ns=(turn, turn))
    wake = watcher.read(0)

    assert wake.overflowed
    assert set(wake.touched[root].values()) == {NONE}
    assert watcher.evidence(root, b"before") is NONE
    write(root + b"/after")
    assert touched(watcher.read(0), root) == {b"after": CLOSED}


# -- folders that come, go and move


def test_folders_that_come_and_go_are_told(root: bytes, watcher: Watcher) -> None:
    os.mkdir(root + b"/old")
    os.mkdir(root + b"/left")
    watcher.add([root])
    os.mkdir(root + b"/new")
    os.rmdir(root + b"/old")
    os.rename(root + b"/left", root + b"/right")
    os.chmod(root + b"/new", 0o700)

    wake = watcher.read(0)

    assert wake.folders_changed == {root + b"/" + name for name in (b"new", b"old", b"left", b"right")}
    assert wake.touched == {}


def test_a_folder_that_becomes_readable_is_told(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    os.chmod(root, 0o755)

    assert watcher.read(0).folders_changed == {root}


def test_a_folder_that_is_moved_away_takes_its_watches_along(root: bytes, watcher: Watcher) -> None:
    os.makedirs(root + b"/in/sub")
    watcher.add([root + b"/in", root + b"/in/sub"])
    write(root + b"/in/sub/a")
    os.rename(root + b"/in", root + b"/elsewhere")
    write(root + b"/elsewhere/sub/b")

    wake = watcher.read(0)

    assert wake.touched == {}
    assert wake.folders_changed == {root + b"/in"}
    assert not watcher.is_watched(root + b"/in/sub")
    os.makedirs(root + b"/in/sub")
    assert root + b"/in" in watcher.read(0).folders_changed


def test_a_subfolder_that_is_renamed_loses_its_watches_under_the_old_name(
    root: bytes, watcher: Watcher
) -> None:
    os.makedirs(root + b"/a/deep")
    watcher.add([root, root + b"/a/deep"])
    os.rename(root + b"/a", root + b"/b")
    write(root + b"/b/deep/x")

    assert watcher.read(0) == Wake(0, folders_changed={root + b"/a", root + b"/b"})
    assert not watcher.is_watched(root + b"/a/deep")


def test_when_a_folder_far_above_was_replaced_nothing_old_is_believed(root: bytes, watcher: Watcher) -> None:
    folder = root + b"/top/mid/in"
    os.makedirs(folder)
    watcher.add([folder])
    os.rename(root + b"/top", root + b"/old")
    os.makedirs(folder)
    write(root + b"/old/mid/in/a")  # closed there
    with open(folder + b"/a", "wb") as file:  # open here
        file.flush()
        wake = watcher.read(0)

    assert wake.folders_changed == {folder}
    assert wake.touched == {}
    assert watcher.evidence(folder, b"a") is NONE
    assert touched(watcher.read(0), folder) == {b"a": NONE}
    write(folder + b"/b")
    assert touched(watcher.read(0), folder) == {b"b": CLOSED}


def test_adding_a_folder_again_finds_the_new_one_of_its_name(root: bytes, watcher: Watcher) -> None:
    os.makedirs(root + b"/top/in")
    watcher.add([root + b"/top/in"])
    os.rename(root + b"/top", root + b"/old")
    os.makedirs(root + b"/top/in")
    watcher.add([root + b"/top/in"])
    write(root + b"/top/in/a")

    assert touched(watcher.read(0), root + b"/top/in") == {b"a": CLOSED}


def test_a_folder_that_does_not_exist_yet_is_told_when_it_appears(
    root: bytes, watcher: Watcher, said: list[Unwatched]
) -> None:
    folder = root + b"/x/y/z"
    watcher.add([folder, folder + b"/deeper"])
    write(root + b"/unrelated")
    os.mkdir(root + b"/other")
    assert not watcher.read(0)

    os.mkdir(root + b"/x")
    assert watcher.read(0).folders_changed == {folder}
    os.makedirs(folder)
    assert watcher.read(0).folders_changed == {folder}
    assert watcher.is_watched(folder)
    write(folder + b"/a")
    assert touched(watcher.read(0), folder) == {b"a": CLOSED}
    assert said == []


def test_a_folder_that_is_deleted_is_awaited_again(root: bytes, watcher: Watcher) -> None:
    folder = root + b"/in"
    os.makedirs(folder + b"/sub")
    watcher.add([folder, folder + b"/sub"])
    os.rmdir(folder + b"/sub")
    os.rmdir(folder)
    wake = watcher.read(0)
    assert wake.folders_changed == {folder, folder + b"/sub"}
    assert not watcher.is_watched(folder)

    os.mkdir(folder)
    assert watcher.read(0).folders_changed == {folder}
    assert watcher.is_watched(folder)


def test_an_ancestor_may_be_a_watched_folder_itself(root: bytes, watcher: Watcher) -> None:
    watcher.add([root + b"/x/y", root])
    write(root + b"/a")
    assert touched(watcher.read(0), root) == {b"a": CLOSED}
    watcher.stop([root])
    write(root + b"/b")
    assert not watcher.read(0)
    os.mkdir(root + b"/x")
    assert watcher.read(0).folders_changed == {root + b"/x/y"}
    watcher.stop([root + b"/x/y"])
    os.mkdir(root + b"/x/y")
    assert not watcher.read(0)


def test_only_so_many_folders_are_awaited(
    root: bytes, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watches, "MOST_AWAITED", 1)
    watcher.add([root + b"/x/1", root + b"/y/2"])
    os.mkdir(root + b"/x")
    os.mkdir(root + b"/y")

    assert watcher.read(0).folders_changed == {root + b"/x/1"}


def test_a_folder_that_is_no_longer_wanted_wakes_nobody(root: bytes, watcher: Watcher) -> None:
    watcher.add([root])
    watcher.stop([root])
    write(root + b"/a")

    assert not watcher.read(0)
    assert not watcher.is_watched(root)


# -- where watching is not possible


class PoorInotify(Inotify):
    """An instance on a machine that lacks something."""

    code = 0
    kind: str | None = None

    def add(self, folder: bytes, mask: int) -> int:
        if self.code:
            raise OSError(self.code, os.strerror(self.code))
        return super().add(folder, mask)

    def network_file_system(self, folder: bytes) -> str | None:
        return self.kind or super().network_file_system(folder)


@pytest.fixture
def poor(said: list[Unwatched]) -> Iterator[tuple[PoorInotify, Watcher]]:
    instance = PoorInotify()
    watcher = Watcher(instance, said.append, most_folders=3)
    yield instance, watcher
    watcher.close()


def test_a_full_table_is_said_once(
    root: bytes, poor: tuple[PoorInotify, Watcher], said: list[Unwatched]
) -> None:
    instance, watcher = poor
    instance.code = errno.ENOSPC
    watcher.add([root, root + b"/x"])
    watcher.add([root])

    assert [(one.folder, one.code) for one in said] == [(root, "ENOSPC")]
    assert "fs.inotify.max_user_watches" in said[0].reason
    instance.code = 0
    watcher.add([root])
    assert watcher.is_watched(root)


def test_a_folder_on_a_network_file_system_is_left_to_scanning_and_said_once(
    root: bytes, poor: tuple[PoorInotify, Watcher], said: list[Unwatched]
) -> None:
    instance, watcher = poor
    instance.kind = "NFS"
    watcher.add([root])
    watcher.add([root])

    assert said == [Unwatched(root, "NFS does not tell of changes made at its other end", "NETWORK")]
    assert not watcher.is_watched(root)


def test_a_folder_that_may_not_be_watched_is_said_again_after_it_could_be(
    root: bytes, poor: tuple[PoorInotify, Watcher], said: list[Unwatched]
) -> None:
    instance, watcher = poor
    for code in (errno.EACCES, errno.EACCES, 0, errno.EACCES):
        instance.code = code
        watcher.add([root])

    assert [(one.folder, one.code) for one in said] == [(root, "EACCES")] * 2
    assert not watcher.is_watched(root)


def test_no_more_folders_are_watched_than_agreed(
    root: bytes, poor: tuple[PoorInotify, Watcher], said: list[Unwatched]
) -> None:
    _, watcher = poor
    many = [root + b"/%d" % number for number in range(5)]
    for folder in many:
        os.mkdir(folder)
    watcher.add(many)

    assert [watcher.is_watched(folder) for folder in many] == [True, True, True, False, False]
    assert [(one.folder, one.code) for one in said] == [(many[3], "LIMIT")]


def test_without_inotify_there_is_no_watcher_and_the_reason_is_said(said: list[Unwatched]) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        watcher = Watcher.open(said.append)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert watcher is None
    assert [(one.folder, one.code) for one in said] == [(b"", "EMFILE")]


def test_a_path_that_is_a_file_is_awaited_as_a_folder(root: bytes, watcher: Watcher) -> None:
    write(root + b"/in")
    watcher.add([root + b"/in"])
    os.unlink(root + b"/in")
    os.mkdir(root + b"/in")

    assert watcher.read(0).folders_changed == {root + b"/in"}


def test_folders_may_be_added_from_a_thread_while_events_are_read(root: bytes, watcher: Watcher) -> None:
    many = [root + b"/%d" % number for number in range(200)]

    def add_all() -> None:
        for folder in many:
            os.mkdir(folder)
            watcher.add([folder])
            write(folder + b"/a")

    adding = threading.Thread(target=add_all)
    adding.start()
    woken: set[bytes] = set()
    while adding.is_alive():
        woken |= set(watcher.read(0).touched)
    adding.join()
    woken |= set(watcher.read(0).touched)

    assert all(watcher.is_watched(folder) for folder in many)
    assert woken <= set(many)
