"""When a file is put twice to see whether a store keeps what is there, who waits, and what follows."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

import pytest

from s3_file_uploader.errors import (
    AlreadyExists,
    DeliveryError,
    FileChanged,
    Interrupted,
    Misconfigured,
    Throttled,
    TransferFault,
)
from s3_file_uploader.model import Receipt
from s3_file_uploader.transport.s3.attributes import Attributes
from s3_file_uploader.transport.s3.trial import TRIAL_BYTES, Trial
from support.deliveries import Courier

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from s3_file_uploader.transport.contract import Delivery

CAREFUL = Attributes(may_replace=False)


class FarSide:
    """Says what a test wants: `sends` and `answers` are told in order, the last of each for ever."""

    def __init__(self, tmp_path: Path) -> None:
        self._folder = tmp_path
        self._courier = Courier("bucket")
        self.sends: list[DeliveryError | None] = [None]
        self.answers: list[bool | DeliveryError] = [False]
        self.sent: list[str] = []
        self.again: list[str] = []
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def send(self, delivery: Delivery, attributes: Attributes) -> Receipt:
        assert attributes is CAREFUL
        self.sent.append(delivery.key)
        error = self.sends.pop(0) if len(self.sends) > 1 else self.sends[0]
        if error is not None:
            raise error
        return Receipt("bucket", delivery.key, 1, "crc64nvme:x", "", "")

    async def replaces(self, delivery: Delivery, attributes: Attributes) -> bool:
        assert attributes is CAREFUL
        self.again.append(delivery.key)
        self.asked.set()
        await self.may_answer.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, DeliveryError):
            raise answer
        return answer

    def delivery(self, key: str, size: int = 1) -> Delivery:
        path = self._folder / key
        path.touch()
        os.truncate(path, size)
        return self._courier.delivery(str(path), key)


def played(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(scenario, 60))


def test_the_first_small_file_is_put_twice_and_no_other(tmp_path: Path) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        trial = Trial(far.send, far.replaces)
        for key in ("a", "b", "c"):
            assert (await trial.deliver(far.delivery(key), CAREFUL)).key == key
        assert (far.sent, far.again) == (["a", "b", "c"], ["a"])
        assert trial.is_passed

    played(scenario())


def test_a_store_that_is_known_to_keep_what_is_there_is_not_tried(tmp_path: Path) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        trial = Trial(far.send, far.replaces, is_trusted=True)
        assert trial.is_passed
        await trial.deliver(far.delivery("a"), CAREFUL)
        assert far.again == []

    played(scenario())


def test_where_the_second_replaced_the_first_nothing_more_is_sent_and_the_error_says_what_to_do(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        far.answers = [True]
        trial = Trial(far.send, far.replaces)
        for key in ("a", "b"):
            with pytest.raises(Misconfigured, match="OnExisting cannot be kept") as refused:
                await trial.deliver(far.delivery(key), CAREFUL)
            assert "Set OnExisting to overwrite" in refused.value.advice
        assert far.sent == ["a"]
        assert not trial.is_passed

    played(scenario())


def test_the_others_wait_until_it_is_known(tmp_path: Path) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        far.answers = [True]
        far.may_answer.clear()
        trial = Trial(far.send, far.replaces)
        first, small = (trial.deliver(far.delivery(key), CAREFUL) for key in ("a", "b"))
        large = trial.deliver(far.delivery("large", TRIAL_BYTES + 1), CAREFUL)
        await far.asked.wait()
        assert far.sent == ["a"]
        far.may_answer.set()
        ended = await asyncio.gather(first, small, large, return_exceptions=True)
        assert [type(one) for one in ended] == [Misconfigured] * 3
        assert far.sent == ["a"]

    played(scenario())


def test_a_name_that_another_object_has_is_an_answer_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        far.sends = [AlreadyExists("there"), None]
        trial = Trial(far.send, far.replaces)
        with pytest.raises(AlreadyExists):
            await trial.deliver(far.delivery("a"), CAREFUL)
        assert trial.is_passed
        assert far.again == []

    played(scenario())


@pytest.mark.parametrize("error", [TransferFault("x"), Throttled("x"), FileChanged("x"), Interrupted("x")])
def test_a_second_time_that_broke_takes_no_receipt_away_and_the_next_small_file_tells(
    tmp_path: Path, error: DeliveryError
) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        far.answers = [error, False]
        trial = Trial(far.send, far.replaces)
        for key in ("a", "b"):
            assert (await trial.deliver(far.delivery(key), CAREFUL)).key == key
        assert far.again == ["a", "b"]
        assert trial.is_passed

    played(scenario())


def test_a_first_time_that_broke_leaves_it_to_the_next(tmp_path: Path) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        far.sends = [TransferFault("x"), None]
        trial = Trial(far.send, far.replaces)
        broken, next_one = (trial.deliver(far.delivery(key), CAREFUL) for key in ("a", "b"))
        with pytest.raises(TransferFault):
            await broken
        assert (await next_one).key == "b"
        assert far.again == ["b"]

    played(scenario())


def test_a_file_too_large_to_be_put_twice_goes_on_trust_which_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        trial = Trial(far.send, far.replaces)
        for key in ("a", "b"):
            await trial.deliver(far.delivery(key, TRIAL_BYTES + 1), CAREFUL)
        assert far.again == []
        await trial.deliver(far.delivery("edge", TRIAL_BYTES), CAREFUL)
        assert far.again == ["edge"]

    played(scenario())
    [said] = caplog.records
    assert said.message == "untried"
    assert said.__dict__["fields"]["bucket"] == "bucket"


def test_stopping_the_file_that_is_tried_lets_the_next_one_try(tmp_path: Path) -> None:
    async def scenario() -> None:
        far = FarSide(tmp_path)
        far.may_answer.clear()
        trial = Trial(far.send, far.replaces)
        first, second = (trial.deliver(far.delivery(key), CAREFUL) for key in ("a", "b"))
        await far.asked.wait()
        first.cancel()
        far.may_answer.set()
        assert (await second).key == "b"
        await trial.ended()
        assert first.cancelled()

    played(scenario())
