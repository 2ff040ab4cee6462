"""The message for the fleet: what it says, and that it fits."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_file_uploader.greengrass.telemetry import IOT_CORE_BYTES, LOCAL_BYTES, encoded, fitting, message
from s3_file_uploader.ledger.reader import Pause
from s3_file_uploader.observe.snapshot import HELD, Amount, RuleSnapshot, Snapshot

_PAGE = Path(__file__).parents[3] / "docs" / "reference" / "json.md"


def told(snapshot: Snapshot, **more: Any) -> dict[str, Any]:
    known: dict[str, Any] = {
        "now": 1_800_000_000.0,
        "thing": "car7",
        "program": "1.2.3",
        "up_seconds": 61.5,
        "in_flight": 2,
        "troubles": 0,
        "trouble": None,
        "configuration_problem": "",
    }
    return message(snapshot, **{**known, **more})


def rule(name: str, *, parked: int = 0, waiting: int = 0, delivered: int = 0) -> RuleSnapshot:
    now = {"parked": Amount(parked, parked), "ready": Amount(waiting, 10 * waiting), HELD: Amount(1, 5)}
    return RuleSnapshot(name, now, {"delivered": delivered, "delivered_bytes": 100 * delivered})


def snapshot(*rules: RuleSnapshot, pauses: list[Pause] | None = None) -> Snapshot:
    return Snapshot("/ledger", is_running=True, pid=1, rules=list(rules), pauses=pauses or [])


def test_it_adds_up_what_the_rules_have() -> None:
    said = told(snapshot(rule("a", waiting=3, delivered=7), rule("b", waiting=4, delivered=1)))

    assert (said["delivered_files"], said["delivered_bytes"]) == (8, 800)
    assert (said["backlog_files"], said["backlog_bytes"], said["held_files"]) == (7, 70, 2)
    assert (said["state"], said["failed_files"], said["up_seconds"]) == ("ok", 0, 61)
    assert said["time"] == "2027-01-15T08:00:00Z"


@pytest.mark.parametrize(
    "trouble",
    [
        {"snapshot": snapshot(rule("a", parked=1))},
        {"snapshot": snapshot(pauses=[Pause("s3://b", "denied", 1.0)])},
        {"troubles": 1},
        {"configuration_problem": "Interval is 'x'"},
    ],
)
def test_whatever_needs_somebody_is_trouble(trouble: dict[str, Any]) -> None:
    given_snapshot = trouble.pop("snapshot", snapshot(rule("a")))

    assert told(given_snapshot, **trouble)["state"] == "trouble"


def test_rules_in_trouble_come_first() -> None:
    said = told(snapshot(rule("a"), rule("b", waiting=5), rule("c", parked=1)))

    assert [one["name"] for one in said["rules"]] == ["c", "b", "a"]


@given(
    st.lists(st.text(max_size=64), max_size=200, unique=True),
    st.lists(st.text(max_size=2000), max_size=20),
    st.text(max_size=5000),
    st.sampled_from([IOT_CORE_BYTES, LOCAL_BYTES]),
)
def test_it_fits_whatever_there_is_to_say(
    names: list[str], reasons: list[str], problem: str, limit: int
) -> None:
    pauses = [Pause(f"s3://{number}", reason, 1.0) for number, reason in enumerate(reasons)]
    whole = told(snapshot(*map(rule, names), pauses=pauses), configuration_problem=problem)

    fits = fitting(whole, limit)

    assert len(encoded(fits)) <= limit
    assert len(fits["rules"]) + fits["rules_left_out"] == len(names)
    assert fits["held_files"] == len(names)


def test_every_field_is_documented() -> None:
    page = _PAGE.read_text(encoding="utf-8")
    section = re.search(r"^## Telemetry of the component$(.*?)^## ", page + "\n## ", re.MULTILINE | re.DOTALL)
    assert section is not None
    documented = set(re.findall(r"`([a-z_]+)`", section[1]))
    said = told(snapshot(rule("a"), pauses=[Pause("s3://b", "denied", 1.0)]))

    fields = {*said, *said["rules"][0], *said["paused"][0]}
    assert fields <= documented, fields - documented
