"""How long the exporter waits before it tries again."""

from __future__ import annotations

import pytest

from stream_manager_local.export.patience import Patience, is_worth_telling


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_pauses_begin_at_a_second_double_and_end_at_five_minutes(chance: float) -> None:
    pauses = [Patience().retry_seconds(failures, lambda: chance) for failures in range(1, 2000)]

    assert 0.5 <= pauses[0] <= 1
    assert pauses[1:9] == [2 * pause for pause in pauses[:8]]
    assert 150 <= pauses[-1] <= 300
    assert max(pauses) == pauses[-1]


def test_two_exports_that_fail_together_do_not_come_again_together() -> None:
    chances = iter([0.1, 0.9])

    assert len({Patience().retry_seconds(5, lambda: next(chances)) for _ in range(2)}) == 2


def test_a_fault_that_lasts_is_told_ever_more_rarely() -> None:
    assert [failures for failures in range(1, 70) if is_worth_telling(failures)] == [1, 2, 4, 8, 16, 32, 64]
