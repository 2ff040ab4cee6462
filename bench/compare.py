"""`make bench`: our `drain` beside `s5cmd mv` and `rclone move`, in turn, on the same work.

    python -m bench.compare                         all four sizes against the TLS sink, three rounds
    python -m bench.compare --scenario 1k --rounds 5
    python -m bench.compare --target plain --latency 20
    python -m bench.compare --target seaweed
    python -m bench.compare --tune --scenario 1k    tries numbers of workers for the peers

One round runs each contender once, so that what else the machine does falls on all alike. Read the
figures as ratios; of the rounds, the median is told. Files lie on tmpfs where there is one, so that
no disk is measured; our ledger lies on a real disk, since its fsyncs are part of the price.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
from typing import TYPE_CHECKING

from bench import machine
from bench.contenders import CONTENDERS, ENGINE, OURS, Contender, Work
from bench.measuring import Cost, measure
from bench.scenarios import SCENARIOS, Scenario
from bench.sinks import Sink, build, seaweed, sink

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "out")
_TRIED_WORKERS = (4, 8, 16, 32, 64, 128, 256)
_Costs = dict[str, list[Cost]]


def main() -> None:
    options = _options()
    os.makedirs(OUT, exist_ok=True)
    scenarios = [one for one in SCENARIOS if not options.scenario or one.name in options.scenario]
    with tempfile.TemporaryDirectory(prefix="bench-", dir=options.folder) as folder:
        if options.tune:
            _tune(options, scenarios, folder)
            return
        lines = [f"{machine.described()}; far side: {_far_side_described(options)}", ""]
        for scenario in scenarios:
            costs = _compared(options, scenario, folder)
            lines += _table(scenario, costs)
    report = "\n".join(lines) + "\n"
    sys.stdout.write("\n" + report)
    with open(os.path.join(OUT, f"compare-{options.target}.md"), "w", encoding="utf-8") as file:
        file.write(report)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenario", action="append", choices=[one.name for one in SCENARIOS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", choices=("tls", "plain", "seaweed"), default="tls")
    parser.add_argument("--latency", type=int, default=0, help="milliseconds before the sink answers")
    parser.add_argument("--only", action="append", choices=[one.name for one in CONTENDERS])
    parser.add_argument(
        "--ours", default=os.path.dirname(sys.executable), help="the folder of s3-file-uploader"
    )
    parser.add_argument("--peers", default=".venv-bench/bin", help="the folder of s5cmd and rclone")
    parser.add_argument("--folder", default=_fast_folder(), help="where the files are made (default: tmpfs)")
    parser.add_argument("--tune", action="store_true", help="look for the peers' best numbers of workers")
    return parser.parse_args()


def _fast_folder() -> str:
    return "/dev/shm" if os.path.isdir("/dev/shm") else tempfile.gettempdir()


def _far_side_described(options: argparse.Namespace) -> str:
    latency = f", {options.latency} ms latency" if options.latency else ""
    return {"tls": "TLS sink", "plain": "plain HTTP sink", "seaweed": "SeaweedFS"}[options.target] + latency


@contextlib.contextmanager
def _far_side(options: argparse.Namespace) -> Iterator[Sink]:
    """A new one for each run: nobody inherits another's connections or another's objects."""
    if options.target == "seaweed":
        with seaweed() as server:
            yield server
    else:
        with sink(build(OUT), tls=options.target == "tls", latency_ms=options.latency) as server:
            yield server


def _compared(options: argparse.Namespace, scenario: Scenario, folder: str) -> _Costs:
    costs: _Costs = {one.name: [] for one in CONTENDERS if not options.only or one.name in options.only}
    for number in range(options.rounds):
        for contender in CONTENDERS:
            if contender.name not in costs:
                continue
            cost = _run(options, scenario, contender, folder)
            costs[contender.name].append(cost)
            sys.stderr.write(
                f"{scenario.title}, round {number + 1}, {contender.name}: {scenario.rate(cost.seconds):.0f}/s,"
                f" CPU {scenario.cost(cost.cpu_seconds):.3f}, peak {cost.peak_bytes / 1e6:.0f} MB\n"
            )
    return costs


def _run(
    options: argparse.Namespace,
    scenario: Scenario,
    contender: Contender,
    folder: str,
    workers: int | None = None,
) -> Cost:
    files = os.path.join(folder, "files")
    state = tempfile.mkdtemp(prefix="state-", dir=OUT)
    log = os.path.join(OUT, f"{contender.name}.log")
    programs = {OURS: options.ours, "s5cmd": options.peers, "rclone": options.peers}
    scenario.make(files)
    try:
        with _far_side(options) as far_side:
            work = Work(files, state, far_side, scenario, programs)
            cost = measure(contender.command(work, workers), work.environment, log)
        left = os.listdir(files)
        if cost.exit_code or left or far_side.tally.get("objects", scenario.files) != scenario.files:
            sys.exit(
                f"bench: {contender.name} did not do its work: exit code {cost.exit_code}, {len(left)} files left,"
                f" {far_side.tally}; see {log}"
            )
        return cost
    finally:
        shutil.rmtree(files)
        shutil.rmtree(state)


def _table(scenario: Scenario, costs: _Costs) -> list[str]:
    rate, price = ("files/s", "CPU s / 1 000 files") if scenario.unit_is_files else ("MB/s", "CPU s / GiB")
    lines = [
        f"| {scenario.title} | {rate} | {price} | peak MB | our rate ÷ | CPU ÷ ours |",
        "|---|---|---|---|---|---|",
    ]
    for name, of_one in costs.items():
        middle = _middle(of_one)
        pairs = list(zip(costs.get(OURS, []), of_one, strict=False)) if name != OURS else []
        rates = [theirs.seconds / ours.seconds for ours, theirs in pairs]
        prices = [theirs.cpu_seconds / ours.cpu_seconds for ours, theirs in pairs]
        lines.append(
            f"| {name} | {scenario.rate(middle.seconds):.0f} | {scenario.cost(middle.cpu_seconds):.3f}"
            f" | {middle.peak_bytes / 1e6:.0f} | {_ratio(rates)} | {_ratio(prices)} |"
        )
    return [*lines, ""]


def _middle(costs: list[Cost]) -> Cost:
    return Cost(
        statistics.median(cost.seconds for cost in costs),
        statistics.median(cost.cpu_seconds for cost in costs),
        max(cost.peak_bytes for cost in costs),
        0,
    )


def _ratio(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f}" if ratios else ""


def _tune(options: argparse.Namespace, scenarios: list[Scenario], folder: str) -> None:
    for scenario in scenarios:
        for contender in (one for one in CONTENDERS if one.name not in (OURS, ENGINE)):
            for workers in _TRIED_WORKERS:
                cost = _run(options, scenario, contender, folder, workers)
                sys.stdout.write(
                    f"{scenario.title}, {contender.name} with {workers}: {scenario.rate(cost.seconds):.0f}/s,"
                    f" CPU {scenario.cost(cost.cpu_seconds):.3f}\n"
                )
                sys.stdout.flush()


if __name__ == "__main__":
    main()
