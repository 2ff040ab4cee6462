"""Whatever producers, clocks, networks and deaths do: nothing is lost, nothing half-written goes, nothing sticks.

`HYPOTHESIS_PROFILE=long` looks for ten minutes or more instead of some seconds.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from support.sim_machine import Focus, machine

_IS_LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
_SETTINGS = settings(
    max_examples=5000 if _IS_LONG else 150,
    stateful_step_count=40,
    deadline=None,
    derandomize=not _IS_LONG,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(7200 if _IS_LONG else 600)  # a failure is made small before it is shown
def test_nothing_is_lost_removed_undelivered_or_stuck_whatever_happens() -> None:
    run_state_machine_as_test(machine(Focus()), settings=_SETTINGS)
