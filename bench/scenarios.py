"""What is moved: four kinds of folders, made anew for each run, since a move empties them."""

from __future__ import annotations

import os
from dataclasses import dataclass

__all__ = ["SCENARIOS", "Scenario"]

_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
_STEP_BYTES = _MIB


@dataclass(frozen=True, slots=True)
class Scenario:
    """`files` of `size_bytes` each. `s5cmd_parts`: how many parts of a file s5cmd sends at once."""

    name: str
    files: int
    size_bytes: int
    s5cmd_parts: int = 5

    @property
    def title(self) -> str:
        return f"{self.files:_} × {_amount(self.size_bytes)}".replace("_", " ")  # noqa: RUF001  # the sign of times

    @property
    def unit_is_files(self) -> bool:
        """Small files are counted, large ones weighed."""
        return self.size_bytes < _MIB

    def rate(self, seconds: float) -> float:
        """Files per second, or MB per second."""
        return (self.files if self.unit_is_files else self.files * self.size_bytes / 1e6) / seconds

    def cost(self, cpu_seconds: float) -> float:
        """CPU seconds for 1 000 files, or for a GiB."""
        return cpu_seconds / (
            self.files / 1000 if self.unit_is_files else self.files * self.size_bytes / _GIB
        )

    def make(self, folder: str) -> None:
        """Fill the folder. The content is random, and different in each file."""
        os.makedirs(folder)
        start = os.urandom(min(self.size_bytes, _STEP_BYTES))
        for number in range(self.files):
            with open(os.path.join(folder, f"measurement-{number:06d}.csv"), "wb") as file:
                file.write(number.to_bytes(8, "big")[: self.size_bytes] + start[8:])
                file.writelines(start for _ in range(self.size_bytes // _STEP_BYTES - 1))


def _amount(size_bytes: int) -> str:
    for unit, name in ((_GIB, "GiB"), (_MIB, "MiB"), (_KIB, "KiB")):
        if size_bytes >= unit:
            return f"{size_bytes // unit} {name}"
    return f"{size_bytes} bytes"


SCENARIOS = (
    Scenario("1k", 10_000, _KIB),
    Scenario("100k", 5_000, 100 * _KIB),
    Scenario("5m", 200, 5 * _MIB),
    Scenario("2g", 1, 2 * _GIB),
)
