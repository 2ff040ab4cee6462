from __future__ import annotations

from s3_file_uploader.config.machine import files_in_flight


def test_a_small_machine_sends_fewer_files_at_once_and_none_more_than_256() -> None:
    assert files_in_flight(64 << 20) == 16
    assert files_in_flight(512 << 20) == 64
    assert files_in_flight(1 << 40) == 256


def test_this_machine_has_an_answer() -> None:
    assert 16 <= files_in_flight() <= 256
