from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import FileBusy, FileChanged, FileVanished, RemovalFailed, UploaderError
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.hiding import hidden_data_name, hidden_marker_name, is_hidden_marker
from s3_file_uploader.source.removal import Conclusion, Outcome, abandon, finish, prepare
from support.edges import InterruptedEdge, NoFlagsEdge, NoLeaseEdge
from support.other_owner import owned_folder, run_as_folder_owner
from support.removals import DELIVERED, HIDDEN, Removal
from support.writers import writer_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    """Everything is closed on every path."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


EDGES = [Edge(), NoLeaseEdge(), NoFlagsEdge()]


@pytest.fixture(params=EDGES, ids=lambda edge: type(edge).__name__)
def edge(request: pytest.FixtureRequest) -> Edge:
    chosen = request.param
    assert isinstance(chosen, Edge)
    return chosen


def test_a_delivered_file_that_is_unchanged_goes(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge)
    assert removal.remove() == Outcome(Conclusion.REMOVED)
    assert os.listdir(removal.folder) == []


def test_a_lease_is_kept_where_one_is_to_be_had(tmp_path: Path) -> None:
    for name, edge, leased in (("own", Edge(), True), ("foreign", NoLeaseEdge(), False)):
        prepared = prepare(edge, Removal(tmp_path / name).target)
        assert prepared.leased is leased
        assert prepared.intent(HIDDEN).leased is leased
        abandon(prepared)
        abandon(prepared)


def test_an_abandoned_file_is_as_it_was_and_open_to_writers(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge)
    abandon(prepare(edge, removal.target))
    os.close(os.open(removal.path, os.O_WRONLY | os.O_NONBLOCK))
    assert Fingerprint.of(removal.path.stat()) == removal.target.fingerprint


def test_a_file_that_changed_since_it_was_delivered_is_not_prepared(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge)
    with removal.path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(FileChanged):
        prepare(edge, removal.target)


def test_another_file_of_that_name_is_not_prepared(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge)
    removal.path.unlink()
    with pytest.raises(FileVanished):
        prepare(edge, removal.target)
    removal.path.symlink_to(tmp_path)
    with pytest.raises(FileChanged):
        prepare(edge, removal.target)
    removal.path.unlink()
    os.mkfifo(removal.path)
    with pytest.raises(FileChanged):
        prepare(edge, removal.target)


def test_a_file_that_somebody_has_open_for_writing_is_not_prepared(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    with writer_process() as writer:
        writer.do("open", str(removal.path))
        with pytest.raises(FileBusy):
            removal.remove()
        writer.do("map")
        writer.do("close")
        with pytest.raises(FileBusy):
            removal.remove()
        writer.do("unmap")
        assert removal.remove().conclusion is Conclusion.REMOVED


def test_a_writer_that_comes_between_prepare_and_finish_keeps_its_file(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    with writer_process() as writer:
        prepared = prepare(Edge(), removal.target)
        writer.start("open", str(removal.path))
        while prepared.edge.get_lease(prepared.descriptor) == 0:
            os.sched_yield()
        outcome = finish(prepared, HIDDEN)
        assert outcome.conclusion is Conclusion.UNDONE
        assert "about to write" in outcome.reason
        writer.wait()
        writer.do("write", "and more")
        assert removal.path.read_bytes() == DELIVERED + b"and more"


def test_a_writer_that_waits_when_the_file_is_hidden_already_gets_it_back(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    with writer_process() as writer:

        class WriterComesWithTheRename(Edge):
            def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
                if new == HIDDEN:
                    writer.start("open", str(removal.path))
                    while self.get_lease(prepared.descriptor) == 0:
                        os.sched_yield()
                super().rename_noreplace(from_fd, old, to_fd, new)

        prepared = prepare(WriterComesWithTheRename(), removal.target)
        outcome = finish(prepared, HIDDEN)
        assert outcome.conclusion is Conclusion.UNDONE
        assert outcome.fingerprint == Fingerprint.of(removal.path.stat())
        writer.wait()
        writer.do("write", "and more")
        assert removal.path.read_bytes() == DELIVERED + b"and more"


def test_bytes_from_a_descriptor_that_was_open_all_along_are_not_lost_without_a_lease(
    tmp_path: Path,
) -> None:
    with writer_process() as writer:
        removal = Removal(tmp_path / "in", NoLeaseEdge())
        writer.do("open", str(removal.path))
        removal.between = lambda _: writer.do("write", "late bytes")
        assert removal.remove().conclusion is Conclusion.UNDONE
        assert removal.path.read_bytes() == DELIVERED + b"late bytes"


def test_a_change_whose_times_were_put_back_is_seen_before_the_file_is_hidden(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", NoLeaseEdge())

    def tamper(removal: Removal) -> None:
        removal.path.write_bytes(b"x" * len(DELIVERED))
        os.utime(removal.path, ns=(0, removal.target.fingerprint.mtime_ns))

    removal.between = tamper
    assert removal.remove().conclusion is Conclusion.UNDONE
    assert removal.contents() == [b"x" * len(DELIVERED)]


def test_a_file_that_somebody_else_removed_meanwhile_is_gone(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge, between=lambda removal: removal.path.unlink())
    outcome = removal.remove()
    # Its ctime moved with its last name, so the look before the rename already has its doubts.
    assert outcome.conclusion in (Conclusion.GONE, Conclusion.UNDONE)
    assert os.listdir(removal.folder) == []


def test_a_name_made_anew_while_its_file_is_hidden_is_never_overwritten(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge)

    class NameTaken(Edge):
        def __getattribute__(self, name: str) -> object:
            return object.__getattribute__(self, name) if name == "unlink" else getattr(edge, name)

        def unlink(self, folder_fd: int, name: bytes) -> None:
            removal.path.write_bytes(b"newer")
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    outcome = removal.remove(NameTaken())
    assert outcome.conclusion is Conclusion.LEFT_HIDDEN
    assert "newer file has its name" in outcome.reason
    assert removal.path.read_bytes() == b"newer"
    assert (removal.folder / os.fsdecode(HIDDEN)).read_bytes() == DELIVERED


def test_a_file_stays_hidden_where_it_cannot_be_put_back_without_the_risk_of_overwriting(
    tmp_path: Path,
) -> None:
    class NoLinks(NoFlagsEdge):
        def link(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

        def unlink(self, folder_fd: int, name: bytes) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    removal = Removal(tmp_path / "in", NoLinks())
    outcome = removal.remove()
    assert outcome.conclusion is Conclusion.LEFT_HIDDEN
    assert "risk of overwriting" in outcome.reason
    assert (removal.folder / os.fsdecode(HIDDEN)).read_bytes() == DELIVERED


def test_a_hidden_name_that_is_in_use_is_never_overwritten(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge)
    (removal.folder / os.fsdecode(HIDDEN)).write_bytes(b"someone's")
    with pytest.raises(RemovalFailed):
        removal.remove()
    assert removal.contents() == sorted([DELIVERED, b"someone's"])


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "write and execute permission"),
        (errno.EPERM, "immutable"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "check"),
    ],
)
def test_a_refused_removal_names_the_missing_right_and_leaves_the_file_as_it_was(
    tmp_path: Path, number: int, advice: str
) -> None:
    class Refusing(Edge):
        def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
            raise OSError(number, os.strerror(number))

    removal = Removal(tmp_path / "in", Refusing())
    with pytest.raises(RemovalFailed, match=os.strerror(number)) as caught:
        removal.remove()
    assert advice in caught.value.advice
    assert caught.value.fingerprint == removal.target.fingerprint
    assert Fingerprint.of(removal.path.stat()) == removal.target.fingerprint


def test_a_refused_unlink_puts_the_file_back_and_tells_its_new_ctime(tmp_path: Path) -> None:
    class NoUnlink(Edge):
        def unlink(self, folder_fd: int, name: bytes) -> None:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    removal = Removal(tmp_path / "in", NoUnlink(), marker=True)
    with pytest.raises(RemovalFailed) as caught:
        removal.remove()
    assert caught.value.fingerprint == Fingerprint.of(removal.path.stat())
    assert sorted(os.listdir(removal.folder)) == ["data.csv", "data.csv.done"]


def test_a_folder_without_rights_is_an_error_that_names_them(tmp_path: Path) -> None:
    class Closed(Edge):
        def open_folder(self, folder: bytes, base: bytes, follow_symlinks: bool) -> int:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    with pytest.raises(RemovalFailed) as caught:
        prepare(Closed(), Removal(tmp_path / "in").target)
    assert "permission" in caught.value.advice


# -- links followed by choice


def test_only_the_link_is_removed_never_its_target(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge, symlink=True)
    assert removal.remove().conclusion is Conclusion.REMOVED
    assert os.listdir(removal.folder) == []
    assert (tmp_path / "in-target").read_bytes() == DELIVERED


def retarget(path: Path) -> None:
    path.write_bytes(b"other")


def test_a_link_whose_target_changed_stays(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", NoLeaseEdge(), symlink=True)
    removal.between = lambda _: retarget(tmp_path / "in-target")
    assert removal.remove().conclusion is Conclusion.UNDONE
    assert removal.path.is_symlink()


def test_a_link_that_became_a_file_and_a_file_that_became_a_link_are_changed(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", symlink=True)
    removal.path.unlink()
    os.link(tmp_path / "in-target", removal.path)
    with pytest.raises(FileChanged):
        removal.remove()


# -- done markers


def test_the_done_marker_goes_with_its_file(tmp_path: Path, edge: Edge) -> None:
    removal = Removal(tmp_path / "in", edge, marker=True)
    assert removal.remove() == Outcome(Conclusion.REMOVED)
    assert os.listdir(removal.folder) == []


def test_the_name_of_the_marker_is_free_before_the_data_is_unlinked(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", marker=True)
    seen: list[bool] = []

    class Looking(Edge):
        def unlink(self, folder_fd: int, name: bytes) -> None:
            if name == HIDDEN:
                seen.append(removal.marker_path.exists())
            super().unlink(folder_fd, name)

    removal.remove(Looking())
    assert seen == [False]


def test_the_marker_of_a_newer_file_of_the_same_name_is_never_taken(tmp_path: Path, edge: Edge) -> None:
    """Whenever the producer writes the next file and its marker, it keeps both."""
    at = 0
    while True:
        at += 1
        removal = Removal(tmp_path / str(at), edge, marker=True)

        def write_next(removal: Removal = removal) -> None:
            for path, content in ((removal.path, b"next"), (removal.marker_path, b"next done")):
                temporary = removal.folder / "temporary.done"
                temporary.write_bytes(content)
                temporary.rename(path)

        interrupted = InterruptedEdge(edge, at, write_next)
        with contextlib.suppress(UploaderError):
            removal.remove(interrupted)
        if interrupted.calls < at:
            break
        assert removal.path.read_bytes() == b"next", interrupted.log[:at]
        assert removal.marker_path.read_bytes() == b"next done", interrupted.log[:at]


def test_a_marker_is_hidden_under_a_name_that_is_ours_and_never_mistaken_for_data() -> None:
    marker = hidden_marker_name(HIDDEN)
    assert len(marker) == len(HIDDEN)
    assert is_hidden_marker(marker)
    assert not is_hidden_marker(HIDDEN)
    assert hidden_data_name(marker) == HIDDEN
    for name in (marker, b"data.csv"):
        with pytest.raises(ValueError, match="not the hidden name"):
            hidden_marker_name(name)


# -- a producer that acts before any single step


def rename_over(removal: Removal) -> None:
    temporary = removal.folder.parent / "temporary"
    temporary.write_bytes(b"newer")
    temporary.rename(removal.path)


def append_by_name(removal: Removal) -> None:
    """As a producer that cannot wait: it tries again later where the lease holds it up."""
    try:
        descriptor = os.open(removal.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK)
    except BlockingIOError:
        return
    os.write(descriptor, b"newer")
    os.close(descriptor)


def delete_and_create(removal: Removal) -> None:
    removal.path.unlink(missing_ok=True)
    removal.path.write_bytes(b"newer")


@pytest.mark.parametrize("act", [rename_over, append_by_name, delete_and_create])
def test_a_producer_may_act_before_any_step_and_loses_nothing(
    tmp_path: Path, edge: Edge, act: Callable[[Removal], None]
) -> None:
    at = 0
    while True:
        at += 1
        removal = Removal(tmp_path / str(at), edge)
        interrupted = InterruptedEdge(edge, at, lambda removal=removal: act(removal))  # type: ignore[misc]  # a default binds the loop's value
        outcome: Outcome | None = None
        with contextlib.suppress(FileChanged, FileVanished, FileBusy):
            outcome = removal.remove(interrupted)
        if interrupted.calls < at:
            assert outcome == Outcome(Conclusion.REMOVED)
            break
        contents = b"".join(removal.contents())
        held_up = act is append_by_name and not isinstance(edge, NoLeaseEdge) and b"newer" not in contents
        if held_up:
            assert outcome is None or outcome.conclusion is not Conclusion.REMOVED, interrupted.log[:at]
            assert removal.path.read_bytes() == DELIVERED
        else:
            assert b"newer" in contents, interrupted.log[:at]
        if removal.hidden_names():
            assert outcome is not None
            assert outcome.conclusion is Conclusion.LEFT_HIDDEN


# -- as the owner of the folder, not of the files


def test_the_owner_of_the_folder_but_not_of_the_files_removes_what_is_unchanged() -> None:
    with owned_folder() as folder:
        for name in ("unchanged", "changed"):
            (folder / name).write_bytes(DELIVERED)
            (folder / name).chmod(0o666)
        answered = run_as_folder_owner(
            folder,
            """
answers = {}
for identifier, name in enumerate((b"unchanged", b"changed")):
    prepared = prepare(edge, Target(folder, folder, name, fingerprint(name)))
    answers["leased"] = prepared.leased
    if name == b"changed":
        open(os.path.join(folder, name), "a").write("more")
    outcome = finish(prepared, b".s3fu-%024x" % identifier)
    answers[name.decode()] = outcome.conclusion.value
answer(**answers)
""",
        )
        assert answered == {"leased": False, "unchanged": "removed", "changed": "undone"}
        assert os.listdir(folder) == ["changed"]
        assert (folder / "changed").read_bytes() == DELIVERED + b"more"


def test_what_the_owner_of_the_folder_but_not_of_the_files_left_in_a_crash_is_put_back() -> None:
    with owned_folder() as folder:
        (folder / "data.csv").write_bytes(DELIVERED)
        (folder / "data.csv").chmod(0o644)
        answered = run_as_folder_owner(
            folder,
            """
prepared = prepare(edge, Target(folder, folder, b"data.csv", fingerprint(b"data.csv")))
intent = prepared.intent(b".s3fu-%024x" % 1)
os.rename(prepared.target.path, os.path.join(folder, intent.hidden))
abandon(prepared)
answer(outcome=recover(edge, intent).conclusion.value)
""",
        )
        assert answered == {"outcome": "undone"}
        assert (folder / "data.csv").read_bytes() == DELIVERED


def test_a_sticky_folder_of_somebody_elses_is_named_as_the_reason() -> None:
    """A real refusal as root's other user; the same refusal from the edge for anybody else."""
    with owned_folder() as folder:
        (folder / "data.csv").write_bytes(DELIVERED)
        if os.geteuid() == 0:
            os.chown(folder, 0, 0)
        folder.chmod(0o1777)
        answered = run_as_folder_owner(
            folder,
            """
if sys.argv[2] == "same user":
    def refuse(*names):
        raise PermissionError(1, "Operation not permitted")
    edge.rename_noreplace = refuse
prepared = prepare(edge, Target(folder, folder, b"data.csv", fingerprint(b"data.csv")))
try:
    finish(prepared, b".s3fu-%024x" % 1)
except RemovalFailed as error:
    answer(advice=error.advice)
""",
        )
        assert "sticky bit" in answered["advice"]
        assert (folder / "data.csv").read_bytes() == DELIVERED


# -- each look on its own


def test_a_file_renamed_over_while_it_is_prepared_is_changed(tmp_path: Path) -> None:
    class Renaming(Edge):
        def stat_at(self, folder_fd: int, name: bytes) -> os.stat_result:
            rename_over(removal)
            return super().stat_at(folder_fd, name)

    class KeepsCtime(Renaming):
        """The rename over it is seen by nothing but the name: ctime is that of the first look."""

        def fstat(self, descriptor: int) -> os.stat_result:
            return before

    removal = Removal(tmp_path / "in")
    before = removal.path.stat()
    with pytest.raises(FileChanged, match="another file"):
        prepare(KeepsCtime(), removal.target)
    assert removal.contents() == [b"newer"]


def test_bytes_that_come_while_the_marker_is_hidden_are_not_lost(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", marker=True)
    with writer_process() as writer:
        writer.do("open", str(removal.path))
        removal.target = dataclasses.replace(removal.target, fingerprint=Fingerprint.of(removal.path.stat()))

        class Appending(NoLeaseEdge):
            def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
                super().rename_noreplace(from_fd, old, to_fd, new)
                if new == hidden_marker_name(HIDDEN):
                    writer.do("write", "late bytes")

        assert removal.remove(Appending()).conclusion is Conclusion.UNDONE
    assert removal.path.read_bytes() == DELIVERED + b"late bytes"
    assert removal.marker_path.exists()
