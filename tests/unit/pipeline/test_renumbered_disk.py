"""A disk that got another device number, after a reboot or a replug: hash again, do not send again."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from s3_file_uploader.ledger import Ledger
from s3_file_uploader.source.edge import Edge
from s3_file_uploader.transport.fake import FakeTransport
from s3_file_uploader.transport.s3.crt import crc64nvme, encode_crc64
from support.pipelines import drain, rule, running, settings, until

if TYPE_CHECKING:
    from pathlib import Path

    from s3_file_uploader.config import Settings
    from s3_file_uploader.pipeline import Uploader


class _ReadOnly(Edge):
    def rename_noreplace(self, from_fd: int, old: bytes, to_fd: int, new: bytes) -> None:
        raise OSError(30, os.strerror(30))


def _renumber(made: Settings, content: bytes) -> None:
    """As after a reboot: the ledger's device number is an old one. The receipt is one that S3 gives."""
    ledger = Ledger.open(made.state_directory, made.name)
    ledger.connection.execute(
        "UPDATE file SET device = device + 1000, due_at = NULL, checksum = ?",
        (f"crc64nvme:{encode_crc64(crc64nvme(content))}",),
    )
    ledger.close()


def test_a_delivered_file_that_was_not_removed_yet_is_removed_and_not_sent_again(
    folder: Path, tmp_path: Path
) -> None:
    (folder / "a").write_bytes(b"content")
    made, transport = settings(tmp_path / "state", rule(folder, active_file="none")), FakeTransport()
    asyncio.run(drain(made, transport, edge=_ReadOnly()))
    _renumber(made, b"content")

    async def scenario(uploader: Uploader) -> None:
        await until(lambda: not os.listdir(folder), "its removal")

    asyncio.run(running(made, FakeTransport(puts=transport.puts), scenario))
    assert transport.puts == ["a"]


def test_kept_files_are_hashed_one_after_the_other_and_not_sent_again(folder: Path, tmp_path: Path) -> None:
    for number in range(30):
        (folder / f"{number}").write_bytes(b"content")
    made = settings(tmp_path / "state", rule(folder, active_file="none", after_upload="keep"))
    transport = FakeTransport()
    asyncio.run(drain(made, transport))
    _renumber(made, b"content")
    summary = asyncio.run(drain(made, FakeTransport(puts=transport.puts)))
    assert (len(transport.puts), summary.delivered) == (30, 0)


def test_a_kept_file_whose_content_is_another_is_sent_again(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_bytes(b"content")
    made = settings(tmp_path / "state", rule(folder, active_file="none", after_upload="keep"))
    transport = FakeTransport()
    asyncio.run(drain(made, transport))
    _renumber(made, b"another")
    asyncio.run(drain(made, FakeTransport(puts=transport.puts)))
    assert transport.puts == ["a", "a"]


def _move(one: Path, to: Path) -> None:
    for path in list(one.iterdir()):
        path.rename(to / path.name)


@pytest.mark.parametrize("is_other_disk", [True, False])
def test_an_empty_mount_point_does_not_have_kept_files_forgotten_and_sent_again(
    folder: Path, tmp_path: Path, is_other_disk: bool
) -> None:
    """What stands where the disk was is another device, without a file."""
    (folder / "a").write_bytes(b"content")
    (tmp_path / "disk").mkdir()
    made = settings(tmp_path / "state", rule(folder, active_file="none", after_upload="keep"))
    transport = FakeTransport()
    asyncio.run(drain(made, transport))
    _move(folder, tmp_path / "disk")
    if is_other_disk:
        _renumber(made, b"content")
    asyncio.run(drain(made, FakeTransport(puts=transport.puts)))
    ledger = Ledger.open(made.state_directory, made.name)
    kept = ledger.connection.execute("SELECT count(*) FROM file").fetchone()
    ledger.close()
    assert kept == (1 if is_other_disk else 0,)
