"""The real uploader dies by SIGKILL before each of its steps in turn, and is started again: nothing is lost.

Three files, one of which its producer replaces in the instant in which it is removed. Every other time
the second life dies as well. `CRASH_STRIDE=1` takes every step of every case.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import s3_file_uploader
from support import crash_runs
from support.crash_runs import CASES

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
    paths = [Path(s3_file_uploader.__file__).parents[1], Path(crash_runs.__file__).parents[1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    lanes = [
        subprocess.Popen(
            [
                sys.executable,
                crash_runs.__file__,
                str(tmp_path),
                case,
                str(1 + lane * stride),
                str(_LANES * stride),
            ],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for lane in range(_LANES)
    ]
    told = [json.loads(line) for lane in lanes for line in lane.communicate()[0].splitlines()]

    assert [one for one in told if "wrong" in one] == []
    assert [lane.returncode for lane in lanes] == [0] * _LANES
    assert sum(one["reached"] for one in told) > 100 / stride
