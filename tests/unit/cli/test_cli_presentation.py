"""Numbers and times as people read them, and the lines that a drain ends with."""

from __future__ import annotations

import signal

import pytest

from s3_file_uploader.cli.drain_command import exit_code_of, summary_lines
from s3_file_uploader.cli.exit_codes import ExitCode
from s3_file_uploader.cli.presentation import columns, duration, files, iso_moment, moment, rate, size
from s3_file_uploader.cli.progress import plain_line
from s3_file_uploader.errors import Misconfigured, Unreachable
from s3_file_uploader.pipeline.progress import Progress, Summary


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (12_345, "12.3 kB"),
        (123_456, "123 kB"),
        (999_999, "1.0 MB"),
        (5 * 10**12, "5.0 TB"),
        (5 * 10**16, "50000 TB"),
    ],
)
def test_sizes_have_about_three_digits(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (-3, "0 s"),
        (1.26, "1.3 s"),
        (42.4, "42 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (3599.7, "1 h"),
        (3900, "1 h 5 min"),
        (90_000, "1 d 1 h"),
        (86_400 * 400, "400 d"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_counts_rates_and_moments() -> None:
    assert (files(0), files(1), files(12_345)) == ("0 files", "1 file", "12 345 files")
    assert (rate(5_000_000, 2), rate(1, 0)) == ("2.5 MB/s", "-")
    assert moment(0) == "1970-01-01 00:00:00Z"
    assert iso_moment(1.5) == "1970-01-01T00:00:01.500Z"
    assert iso_moment(None) is None


def test_columns_are_aligned() -> None:
    assert columns([("a", "1"), ("bcd", "20")], right=(1,)) == ["a     1", "bcd  20"]


def test_a_plain_line_tells_files_bytes_rate_and_what_is_left() -> None:
    progress = Progress(files_found=40, bytes_found=4_000_000, files_done=10, bytes_done=1_000_000)

    assert plain_line(progress, 10.0) == "10 of 40 files, 1.0 MB of 4.0 MB, 100 kB/s, 30 s left"
    progress.bytes_sent = 2_000_000  # of files on their way, too
    assert plain_line(progress, 10.0) == "10 of 40 files, 2.0 MB of 4.0 MB, 200 kB/s, 10 s left"
    progress.bytes_sent = 9_000_000  # sent again after failures
    assert plain_line(progress, 10.0) == "10 of 40 files, 4.0 MB of 4.0 MB, 400 kB/s"
    assert plain_line(Progress(), 10.0) == "0 of 0 files, 0 B of 0 B, 0 B/s"


NOTHING_LEFT = Summary(delivered=3, delivered_bytes=3000, removed=3)


def test_a_drain_that_leaves_only_held_files_says_so_and_succeeds() -> None:
    reason = "newest in its folder; ActiveFileTimeout or --include-active sends it"
    summary = Summary(3, 3000, 3, held=[(b"/data/\xff.csv", reason)])

    assert summary_lines(summary, 2.0) == [
        "3 files delivered, 3.0 kB in 2 s, 1.5 kB/s; 3 removed",
        f"1 file held: {reason}",
        "  /data/\\xff.csv",
    ]
    assert exit_code_of(summary, 0) == ExitCode.DONE


def test_a_drain_that_found_no_file_at_all_names_the_pattern() -> None:
    assert summary_lines(Summary(0, 0, 0, unmatched=["/data/*.csv"]), 1.0)[1:] == [
        "no file matches /data/*.csv"
    ]


@pytest.mark.parametrize("what", ["failed", "parked", "unremoved"])
def test_a_drain_that_leaves_failures_names_them_and_exits_with_1(what: str) -> None:
    listed = [(b"/data/%d" % number, "no such key") for number in range(7)]
    summary = Summary(0, 0, 0, **{what: listed})  # type: ignore[arg-type]  # the three have one type

    lines = summary_lines(summary, 1.0)

    assert exit_code_of(summary, 0) == ExitCode.SOME_FAILED
    assert any(line.startswith("7 files") and line.endswith("no such key") for line in lines)
    assert "  … and 2 more" in lines
    if what == "parked":
        assert lines[-1].startswith("Try: ")


def test_one_reason_is_told_once_however_many_files_it_names() -> None:
    removals = [(b"/data/%d" % number, f"/data/{number} cannot be removed: Read-only") for number in range(9)]
    parked = [
        (b"/d/%d" % number, f"PutObject s3://b/x: {number}/k: 403 KMS: no (request {number * 77})")
        for number in range(9)
    ]

    lines = summary_lines(Summary(0, 0, 0, unremoved=removals, parked=parked), 1.0)

    assert [line for line in lines if line.startswith("9 files")] == [
        "9 files parked: 403 KMS: no",
        "9 files delivered and not removed: cannot be removed: Read-only",
    ]
    assert len([line for line in lines if line.startswith("Try: ")]) == 2


def test_reasons_beyond_the_first_few_are_counted() -> None:
    parked = [(b"/data/%d" % number, f"reason {number}") for number in range(1000)]

    lines = summary_lines(Summary(0, 0, 0, parked=parked), 1.0)

    assert len(lines) < 20
    assert "995 files more parked, for other reasons: `s3-file-uploader list` names each" in lines


def test_a_failed_file_is_not_counted_as_waiting_once_more() -> None:
    lines = summary_lines(Summary(0, 0, 0, failed=[(b"/a", "x")], waiting=2), 1.0)

    assert lines[-1] == "1 file waiting: the next `drain` or `run` sends it"
    assert not any(
        "waiting" in line for line in summary_lines(Summary(0, 0, 0, failed=[(b"/a", "x")], waiting=1), 1.0)
    )


@pytest.mark.parametrize("error", [Unreachable("no connection"), Misconfigured("no such bucket")])
def test_a_drain_whose_destination_takes_nothing_exits_with_3_and_says_what_to_try(
    error: Unreachable | Misconfigured,
) -> None:
    summary = Summary(0, 0, 0, waiting=5, unreachable=error)

    lines = summary_lines(summary, 1.0)

    assert exit_code_of(summary, 0) == ExitCode.DESTINATION
    assert lines[-2:] == [f"5 files waiting; gave up: {error}", f"Try: {error.advice}"]


def test_the_exit_code_tells_a_stop_by_service_manager_from_ctrl_c() -> None:
    assert exit_code_of(NOTHING_LEFT, signal.SIGTERM) == ExitCode.DONE
    assert exit_code_of(NOTHING_LEFT, signal.SIGINT) == ExitCode.INTERRUPTED
    assert exit_code_of(NOTHING_LEFT, 0) == ExitCode.DONE
