"""Who is compared: our own `drain`, `s5cmd mv` and `rclone move`, each doing the same durable move.

Our S3 engine runs by itself too (`bench/engine.py`), without what makes the move durable.

The peers run at the best settings that were found for them (`bench/compare.py --tune` looks anew):
all that rclone can leave out on the way is left out, and the number of workers was tried per size.
Ours runs as anybody would run it, but for SettleTime 0: the peers do not wait for a file to be
finished, and one second of waiting would say nothing of either. It keeps everything else that the
peers have no counterpart for: ledger, lease, second look, checksum, proof.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.sinks import AUTHORITY, BUCKET

if TYPE_CHECKING:
    from bench.scenarios import Scenario
    from bench.sinks import Sink

__all__ = ["CONTENDERS", "ENGINE", "OURS", "Contender", "Work"]

OURS = "s3-file-uploader"
ENGINE = "engine"
_RCLONE = [
    "--s3-no-check-bucket",
    "--s3-no-head",
    "--no-traverse",
    "--no-check-dest",
    "--s3-disable-checksum",
    "--ignore-checksum",
    "--s3-use-unsigned-payload=true",
    "--multi-thread-streams=0",
    "--buffer-size=0",
    "--stats=0",
    "--log-level=ERROR",
]


@dataclass(frozen=True, slots=True)
class Work:
    """One run: these files to that far side. `programs` are the folders of ours and of the peers."""

    folder: str
    state_folder: str
    far_side: Sink
    scenario: Scenario
    programs: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of whoever runs the benchmark gets in, but what finds programs and folders."""
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        authority = {"AWS_CA_BUNDLE": AUTHORITY, "SSL_CERT_FILE": AUTHORITY}
        return kept | authority | self.far_side.environment | {"HOME": self.state_folder}


@dataclass(frozen=True, slots=True)
class Contender:
    """`workers`: the best number found, by the name of the scenario; "" is for all others."""

    name: str
    workers: dict[str, int]

    def command(self, work: Work, workers: int | None = None) -> list[str]:
        count = workers or self.workers.get(work.scenario.name, self.workers.get("", 0))
        return _COMMANDS[self.name](work, count)


def _ours(work: Work, workers: int) -> list[str]:
    command = [os.path.join(work.programs[OURS], OURS), "drain", work.folder, f"s3://{BUCKET}/ours"]
    command += ["--include-active", "--settle-time", "0", "--endpoint-url", work.far_side.url]
    command += ["--state-directory", work.state_folder]
    return [*command, "--concurrency", str(workers)] if workers else command


def _engine(work: Work, workers: int) -> list[str]:
    del workers
    return [
        os.path.join(work.programs[OURS], "python"),
        "-m",
        "bench.engine",
        work.folder,
        work.far_side.url,
    ]


def _s5cmd(work: Work, workers: int) -> list[str]:
    program = os.path.join(work.programs["s5cmd"], "s5cmd")
    command = [program, "--log", "error", "--endpoint-url", work.far_side.url, "--numworkers", str(workers)]
    command += [
        "mv",
        "--concurrency",
        str(work.scenario.s5cmd_parts),
        f"{work.folder}/*",
        f"s3://{BUCKET}/s5cmd/",
    ]
    return command


def _rclone(work: Work, workers: int) -> list[str]:
    program = os.path.join(work.programs["rclone"], "rclone")
    remote = (
        f":s3,provider=Other,env_auth=true,region=us-east-1,endpoint='{work.far_side.url}':{BUCKET}/rclone"
    )
    command = [program, "move", work.folder, remote, "--config", "", "--ca-cert", AUTHORITY, *_RCLONE]
    return [*command, "--transfers", str(workers), "--checkers", str(min(workers, 16))]


_COMMANDS = {OURS: _ours, ENGINE: _engine, "s5cmd": _s5cmd, "rclone": _rclone}

CONTENDERS = (
    Contender(OURS, {}),
    Contender(ENGINE, {}),
    Contender("s5cmd", {"": 16}),
    Contender("rclone", {"": 32}),
)
