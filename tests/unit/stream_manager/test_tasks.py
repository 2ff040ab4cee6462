"""What is believed of what Stream Manager says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_file_uploader.model import Fingerprint
from s3_file_uploader.transport.stream_manager.checkpoint import Saved
from s3_file_uploader.transport.stream_manager.tasks import Status, Task, status_of, task_of
from s3_file_uploader.transport.stream_manager.values import Message

_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
)
TASK = Task("file:///data/a.csv", "bucket", "a.csv")
PRINT = Fingerprint(1, 2, 3, 4, 5)
SAVED = Saved("stream", 7, "status", 9, TASK, tuple(PRINT))


def said(**changes: Any) -> dict[str, Any]:
    return {
        "eventType": 0,
        "statusLevel": 2,
        "status": 0,
        "statusContext": {
            "s3ExportTaskDefinition": {"inputUrl": TASK.url, "bucket": TASK.bucket, "key": TASK.key},
            "exportIdentifier": "s3",
            "streamName": "stream",
            "sequenceNumber": 8,
        },
        "message": "done",
        **changes,
    }


def test_a_status_is_read_as_it_was_written() -> None:
    status = status_of(Message(3, json.dumps(said()).encode()))
    assert status == Status(0, "stream", 8, TASK, "done")
    assert status.is_terminal
    assert status.is_success


@given(st.one_of(st.binary(), _JSON.map(lambda value: json.dumps(value).encode())))
def test_whatever_comes_is_a_status_or_is_none(payload: bytes) -> None:
    assert status_of(Message(0, payload)) is None
    task = task_of(payload)
    assert task is None or all(isinstance(one, str) for one in task)


@given(st.sampled_from(["eventType", "status", "statusContext"]), _JSON)
def test_a_status_with_something_else_in_it_is_none_or_is_sound(name: str, value: Any) -> None:
    status = status_of(Message(0, json.dumps(said(**{name: value})).encode()))
    assert status is None or (status.task == TASK and status.kind in range(5) and status.sequence == 8)


def test_a_checkpoint_comes_back_as_it_went() -> None:
    checkpoint = json.loads(json.dumps(SAVED.to_checkpoint()))
    assert Saved.of(checkpoint, TASK, PRINT) == SAVED


def test_a_reboot_that_numbers_devices_anew_voids_no_checkpoint() -> None:
    assert Saved.of(SAVED.to_checkpoint(), TASK, PRINT._replace(device=99)) == SAVED


@pytest.mark.parametrize(
    "fingerprint",
    [PRINT._replace(**{field: 99}) for field in ("inode", "size", "mtime_ns", "ctime_ns")],
)
def test_a_checkpoint_of_other_content_is_none(fingerprint: Fingerprint) -> None:
    assert Saved.of(SAVED.to_checkpoint(), TASK, fingerprint) is None


@pytest.mark.parametrize("change", ["url", "bucket", "key"])
def test_a_checkpoint_of_another_task_is_none(change: str) -> None:
    assert Saved.of(SAVED.to_checkpoint(), TASK._replace(**{change: "other"}), PRINT) is None


@settings(max_examples=40)  # a second's worth
@given(st.dictionaries(st.sampled_from(sorted(SAVED.to_checkpoint())), _JSON))
def test_a_checkpoint_that_means_nothing_is_none(changes: dict[str, Any]) -> None:
    found = Saved.of({**SAVED.to_checkpoint(), **changes}, TASK, PRINT)
    assert found is None or isinstance(found.after, int)
