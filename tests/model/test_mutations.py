"""Each safety check is needed: with any one taken out, the machine comes upon the loss."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from support.sim_ending import finish
from support.sim_judge import Violation
from support.sim_machine import machine
from support.sim_mutations import MUTATIONS, Mutation
from support.sim_world import World

_SETTINGS = settings(
    max_examples=1000,  # most need fewer than twenty
    stateful_step_count=10,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    print_blob=False,
    suppress_health_check=list(HealthCheck),
)
_SEARCHED = [mutation for mutation in MUTATIONS if mutation.focus is not None]
_SCENARIOS = [mutation for mutation in MUTATIONS if mutation.scenario is not None]


@pytest.mark.parametrize("mutation", _SEARCHED, ids=lambda one: one.name)
def test_the_machine_finds_what_a_missing_check_lets_happen(mutation: Mutation) -> None:
    assert mutation.focus is not None
    with pytest.raises(Violation) as found:
        run_state_machine_as_test(machine(mutation.focus, mutation.in_force), settings=_SETTINGS)

    assert any(words in str(found.value) for words in mutation.says), str(found.value)


@pytest.mark.parametrize("mutation", _SCENARIOS, ids=lambda one: one.name)
def test_a_scenario_shows_what_a_missing_check_lets_happen(mutation: Mutation) -> None:
    with mutation.in_force(), pytest.raises(Violation) as found:
        _play(mutation)

    assert any(words in str(found.value) for words in mutation.says), str(found.value)


@pytest.mark.parametrize("mutation", _SCENARIOS, ids=lambda one: one.name)
def test_the_same_scenario_harms_nothing_while_the_check_is_there(mutation: Mutation) -> None:
    _play(mutation)


def _play(mutation: Mutation) -> None:
    assert mutation.scenario is not None
    world = World(mutation.variant)
    try:
        mutation.scenario(world)
        finish(world)
    finally:
        world.close()
