"""requirements_dev.txt, from which a clone can be tested with pip alone."""

from __future__ import annotations

from pathlib import Path

from component_build.pins import read_pins

_ROOT = Path(__file__).parents[3]


def test_what_a_developer_installs_is_what_make_installs() -> None:
    lines = (_ROOT / "requirements_dev.txt").read_text(encoding="utf-8").splitlines()

    assert [line for line in lines if not line.startswith("#")] == ["-r requirements/dev.txt"]


def test_each_of_it_is_pinned_with_hashes() -> None:
    names = {pin.name for pin in read_pins(str(_ROOT / "requirements" / "dev.txt"))}

    assert {"pytest", "msgspec", "awscrt", "stream-manager", "awsiotsdk"} <= names
