"""The real uploader dies by SIGKILL before each of its steps in turn, and is started again: nothing is lost.

Three files, one of which its producer replaces in the instant in which it is removed. Every other time
the second life dies as well. `CRASH_STRIDE=1` takes every step of every case.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support import crash_runs
from support.crash_runs import CASES
from support.lives import play_in_lanes

if TYPE_CHECKING:
    from pathlib import Path

_LANES = 6  # a life waits more than it works
_STRIDES = {"delete": 1}
_OTHER_STRIDE = 4


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("case", CASES)
def test_killed_before_any_step_nothing_is_lost_and_the_next_start_finishes(
    tmp_path: Path, case: str
) -> None:
    stride = int(os.environ.get("CRASH_STRIDE", _STRIDES.get(case, _OTHER_STRIDE)))
    told = play_in_lanes(crash_runs.__file__, [str(tmp_path), case], lanes=_LANES, stride=stride)
    assert sum(one["reached"] for one in told) > 100 / stride
