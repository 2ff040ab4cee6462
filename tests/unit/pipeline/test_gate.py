"""The gate before a destination: pauses, probes, suspects, slowing down."""

from __future__ import annotations

import pytest

from s3_file_uploader.errors import (
    AccessDenied,
    DeliveryError,
    FileBusy,
    FileChanged,
    FileVanished,
    Interrupted,
    Misconfigured,
    Refused,
    Throttled,
    TransferFault,
    Unreachable,
)
from s3_file_uploader.pipeline.backoff import backoff_seconds
from s3_file_uploader.pipeline.gate import Gate, Verdict


def gate(cap: int = 8) -> Gate:
    return Gate(first_seconds=1.0, longest_seconds=300.0, random=lambda: 0.5, cap=cap)


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (TransferFault("x"), Verdict.RETRY),
        (Refused("x"), Verdict.RETRY),
        (FileChanged("x"), Verdict.RESETTLE),
        (FileBusy("x", writer_seen=True), Verdict.RESETTLE),
        (FileVanished("x"), Verdict.GONE),
        (Interrupted("x"), Verdict.RETURN),
        (Unreachable("x"), Verdict.RETURN),
        (Misconfigured("x"), Verdict.RETURN),
        (AccessDenied("x"), Verdict.SUSPECT),
    ],
)
def test_each_error_has_its_verdict(error: DeliveryError, verdict: Verdict) -> None:
    one = gate()
    one.begin(1, 0.0)
    assert one.fail(1, error, 1.0) is verdict
    assert one.in_flight == 0


def test_an_unreachable_destination_pauses_and_lets_one_probe_through_at_a_time() -> None:
    one = gate()
    for file in range(4):
        one.begin(file, 0.0)
    for file in range(4):
        one.fail(file, Unreachable("no route"), 1.0)
    assert one.is_paused
    assert one.failures == 1  # four told of the same trouble
    assert one.admits(1.0) == 0
    assert one.admits(one.probe_at) == 1
    one.begin(9, one.probe_at)
    assert one.admits(one.probe_at + 100) == 0


def test_pauses_grow_with_each_probe_that_fails_up_to_the_longest() -> None:
    one, now, waits = gate(), 0.0, []
    for probe in range(14):
        one.begin(probe, now)
        one.fail(probe, Unreachable("x"), now)
        waits.append(one.probe_at - now)
        now = one.probe_at
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == 150.0


def test_the_first_success_opens_the_gate() -> None:
    one = gate()
    one.begin(1, 0.0)
    one.fail(1, Misconfigured("no bucket"), 0.0)
    one.begin(2, 5.0)
    assert one.succeed(2, 6.0) == []
    assert not one.is_paused
    assert one.admits(6.0) == 8


def test_a_success_begun_after_the_denial_convicts_the_suspect() -> None:
    one = gate()
    one.begin(1, 0.0)
    one.begin(2, 0.0)
    one.fail(1, AccessDenied("403"), 1.0)
    assert one.succeed(2, 2.0) == []  # it began before the denial: it proves nothing about now
    one.begin(3, 3.0)
    assert one.succeed(3, 4.0) == [1]
    assert not one.suspects


def test_two_files_denied_mean_the_destination() -> None:
    one = gate()
    one.begin(1, 0.0)
    one.begin(2, 0.0)
    one.fail(1, AccessDenied("403"), 1.0)
    assert not one.is_paused
    one.fail(2, AccessDenied("403"), 2.0)
    assert one.is_paused


def test_a_single_file_denied_again_and_again_is_its_own_probe_ever_more_rarely_and_that_is_said() -> None:
    one, now, waits = gate(), 0.0, []
    for _ in range(14):
        denied(one, 1, now)
        waits.append(one.probe_at - now)
        now = max(now + 1, one.probe_at)
    assert one.is_paused
    assert "no other file is there to tell" in one.reason
    assert waits[1:5] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == 150.0


def test_a_pause_for_a_single_file_lets_the_next_other_file_go_at_once() -> None:
    one = gate()
    for now in (0.0, 10.0, 20.0):
        denied(one, 1, now)
    assert one.admits(20.0) == 1
    assert one.unwanted == (1,)
    one.begin(2, 20.1)
    assert one.admits(20.1) == 0  # one probe at a time
    assert one.succeed(2, 20.2) == []
    assert not one.is_paused
    assert one.admits(20.2) == 8


def test_a_single_file_that_is_denied_again_after_another_got_through_is_guilty() -> None:
    one = gate()
    denied(one, 1, 0.0)
    denied(one, 1, 10.0)
    one.begin(2, 11.0)
    one.succeed(2, 12.0)
    one.begin(1, 13.0)
    assert one.fail(1, AccessDenied("403"), 14.0) is Verdict.GUILTY
    assert not one.is_paused
    assert not one.suspects


def test_a_single_file_that_gets_through_once_another_did_is_no_suspect_any_more() -> None:
    one = gate()
    denied(one, 1, 0.0)
    denied(one, 1, 10.0)
    one.begin(2, 11.0)
    one.succeed(2, 12.0)  # somebody mended the policy of the destination
    one.begin(1, 13.0)
    assert one.succeed(1, 14.0) == []
    one.begin(1, 20.0)
    assert one.fail(1, AccessDenied("403"), 21.0) is Verdict.SUSPECT


def test_when_the_next_other_file_is_denied_too_the_destination_pauses() -> None:
    one = gate()
    denied(one, 1, 0.0)
    denied(one, 1, 10.0)
    denied(one, 2, 11.0)
    assert one.is_paused
    assert "no other file" not in one.reason
    assert one.admits(11.0) == 0
    assert one.admits(one.probe_at) == 1


def test_the_last_of_a_batch_that_is_denied_twice_while_the_others_got_through_is_guilty() -> None:
    one = gate()
    for file in range(4):
        one.begin(file, 0.0)
    one.fail(3, AccessDenied("403"), 1.0)
    for file in range(3):
        assert one.succeed(file, 2.0) == []  # they began before the denial
    one.begin(3, 3.0)
    assert one.fail(3, AccessDenied("403"), 4.0) is Verdict.GUILTY


def test_a_destination_that_began_to_deny_in_the_middle_of_a_batch_convicts_nobody() -> None:
    one = gate()
    for file in range(6):
        one.begin(file, 0.0)
    one.fail(0, AccessDenied("403"), 1.0)
    one.succeed(1, 1.1)  # let in before
    one.fail(2, AccessDenied("403"), 1.2)
    assert one.is_paused
    one.succeed(3, 1.3)  # let in before, and answered late
    assert one.is_paused
    denied(one, 0, 100.0)
    one.begin(9, 200.0)
    assert one.succeed(9, 201.0) == []  # mended
    for file in (0, 2):
        one.begin(file, 202.0)
        assert one.succeed(file, 203.0) == []


def test_a_long_delivery_from_before_a_pause_keeps_no_probe_from_going() -> None:
    one = gate()
    one.begin(1, 0.0)  # for an hour
    one.begin(2, 1.0)
    one.fail(2, Unreachable("no route"), 2.0)
    assert one.admits(one.probe_at) == 1
    assert one.next_probe_at() == one.probe_at
    one.begin(3, one.probe_at)
    assert one.admits(one.probe_at) == 0


def test_a_transfer_that_breaks_while_a_single_file_is_in_doubt_is_tried_again_like_any_other() -> None:
    one = gate()
    denied(one, 1, 0.0)
    denied(one, 1, 10.0)
    one.begin(2, 11.0)
    assert one.fail(2, TransferFault("x"), 12.0) is Verdict.RETRY
    assert one.is_of_one


def test_a_store_that_asks_to_slow_down_halves_what_is_in_flight_and_successes_bring_it_back() -> None:
    one = gate(cap=16)
    one.begin(1, 0.0)
    one.fail(1, Throttled("SlowDown"), 0.0)
    assert one.limit == 8
    for file in range(100):
        one.begin(100 + file, 10.0)
        one.succeed(100 + file, 11.0)
    assert one.limit == 16


def test_a_wait_that_the_store_asks_for_is_kept() -> None:
    one = gate()
    one.begin(1, 0.0)
    one.fail(1, Throttled("SlowDown", retry_after_seconds=60.0), 0.0)
    assert one.probe_at == 60.0


def test_backoff_doubles_to_its_longest_with_full_jitter() -> None:
    def ceiling(failures: int) -> float:
        return backoff_seconds(failures, first_seconds=1.0, longest_seconds=300.0, random=lambda: 1.0)

    assert [ceiling(n) for n in (1, 2, 3, 9, 10, 10_000)] == [1.0, 2.0, 4.0, 256.0, 300.0, 300.0]
    assert backoff_seconds(5, first_seconds=1.0, longest_seconds=300.0, random=lambda: 0.0) == 0.0


def test_transfers_of_several_files_that_break_with_no_success_between_mean_the_destination() -> None:
    one = gate()
    verdicts = []
    for file in range(5):
        one.begin(file, 0.0)
    for file in range(5):
        verdicts.append(one.fail(file, TransferFault("nothing moved for 60 seconds"), 60.0))
    assert verdicts == [Verdict.RETRY, Verdict.RETRY, Verdict.RETURN, Verdict.RETURN, Verdict.RETURN]
    assert one.is_paused
    assert one.failures == 1
    assert set(one.unwanted) == {0, 1, 2, 3, 4}  # the probe is another file, as one of these may be the cause
    one.begin(9, one.probe_at)
    one.succeed(9, one.probe_at)
    assert (one.reason, one.unwanted) == ("", ())


def test_one_file_that_breaks_again_and_again_is_no_fault_of_the_destination() -> None:
    one = gate()
    for attempt in range(10):
        one.begin(1, float(attempt))
        assert one.fail(1, TransferFault("x"), float(attempt)) is Verdict.RETRY
    assert not one.is_paused


def test_transfers_that_break_among_others_that_succeed_are_no_fault_of_the_destination() -> None:
    one = gate()
    for file in range(10):
        one.begin(file, 0.0)
        assert one.fail(file, TransferFault("x"), 1.0) is Verdict.RETRY
        one.begin(100 + file, 1.0)
        one.succeed(100 + file, 2.0)
    assert not one.is_paused


def denied(one: Gate, file: int, now: float) -> None:
    one.begin(file, now)
    one.fail(file, AccessDenied("403"), now)


def test_when_a_destination_that_denied_everyone_is_mended_nobody_is_convicted_for_it() -> None:
    one = gate()
    for file in range(6):
        denied(one, file, float(file))
    assert one.is_paused
    one.begin(9, 100.0)
    assert one.succeed(9, 101.0) == []
    assert not one.suspects
    one.begin(10, 102.0)
    assert one.succeed(10, 103.0) == []


def test_who_is_denied_again_after_the_pause_while_others_go_through_is_convicted() -> None:
    one = gate()
    for file in range(3):
        denied(one, file, float(file))
    one.begin(9, 100.0)
    one.succeed(9, 101.0)
    for file in range(3):
        one.begin(file, 110.0)
        assert one.fail(file, AccessDenied("403"), 111.0) is Verdict.GUILTY
    assert not one.is_paused


def test_a_pause_of_many_probes_remembers_the_last_few_hundred_only() -> None:
    one = gate()
    for file in range(1000):
        denied(one, file, float(file))
    assert len(one.unwanted) < 500
    assert 999 in one.unwanted
    assert 0 not in one.unwanted


def test_another_cap_leaves_what_the_store_asked_for() -> None:
    one = gate(cap=8)
    one.resize(16)
    assert one.limit == 16
    one.fail(1, Throttled("slow down"), 10.0)
    assert one.limit == 8
    one.resize(32)
    assert one.limit == 8
    one.resize(4)
    assert (one.limit, one.cap) == (4, 4)
