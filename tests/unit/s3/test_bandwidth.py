"""MaxBandwidth: the average holds, bursts are short, everyone gets a share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.transport.s3.bandwidth import BURST_SECONDS, SMALLEST_SLICE_BYTES, Bandwidth


def send(bandwidth: Bandwidth, sizes: list[int], seconds: float, lateness: float = 0.0) -> tuple[int, float]:
    """Bytes that one sender moves, and when it ends, if each wait takes `lateness` longer than asked."""
    now, sent, number = 100.0, 0, 0
    while now < 100.0 + seconds:
        size = sizes[number % len(sizes)]
        number += 1
        while size > 0:
            piece = min(size, bandwidth.slice_bytes)
            wait = bandwidth.reserve(piece, now)
            now += wait + (lateness if wait else 0.0)
            sent += piece
            size -= piece
    return sent, now - 100.0


@pytest.mark.parametrize(("rate", "seconds"), [(50_000, 60.0), (1_000_000, 20.0), (20_000_000, 4.0)])
@pytest.mark.parametrize("size", [700, 17_000, 100_000, 5_000_000])
@pytest.mark.parametrize("lateness", [0.0, 0.003])
def test_the_average_holds_within_five_percent_whatever_the_sizes(
    rate: int, seconds: float, size: int, lateness: float
) -> None:
    sent, elapsed = send(Bandwidth(rate), [size], seconds, lateness)
    assert sent / elapsed == pytest.approx(rate, rel=0.05)


@given(
    st.integers(min_value=20_000, max_value=10**9),
    st.lists(st.integers(min_value=10_000, max_value=2_000_000), min_size=1, max_size=10),
)
def test_it_is_never_exceeded_by_more_than_a_burst_and_a_slice(rate: int, sizes: list[int]) -> None:
    bandwidth = Bandwidth(rate)
    sent, seconds = send(bandwidth, sizes, 0.5)
    assert sent <= rate * (seconds + BURST_SECONDS) + bandwidth.slice_bytes + 1


def test_time_in_which_nothing_was_sent_is_not_saved_up() -> None:
    bandwidth = Bandwidth(1_000_000)
    bandwidth.reserve(1000, 0.0)
    free = 0
    while bandwidth.reserve(10_000, 3600.0) == 0.0:
        free += 10_000
    assert free <= 1_000_000 * BURST_SECONDS + 10_000


def test_those_who_ask_in_turn_get_the_same_share() -> None:
    bandwidth = Bandwidth(100_000)
    bandwidth.reserve(int(100_000 * BURST_SECONDS), 0.0)  # the first burst is whose it is
    due = {"a": 0.0, "b": 0.0}
    sent = {"a": 0, "b": 0}
    sizes = {"a": 1_000, "b": 16_000}
    for _ in range(100):
        name = min(due, key=lambda one: due[one])
        due[name] += bandwidth.reserve(sizes[name], due[name])
        sent[name] += 1
    assert abs(sent["a"] - sent["b"]) <= 2


def test_a_slice_is_short_but_never_tiny() -> None:
    assert Bandwidth(1000).slice_bytes == SMALLEST_SLICE_BYTES
    assert Bandwidth(1_000_000).slice_bytes / 1_000_000 <= BURST_SECONDS
    assert Bandwidth(10**9).slice_bytes == 256 * 1024


@pytest.mark.parametrize("rate", [0, -1])
def test_no_bandwidth_at_all_is_refused(rate: int) -> None:
    with pytest.raises(ValueError, match="bandwidth"):
        Bandwidth(rate)


def test_another_rate_holds_from_then_on() -> None:
    bandwidth = Bandwidth(None)
    assert bandwidth.is_unlimited
    assert [bandwidth.reserve(10**9, 0.0) for _ in range(3)] == [0.0] * 3

    bandwidth.limit_to(1000)
    bandwidth.reserve(1000, 10.0)
    assert bandwidth.reserve(1000, 10.0) == pytest.approx(1.0 - BURST_SECONDS)
    bandwidth.limit_to(10_000)
    bandwidth.reserve(10_000, 100.0)
    assert bandwidth.reserve(1, 100.0) == pytest.approx(1.0 - BURST_SECONDS)

    bandwidth.limit_to(None)
    assert bandwidth.reserve(10**9, 100.0) == 0.0
