"""Aliases: what is handed over can be read in one way only, and leads to the file."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.errors import ConfigurationError
from s3_file_uploader.transport.stream_manager.aliases import Aliases, alias_folder, is_safe

if TYPE_CHECKING:
    from pathlib import Path

ODD = [
    b"a b",
    b"a%41",
    b"%2e%2e",
    b"a#b",
    b"a?b",
    b"a;b",
    b"a:b",
    b"a+b",
    b"\xff\xfe",
    "größe".encode(),
    b"a\nb",
    b"~",
]
ODD += [b"a\\b", b"[a]", b"'", b'"', b"a&b", b"a=b", b"!{x:y}"]


@pytest.fixture
def aliases(tmp_path: Path) -> Aliases:
    return Aliases(alias_folder(str(tmp_path / "state"), "name"))


def make(folder: Path, name: bytes, content: bytes = b"content") -> bytes:
    path = os.path.join(os.fsencode(folder), name)
    with open(path, "wb") as file:
        file.write(content)
    return path


def readings(url: str) -> set[str]:
    """What servers might take a URL for: as it stands, decoded, parsed, parsed and decoded."""
    assert url.startswith("file:///")
    parsed = urlsplit(url)
    return {
        url.removeprefix("file://"),
        unquote(url).removeprefix("file://"),
        parsed.path,
        unquote(parsed.path),
    }


@pytest.mark.parametrize("name", ODD)
def test_a_file_with_an_odd_name_is_found_however_the_url_is_read(
    tmp_path: Path, aliases: Aliases, name: bytes
) -> None:
    path = make(tmp_path, name, name)
    [reading] = readings(aliases.url_for(path))
    with open(reading, "rb") as file:
        assert file.read() == name


def test_a_plain_path_is_handed_over_as_it_is_and_nothing_is_made(tmp_path: Path, aliases: Aliases) -> None:
    path = make(tmp_path, b"plain-1_2.csv")
    assert aliases.url_for(path) == f"file://{os.fsdecode(path)}"
    aliases.release(path)
    assert os.path.exists(path)
    assert not (tmp_path / "state").exists()


@given(st.binary(min_size=1, max_size=200).filter(lambda name: b"\0" not in name))
def test_what_is_safe_has_one_reading(name: bytes) -> None:
    path = b"/data/" + name
    if is_safe(path):
        assert readings("file://" + path.decode()) == {path.decode()}
        assert os.path.normpath(path) == path


@pytest.mark.parametrize("path", [b"/a//b", b"//a", b"/a/../b", b"/a/./b", b"/..", b"/a/", b"/", b"a"])
def test_a_path_that_somebody_might_resolve_is_not_safe(path: bytes) -> None:
    assert not is_safe(path)


def test_an_alias_is_the_same_after_a_restart_and_another_for_another_path(
    tmp_path: Path, aliases: Aliases
) -> None:
    one, other = make(tmp_path, b"a b"), make(tmp_path, b"a  b")
    first = aliases.url_for(one)
    assert Aliases(alias_folder(str(tmp_path / "state"), "name")).url_for(one) == first
    assert aliases.url_for(other) != first


def test_an_alias_keeps_the_ending(tmp_path: Path, aliases: Aliases) -> None:
    assert aliases.url_for(make(tmp_path, b"a b.csv")).endswith(".csv")
    assert "." not in os.path.basename(aliases.url_for(make(tmp_path, b"a.b c")))


def test_an_alias_is_on_the_disk_before_it_is_told(tmp_path: Path) -> None:
    synced: list[tuple[str, list[str]]] = []

    def fsync(descriptor: int) -> None:
        folder = os.readlink(f"/proc/self/fd/{descriptor}")
        synced.append((folder, os.listdir(descriptor)))

    folder = alias_folder(str(tmp_path / "state"), "name")
    url = Aliases(folder, fsync=fsync).url_for(make(tmp_path, b"a b"))
    assert synced[-1] == (folder, [os.path.basename(url)])
    assert (str(tmp_path / "state"), [os.path.basename(folder)]) in synced


def test_an_alias_that_leads_elsewhere_is_made_anew(tmp_path: Path, aliases: Aliases) -> None:
    path = make(tmp_path, b"a b", b"right")
    alias = aliases.url_for(path).removeprefix("file://")
    os.unlink(alias)
    os.symlink(make(tmp_path, b"wrong", b"wrong"), os.fsencode(alias))
    with open(aliases.url_for(path).removeprefix("file://"), "rb") as file:
        assert file.read() == b"right"


def test_a_released_alias_is_gone_and_the_file_is_not(tmp_path: Path, aliases: Aliases) -> None:
    path = make(tmp_path, b"a b")
    alias = aliases.url_for(path).removeprefix("file://")
    aliases.release(path)
    aliases.release(path)
    assert not os.path.lexists(alias)
    assert os.path.exists(path)


def test_sweeping_removes_the_aliases_of_files_that_are_gone_and_nothing_else(
    tmp_path: Path, aliases: Aliases
) -> None:
    assert aliases.sweep() == 0
    gone, here = make(tmp_path, b"a b"), make(tmp_path, b"c d")
    aliases.url_for(gone)
    kept = aliases.url_for(here).removeprefix("file://")
    os.unlink(gone)
    folder = alias_folder(str(tmp_path / "state"), "name")
    strange = os.path.join(folder, "notes.txt")
    os.symlink("/nowhere", strange)
    assert aliases.sweep() == 1
    assert sorted(os.listdir(folder)) == sorted([os.path.basename(kept), "notes.txt"])


def test_another_user_passes_through_the_folder_of_aliases_and_cannot_list_it(
    tmp_path: Path, aliases: Aliases
) -> None:
    aliases.url_for(make(tmp_path, b"a b"))
    mode = os.stat(alias_folder(str(tmp_path / "state"), "name")).st_mode
    assert stat.S_IMODE(mode) == 0o711


def test_a_state_directory_that_would_need_an_alias_itself_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="StateDirectory is '/var/my state'") as caught:
        Aliases(alias_folder("/var/my state", "name"))
    assert "StateDirectory" in caught.value.advice
