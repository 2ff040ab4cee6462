"""Which rules share a transport, and what is said of those that prove little."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.config import Rule, Settings
from s3_file_uploader.transport.s3 import RuleLanes

if TYPE_CHECKING:
    from s3_file_uploader.transport.s3.transport import Lane


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


def opened(*wanted: dict[str, Any]) -> list[Lane]:
    """One lane for each rule, closed again."""
    rules = tuple(
        Rule(
            **{
                "name": f"rule{number}",
                "path_name": "/data/*",
                "bucket_name": "bucket",
                "region": "eu-test-1",
                "endpoint_url": "http://127.0.0.1:9",
                **more,
            }
        )
        for number, more in enumerate(wanted)
    )

    async def run() -> list[Lane]:
        lanes = RuleLanes(Settings(name="n", state_directory="/state", rules=rules), None)
        found = [lanes.open(rule) for rule in rules]
        for lane in found:
            await lane.close()
        return found

    return asyncio.run(run())


def test_rules_with_other_attributes_share_and_rules_with_another_way_do_not() -> None:
    plain, tagged, owned = opened({}, {"tags": (("a", "b"),)}, {"expected_bucket_owner": "123456789012"})
    assert plain.shared is tagged.shared
    assert owned.shared is not plain.shared
    assert plain.shared.is_closed
    assert owned.shared.is_closed


def test_a_rule_without_a_checksum_is_warned_of_at_start(caplog: pytest.LogCaptureFixture) -> None:
    opened({}, {"checksum_algorithm": "off"})
    [record] = caplog.records
    assert record.getMessage().startswith("rule rule1: ChecksumAlgorithm is off")


def test_other_limits_are_taken_over_by_what_is_open() -> None:
    rule = Rule(name="r", path_name="/data/*", bucket_name="b", region="r", endpoint_url="http://127.0.0.1:9")
    settings = Settings(name="n", state_directory="/state", rules=(rule,))

    async def run() -> None:
        lanes = RuleLanes(settings, None)
        before = lanes.open(rule)
        lanes.adjust(replace(settings, concurrency=3, max_bandwidth=5000))
        after = lanes.open(replace(rule, interval_seconds=60.0))
        assert after.shared is before.shared
        assert after.shared._concurrency == 3
        assert after.shared._bandwidth.bytes_per_second == 5000
        await before.close()
        assert not after.shared.is_closed
        await after.close()
        assert after.shared.is_closed

    asyncio.run(run())
