from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.model import Evidence
from s3_file_uploader.source.readiness import (
    ActiveFiles,
    Facts,
    Hold,
    LastClaim,
    Marker,
    Policy,
    Ready,
    Reason,
    Wait,
    active_files,
    decide,
    marker_state,
)

POLICY = Policy()
SEEN = Facts(changed_at=100.0, session_start=0.0)


def test_a_file_settles_before_it_goes() -> None:
    assert decide(SEEN, POLICY, 100.5) == Wait(101.0, Reason.SETTLING)


def test_a_settled_file_is_tried_and_must_be_granted_a_lease() -> None:
    assert decide(SEEN, POLICY, 101.0) == Ready(needs_proof=True)


def test_a_restart_settles_again() -> None:
    facts = replace(SEEN, session_start=500.0)
    assert decide(facts, POLICY, 500.5) == Wait(501.0, Reason.SETTLING)
    assert decide(facts, POLICY, 501.0) == Ready(needs_proof=True)


def test_without_any_evidence_a_file_waits_for_the_longer_time() -> None:
    facts = replace(SEEN, last_claim=LastClaim.NO_EVIDENCE, last_claim_at=101.0)
    assert decide(facts, POLICY, 101.0) == Wait(110.0, Reason.UNVERIFIED)
    assert decide(facts, POLICY, 110.0) == Ready(needs_proof=False)


def test_a_watched_close_needs_no_proof_after_settling() -> None:
    facts = replace(SEEN, evidence=Evidence.CLOSED)
    assert decide(facts, POLICY, 100.5) == Wait(101.0, Reason.SETTLING)
    assert decide(facts, POLICY, 101.0) == Ready(needs_proof=False)


def test_a_file_seen_open_goes_on_a_lease_or_waits_for_its_close_however_long() -> None:
    facts = replace(SEEN, evidence=Evidence.OPEN)
    assert decide(facts, POLICY, 101.0) == Ready(needs_proof=True)
    tried = replace(facts, last_claim=LastClaim.NO_EVIDENCE, last_claim_at=101.0)
    assert decide(tried, POLICY, 1e9) == Hold(Reason.NOT_CLOSED)


def test_a_file_that_a_writer_has_open_is_asked_for_again_ever_more_slowly() -> None:
    def recheck_after(last_claim_at: float) -> float:
        facts = replace(SEEN, last_claim=LastClaim.WRITER, last_claim_at=last_claim_at)
        decision = decide(facts, POLICY, last_claim_at)
        assert isinstance(decision, Wait)
        assert decision.reason is Reason.WRITER
        assert decide(facts, POLICY, decision.until) == Ready(needs_proof=last_claim_at < 109)
        return decision.until - last_claim_at

    assert recheck_after(101.0) == pytest.approx(1.0)
    assert recheck_after(140.0) == pytest.approx(10.0)
    assert recheck_after(100000.0) == pytest.approx(30.0)


def test_the_newest_file_of_a_folder_stays_for_ever_by_default() -> None:
    facts = replace(SEEN, active_reason=Reason.NEWEST, evidence=Evidence.CLOSED)
    assert decide(facts, POLICY, 1e9) == Hold(Reason.NEWEST)
    assert "--include-active" in Reason.NEWEST.value


def test_active_file_none_sends_the_newest() -> None:
    facts = replace(SEEN, active_reason=Reason.NEWEST)
    assert decide(facts, replace(POLICY, active_file_stays=False), 101.0) == Ready(needs_proof=True)


def test_active_file_timeout_sends_the_newest_once_unchanged_that_long_and_open_in_no_ones_hand() -> None:
    policy = replace(POLICY, active_file_timeout_seconds=60.0)
    facts = replace(SEEN, active_reason=Reason.NEWEST)
    assert decide(facts, policy, 159.0) == Wait(160.0, Reason.NEWEST)
    assert decide(replace(facts, evidence=Evidence.OPEN), policy, 160.0) == Ready(needs_proof=True)
    held_open = replace(facts, last_claim=LastClaim.WRITER, last_claim_at=160.0)
    assert decide(held_open, policy, 160.0) == Wait(175.0, Reason.WRITER)


def test_restarts_do_not_keep_active_file_timeout_from_passing_but_settle_again() -> None:
    policy = replace(POLICY, active_file_timeout_seconds=60.0)
    facts = replace(SEEN, active_reason=Reason.NEWEST, session_start=200.0)
    assert decide(facts, policy, 200.5) == Wait(201.0, Reason.SETTLING)
    assert decide(facts, policy, 201.0) == Ready(needs_proof=True)


@pytest.mark.parametrize(
    ("marker", "reason"), [(Marker.MISSING, Reason.MARKER_MISSING), (Marker.OLDER, Reason.MARKER_OLDER)]
)
def test_a_file_without_a_valid_done_marker_is_held(marker: Marker, reason: Reason) -> None:
    assert decide(replace(SEEN, marker=marker), POLICY, 1e9) == Hold(reason)


def test_a_done_marker_implies_active_file_none_and_still_settles() -> None:
    facts = replace(SEEN, marker=Marker.DONE, active_reason=Reason.NEWEST)
    assert decide(facts, POLICY, 100.5) == Wait(101.0, Reason.SETTLING)
    assert decide(facts, POLICY, 101.0) == Ready(needs_proof=True)


def test_a_marker_is_done_unless_it_is_older_than_the_file() -> None:
    assert marker_state(5, None) is Marker.MISSING
    assert marker_state(5, 4) is Marker.OLDER
    assert marker_state(5, 5) is Marker.DONE
    assert marker_state(5, 6) is Marker.DONE


every_fact = st.builds(
    Facts,
    changed_at=st.floats(0, 1e6),
    session_start=st.floats(0, 1e6),
    evidence=st.sampled_from(Evidence),
    active_reason=st.sampled_from([None, Reason.NEWEST, Reason.NEWEST_IN_FUTURE]),
    marker=st.sampled_from(Marker),
    last_claim=st.sampled_from(LastClaim),
    last_claim_at=st.floats(0, 1e6),
)
every_policy = st.builds(
    Policy,
    settle_seconds=st.floats(0, 100),
    settle_unverified_seconds=st.floats(0, 100),
    active_file_stays=st.booleans(),
    active_file_timeout_seconds=st.none() | st.floats(0, 1000),
)


@given(every_fact, every_policy, st.floats(0, 2e6))
def test_a_wait_always_ends_in_the_future_and_its_end_is_another_answer(
    facts: Facts, policy: Policy, now: float
) -> None:
    decision = decide(facts, policy, now)
    if isinstance(decision, Wait):
        assert decision.until > now
        assert decide(facts, policy, decision.until) != decision


@given(every_fact, every_policy, st.floats(0, 2e6))
def test_nothing_goes_before_it_has_settled_in_this_session(facts: Facts, policy: Policy, now: float) -> None:
    if isinstance(decide(facts, policy, now), Ready):
        assert now >= max(facts.changed_at, facts.session_start) + policy.settle_seconds


@given(every_fact, every_policy, st.floats(0, 2e6))
def test_nothing_goes_unproven_without_a_close_or_the_longer_time(
    facts: Facts, policy: Policy, now: float
) -> None:
    if decide(facts, policy, now) == Ready(needs_proof=False):
        quiet_seconds = now - max(facts.changed_at, facts.session_start)
        waited = quiet_seconds >= policy.settle_unverified_seconds - 1e-6
        assert facts.evidence is Evidence.CLOSED or (facts.evidence is Evidence.NONE and waited)


@given(every_fact, every_policy)
def test_only_a_missing_marker_an_unwatched_close_and_the_active_file_are_held_for_ever(
    facts: Facts, policy: Policy
) -> None:
    decision = decide(facts, policy, 1e9)
    if isinstance(decision, Hold):
        assert decision.reason not in (Reason.SETTLING, Reason.UNVERIFIED, Reason.WRITER)
    else:
        assert isinstance(decision, Ready)


folder = st.lists(
    st.tuples(st.integers(0, 20), st.binary(min_size=1, max_size=3)), unique_by=lambda dated: dated[1]
)


@given(folder, st.integers(0, 20))
def test_the_newest_of_a_folder_is_active_and_equal_times_are_decided_by_name(
    candidates: list[tuple[int, bytes]], now_ns: int
) -> None:
    active = active_files(candidates, now_ns)
    assert active.newest == max(candidates, default=None)
    assert active.newest_dated_now == max((c for c in candidates if c[0] <= now_ns), default=None)


@given(folder, st.integers(0, 20))
def test_a_file_dated_in_the_future_shields_no_other(
    candidates: list[tuple[int, bytes]], now_ns: int
) -> None:
    without_future = [dated for dated in candidates if dated[0] <= now_ns]
    active = active_files(candidates, now_ns)
    for dated in without_future:
        expected = Reason.NEWEST if dated == max(without_future) else None
        assert active.reason(*dated) is expected


@given(folder, st.integers(0, 20))
def test_the_newest_is_held_even_when_it_is_dated_in_the_future(
    candidates: list[tuple[int, bytes]], now_ns: int
) -> None:
    active = active_files(candidates, now_ns)
    if candidates:
        in_future = max(candidates)[0] > now_ns
        assert active.reason(*max(candidates)) is (Reason.NEWEST_IN_FUTURE if in_future else Reason.NEWEST)


@given(folder, st.integers(0, 20))
def test_one_candidate_at_a_time_gives_the_same_active_files(
    candidates: list[tuple[int, bytes]], now_ns: int
) -> None:
    active = ActiveFiles()
    for mtime_ns, name in candidates:
        active = active.with_candidate(mtime_ns, name, now_ns)
    assert active == active_files(candidates, now_ns)
