"""A removal that could not be undone, because its name was used again: the newer content keeps the key."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from s3_file_uploader.ledger import Endings, Ledger, Sightings
from s3_file_uploader.pipeline import upkeep
from s3_file_uploader.source.hidden import hidden_name, is_hidden
from s3_file_uploader.transport.fake import FakeTransport
from support.pipelines import drain, rule, running, settings, until

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from s3_file_uploader.pipeline import Uploader


def leave_hidden(folder: Path, state: Path) -> None:
    """As a crash leaves it: older content hidden and in doubt, newer content under its name."""
    (folder / "a.csv").write_bytes(b"older")
    one = rule(folder, path_name=str(folder / "*.csv"), active_file="none", after_upload="keep")
    asyncio.run(drain(settings(state, one), FakeTransport()))
    ledger = Ledger.open(str(state), "test")
    with ledger.transaction():
        ledger.register_rules(["default"])
        (entry,) = Sightings(ledger).find(ledger.rule_ids["default"], os.fsencode(folder), [b"a.csv"])
        intent = Endings(ledger).intend(entry, "default", leased=False, details={"base": str(folder)})
    os.rename(folder / "a.csv", os.fsencode(folder) + b"/" + hidden_name(ledger.tag, intent.id))
    (folder / "a.csv").write_bytes(b"newer")
    ledger.close()


def test_older_content_stays_hidden_where_the_pattern_has_no_room_for_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "_ROUND_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "_ROUNDS_PER_TIDY", 1)
    folder, state = tmp_path / "data", tmp_path / "state"
    folder.mkdir()
    leave_hidden(folder, state)
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: not (folder / "a.csv").exists(), "the newer file's removal")
        await asyncio.sleep(0.5)  # several rounds in which its name would be free

    one = rule(folder, path_name=str(folder / "a.csv"), active_file="none")
    asyncio.run(running(settings(state, one), transport, scenario))
    assert transport.objects == {"a.csv": b"newer"}
    (left,) = folder.iterdir()
    assert is_hidden(os.fsencode(left.name))
    assert left.read_bytes() == b"older"


def test_older_content_never_follows_newer_content_to_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s3_file_uploader.pipeline.recovery._OURS_AFTER_SECONDS", 0.3)
    folder, state = tmp_path / "data", tmp_path / "state"
    folder.mkdir()
    leave_hidden(folder, state)
    transport = FakeTransport()

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: len(transport.objects) > 1, "both contents")
        await until(lambda: not os.listdir(folder), "their removal")

    one = rule(folder, path_name=str(folder / "*.csv"), active_file="none")
    asyncio.run(running(settings(state, one), transport, scenario))
    assert transport.objects.pop("a.csv") == b"newer"
    assert list(transport.objects.values()) == [b"older"]
    assert all(key.startswith("recovered-") for key in transport.objects)
    assert not [name for name in os.listdir(os.fsencode(folder)) if is_hidden(name)]
