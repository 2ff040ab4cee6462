"""The process dies before or after every single call, and again while it recovers: nothing is lost."""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.errors import RemovalFailed
from s3_file_uploader.model import Fingerprint
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.source.hidden import hidden_name
from s3_file_uploader.source.hiding import hidden_marker_name
from s3_file_uploader.source.intent import Conclusion, Outcome
from s3_file_uploader.source.recovery import adopt, recover
from support.edges import Crash, DyingEdge, NoFlagsEdge, NoLeaseEdge, NoSyncEdge, TwoDisksEdge
from support.removals import DELIVERED, HIDDEN, Removal
from support.writers import writer_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _descriptors() -> Iterator[None]:
    before = set(os.listdir("/proc/self/fd"))
    yield
    assert set(os.listdir("/proc/self/fd")) <= before


def append_late(removal: Removal) -> None:
    """Between the intent and the rename: the file is no longer what was delivered."""
    with removal.path.open("ab") as file:
        file.write(b" and late bytes")


def make_anew(removal: Removal) -> None:
    removal.path.unlink()
    removal.path.write_bytes(b"newer")


SCENARIOS: dict[str, Callable[[Path], Removal]] = {
    "plain": Removal,
    "marker": lambda folder: Removal(folder, marker=True),
    "link": lambda folder: Removal(folder, symlink=True),
    "no lease": lambda folder: Removal(folder, NoLeaseEdge()),
    "no lease, marker": lambda folder: Removal(folder, NoLeaseEdge(), marker=True),
    "no flags": lambda folder: Removal(folder, NoFlagsEdge(), marker=True),
    "archive": lambda folder: Removal(folder, NoSyncEdge(), archive=folder.parent / f"{folder.name}-archive"),
    "archive, no flags": lambda folder: Removal(
        folder, NoFlagsEdge(), archive=folder.parent / f"{folder.name}-archive"
    ),
    "archive elsewhere": lambda folder: Removal(
        folder, TwoDisksEdge(), marker=True, archive=folder.parent / f"{folder.name}-archive"
    ),
    "changed": lambda folder: Removal(folder, NoLeaseEdge(), marker=True, between=append_late),
    "made anew": lambda folder: Removal(folder, NoLeaseEdge(), between=make_anew),
}


def die(removal: Removal, at: int, *, is_after: bool) -> bool:
    """Remove and die at a call; False when there is no such call."""
    dying = DyingEdge(removal.edge, at, is_after=is_after)
    try:
        removal.remove(dying)
    except Crash:
        return True
    return False


def recovered(removal: Removal) -> Outcome | None:
    """Twice: the second time must say and change nothing new. None when no intent was committed."""
    if removal.intent is None:
        return None
    outcome = recover(removal.edge, removal.intent)
    before = snapshot(removal)
    again = recover(removal.edge, removal.intent)
    assert again.conclusion is outcome.conclusion
    assert snapshot(removal) == before
    return outcome


def snapshot(removal: Removal) -> list[tuple[str, int]]:
    return sorted((entry.name, entry.lstat().st_ino) for entry in removal.folder.iterdir())


def check_nothing_is_lost(removal: Removal, outcome: Outcome | None) -> None:
    assert removal.hidden_names() == []
    if removal.symlink:
        assert (removal.folder.parent / f"{removal.folder.name}-target").read_bytes() == DELIVERED
    contents = removal.contents()
    if removal.intent is not None and removal.between is append_late:
        assert contents == [DELIVERED + b" and late bytes"]
    elif removal.intent is not None and removal.between is make_anew:
        assert contents == [b"newer"]
    elif outcome is not None and outcome.conclusion is Conclusion.REMOVED:
        assert contents == []
        assert removal.archive is None or removal.archived() == [DELIVERED]
    else:
        assert contents == [DELIVERED]
    if removal.marker:
        assert removal.marker_path.exists() == bool(contents)


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("make", SCENARIOS.values(), ids=SCENARIOS)
def test_a_death_at_any_call_loses_nothing_and_leaves_nothing_hidden(
    tmp_path: Path, make: Callable[[Path], Removal], is_after: bool
) -> None:
    for at in count(1):
        removal = make(tmp_path / str(at))
        if not die(removal, at, is_after=is_after):
            break
        check_nothing_is_lost(removal, recovered(removal))
    assert at > 9


@pytest.mark.parametrize("make", SCENARIOS.values(), ids=SCENARIOS)
def test_a_second_death_at_any_call_of_the_recovery_loses_nothing(
    tmp_path: Path, make: Callable[[Path], Removal]
) -> None:
    seen: set[tuple[str, ...]] = set()
    for at in count(1):
        removal = make(tmp_path / str(at))
        if not die(removal, at, is_after=True):
            break
        # Calls that only look leave the disk as it was: once for each state of the disk is enough.
        state = names_on_disk(removal)
        if removal.intent is None or state in seen:
            continue
        seen.add(state)
        die_again_at_each_call(make, tmp_path, at)
    assert len(seen) > 1 or removal.between is not None


def names_on_disk(removal: Removal) -> tuple[str, ...]:
    places = [removal.folder] + ([removal.archive] if removal.archive and removal.archive.exists() else [])
    return tuple(
        f"{number}/{entry.relative_to(place)} {entry.lstat().st_size}"
        for number, place in enumerate(places)
        for entry in sorted(place.rglob("*"))
    )


def die_again_at_each_call(make: Callable[[Path], Removal], below: Path, at: int) -> None:
    for second in count(1):
        removal = make(below / f"{at}-{second}")
        assert die(removal, at, is_after=True)
        assert removal.intent is not None
        dying = DyingEdge(removal.edge, second, is_after=True)
        try:
            recover(dying, removal.intent)
        except Crash:
            check_nothing_is_lost(removal, recovered(removal))
        else:
            return


@pytest.mark.parametrize("name", ["plain", "marker", "link"])
def test_what_was_certain_before_the_death_and_still_is_gets_finished(tmp_path: Path, name: str) -> None:
    removal = SCENARIOS[name](tmp_path / "in")
    for at in count(1):
        removal = SCENARIOS[name](tmp_path / str(at))
        assert die(removal, at, is_after=True)
        if HIDDEN in removal.hidden_names():
            break
    outcome = recovered(removal)
    assert outcome is not None
    assert outcome.conclusion is Conclusion.REMOVED


def hidden_by_a_death(removal: Removal) -> None:
    prepared_at = next(at for at in count(1) if _hides(removal, at))
    assert prepared_at


def _hides(removal: Removal, at: int) -> bool:
    assert die(removal, at, is_after=True)
    return HIDDEN in removal.hidden_names()


def test_a_hidden_file_that_a_writer_has_open_gets_its_name_back(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    hidden_by_a_death(removal)
    with writer_process() as writer:
        writer.do("open", str(removal.folder / os.fsdecode(HIDDEN)))
        outcome = recovered(removal)
        assert outcome is not None
        assert outcome.conclusion is Conclusion.UNDONE
        writer.do("write", "more")
        assert removal.path.read_bytes() == DELIVERED + b"more"


def test_a_hidden_file_that_changed_while_we_were_dead_gets_its_name_back(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", marker=True)
    hidden_by_a_death(removal)
    with (removal.folder / os.fsdecode(HIDDEN)).open("ab") as file:
        file.write(b"more")
    outcome = recovered(removal)
    assert outcome is not None
    assert outcome.conclusion is Conclusion.UNDONE
    assert outcome.fingerprint == Fingerprint.of(removal.path.stat())
    assert removal.contents() == [DELIVERED + b"more"]
    assert removal.marker_path.exists()


def test_an_uncertain_hidden_file_never_replaces_a_newer_one_and_is_kept(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    hidden_by_a_death(removal)
    removal.path.write_bytes(b"newer")
    assert removal.intent is not None
    removal.intent = replace(removal.intent, leased=False)
    outcome = recovered(removal)
    assert outcome is not None
    assert outcome.conclusion is Conclusion.LEFT_HIDDEN
    assert removal.contents() == sorted([DELIVERED, b"newer"])
    removal.path.unlink()
    assert recover(removal.edge, removal.intent).conclusion is Conclusion.UNDONE
    assert removal.contents() == [DELIVERED]


def test_a_certain_hidden_file_is_removed_beside_a_newer_one_of_its_name(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in", marker=True)
    hidden_by_a_death(removal)
    removal.path.write_bytes(b"newer")
    removal.marker_path.unlink(missing_ok=True)
    removal.marker_path.write_bytes(b"newer done")
    outcome = recovered(removal)
    assert outcome is not None
    assert outcome.conclusion is Conclusion.REMOVED
    assert removal.contents() == [b"newer"]
    assert removal.marker_path.read_bytes() == b"newer done"


def test_a_folder_that_is_gone_is_not_an_error_and_a_closed_one_is(tmp_path: Path) -> None:
    class Closed(Edge):
        def open_folder(self, folder: bytes, base: bytes, follow_symlinks: bool) -> int:
            raise PermissionError

    removal = Removal(tmp_path / "in")
    hidden_by_a_death(removal)
    assert removal.intent is not None
    with pytest.raises(RemovalFailed):
        recover(Closed(), removal.intent)
    below = replace(removal.intent.target, base=os.fsencode(tmp_path))
    removal.folder.rename(tmp_path / "elsewhere")
    assert recover(Edge(), replace(removal.intent, target=below)).conclusion is Conclusion.GONE


def test_a_removal_below_a_disk_that_is_not_mounted_yet_is_neither_finished_nor_forgotten(
    tmp_path: Path,
) -> None:
    removal = Removal(tmp_path / "in")
    hidden_by_a_death(removal)
    assert removal.intent is not None
    removal.folder.rename(tmp_path / "unmounted")
    with pytest.raises(RemovalFailed, match="not there now"):
        recover(Edge(), removal.intent)
    (tmp_path / "unmounted").rename(removal.folder)
    assert recover(Edge(), removal.intent).conclusion in (Conclusion.REMOVED, Conclusion.UNDONE)


# -- the ledger is gone as well


def test_a_hidden_file_without_a_ledger_gets_a_name_that_is_free(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    hidden_by_a_death(removal)
    removal.path.write_bytes(b"newer")
    assert adopt(Edge(), removal.target, HIDDEN).conclusion is Conclusion.LEFT_HIDDEN
    found = replace(removal.target, name=b"found.csv")
    outcome = adopt(Edge(), found, HIDDEN)
    assert outcome.conclusion is Conclusion.UNDONE
    assert outcome.fingerprint == Fingerprint.of((removal.folder / "found.csv").stat())
    assert removal.contents() == sorted([DELIVERED, b"newer"])
    assert adopt(Edge(), found, HIDDEN).conclusion is Conclusion.GONE


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
def test_an_adopted_file_has_its_marker_whenever_we_died(tmp_path: Path, is_after: bool) -> None:
    for at in count(1):
        removal = Removal(tmp_path / str(at), marker=True)
        if not die(removal, at, is_after=is_after):
            break
        if HIDDEN in removal.hidden_names():
            removal.marker_path.unlink(missing_ok=True)
            found = replace(removal.target, name=b"found.csv", marker=b"found.csv.done")
            for name in sorted(removal.hidden_names()):
                adopt(Edge(), found, name)
            assert sorted(os.listdir(removal.folder)) == ["found.csv", "found.csv.done"]
        for name in removal.hidden_names():
            (removal.folder / os.fsdecode(name)).write_bytes(b"")
            assert adopt(Edge(), removal.target, name).conclusion is Conclusion.REMOVED
        assert removal.hidden_names() == []


def test_a_death_while_a_file_is_adopted_leaves_it_and_its_marker_to_the_next_time(tmp_path: Path) -> None:
    for at in count(1):
        removal = Removal(tmp_path / str(at), marker=True)
        removal.path.rename(removal.folder / os.fsdecode(HIDDEN))
        removal.marker_path.unlink()
        found = replace(removal.target, name=b"found.csv", marker=b"found.csv.done")
        try:
            adopt(DyingEdge(Edge(), at, is_after=True), found, HIDDEN)
        except Crash:
            assert removal.contents() != []
        else:
            break


def test_a_hidden_marker_with_content_or_with_its_file_is_left_alone(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    marker = hidden_marker_name(HIDDEN)
    (removal.folder / os.fsdecode(marker)).write_bytes(b"content")
    assert adopt(Edge(), removal.target, marker).conclusion is Conclusion.LEFT_HIDDEN
    (removal.folder / os.fsdecode(marker)).write_bytes(b"")
    (removal.folder / os.fsdecode(HIDDEN)).write_bytes(b"data")
    assert adopt(Edge(), removal.target, marker).conclusion is Conclusion.LEFT_HIDDEN


def test_a_hidden_name_that_is_no_file_is_left_alone(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    folder = hidden_name("0123abcd", 8)
    (removal.folder / os.fsdecode(folder)).mkdir()
    assert adopt(Edge(), removal.target, folder).conclusion is Conclusion.LEFT_HIDDEN


def test_a_file_that_has_both_names_since_a_death_keeps_its_own(tmp_path: Path) -> None:
    removal = Removal(tmp_path / "in")
    hidden_by_a_death(removal)
    os.link(removal.folder / os.fsdecode(HIDDEN), removal.path)
    outcome = recovered(removal)
    assert outcome is not None
    assert outcome.conclusion is Conclusion.UNDONE
    assert os.listdir(removal.folder) == ["data.csv"]
