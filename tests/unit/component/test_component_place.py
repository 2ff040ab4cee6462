"""Which environments stay in the component's work folder, and which go."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from component_install.place import COMPLETE, IN_USE, Place
from component_install.refusal import Refusal


@pytest.fixture
def place(tmp_path: Path) -> Place:
    place = Place(str(tmp_path / "work"))
    place.prepare()
    return place


def _put(place: Place, name: str, *, is_complete: bool = True) -> None:
    """What an installation leaves there."""
    os.makedirs(os.path.dirname(place.python(name)))
    for file in [place.python(name), os.path.join(place.environment(name), IN_USE)]:
        Path(file).touch()
    if is_complete:
        Path(place.environment(name), COMPLETE).touch()
        place.note(name)


def _names(place: Place) -> list[str]:
    return sorted(name for name in os.listdir(place.environments) if not name.startswith("."))


def test_the_environment_before_the_own_one_stays_for_a_rollback(place: Place) -> None:
    for name in ("a", "b", "c"):
        _put(place, name)

    place.tidy("c")

    assert _names(place) == ["b", "c"]


def test_after_a_rollback_it_is_the_one_that_ran_and_not_the_one_that_was_made_last(place: Place) -> None:
    for name in ("good", "bad"):
        _put(place, name)
    place.note("good")  # started once more
    _put(place, "next")

    place.tidy("next")

    assert _names(place) == ["good", "next"]


def test_an_older_version_that_starts_once_more_keeps_what_was_just_installed(place: Place) -> None:
    for name in ("older", "old", "new"):
        _put(place, name)

    place.tidy("old")

    assert _names(place) == ["new", "old"]


def test_what_is_not_complete_never_counts_as_the_one_before(place: Place) -> None:
    _put(place, "a")
    _put(place, "half", is_complete=False)
    _put(place, "b")

    place.tidy("b")

    assert _names(place) == ["a", "b"]


def test_an_environment_in_which_a_process_runs_stays(place: Place) -> None:
    for name in ("a", "b", "c"):
        _put(place, name)
    with open(os.path.join(place.environment("a"), IN_USE), encoding="utf-8") as used:
        fcntl.flock(used, fcntl.LOCK_SH)
        place.tidy("c")
        assert _names(place) == ["a", "b", "c"]

    place.tidy("c")

    assert _names(place) == ["b", "c"]


def test_nothing_is_removed_while_an_installation_is_at_work(place: Place) -> None:
    for name in ("a", "b", "c"):
        _put(place, name)
    os.mkdir(place.environment(".new-1"))

    with place.lock(lambda: None):
        place.tidy("c")

    assert _names(place) == ["a", "b", "c"]
    assert os.path.isdir(place.environment(".new-1"))


def test_what_a_killed_installation_left_goes(place: Place) -> None:
    _put(place, "a")
    for left in (".new-1", ".old-b"):
        os.makedirs(place.environment(f"{left}/lib"))

    place.tidy("a")

    assert sorted(os.listdir(place.environments)) == [".lock", ".order", "a"]


def test_an_environment_that_lost_its_python_is_not_complete(place: Place) -> None:
    _put(place, "a")
    os.unlink(place.python("a"))

    assert not place.is_complete("a")


def test_another_installation_that_never_ends_is_named(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("component_install.place._PATIENCE_SECONDS", 0.0)
    waited: list[bool] = []

    with (
        place.lock(lambda: None),
        pytest.raises(Refusal, match=r"another installation holds .*\. Try: end that process"),
        place.lock(lambda: waited.append(True)),
    ):
        pass

    assert waited == [True]
