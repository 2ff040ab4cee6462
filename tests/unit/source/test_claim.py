from __future__ import annotations

import errno
import os
import socket
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import FileBusy, FileChanged, FileUnreadable, FileVanished
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.source.claim import ClaimedSource, Folders
from s3_file_uploader.source.edge import Edge
from support.edges import NoLeaseEdge
from support.other_owner import owned_folder, run_as_folder_owner
from support.writers import writer_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EDGE = Edge()


@pytest.fixture
def descriptors() -> Iterator[None]:
    """Fails when a test leaves a descriptor open."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


pytestmark = pytest.mark.usefixtures("descriptors")


def claimed(path: Path, **changes: object) -> ClaimedSource:
    source = ClaimedSource(
        edge=EDGE,
        folder=os.fsencode(path.parent),
        base=os.fsencode(path.parent),
        name=os.fsencode(path.name),
        fingerprint=Fingerprint.of(path.lstat()),
    )
    return replace(source, **changes)  # type: ignore[arg-type]  # each test changes a field of its type


def made(path: Path, content: str = "content") -> Path:
    path.write_text(content)
    return path


def test_a_settled_file_opens_and_can_be_read(tmp_path: Path) -> None:
    opened = claimed(made(tmp_path / "a")).open()
    assert os.pread(opened.fileno(), 100, 0) == b"content"
    assert opened.size == 7
    opened.check_unchanged()
    opened.close()


@pytest.mark.parametrize("name", [b"\xff\xfe", b"a\nb", b" ", b"#%?[]~'\"", b"n" * 255, "ü".encode()])
def test_any_name_can_be_claimed(tmp_path: Path, name: bytes) -> None:
    claimed(made(tmp_path / os.fsdecode(name))).open().close()


def test_a_file_that_changed_since_it_was_observed_is_not_opened(tmp_path: Path) -> None:
    source = claimed(made(tmp_path / "a"))
    made(tmp_path / "a", "other content")
    with pytest.raises(FileChanged, match="size 7 → 13") as caught:
        source.open()
    assert not caught.value.only_device


def test_a_file_whose_times_were_put_back_after_a_change_is_not_opened(tmp_path: Path) -> None:
    source = claimed(made(tmp_path / "a"))
    made(tmp_path / "a", "CONTENT")
    os.utime(tmp_path / "a", ns=(source.fingerprint.mtime_ns, source.fingerprint.mtime_ns))
    with pytest.raises(FileChanged, match="ctime_ns"):
        source.open()


def test_another_number_of_the_device_alone_is_told_apart(tmp_path: Path) -> None:
    source = claimed(made(tmp_path / "a"))
    moved = source.fingerprint._replace(device=source.fingerprint.device + 1)
    with pytest.raises(FileChanged) as caught:
        replace(source, fingerprint=moved).open()
    assert caught.value.only_device


def test_a_change_after_it_was_opened_is_found(tmp_path: Path) -> None:
    opened = claimed(made(tmp_path / "a")).open()
    with (tmp_path / "a").open("a") as file:
        file.write("more")
    with pytest.raises(FileChanged):
        opened.check_unchanged()
    opened.close()


def test_a_file_that_another_process_has_open_for_writing_is_busy(tmp_path: Path) -> None:
    path = made(tmp_path / "a")
    with writer_process() as writer:
        writer.do("open", str(path))
        with pytest.raises(FileBusy) as caught:
            claimed(path).open()
        assert caught.value.writer_seen
        writer.do("close")
        claimed(path).open().close()


def test_a_claim_keeps_no_lease_and_so_delays_no_writer(tmp_path: Path) -> None:
    opened = claimed(made(tmp_path / "a")).open()
    os.close(os.open(tmp_path / "a", os.O_WRONLY | os.O_NONBLOCK))
    opened.close()


def test_without_evidence_a_file_that_needs_proof_is_busy_and_another_one_is_not(tmp_path: Path) -> None:
    path = made(tmp_path / "a")
    with pytest.raises(FileBusy) as caught:
        claimed(path, edge=NoLeaseEdge(), needs_proof=True).open()
    assert not caught.value.writer_seen
    claimed(path, edge=NoLeaseEdge(), needs_proof=False).open().close()


def test_a_file_that_is_gone_has_vanished(tmp_path: Path) -> None:
    source = claimed(made(tmp_path / "a"))
    (tmp_path / "a").unlink()
    with pytest.raises(FileVanished):
        source.open()
    with pytest.raises(FileVanished):
        replace(source, folder=source.folder + b"/gone").open()


def test_what_took_the_files_place_is_never_taken_for_it(tmp_path: Path) -> None:
    source = claimed(made(tmp_path / "a"))
    (tmp_path / "a").rename(tmp_path / "b")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    with pytest.raises(FileChanged):
        source.open()
    (tmp_path / "a").unlink()
    os.mkfifo(tmp_path / "a")
    with pytest.raises(FileChanged):
        source.open()
    (tmp_path / "a").unlink()
    (tmp_path / "a").mkdir()
    with pytest.raises(FileChanged):
        source.open()


def test_a_socket_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = claimed(made(tmp_path / "a"))
    (tmp_path / "a").unlink()
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("a")
        with pytest.raises(FileChanged):
            source.open()


def test_a_link_is_followed_only_by_choice(tmp_path: Path) -> None:
    target = made(tmp_path / "target")
    (tmp_path / "a").symlink_to(target)
    source = claimed(tmp_path / "a", fingerprint=Fingerprint.of(target.stat()))
    with pytest.raises(FileChanged):
        source.open()
    replace(source, follow_symlinks=True).open().close()


def test_a_link_among_the_folders_is_followed_only_by_choice_below_the_rules_fixed_part(
    tmp_path: Path,
) -> None:
    (tmp_path / "real" / "cam").mkdir(parents=True)
    path = made(tmp_path / "real" / "cam" / "a")
    (tmp_path / "linked").symlink_to("real")
    (tmp_path / "real" / "other").symlink_to("cam")
    fingerprint = Fingerprint.of(path.stat())
    through_base = claimed(path, folder=os.fsencode(tmp_path / "linked" / "cam"))
    replace(through_base, base=os.fsencode(tmp_path / "linked")).open().close()
    below = claimed(path, folder=os.fsencode(tmp_path / "real" / "other"), fingerprint=fingerprint)
    below = replace(below, base=os.fsencode(tmp_path / "real"))
    with pytest.raises(FileVanished):
        below.open()
    replace(below, follow_symlinks=True).open().close()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EPERM, errno.EMFILE])
def test_a_file_that_cannot_be_read_says_what_the_system_said(tmp_path: Path, number: int) -> None:
    class Broken(Edge):
        def open_at(self, folder_fd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
            raise OSError(number, os.strerror(number))

    with pytest.raises(FileUnreadable, match=os.strerror(number)) as caught:
        claimed(made(tmp_path / "a"), edge=Broken()).open()
    assert caught.value.advice


def test_a_write_lease_of_somebody_else_is_a_writer(tmp_path: Path) -> None:
    class Leased(Edge):
        def open_at(self, folder_fd: int, name: bytes, flags: int, mode: int = 0o600) -> int:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    with pytest.raises(FileBusy) as caught:
        claimed(made(tmp_path / "a"), edge=Leased()).open()
    assert caught.value.writer_seen


def test_reading_leaves_no_trace_in_the_access_time_of_a_file_of_ours(tmp_path: Path) -> None:
    path = made(tmp_path / "a")
    os.utime(path, ns=(1, path.stat().st_mtime_ns))
    opened = claimed(path).open()
    os.pread(opened.fileno(), 10, 0)
    opened.close()
    assert path.stat().st_atime_ns == 1


def test_the_owner_of_the_folder_but_not_of_the_file_claims_without_evidence() -> None:
    with owned_folder() as folder:
        made(folder / "a").chmod(0o644)
        answered = run_as_folder_owner(
            folder,
            """
source = ClaimedSource(edge, folder, folder, b"a", fingerprint(b"a"), needs_proof=True)
try:
    source.open()
except FileBusy as error:
    busy = not error.writer_seen
opened = ClaimedSource(edge, folder, folder, b"a", fingerprint(b"a")).open()
answer(busy=busy, content=os.read(opened.fileno(), 99).decode(), owns=os.lstat("a").st_uid == os.geteuid())
""",
        )
        assert answered["busy"]
        assert answered["content"] == "content"
        assert answered["owns"] == (os.geteuid() != 0)


class Counting(Edge):
    def __init__(self) -> None:
        self.opened = 0

    def open_folder(self, folder: bytes, base: bytes, follow_symlinks: bool) -> int:
        self.opened += 1
        return super().open_folder(folder, base, follow_symlinks)


def test_a_folder_stays_open_between_claims_and_no_longer_than_its_time(tmp_path: Path) -> None:
    edge, now = Counting(), [0.0]
    folders = Folders(edge, clock=lambda: now[0])
    source = claimed(made(tmp_path / "a"), edge=edge, folders=folders)
    for moment in (0.0, 0.5, 0.9):
        now[0] = moment
        source.open().close()
    assert edge.opened == 1
    now[0] = 1.0
    source.open().close()
    assert edge.opened == 2
    folders.close()


def test_a_folder_replaced_by_another_of_its_name_is_looked_at_afresh_before_a_file_is_called_gone(
    tmp_path: Path,
) -> None:
    folders = Folders(EDGE)
    (tmp_path / "folder").mkdir()
    claimed(made(tmp_path / "folder" / "a"), folders=folders).open().close()
    (tmp_path / "folder").rename(tmp_path / "old")
    (tmp_path / "folder").mkdir()
    claimed(made(tmp_path / "folder" / "b"), folders=folders).open().close()
    with pytest.raises(FileVanished):
        claimed(tmp_path / "folder" / "b", name=b"a", folders=folders).open()
    folders.close()


def test_an_idle_cache_holds_no_folder(tmp_path: Path) -> None:
    now = [0.0]
    folders = Folders(EDGE, clock=lambda: now[0])
    claimed(made(tmp_path / "a"), folders=folders).open().close()
    now[0] = 1.0
    folders.expire()  # the fixture sees that nothing is open


def test_few_folders_are_kept_however_many_are_claimed_from(tmp_path: Path) -> None:
    folders = Folders(EDGE, capacity=2)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(10):
        (tmp_path / str(number)).mkdir()
        claimed(made(tmp_path / str(number) / "a"), folders=folders).open().close()
    assert len(os.listdir("/proc/self/fd")) == before + 2
    folders.close()


def test_threads_share_folders_without_closing_them_under_each_other(tmp_path: Path) -> None:
    folders = Folders(EDGE, capacity=1, max_age_seconds=0.0)
    sources = []
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        sources.append(claimed(made(tmp_path / str(number) / "a"), folders=folders))
    failures: list[BaseException] = []

    def claim_all() -> None:
        try:
            for _ in range(100):
                for source in sources:
                    source.open().close()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=claim_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    folders.close()
